//! Trees of documents, without HTTP: their order, the choice of a platform, and the check of everything.

pub(crate) mod check;
pub(crate) mod documents;
pub(crate) mod finding;
pub(crate) mod node;
pub(crate) mod position;
pub(crate) mod select;
pub(crate) mod walk;
