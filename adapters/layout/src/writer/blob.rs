//! A blob that is being written.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::layout::{BLOBS, blob_path};
use oci_proto::{Descriptor, Digest, Hasher};

use super::{Place, make_folder, remove};
use crate::error::Trouble;
use crate::{LayoutError, files};

/// How much of what an earlier writer left is read at a time.
const CHUNK: usize = 256 << 10;

/// A blob that is being written, from [`LayoutWriter::begin`](super::LayoutWriter::begin): its bytes in order,
/// then [`finish`](Self::finish).
///
/// Dropped before, it leaves what it has for the next writer to go on with.
pub struct BlobWriter {
    place: Arc<Place>,
    digest: Digest,
    size: u64,
    file: File,
    partial: PathBuf,
    offset: u64,
    /// None where somebody else verifies.
    hasher: Option<Hasher>,
    /// Whether an error left it open how much was written.
    broken: bool,
}

impl BlobWriter {
    pub(super) fn begin(place: Arc<Place>, descriptor: &Descriptor) -> Result<Self, LayoutError> {
        let Descriptor { digest, size, .. } = descriptor.clone();
        let partial = place.partial(&digest);
        let wrong = |trouble| LayoutError::new(&partial, trouble);
        let algorithm = digest.algorithm().ok_or_else(|| wrong(Trouble::Unverifiable))?;
        if !place.busy().insert(digest.clone()) {
            return Err(wrong(Trouble::Busy));
        }
        let opened = open(&partial).and_then(|mut file| {
            let (hasher, offset) = hash(&mut file, Hasher::new(algorithm), size)?;
            Ok((file, hasher, offset))
        });
        match opened {
            Ok((file, hasher, offset)) => {
                let hasher = Some(hasher);
                Ok(Self { place, digest, size, file, partial, offset, hasher, broken: false })
            }
            Err(trouble) => {
                place.busy().remove(&digest);
                Err(wrong(trouble))
            }
        }
    }

    /// How many of the blob's bytes are there: the next one belongs here.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives away the hasher over the bytes that are there. Whoever takes it hashes what follows, and promises to
    /// call [`finish`](Self::finish) only where the digest is right: nothing is hashed twice. None if it was
    /// taken before.
    pub fn take_hasher(&mut self) -> Option<Hasher> {
        self.hasher.take()
    }

    /// Writes the next bytes, which belong at `offset`.
    ///
    /// # Errors
    /// They belong elsewhere, are more than the blob has, or cannot be written. After the last of these, only
    /// [`restart`](Self::restart) helps, or a new writer.
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LayoutError> {
        if self.broken {
            return Err(self.wrong(Trouble::Io(Arc::new(io::Error::other("an earlier write failed")))));
        }
        if offset != self.offset {
            return Err(self.wrong(Trouble::Order { expected: self.offset, given: offset }));
        }
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(self.wrong(Trouble::Size { expected: self.size, found: end }));
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

    /// Throws away what is there, and begins anew. The writer verifies by itself again.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn restart(&mut self) -> Result<(), LayoutError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| self.wrong(error.into()))?;
        self.offset = 0;
        self.broken = false;
        self.hasher = self.digest.algorithm().map(Hasher::new);
        Ok(())
    }

    /// Gives the blob its name, in the place of whatever has it.
    ///
    /// # Errors
    /// It is not whole, and what is there is left to go on with; it has the wrong digest, and is thrown away; or
    /// the file system refuses.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        if self.offset != self.size {
            return Err(self.wrong(Trouble::Size { expected: self.size, found: self.offset }));
        }
        if let Some(computed) = self.hasher.take().map(Hasher::finish)
            && computed != self.digest
        {
            let error = self.wrong(Trouble::Content(computed));
            let _ = remove(&self.partial);
            return Err(error);
        }
        if self.place.is_durable() {
            self.file.sync_all().map_err(|error| self.wrong(error.into()))?;
        }
        let folder = files::blob_folder(&self.place.folder, &self.digest);
        make_folder(&self.place.folder.join(BLOBS))?;
        make_folder(&folder)?;
        let path = self.place.folder.join(blob_path(&self.digest));
        fs::rename(&self.partial, &path).map_err(|error| LayoutError::new(&path, error))?;
        self.place.settle(&folder)
    }

    fn wrong(&self, trouble: Trouble) -> LayoutError {
        LayoutError::new(&self.partial, trouble)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.offset == 0 {
            // Nothing to go on with. Where the blob has its name, this file is gone.
            let _ = remove(&self.partial);
        }
        self.place.busy().remove(&self.digest);
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

/// Opens what is there of a blob, or begins anew.
fn open(partial: &Path) -> Result<File, Trouble> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match files::open_with(partial, &options) {
        Ok((file, _)) => Ok(file),
        Err(Trouble::Missing) => Ok(options.create_new(true).open(partial)?),
        Err(Trouble::NotAFile(_)) => {
            remove(partial)?;
            Ok(options.create_new(true).open(partial)?)
        }
        Err(trouble) => Err(trouble),
    }
}

/// Hashes what is there, and leaves the file where that ends. More than there should be is thrown away.
fn hash(file: &mut File, mut hasher: Hasher, size: u64) -> Result<(Hasher, u64), Trouble> {
    let there = file.metadata()?.len();
    if there > size {
        file.set_len(0)?;
    }
    if there == 0 || there > size {
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
