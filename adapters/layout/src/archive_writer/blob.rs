//! Writing a blob of an archive.

use std::fmt;
use std::io;
use std::sync::Arc;

use oci_proto::layout::blob_path;
use oci_proto::{Descriptor, Digest, Hasher};

use crate::archive_writer::shared::Shared;
use crate::error::{LayoutError, LayoutErrorKind};

/// A blob of an archive that is being written, from [`ArchiveWriter::begin`](super::ArchiveWriter::begin): its
/// bytes in order, then [`finish`](Self::finish).
///
/// If it is dropped before, it must be started and written again for the archive to be finished.
pub struct ArchiveBlob {
    shared: Arc<Shared>,
    digest: Digest,
    size: u64,
    /// The place of the content in the archive.
    start: u64,
    offset: u64,
    /// `None` if the caller verifies.
    hasher: Option<Hasher>,
    /// Whether a write failed, so that its bytes are unknown.
    broken: bool,
    is_complete: bool,
}

impl ArchiveBlob {
    pub(super) fn begin(shared: Arc<Shared>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let Descriptor { digest, size, .. } = descriptor.clone();
        let unverifiable = || shared.wrong(&blob_path(&digest), LayoutErrorKind::Unverifiable);
        let hasher = Some(Hasher::new(digest.algorithm().ok_or_else(unverifiable)?));
        let start = shared.begin(descriptor)?;
        Ok(Self { shared, digest, size, start, offset: 0, hasher, broken: false, is_complete: false })
    }

    /// The number of bytes that are written, which is the offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the hasher over the bytes that are written, so that they are not hashed twice. The caller then
    /// hashes the following bytes, and must call [`finish`](Self::finish) only if the digest matches. `None`
    /// if it was already taken.
    pub fn take_hasher(&mut self) -> Option<Hasher> {
        self.hasher.take()
    }

    /// Writes the next bytes, at `offset`.
    ///
    /// # Errors
    /// The offset is not the next one, the bytes exceed the blob's size, or they cannot be written. If a
    /// write failed, call [`restart`](Self::restart).
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LayoutError> {
        if self.broken {
            return Err(self.wrong(io::Error::other("an earlier write failed")));
        }
        if offset != self.offset {
            return Err(self.wrong(LayoutErrorKind::Order { expected: self.offset, given: offset }));
        }
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(self.wrong(LayoutErrorKind::Size { expected: self.size, found: end }));
        }
        if let Err(error) = self.shared.write_at(bytes, self.start + self.offset) {
            self.broken = true;
            return Err(self.wrong(error));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = end;
        Ok(())
    }

    /// Discards all bytes, and starts over. The writer verifies the content again.
    pub fn restart(&mut self) {
        self.offset = 0;
        self.broken = false;
        self.hasher = self.digest.algorithm().map(Hasher::new);
    }

    /// Completes the blob.
    ///
    /// # Errors
    /// The blob is incomplete, or its digest does not match.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        if self.offset != self.size {
            return Err(self.wrong(LayoutErrorKind::Size { expected: self.size, found: self.offset }));
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(computed) if computed != self.digest => Err(self.wrong(LayoutErrorKind::Content(computed))),
            _ => {
                self.is_complete = true;
                Ok(())
            }
        }
    }

    fn wrong(&self, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        self.shared.wrong(&blob_path(&self.digest), kind)
    }
}

impl Drop for ArchiveBlob {
    fn drop(&mut self) {
        self.shared.ended(&self.digest, self.is_complete);
    }
}

impl fmt::Debug for ArchiveBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveBlob")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
