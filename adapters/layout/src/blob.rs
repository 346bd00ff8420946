//! Content that is verified as it is read.

use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use oci_proto::layout::blob_path;
use oci_proto::{Digest, Hasher};

use crate::blob_file::BlobFile;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::Files;

/// The size of reads into a buffer of our own.
const CHUNK: usize = 256 << 10;

/// Content of a layout, from [`Layout::blob`](crate::Layout::blob).
///
/// Bytes are returned before all of them are verified; **end of file is returned only after the size and the
/// digest match**. Bytes read without reaching end of file are not verified. If the content is wrong or
/// cannot be read, `read` fails with an [`io::Error`] whose inner error is a [`LayoutError`], and so does
/// every later call.
pub struct BlobReader {
    file: BlobFile,
    path: PathBuf,
    digest: Digest,
    size: u64,
    read: u64,
    state: State,
}

enum State {
    Reading(Hasher),
    Verified,
    Failed(LayoutError),
}

impl BlobReader {
    pub(crate) fn open(files: &Files, digest: &Digest, size: Option<u64>) -> Result<Self, LayoutError> {
        let path = files.join(blob_path(digest));
        let wrong = |kind| LayoutError::new(&path, kind);
        let algorithm = digest.algorithm().ok_or_else(|| wrong(LayoutErrorKind::Unverifiable))?;
        let file = files.open_blob(digest)?;
        let found = file.size();
        let size = size.unwrap_or(found);
        if found != size {
            return Err(wrong(LayoutErrorKind::Size { expected: size, found }));
        }
        let state = State::Reading(Hasher::new(algorithm));
        Ok(Self { file, path, digest: digest.clone(), size, read: 0, state })
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads to the end, and passes the size of each read to `each`. If `each` breaks, reading stops, and the
    /// content is not verified.
    pub(crate) fn verify(mut self, mut each: impl FnMut(u64) -> ControlFlow<()>) -> Result<(), LayoutError> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(self.size).unwrap_or(CHUNK)).max(1)];
        loop {
            match self.next(&mut buffer)? {
                0 => return Ok(()),
                read if each(read as u64).is_break() => return Ok(()),
                _ => {}
            }
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, LayoutError> {
        match &mut self.state {
            _ if buffer.is_empty() => Ok(0),
            State::Verified => Ok(0),
            State::Failed(error) => Err(error.clone()),
            State::Reading(hasher) => match self.file.read_at(buffer, self.read) {
                Ok(0) => self.end(),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    self.read += read as u64;
                    Ok(read)
                }
                Err(error) => Err(self.fail(error.into())),
            },
        }
    }

    fn end(&mut self) -> Result<usize, LayoutError> {
        if self.read < self.size {
            return Err(self.fail(LayoutErrorKind::Size { expected: self.size, found: self.read }));
        }
        if let State::Reading(hasher) = std::mem::replace(&mut self.state, State::Verified) {
            let computed = hasher.finish();
            if computed != self.digest {
                return Err(self.fail(LayoutErrorKind::Content(computed)));
            }
        }
        Ok(0)
    }

    fn fail(&mut self, kind: LayoutErrorKind) -> LayoutError {
        let error = LayoutError::new(&self.path, kind);
        self.state = State::Failed(error.clone());
        error
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(io::Error::other)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("path", &self.path)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
