//! The `<reference>` of a manifest endpoint.

use std::fmt;

use crate::types::digest::Digest;
use crate::types::reference::name::Tag;

/// A tag or a digest that identifies a manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}
