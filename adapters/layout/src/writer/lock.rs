//! The lock that lets one writer alone be at work.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Trouble;
use crate::{LayoutError, files};

use super::make_folder;

const LOCK: &str = "lock";
/// How often the file is looked for anew, where the writer before has just removed it.
const ATTEMPTS: usize = 16;

/// A lock on a file in the folder of what is partial. The operating system gives it back when the program ends,
/// however that is.
#[derive(Debug)]
pub(super) struct Lock {
    folder: PathBuf,
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, LayoutError> {
        let path = folder.join(LOCK);
        let wrong = |trouble: Trouble| LayoutError::new(&path, trouble);
        for _ in 0..ATTEMPTS {
            make_folder(folder)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            let file = match options.clone().create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match files::open_with(&path, &options) {
                        Ok((file, _)) => file,
                        Err(Trouble::Missing) => continue,
                        Err(trouble) => return Err(wrong(trouble)),
                    }
                }
                // The folder went with the lock of the writer before.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(wrong(error.into())),
            };
            match fs4::FileExt::try_lock(&file) {
                // Whoever held it may have removed the file since it was opened.
                Ok(()) if files::has_name(&file, &path) => {
                    return Ok(Self { folder: folder.to_owned(), _file: file });
                }
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Err(wrong(Trouble::Locked)),
                Err(fs4::TryLockError::Error(error)) => return Err(wrong(error.into())),
            }
        }
        Err(wrong(Trouble::Locked))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Elsewhere it cannot be told whether an open file still has its name, so that the name stays.
        if cfg!(unix) {
            let _ = fs::remove_file(self.folder.join(LOCK));
            // It stays where blobs are left to go on with.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
