//! Paths of directories, on systems where the standard library has no handles of them.
//!
//! A name is checked not to be a link before it is used. A process that replaces it in between can lead
//! writes elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::kind::{Access, FileKind};

pub(super) struct Handle(PathBuf);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(path.to_owned()))
    }

    pub(super) fn open_directory(&self, name: &OsStr) -> io::Result<Self> {
        match self.found(name)? {
            (FileKind::Directory, _) => Ok(Self(self.0.join(name))),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn make_directory(&self, name: &OsStr) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    pub(super) fn found(&self, name: &OsStr) -> io::Result<(FileKind, u64)> {
        let found = fs::symlink_metadata(self.0.join(name))?;
        let kind = if found.is_symlink() {
            FileKind::Link
        } else if found.is_dir() {
            FileKind::Directory
        } else if found.is_file() {
            FileKind::File
        } else {
            FileKind::Other
        };
        Ok((kind, found.len()))
    }

    pub(super) fn open_file(&self, name: &OsStr, access: Access) -> io::Result<File> {
        OpenOptions::new().read(true).write(access == Access::Write).open(self.0.join(name))
    }

    pub(super) fn create_new(&self, name: &OsStr) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.0.join(name))
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    pub(super) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(self.0.join(name))
    }

    pub(super) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(name), to.0.join(new))
    }

    pub(super) fn link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        fs::hard_link(self.0.join(name), to.0.join(new))
    }

    /// The standard library does not tell.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "it is the same on all systems")]
    pub(super) fn free(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Directories cannot be opened like files, and so not be synced.
    #[expect(clippy::unnecessary_wraps, reason = "it is the same on all systems")]
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}
