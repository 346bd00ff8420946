//! Where the bytes of blobs are kept.

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

/// Where the bytes of blobs are kept.
pub trait Blobs: Send + Sync + 'static {
    /// Opens a part of a blob: its bytes from `range.start` up to and without `range.end`.
    ///
    /// # Errors
    /// The blob is not there, or cannot be read. The response's head has promised it by then: the
    /// connection is closed in the middle of the response, and the client sees that it was cut short.
    fn open(&self, digest: &Digest, range: Range<u64>) -> impl Future<Output = io::Result<Source>> + Send;
}

/// The bytes of a part of a blob.
#[non_exhaustive]
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// To be read, from its first byte. It may hold more than the part: what is beyond is not read.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    /// The same of a file, from where it stands. It is read on threads that may block.
    File(File),
}

impl Blobs for Memory {
    async fn open(&self, digest: &Digest, range: Range<u64>) -> io::Result<Source> {
        let part = self.bytes(digest).and_then(|bytes| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            // Asked first, since slicing shared bytes beyond their end is a bug.
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
