//! Where a descriptor stands, for those who have to say it.

use std::fmt;

use crate::types::digest::Digest;

/// Where a descriptor stands. Numbers begin at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Nowhere: it is what was asked for.
    Root,
    /// This entry of an image layout's `index.json`.
    Layout(usize),
    /// In a document.
    Within { document: Digest, part: Part },
}

/// Which descriptor of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Entry(usize),
    Config,
    Layer(usize),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (document, part) = match self {
            Self::Root => return f.write_str("the root"),
            Self::Layout(n) => return write!(f, "manifests[{n}] of index.json"),
            Self::Within { document, part } => (document, part),
        };
        match part {
            Part::Entry(n) => write!(f, "manifests[{n}] of {document}"),
            Part::Config => write!(f, "the config of {document}"),
            Part::Layer(n) => write!(f, "layers[{n}] of {document}"),
        }
    }
}
