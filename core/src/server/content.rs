//! The storage of a server's content.

use bytes::Bytes;

use crate::types::digest::Digest;

/// A store of content, by digest.
pub trait Content {
    /// Returns the bytes of content, if present. Called for documents only, after their size is checked.
    fn bytes(&self, digest: &Digest) -> Option<Bytes>;

    /// Returns the size of content in bytes, if present.
    fn size(&self, digest: &Digest) -> Option<u64>;
}
