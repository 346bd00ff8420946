//! An incomplete file that no signal leaves behind.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use tempfile::NamedTempFile;

use crate::signals;

/// Creates a temporary file, which is also removed if a signal ends the process.
pub(super) fn create(create: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    let incomplete = Arc::new(Mutex::new(None::<PathBuf>));
    let shared = incomplete.clone();
    // Held until the path is known, so that a signal waits for it.
    let mut path = incomplete.lock().unwrap_or_else(PoisonError::into_inner);
    signals::before_end(move || {
        let path = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &*path {
            // A complete file no longer has this name.
            let _ = fs::remove_file(path);
        }
    })?;
    let file = create()?;
    *path = Some(file.path().to_owned());
    Ok(file)
}
