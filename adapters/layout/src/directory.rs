//! Directories of a layout, as handles.
//!
//! Names are opened relative to the handle of their directory, one component at a time, and no link is
//! followed. On Unix a directory that is replaced by a link therefore leads nowhere else. On other systems
//! the standard library has no such calls: paths are checked before they are used.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::directory::kind::{Access, FileKind};
#[cfg(not(unix))]
use crate::directory::other::Handle;
use crate::directory::trace::Trace;
#[cfg(unix)]
use crate::directory::unix::Handle;
use crate::error::{LayoutError, LayoutErrorKind};

pub(crate) mod kind;
#[cfg(not(unix))]
mod other;
pub(crate) mod trace;
#[cfg(unix)]
mod unix;

/// The maximum depth of a directory that is removed with its content.
const MAX_DEPTH: usize = 64;

/// An open directory of a layout. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Directory {
    path: Arc<Path>,
    handle: Arc<Handle>,
    trace: Trace,
}

impl Directory {
    /// Opens the directory of a layout. The path may lead through links.
    pub(crate) fn open(path: &Path) -> Result<Self, LayoutError> {
        let found = std::fs::metadata(path).map_err(|error| LayoutError::new(path, error))?;
        if !found.is_dir() {
            let kind = if found.is_file() { FileKind::File } else { FileKind::Other };
            return Err(LayoutError::new(path, LayoutErrorKind::NotALayout(kind.describe())));
        }
        let handle = Handle::open(path).map_err(|error| LayoutError::new(path, error))?;
        Ok(Self { path: path.into(), handle: Arc::new(handle), trace: Trace::default() })
    }

    /// Records the calls that follow, here and in the directories below.
    #[cfg(test)]
    pub(crate) fn traced(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name, for errors.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory in this one.
    pub(crate) fn directory(&self, name: &str) -> Result<Self, LayoutError> {
        let opened = self.handle.open_directory(name.as_ref());
        let handle = opened.map_err(|error| self.wrong(name, self.not_a_directory(name, error)))?;
        Ok(Self { path: self.join(name).into(), handle: Arc::new(handle), trace: self.trace.clone() })
    }

    /// Opens a directory in this one, which is made if it does not exist. Also returns whether it was made.
    pub(crate) fn make_directory(&self, name: &str) -> Result<(Self, bool), LayoutError> {
        // Opened first: it usually exists, and making one waits for other writers in this directory.
        match self.directory(name) {
            Err(error) if error.is_missing() => {}
            opened => return Ok((opened?, false)),
        }
        let is_made = match self.attempt("make", name, || self.handle.make_directory(name.as_ref())) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(self.wrong(name, error)),
        };
        Ok((self.directory(name)?, is_made))
    }

    /// The kind and size of a file, which is not opened.
    pub(crate) fn found(&self, name: impl AsRef<OsStr>) -> Result<(FileKind, u64), LayoutError> {
        let name = name.as_ref();
        self.handle.found(name).map_err(|error| self.wrong(name, error))
    }

    /// The size of a regular file, which is not opened.
    pub(crate) fn size(&self, name: &str) -> Result<u64, LayoutError> {
        match self.found(name)? {
            (FileKind::File, size) => Ok(size),
            (kind, _) => Err(self.wrong(name, LayoutErrorKind::NotAFile(kind.describe()))),
        }
    }

    /// Opens an existing regular file, and returns its size.
    pub(crate) fn open_file(&self, name: &str, access: Access) -> Result<(File, u64), LayoutError> {
        // Devices may react to being opened.
        self.size(name)?;
        let opened = self.handle.open_file(name.as_ref(), access);
        // It may have been replaced since.
        let file = opened.map_err(|error| match self.size(name) {
            Ok(_) => self.wrong(name, error),
            Err(error) => error,
        })?;
        let found = file.metadata().map_err(|error| self.wrong(name, error))?;
        if !found.is_file() {
            let kind = LayoutErrorKind::NotAFile("another file, which replaced it");
            return Err(self.wrong(name, kind));
        }
        Ok((file, found.len()))
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Bytes, LayoutError> {
        let (file, size) = self.open_file(name, Access::Read)?;
        if size > limit {
            return Err(self.wrong(name, LayoutErrorKind::TooLarge(limit)));
        }
        // A file may grow while it is read.
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_or(0, |size| size + 1));
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.wrong(name, error))?;
        if bytes.len() as u64 > limit {
            return Err(self.wrong(name, LayoutErrorKind::TooLarge(limit)));
        }
        Ok(bytes.into())
    }

    /// Creates a file under a name that does not exist.
    pub(crate) fn create_new(&self, name: &str) -> io::Result<File> {
        self.attempt("create", name, || self.handle.create_new(name.as_ref()))
    }

    /// Creates a file in place of anything that has its name.
    pub(crate) fn create(&self, name: &str) -> Result<File, LayoutError> {
        self.remove(name)?;
        self.create_new(name).map_err(|error| self.wrong(name, error))
    }

    /// Removes anything that has this name: a file, a link, a directory with all of its content.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LayoutError> {
        if self.handle.found(name.as_ref()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        let removed = self.attempt("remove", name, || remove(&self.handle, name.as_ref(), MAX_DEPTH));
        removed.map_err(|error| self.wrong(name, error))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.attempt("remove", name, || self.handle.remove_directory(name.as_ref()))
    }

    /// Moves a file to another directory, where it replaces a file or a link.
    pub(crate) fn rename(&self, name: &str, to: &Self, new: impl AsRef<OsStr>) -> Result<(), LayoutError> {
        let new = new.as_ref();
        let renamed = self.attempt("from", name, || self.handle.rename(name.as_ref(), &to.handle, new));
        renamed.map_err(|error| match to.found(new) {
            Ok((kind @ FileKind::Directory, _)) => to.wrong(new, LayoutErrorKind::NotAFile(kind.describe())),
            _ => to.wrong(new, error),
        })?;
        self.trace.note("to", &to.path, new);
        Ok(())
    }

    /// Gives a file another name, in another directory, unless something has that name.
    pub(crate) fn link(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        self.attempt("link", name, || self.handle.link(name.as_ref(), &to.handle, new.as_ref()))?;
        self.trace.note("to", &to.path, new);
        Ok(())
    }

    /// Writes all bytes to a file of this directory, after those that were written before.
    pub(crate) fn write_file(&self, name: &str, mut file: &File, bytes: &[u8]) -> Result<(), LayoutError> {
        self.attempt("write", name, || file.write_all(bytes)).map_err(|error| self.wrong(name, error))
    }

    /// Waits until the content of a file of this directory is on disk.
    pub(crate) fn sync_file(&self, name: &str, file: &File) -> Result<(), LayoutError> {
        // Unit tests look at the calls only, and make many.
        let sync = || if cfg!(test) { Ok(()) } else { file.sync_all() };
        self.attempt("sync", name, sync).map_err(|error| self.wrong(name, error))
    }

    /// Waits until the names in this directory are on disk.
    pub(crate) fn sync(&self) -> Result<(), LayoutError> {
        let sync = || if cfg!(test) { Ok(()) } else { self.handle.sync() };
        self.attempt("sync", "", sync).map_err(|error| LayoutError::new(&self.path, error))
    }

    /// The number of bytes that are free for files here, where the system tells.
    pub(crate) fn free(&self) -> Result<Option<u64>, LayoutError> {
        self.handle.free().map_err(|error| LayoutError::new(&self.path, error))
    }

    /// Makes a change of a name in this directory, and records it.
    pub(crate) fn attempt<T>(
        &self,
        call: &'static str,
        name: &str,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.trace.before(call)?;
        let changed = change()?;
        self.trace.note(call, &self.path, name);
        Ok(changed)
    }

    /// The names in this directory, in no order.
    pub(crate) fn names(&self) -> Result<Vec<std::ffi::OsString>, LayoutError> {
        self.handle.names().map_err(|error| LayoutError::new(&self.path, error))
    }

    /// An error of a name in this directory.
    pub(crate) fn wrong(&self, name: impl AsRef<OsStr>, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        LayoutError::new(&self.join(name.as_ref()), kind)
    }

    fn not_a_directory(&self, name: &str, error: io::Error) -> LayoutErrorKind {
        match self.handle.found(name.as_ref()) {
            Ok((FileKind::Directory, _)) | Err(_) => error.into(),
            Ok((kind, _)) => LayoutErrorKind::NotADirectory(kind.describe()),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.path).finish()
    }
}

fn remove(from: &Handle, name: &OsStr, depth: usize) -> io::Result<()> {
    match from.found(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok((FileKind::Directory, _)) if depth == 0 => {
            return Err(io::Error::other("the directory is too deep to be removed; remove it yourself"));
        }
        Ok((FileKind::Directory, _)) => {}
        Ok(_) => return from.remove_file(name),
    }
    let directory = from.open_directory(name)?;
    for name in directory.names()? {
        remove(&directory, &name, depth - 1)?;
    }
    from.remove_directory(name)
}
