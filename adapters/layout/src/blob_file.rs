//! Content that is read at offsets, without verification.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::positioned::Positioned;

/// An open blob, from [`Layout::open_unverified`](crate::Layout::open_unverified): a file of a directory, or a
/// part of an archive. Its bytes are not verified.
///
/// [`read_at`](Self::read_at) may be called on any number of threads. Cloning is cheap, and a clone has a
/// position of its own for [`Read`] and [`Seek`].
#[derive(Clone)]
pub struct BlobFile {
    file: Arc<Positioned>,
    start: u64,
    size: u64,
    position: u64,
}

impl BlobFile {
    /// A whole file.
    pub(crate) fn whole(file: File, size: u64) -> Self {
        Self::part(Arc::new(Positioned::new(file)), 0, size)
    }

    /// A part of a file, which ends at no more than `u64::MAX`.
    pub(crate) fn part(file: Arc<Positioned>, start: u64, size: u64) -> Self {
        Self { file, start, size, position: 0 }
    }

    /// The size in bytes, as of opening.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads bytes at an offset of the blob, and returns their number. That may be less than requested, but is
    /// zero only at the end of the blob, or if the file has become shorter.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match max {
            0 => Ok(0),
            // Not beyond the end of the part, so this does not overflow.
            _ => self.file.read_at(&mut buffer[..max], self.start + offset),
        }
    }
}

impl Read for BlobFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// Like that of a file: a position beyond the end is no error.
impl Seek for BlobFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for BlobFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobFile")
            .field("size", &self.size)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
