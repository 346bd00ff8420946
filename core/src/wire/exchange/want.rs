//! The content that an exchange fetches.

use crate::error::Misbehaviour;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::wire::exchange::sink::Sink;

/// The content that a successful response must have.
#[derive(Debug)]
pub(crate) enum Want {
    /// Only the head.
    Head,
    /// A manifest.
    Manifest(ManifestWant),
    /// A blob, or the rest of one.
    Blob(Box<BlobWant>),
    /// A token response of at most this many bytes.
    Token(u64),
}

/// A blob. The sink has received all bytes before its offset.
#[derive(Clone, Debug)]
pub(crate) struct BlobWant {
    pub(crate) sink: Sink,
    /// The hasher over the bytes that the sink has received.
    pub(crate) hasher: Hasher,
    /// The size that an earlier response announced, if no descriptor states it.
    pub(crate) announced: Option<u64>,
    /// The maximum number of bytes if the size is unknown.
    pub(crate) limit: u64,
    /// Whether the blob is only verified and its bytes are dropped.
    pub(crate) discard: bool,
}

impl BlobWant {
    /// Returns the size of the content, if known.
    pub(crate) fn end(&self) -> Option<u64> {
        self.sink.size.or(self.announced)
    }

    /// Checks the digest, after all bytes were delivered.
    pub(crate) fn verify(self) -> Result<Digest, Misbehaviour> {
        let computed = self.hasher.finish();
        if computed == self.sink.digest {
            Ok(computed)
        } else {
            Err(Misbehaviour::WrongDigest { expected: self.sink.digest, computed })
        }
    }
}

#[derive(Debug)]
pub(crate) struct ManifestWant {
    /// The expected digest, if known.
    pub(crate) digest: Option<Digest>,
    /// The size in the descriptor, if there is one.
    pub(crate) size: Option<u64>,
    /// The media type in the descriptor, if there is one.
    pub(crate) media_type: Option<MediaType>,
    /// The maximum number of bytes if no descriptor states the size.
    pub(crate) limit: u64,
}
