//! A record of the calls that decide what a power failure leaves, for tests.

use std::ffi::OsStr;
use std::path::Path;

/// Records calls in tests; otherwise empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    #[cfg(test)]
    calls: std::sync::Arc<std::sync::Mutex<Vec<(&'static str, std::path::PathBuf)>>>,
}

impl Trace {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "nothing is recorded outside of tests")]
    pub(super) fn note(&self, _: &'static str, _: &Path, _: impl AsRef<OsStr>) {}

    #[cfg(test)]
    pub(super) fn note(&self, call: &'static str, directory: &Path, name: impl AsRef<OsStr>) {
        let name = name.as_ref();
        // Joining an empty name would append a slash.
        let path = if name.is_empty() { directory.to_owned() } else { directory.join(name) };
        self.calls.lock().unwrap().push((call, path));
    }

    /// The calls so far: `make`, `create`, `sync`, and `from` and `to` for a renamed file.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> Vec<(&'static str, std::path::PathBuf)> {
        self.calls.lock().unwrap().clone()
    }
}
