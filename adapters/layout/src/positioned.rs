//! Reads and writes at offsets of one file, from any number of threads.

use std::fs::File;
use std::io;

/// An open file without a position that threads would share.
#[derive(Debug)]
pub(crate) struct Positioned {
    #[cfg(unix)]
    file: File,
    /// Elsewhere the standard library has no such calls for all systems, so threads take turns.
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl Positioned {
    #[cfg(unix)]
    pub(crate) fn new(file: File) -> Self {
        Self { file }
    }

    #[cfg(not(unix))]
    pub(crate) fn new(file: File) -> Self {
        Self { file: std::sync::Mutex::new(file) }
    }

    /// Reads some bytes at an offset; none only at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.read_once(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Reads at an offset until the buffer is full, or the file ends.
    pub(crate) fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    #[cfg(unix)]
    fn read_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::io::{Read as _, Seek as _};
        self.with(|mut file| {
            file.seek(io::SeekFrom::Start(offset))?;
            file.read(buffer)
        })
    }

    /// Writes all bytes at an offset.
    #[cfg(unix)]
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek as _, Write as _};
        self.with(|mut file| {
            file.seek(io::SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    /// Uses the file itself.
    #[cfg(unix)]
    pub(crate) fn with<T>(&self, using: impl FnOnce(&File) -> T) -> T {
        using(&self.file)
    }

    #[cfg(not(unix))]
    pub(crate) fn with<T>(&self, using: impl FnOnce(&File) -> T) -> T {
        using(&self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
