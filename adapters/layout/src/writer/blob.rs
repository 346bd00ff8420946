//! Writing a blob.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use oci_proto::{Descriptor, Digest, Hasher};

use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::work::partial_name;
use crate::writer::shared::Shared;

/// The size of reads from an existing partial blob.
const CHUNK: usize = 256 << 10;

/// A blob that is being written, from [`LayoutWriter::begin`](super::LayoutWriter::begin): its bytes in
/// order, then [`finish`](Self::finish).
///
/// If it is dropped before, the partial blob is kept for the next writer to resume.
pub struct BlobWriter {
    shared: Arc<Shared>,
    digest: Digest,
    size: u64,
    file: Arc<File>,
    /// The name of the partial blob.
    partial: String,
    offset: u64,
    /// `None` if the caller verifies.
    hasher: Option<Hasher>,
    /// Whether a write failed, so that the file's length is unknown.
    broken: bool,
}

impl BlobWriter {
    pub(super) fn begin(shared: Arc<Shared>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let Descriptor { digest, size, .. } = descriptor.clone();
        let partial = partial_name(&digest);
        let wrong = |kind| shared.work().wrong(&partial, kind);
        let algorithm = digest.algorithm().ok_or_else(|| wrong(LayoutErrorKind::Unverifiable))?;
        if !shared.busy().insert(digest.clone()) {
            return Err(wrong(LayoutErrorKind::Busy));
        }
        match open(shared.work(), &partial, Hasher::new(algorithm), size) {
            Ok((file, hasher, offset)) => {
                let (file, hasher) = (Arc::new(file), Some(hasher));
                Ok(Self { shared, digest, size, file, partial, offset, hasher, broken: false })
            }
            Err(error) => {
                shared.busy().remove(&digest);
                Err(error)
            }
        }
    }

    /// The digest of the blob.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
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
    /// write failed, call [`restart`](Self::restart), or make a new writer.
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LayoutError> {
        if self.broken {
            return Err(
                self.wrong(LayoutErrorKind::Io(Arc::new(io::Error::other("an earlier write failed"))))
            );
        }
        if offset != self.offset {
            return Err(self.wrong(LayoutErrorKind::Order { expected: self.offset, given: offset }));
        }
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(self.wrong(LayoutErrorKind::Size { expected: self.size, found: end }));
        }
        if let Err(error) = (&*self.file).write_all(bytes) {
            self.broken = true;
            return Err(self.wrong(error.into()));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = end;
        Ok(())
    }

    /// Discards all bytes, and starts over. The writer verifies the content again.
    ///
    /// # Errors
    /// A file system operation fails.
    pub fn restart(&mut self) -> Result<(), LayoutError> {
        let emptied = self.file.set_len(0).and_then(|()| (&*self.file).seek(SeekFrom::Start(0)));
        emptied.map_err(|error| self.wrong(error.into()))?;
        self.offset = 0;
        self.broken = false;
        self.hasher = self.digest.algorithm().map(Hasher::new);
        Ok(())
    }

    /// Discards the bytes from `offset` on. Only after [`take_hasher`](Self::take_hasher).
    pub(crate) fn truncate(&mut self, offset: u64) -> Result<(), LayoutError> {
        let cut = self.file.set_len(offset).and_then(|()| (&*self.file).seek(SeekFrom::Start(offset)));
        cut.map_err(|error| self.wrong(error.into()))?;
        self.offset = offset;
        self.broken = false;
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
        if self.shared.is_durable() {
            self.synced(self.shared.work().sync_file(&self.partial, &self.file))?;
        }
        let directory = self.publish()?;
        self.shared.sync(&directory)
    }

    /// Fails unless the blob is complete, and matches its digest as far as that is known.
    pub(super) fn verify(&mut self) -> Result<(), LayoutError> {
        if self.offset != self.size {
            return Err(self.wrong(LayoutErrorKind::Size { expected: self.size, found: self.offset }));
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(computed) if computed != self.digest => {
                // Removed when this is dropped.
                self.offset = 0;
                Err(self.wrong(LayoutErrorKind::Content(computed)))
            }
            _ => Ok(()),
        }
    }

    /// The file, and its name, to be synced elsewhere.
    pub(super) fn to_sync(&self) -> (Arc<File>, Directory, String) {
        (self.file.clone(), self.shared.work().clone(), self.partial.clone())
    }

    /// Takes the result of syncing. After an error the system may report success although content is lost, so
    /// the partial blob is removed.
    pub(super) fn synced(&mut self, result: Result<(), LayoutError>) -> Result<(), LayoutError> {
        result.inspect_err(|_| self.offset = 0)
    }

    /// Gives the file its name. Returns the directory to sync.
    pub(super) fn publish(&self) -> Result<Directory, LayoutError> {
        self.shared.publish(&self.digest)
    }

    fn wrong(&self, kind: LayoutErrorKind) -> LayoutError {
        self.shared.work().wrong(&self.partial, kind)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.offset == 0 {
            // Nothing to resume. A published blob no longer has this name.
            let _ = self.shared.work().remove(&self.partial);
        }
        self.shared.busy().remove(&self.digest);
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Opens a partial blob, and hashes it. Anything else that has its name is replaced, as is a partial blob that
/// cannot be read.
fn open(work: &Directory, name: &str, hasher: Hasher, size: u64) -> Result<(File, Hasher, u64), LayoutError> {
    if let Ok((file, _)) = work.open_file(name, Access::Write)
        && has_one_name(&file)
        && let Ok((hasher, offset)) = hash(&file, hasher.clone(), size)
    {
        return Ok((file, hasher, offset));
    }
    Ok((work.create(name)?, hasher, 0))
}

/// Whether a file has no other name, through which its content would be changed.
#[cfg(unix)]
fn has_one_name(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|found| found.nlink() == 1)
}

/// On other systems the standard library cannot count the names of a file.
#[cfg(not(unix))]
fn has_one_name(_: &File) -> bool {
    true
}

/// Hashes the partial blob, and leaves the file at its end. One that is too long is discarded.
fn hash(mut file: &File, mut hasher: Hasher, size: u64) -> io::Result<(Hasher, u64)> {
    let length = file.metadata()?.len();
    if length > size {
        file.set_len(0)?;
    }
    if length == 0 || length > size {
        return Ok((hasher, 0));
    }
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher, offset)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
