//! Traversal of documents without I/O: ordered walks, platform selection and checks of whole trees.

pub(crate) mod budget;
pub(crate) mod check;
pub(crate) mod descent;
pub(crate) mod documents;
pub(crate) mod finding;
pub(crate) mod node;
pub(crate) mod position;
pub(crate) mod select;
pub(crate) mod walk;
