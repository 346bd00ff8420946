//! The position of a descriptor, for messages.

use std::fmt;

use crate::manifest::children::Part;
use crate::types::digest::Digest;

/// The position of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The root itself.
    Root,
    /// An entry of an image layout's `index.json`; numbers start at 0.
    Layout(usize),
    /// A child of a document.
    Within { document: Digest, part: Part },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the root"),
            Self::Layout(n) => write!(f, "{} of index.json", Part::Entry(*n)),
            Self::Within { document, part } => write!(f, "{part} of {document}"),
        }
    }
}
