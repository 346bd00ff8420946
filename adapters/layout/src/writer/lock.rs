//! The lock that excludes other writers.

use std::fs::File;
use std::io;

use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::work::WORK;

pub(crate) const LOCK: &str = "lock";
/// How often to retry if the previous writer has just removed the file.
const ATTEMPTS: usize = 16;

/// A lock on a file in the directory for temporary files. The operating system releases it when the process
/// ends.
#[derive(Debug)]
pub(crate) struct Lock {
    layout: Directory,
    work: Directory,
    _file: File,
}

impl Lock {
    pub(crate) fn take(layout: &Directory) -> Result<Self, LayoutError> {
        for _ in 0..ATTEMPTS {
            let (work, _) = layout.make_directory(WORK)?;
            let file = match work.create_new(LOCK) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match work.open_file(LOCK, Access::Write) {
                        Ok((file, _)) => file,
                        Err(error) if error.is_missing() => continue,
                        Err(error) => return Err(error),
                    }
                }
                // The previous writer has removed the directory with its lock.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(work.wrong(LOCK, error)),
            };
            match fs4::FileExt::try_lock(&file) {
                // The previous writer may have removed the file since it was opened.
                Ok(()) if has_name(&file, &work) => {
                    return Ok(Self { layout: layout.clone(), work, _file: file });
                }
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Err(work.wrong(LOCK, LayoutErrorKind::Locked)),
                Err(fs4::TryLockError::Error(error)) => return Err(work.wrong(LOCK, error)),
            }
        }
        Err(layout.wrong(WORK, LayoutErrorKind::Locked))
    }

    /// Locks the directory of a registry.
    pub(crate) fn take_registry(root: &Directory) -> Result<Self, LayoutError> {
        Self::take(root).map_err(|error| match error.kind() {
            LayoutErrorKind::Locked => LayoutError::new(root.path(), LayoutErrorKind::Served),
            _ => error,
        })
    }

    /// The directory for temporary files.
    pub(crate) fn work(&self) -> &Directory {
        &self.work
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // On other systems an open file cannot be compared with its name, so the file is kept.
        if cfg!(unix) {
            let _ = self.work.remove(LOCK);
            // Fails if it still has partial blobs.
            let _ = self.layout.remove_directory(WORK);
        }
    }
}

/// Whether the lock file still has its name.
#[cfg(unix)]
fn has_name(file: &File, work: &Directory) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
    let named = work.open_file(LOCK, Access::Read).ok();
    named.is_some_and(|(named, _)| identity(&named).is_some() && identity(&named) == identity(file))
}

/// On other systems the standard library cannot identify files, but the lock file is never removed.
#[cfg(not(unix))]
fn has_name(_: &File, _: &Directory) -> bool {
    true
}
