//! Kinds of files, and of access to them.

use std::fs::File;

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
