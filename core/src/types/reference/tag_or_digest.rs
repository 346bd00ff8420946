//! The `<reference>` of a manifest end-point.

use crate::types::digest::Digest;
use crate::types::reference::name::Tag;

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}
