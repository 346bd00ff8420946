//! Writing a blob.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use oci_proto::{Descriptor, Digest, Hasher};

use crate::directory::Directory;
use crate::directory::kind::{Access, has_one_name};
use crate::error::{LayoutError, LayoutErrorKind};
use crate::unfinished::Unfinished;
use crate::work::partial_name;
use crate::writer::shared::Shared;

/// A blob that is being written, from [`LayoutWriter::begin`](super::LayoutWriter::begin): its bytes in
/// order, then [`finish`](Self::finish).
///
/// If it is dropped before, the partial blob is kept for the next writer to resume.
pub struct BlobWriter {
    shared: Arc<Shared>,
    state: Unfinished,
    file: Arc<File>,
    /// The name of the partial blob.
    partial: String,
}

impl BlobWriter {
    pub(super) fn begin(shared: Arc<Shared>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let digest = &descriptor.digest;
        let partial = partial_name(digest);
        let wrong = |kind| shared.work().wrong(&partial, kind);
        let mut state = Unfinished::new(descriptor).map_err(wrong)?;
        if !shared.busy().insert(digest.clone()) {
            return Err(wrong(LayoutErrorKind::Busy));
        }
        match open(shared.work(), &partial, &mut state) {
            Ok(file) => Ok(Self { shared, state, file: Arc::new(file), partial }),
            Err(error) => {
                shared.busy().remove(digest);
                Err(error)
            }
        }
    }

    /// The digest of the blob.
    pub(crate) fn digest(&self) -> &Digest {
        self.state.digest()
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
    /// write failed, call [`restart`](Self::restart), or make a new writer.
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LayoutError> {
        let appended = self.state.append(offset, bytes, |bytes| (&*self.file).write_all(bytes));
        appended.map_err(|kind| self.wrong(kind))
    }

    /// Discards all bytes, and starts over. The writer verifies the content again.
    ///
    /// # Errors
    /// A file system operation fails.
    pub fn restart(&mut self) -> Result<(), LayoutError> {
        self.truncate(0)?;
        self.state.restart();
        Ok(())
    }

    /// Discards the bytes from `offset` on. Only after [`take_hasher`](Self::take_hasher).
    pub(crate) fn truncate(&mut self, offset: u64) -> Result<(), LayoutError> {
        let cut = self.file.set_len(offset).and_then(|()| (&*self.file).seek(SeekFrom::Start(offset)));
        cut.map_err(|error| self.wrong(error.into()))?;
        self.state.truncate(offset);
        Ok(())
    }

    /// Publishes the blob under its digest, replacing an existing file. If the writer is durable, the blob
    /// then survives a power failure.
    ///
    /// # Errors
    /// The blob is incomplete, and kept for resumption; its digest does not match, or it cannot be synced, and
    /// it is removed; or a file system operation fails.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        self.verify()?;
        self.synced(self.shared.sync_work(&self.partial, &self.file))?;
        let directory = self.publish()?;
        self.shared.sync(&directory)
    }

    /// Fails unless the blob is complete, and matches its digest as far as that is known. A partial blob with wrong
    /// content is removed when this is dropped.
    pub(super) fn verify(&mut self) -> Result<(), LayoutError> {
        self.state.verify().map_err(|kind| {
            if matches!(kind, LayoutErrorKind::Content(_)) {
                self.state.restart();
            }
            self.wrong(kind)
        })
    }

    /// The file, and its name, to be synced elsewhere.
    pub(super) fn to_sync(&self) -> (Arc<File>, Directory, String) {
        (self.file.clone(), self.shared.work().clone(), self.partial.clone())
    }

    /// Takes the result of syncing. After an error the system may report success although content is lost, so
    /// the partial blob is removed.
    pub(super) fn synced(&mut self, result: Result<(), LayoutError>) -> Result<(), LayoutError> {
        result.inspect_err(|_| self.state.restart())
    }

    /// Gives the file its name. Returns the directory to sync.
    pub(super) fn publish(&self) -> Result<Directory, LayoutError> {
        self.shared.publish(self.digest())
    }

    fn wrong(&self, kind: LayoutErrorKind) -> LayoutError {
        self.shared.work().wrong(&self.partial, kind)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.offset() == 0 {
            // Nothing to resume. A published blob no longer has this name.
            let _ = self.shared.work().remove(&self.partial);
        }
        self.shared.busy().remove(self.digest());
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("digest", self.digest())
            .field("size", &self.state.size())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

/// Opens a partial blob, and hashes it. Anything else that has its name is replaced, as is a partial blob that
/// cannot be read.
fn open(work: &Directory, name: &str, state: &mut Unfinished) -> Result<File, LayoutError> {
    if let Ok((file, length)) = work.open_file(name, Access::Write)
        && has_one_name(&file)
    {
        if resume(&file, length, state).is_ok() {
            return Ok(file);
        }
        state.restart();
    }
    work.create(name)
}

/// Hashes a partial blob, and leaves the file at its end. One that is too long is discarded.
fn resume(file: &File, length: u64, state: &mut Unfinished) -> io::Result<()> {
    if length > state.size() {
        return file.set_len(0);
    }
    if length > 0 { state.resume(file) } else { Ok(()) }
}
