//! The content that an exchange fetches.

use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::wire::exchange::sink::Sink;

/// The content that a successful response must have.
#[derive(Debug)]
pub(crate) enum Want {
    /// Only the head.
    Head,
    /// A manifest, or a config.
    Manifest(ManifestWant),
    /// A blob, or the rest of one.
    Blob(Box<BlobWant>),
    /// A token response of at most this many bytes.
    Token(u64),
    /// A body of at most this many bytes, which the core keeps.
    Body(u64),
}

/// A blob. The sink has received all bytes before its offset.
#[derive(Clone, Debug)]
pub(crate) struct BlobWant {
    pub(crate) sink: Sink,
    /// Whether the whole blob is requested, because the server refused a part of it.
    pub(crate) whole: bool,
    /// The number of bytes before the sink's offset that the last response repeated.
    pub(crate) skipped: u64,
    /// The hasher over the bytes that the sink has received, or `None` if they feed an upload, which verifies them.
    pub(crate) hasher: Option<Hasher>,
    /// The size that an earlier response announced, if no descriptor states it.
    pub(crate) announced: Option<u64>,
    /// The maximum number of bytes if the size is unknown.
    pub(crate) limit: u64,
    /// Whether the blob is only verified and its bytes are dropped.
    pub(crate) discard: bool,
}

impl BlobWant {
    /// Returns the offset from which the blob is requested.
    pub(crate) fn start(&self) -> u64 {
        if self.whole { 0 } else { self.sink.offset }
    }

    /// Forgets what the last server said about the blob, and continues at another one.
    pub(crate) fn ask_another_source(&mut self) {
        self.whole = false;
        self.skipped = 0;
        self.announced = None;
    }

    /// Forgets all bytes that were received.
    pub(crate) fn start_over(&mut self) {
        self.ask_another_source();
        self.sink.offset = 0;
        if let Some(hasher) = &mut self.hasher {
            *hasher = Hasher::new(self.sink.digest.algorithm().unwrap_or(Algorithm::Sha256));
        }
    }

    /// Returns the size of the content, if known.
    pub(crate) fn end(&self) -> Option<u64> {
        self.sink.size.or(self.announced)
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
    /// Whether it is fetched as a blob, whose Content-Type means nothing.
    pub(crate) is_blob: bool,
    /// The maximum number of bytes if no descriptor states the size.
    pub(crate) limit: u64,
}
