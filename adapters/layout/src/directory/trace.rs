//! A record of the calls that decide what a power failure leaves, for tests.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Records calls in tests, and makes them fail; otherwise empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    #[cfg(test)]
    record: std::sync::Arc<std::sync::Mutex<Record>>,
}

#[cfg(test)]
#[derive(Debug, Default)]
struct Record {
    calls: Vec<(&'static str, std::path::PathBuf)>,
    /// How many more calls succeed before the fault.
    left: usize,
    fault: Option<Fault>,
    /// Each call of this kind fails, because the file system does not support it.
    unsupported: Option<&'static str>,
}

/// What goes wrong.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A call fails, because the disk is full. It is no link, in place of which the content is copied.
    Once,
    /// A call fails, and all calls after it, as if the process had been killed.
    Always,
}

impl Trace {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "nothing is recorded outside of tests")]
    pub(super) fn note(&self, _: &'static str, _: &Path, _: impl AsRef<OsStr>) {}

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "nothing fails outside of tests")]
    pub(super) fn before(&self, _: &'static str) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn note(&self, call: &'static str, directory: &Path, name: impl AsRef<OsStr>) {
        let name = name.as_ref();
        // Joining an empty name would append a slash.
        let path = if name.is_empty() { directory.to_owned() } else { directory.join(name) };
        self.record.lock().unwrap().calls.push((call, path));
    }

    /// Called before each call. Returns the error of a call that fails.
    #[cfg(test)]
    pub(super) fn before(&self, call: &'static str) -> io::Result<()> {
        let mut record = self.record.lock().unwrap();
        if record.unsupported == Some(call) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if record.fault.is_none() || (record.fault == Some(Fault::Once) && call == "link") {
            return Ok(());
        }
        if record.left > 0 {
            record.left -= 1;
            return Ok(());
        }
        if record.fault == Some(Fault::Once) {
            record.fault = None;
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// The calls so far: `make`, `create`, `write`, `sync`, `remove`, `from` and `to` for a renamed file, and `link` and
    /// `to` for one that gets another name.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> Vec<(&'static str, std::path::PathBuf)> {
        self.record.lock().unwrap().calls.clone()
    }

    /// Records the calls in a file system without links.
    #[cfg(test)]
    pub(crate) fn without_links() -> Self {
        let record = Record { unsupported: Some("link"), ..Record::default() };
        Self { record: std::sync::Arc::new(record.into()) }
    }

    /// Lets this many calls succeed before the fault. Returns whether the previous fault has not occurred.
    #[cfg(test)]
    pub(crate) fn inject(&self, left: usize, fault: Option<Fault>) -> bool {
        let mut record = self.record.lock().unwrap();
        let is_waiting = record.fault.is_some() && record.left > 0;
        (record.left, record.fault) = (left, fault);
        is_waiting
    }
}
