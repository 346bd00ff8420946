//! Kinds of files, and of access to them.

use std::fs::File;
use std::time::SystemTime;

/// Whether a file is opened only for reading, or also for writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The kind of a file; a directory is one too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

impl FileKind {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Other => "a device, a pipe or a socket",
        }
    }
}

/// Whether a file has no other name, through which its content would be changed.
#[cfg(unix)]
pub(crate) fn has_one_name(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|found| found.nlink() == 1)
}

/// On other systems the standard library cannot count the names of a file.
#[cfg(not(unix))]
pub(crate) fn has_one_name(_: &File) -> bool {
    true
}

/// The time at which a file was changed last. A name that it gets counts as a change where the system tells.
pub(crate) fn changed(file: &File) -> Option<SystemTime> {
    let found = file.metadata().ok()?;
    let written = found.modified().ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        use std::time::{Duration, UNIX_EPOCH};
        let seconds = u64::try_from(found.ctime()).ok()?;
        let nanoseconds = u32::try_from(found.ctime_nsec()).ok()?;
        let changed = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))?;
        Some(written.max(changed))
    }
    #[cfg(not(unix))]
    Some(written)
}
