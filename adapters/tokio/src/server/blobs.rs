//! The storage of blobs.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::server::{Content, Memory};
use tokio::io::AsyncRead;

/// A storage of blobs.
pub trait Blobs: Send + Sync + 'static {
    /// Opens a range of a blob, in bytes: from `range.start` up to, but not including, `range.end`.
    ///
    /// # Errors
    /// Returns an error if the blob is missing or cannot be read. The head of the response is already sent
    /// by then, so the server closes the connection, and the client sees a truncated body.
    fn open(&self, digest: &Digest, range: Range<u64>) -> impl Future<Output = io::Result<Source>> + Send;
}

/// The bytes of a range of a blob.
#[non_exhaustive]
pub enum Source {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A reader that starts at the first byte of the range. Bytes after the range are not read.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    /// A file whose cursor is at the first byte of the range. It is read on blocking threads.
    File(File),
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
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}
