//! Cleans up before a signal ends the command.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Set once a signal is ending this process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Waits for the end if a signal is ending this process.
pub(crate) fn wait_if_ending() {
    while ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Calls `clean_up` before a signal ends this process: SIGINT, SIGTERM, SIGHUP or SIGQUIT. A signal that the
/// process was told to ignore, as by `nohup`, stays ignored.
#[cfg(unix)]
pub(crate) fn before_end(clean_up: impl FnMut() + Send + 'static) -> io::Result<()> {
    use std::sync::{Mutex, PoisonError};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    type CleanUp = Box<dyn FnMut() + Send>;
    static ALL: Mutex<Vec<CleanUp>> = Mutex::new(Vec::new());

    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if all.is_empty() {
        let handled = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = Signals::new(handled)?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                ENDING.store(true, Ordering::SeqCst);
                for clean_up in &mut *ALL.lock().unwrap_or_else(PoisonError::into_inner) {
                    clean_up();
                }
                // Ends this process.
                let _ = emulate_default_handler(signal);
            }
        })?;
    }
    all.push(Box::new(clean_up));
    Ok(())
}

/// Returns whether this process ignores a signal, as far as the system says so.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Without signals, Ctrl-C ends the process at once.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(crate) fn before_end(_: impl FnMut() + Send + 'static) -> io::Result<()> {
    Ok(())
}
