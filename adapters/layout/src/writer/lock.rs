//! The lock that excludes other writers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{LayoutError, LayoutErrorKind};
use crate::files;

const LOCK: &str = "lock";
/// How often to retry if the previous writer has just removed the file.
const ATTEMPTS: usize = 16;

/// A lock on a file in the directory for temporary files. The operating system releases it when the process
/// ends.
#[derive(Debug)]
pub(super) struct Lock {
    directory: PathBuf,
    _file: File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> Result<Self, LayoutError> {
        let path = directory.join(LOCK);
        let wrong = |kind: LayoutErrorKind| LayoutError::new(&path, kind);
        for _ in 0..ATTEMPTS {
            files::make_directory(directory)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            let file = match options.clone().create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match files::open_with(&path, &options) {
                        Ok((file, _)) => file,
                        Err(LayoutErrorKind::Missing) => continue,
                        Err(kind) => return Err(wrong(kind)),
                    }
                }
                // The previous writer has removed the directory with its lock.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(wrong(error.into())),
            };
            match fs4::FileExt::try_lock(&file) {
                // The previous writer may have removed the file since it was opened.
                Ok(()) if files::has_name(&file, &path) => {
                    return Ok(Self { directory: directory.to_owned(), _file: file });
                }
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Err(wrong(LayoutErrorKind::Locked)),
                Err(fs4::TryLockError::Error(error)) => return Err(wrong(error.into())),
            }
        }
        Err(wrong(LayoutErrorKind::Locked))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // On other systems an open file cannot be compared with its name, so the file is kept.
        if cfg!(unix) {
            let _ = fs::remove_file(self.directory.join(LOCK));
            // Fails if it still has partial blobs.
            let _ = fs::remove_dir(&self.directory);
        }
    }
}
