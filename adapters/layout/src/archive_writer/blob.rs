//! Writing a blob of an archive.

use std::fmt;
use std::sync::Arc;

use oci_proto::layout::blob_path;
use oci_proto::{Descriptor, Hasher};

use crate::archive_writer::shared::Shared;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::unfinished::Unfinished;

/// A blob of an archive that is being written, from [`ArchiveWriter::begin`](super::ArchiveWriter::begin): its
/// bytes in order, then [`finish`](Self::finish).
///
/// If it is dropped before, it must be started and written again for the archive to be finished.
pub struct ArchiveBlob {
    shared: Arc<Shared>,
    state: Unfinished,
    /// The place of the content in the archive.
    start: u64,
    is_complete: bool,
}

impl ArchiveBlob {
    pub(super) fn begin(shared: Arc<Shared>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let state = Unfinished::new(descriptor);
        let state = state.map_err(|kind| shared.wrong(&blob_path(&descriptor.digest), kind))?;
        let start = shared.begin(descriptor)?;
        Ok(Self { shared, state, start, is_complete: false })
    }

    /// The number of bytes that are written, which is the offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.state.offset()
    }

    /// Takes the hasher over the bytes that are written, so that they are not hashed twice. The caller then
    /// hashes the following bytes, and must call [`finish`](Self::finish) only if the digest matches. `None`
    /// if it was already taken.
    pub fn take_hasher(&mut self) -> Option<Hasher> {
        self.state.take_hasher()
    }

    /// Writes the next bytes, at `offset`.
    ///
    /// # Errors
    /// The offset is not the next one, the bytes exceed the blob's size, or they cannot be written. If a
    /// write failed, call [`restart`](Self::restart).
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LayoutError> {
        let write = |bytes: &[u8]| self.shared.write_at(bytes, self.start + offset);
        self.state.append(offset, bytes, write).map_err(|kind| self.wrong(kind))
    }

    /// Discards all bytes, and starts over. The writer verifies the content again.
    pub fn restart(&mut self) {
        self.state.restart();
    }

    /// Completes the blob.
    ///
    /// # Errors
    /// The blob is incomplete, or its digest does not match.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        self.state.verify().map_err(|kind| self.wrong(kind))?;
        self.is_complete = true;
        Ok(())
    }

    fn wrong(&self, kind: LayoutErrorKind) -> LayoutError {
        self.shared.wrong(&blob_path(self.state.digest()), kind)
    }
}

impl Drop for ArchiveBlob {
    fn drop(&mut self) {
        self.shared.ended(self.state.digest(), self.is_complete);
    }
}

impl fmt::Debug for ArchiveBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveBlob")
            .field("digest", self.state.digest())
            .field("size", &self.state.size())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}
