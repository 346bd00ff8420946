//! Writing a blob.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::layout::{BLOBS, blob_path};
use oci_proto::{Descriptor, Digest, Hasher};

use crate::error::{LayoutError, LayoutErrorKind};
use crate::files;
use crate::files::{make_directory, remove};
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
    file: File,
    partial: PathBuf,
    offset: u64,
    /// `None` if the caller verifies.
    hasher: Option<Hasher>,
    /// Whether a write failed, so that the file's length is unknown.
    broken: bool,
}

impl BlobWriter {
    pub(super) fn begin(shared: Arc<Shared>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let Descriptor { digest, size, .. } = descriptor.clone();
        let partial = shared.partial(&digest);
        let wrong = |kind| LayoutError::new(&partial, kind);
        let algorithm = digest.algorithm().ok_or_else(|| wrong(LayoutErrorKind::Unverifiable))?;
        if !shared.busy().insert(digest.clone()) {
            return Err(wrong(LayoutErrorKind::Busy));
        }
        let opened = open(&partial).and_then(|mut file| {
            let (hasher, offset) = hash(&mut file, Hasher::new(algorithm), size)?;
            Ok((file, hasher, offset))
        });
        match opened {
            Ok((file, hasher, offset)) => {
                let hasher = Some(hasher);
                Ok(Self { shared, digest, size, file, partial, offset, hasher, broken: false })
            }
            Err(kind) => {
                shared.busy().remove(&digest);
                Err(wrong(kind))
            }
        }
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
        if let Err(error) = self.file.write_all(bytes) {
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
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| self.wrong(error.into()))?;
        self.offset = 0;
        self.broken = false;
        self.hasher = self.digest.algorithm().map(Hasher::new);
        Ok(())
    }

    /// Discards the bytes from `offset` on. Only after [`take_hasher`](Self::take_hasher).
    pub(crate) fn truncate(&mut self, offset: u64) -> Result<(), LayoutError> {
        let cut = self.file.set_len(offset).and_then(|()| self.file.seek(SeekFrom::Start(offset)));
        cut.map_err(|error| self.wrong(error.into()))?;
        self.offset = offset;
        self.broken = false;
        Ok(())
    }

    /// Publishes the blob under its digest, replacing an existing file.
    ///
    /// # Errors
    /// The blob is incomplete, and kept for resumption; its digest does not match, and it is removed; or a
    /// file system operation fails.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        if self.offset != self.size {
            return Err(self.wrong(LayoutErrorKind::Size { expected: self.size, found: self.offset }));
        }
        if let Some(computed) = self.hasher.take().map(Hasher::finish)
            && computed != self.digest
        {
            let error = self.wrong(LayoutErrorKind::Content(computed));
            let _ = remove(&self.partial);
            return Err(error);
        }
        if self.shared.is_durable() {
            self.file.sync_all().map_err(|error| self.wrong(error.into()))?;
        }
        let directory = files::blob_directory(self.shared.directory(), &self.digest);
        make_directory(&self.shared.directory().join(BLOBS))?;
        make_directory(&directory)?;
        let path = self.shared.directory().join(blob_path(&self.digest));
        fs::rename(&self.partial, &path).map_err(|error| LayoutError::new(&path, error))?;
        self.shared.sync_directory(&directory)
    }

    fn wrong(&self, kind: LayoutErrorKind) -> LayoutError {
        LayoutError::new(&self.partial, kind)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.offset == 0 {
            // Nothing to resume. A published blob no longer has this name.
            let _ = remove(&self.partial);
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

/// Opens a partial blob, or creates it.
fn open(partial: &Path) -> Result<File, LayoutErrorKind> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match files::open_with(partial, &options) {
        Ok((file, _)) => Ok(file),
        Err(LayoutErrorKind::Missing) => Ok(options.create_new(true).open(partial)?),
        Err(LayoutErrorKind::NotAFile(_)) => {
            remove(partial)?;
            Ok(options.create_new(true).open(partial)?)
        }
        Err(kind) => Err(kind),
    }
}

/// Hashes the partial blob, and leaves the file at its end. One that is too long is discarded.
fn hash(file: &mut File, mut hasher: Hasher, size: u64) -> Result<(Hasher, u64), LayoutErrorKind> {
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
            Err(error) => return Err(error.into()),
        }
    }
}
