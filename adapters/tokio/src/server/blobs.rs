//! The storage of blobs.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::server::{Content, Memory};
use tokio::io::AsyncRead;

/// A storage of blobs.
pub trait Blobs: Send + Sync + 'static {
    /// Opens a range of a blob, in bytes: from `range.start` up to, but not including, `range.end`. For a
    /// request of HEAD the range is empty, and at the end of the blob.
    ///
    /// # Errors
    /// Returns an error if the blob is missing, cannot be read, or ends before the range does. The kind
    /// [`NotFound`](io::ErrorKind::NotFound) is answered with 404, any other with 500.
    fn open(&self, digest: &Digest, range: Range<u64>) -> impl Future<Output = io::Result<Source>> + Send;
}

/// The bytes of a range of a blob.
///
/// An error of the first read is answered like one of [`Blobs::open`]. After a later one the server closes the connection, and the
/// client sees a truncated body.
#[non_exhaustive]
pub enum Source {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A reader that starts at the first byte of the range. Bytes after the range are not read.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    /// A reader that blocks, such as a file, and starts at the first byte of the range. It is read on blocking
    /// threads. Bytes after the range are not read.
    Blocking(Box<dyn Read + Send>),
}

/// The error returned when a blob that the server lists cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("could not serve {digest}: {error}")]
pub struct BlobError {
    digest: Digest,
    #[source]
    error: io::Error,
}

impl BlobError {
    pub(super) fn new(digest: Digest, error: io::Error) -> Self {
        Self { digest, error }
    }

    /// Returns the digest of the blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the error of [`Blobs::open`] or of a [`Source`].
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl Blobs for Memory {
    async fn open(&self, digest: &Digest, range: Range<u64>) -> io::Result<Source> {
        let part = self.bytes(digest).and_then(|bytes| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            // `Bytes::slice` panics if the range is out of bounds.
            bytes.get(range.clone())?;
            Some(bytes.slice(range))
        });
        part.map(Source::Bytes).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl<B: Blobs> Blobs for Arc<B> {
    fn open(&self, digest: &Digest, range: Range<u64>) -> impl Future<Output = io::Result<Source>> + Send {
        (**self).open(digest, range)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Reader(_) => f.debug_tuple("Reader").finish_non_exhaustive(),
            Self::Blocking(_) => f.debug_tuple("Blocking").finish_non_exhaustive(),
        }
    }
}
