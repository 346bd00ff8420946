//! Temporary files and directories, which no signal leaves behind.

use std::fs::{self, Permissions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::signals;

/// Creates a temporary file, which is removed if it is dropped or a signal ends the process.
pub(crate) fn file_in(parent: &Path, permissions: Option<Permissions>) -> io::Result<NamedTempFile> {
    let remove = |path: &Path| {
        // A complete file no longer has this name.
        let _ = fs::remove_file(path);
    };
    let create = |builder: &mut Builder<'_, '_>| {
        if let Some(permissions) = permissions {
            builder.permissions(permissions);
        }
        builder.tempfile_in(parent)
    };
    removed_at_end(create, NamedTempFile::path, remove)
}

/// Creates a temporary directory, which is removed if it is dropped or a signal ends the process.
pub(crate) fn directory_in(parent: &Path) -> io::Result<TempDir> {
    let remove = |path: &Path| {
        // A pull in progress may add a file meanwhile.
        for _ in 0..10 {
            if fs::remove_dir_all(path).is_ok() {
                break;
            }
        }
    };
    removed_at_end(|builder| builder.tempdir_in(parent), TempDir::path, remove)
}

fn removed_at_end<T>(
    create: impl FnOnce(&mut Builder<'_, '_>) -> io::Result<T>,
    path_of: impl FnOnce(&T) -> &Path,
    remove: impl Fn(&Path) + Send + 'static,
) -> io::Result<T> {
    let path = Arc::new(Mutex::new(None::<PathBuf>));
    let shared = path.clone();
    // Held until the path is known, so that a signal waits for it.
    let mut path = path.lock().unwrap_or_else(PoisonError::into_inner);
    signals::before_end(move || {
        if let Some(path) = &*shared.lock().unwrap_or_else(PoisonError::into_inner) {
            remove(path);
        }
    })?;
    let created = create(Builder::new().prefix(".ocip-").suffix(".part"))?;
    *path = Some(path_of(&created).to_owned());
    Ok(created)
}
