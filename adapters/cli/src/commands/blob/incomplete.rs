//! An incomplete file that no signal leaves behind.

use std::io;

use tempfile::NamedTempFile;

/// Creates a temporary file, which is also removed if a signal ends the process: SIGINT, SIGTERM, or SIGHUP of a
/// terminal.
#[cfg(unix)]
pub(super) fn create(create: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    use std::io::IsTerminal as _;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::{fs, thread};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // Without a terminal it may be ignored, as under `nohup`, and is not handled.
    if io::stdin().is_terminal() {
        signals.add_signal(SIGHUP)?;
    }
    let incomplete = Arc::new(Mutex::new(None::<PathBuf>));
    let shared = incomplete.clone();
    // Held until the path is known, so that a signal waits for it.
    let mut path = incomplete.lock().unwrap_or_else(PoisonError::into_inner);
    thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            let path = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(path) = &*path {
                // A complete file no longer has this name.
                let _ = fs::remove_file(path);
            }
            let _ = emulate_default_handler(signal);
        }
    })?;
    let file = create()?;
    *path = Some(file.path().to_owned());
    Ok(file)
}

/// Creates a temporary file. On other systems Ctrl-C leaves it behind.
#[cfg(not(unix))]
pub(super) fn create(create: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    create()
}
