//! Opens files and directories without following links.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::layout::{BLOBS, blob_path};

use crate::error::{LayoutError, LayoutErrorKind};

/// Opens a regular file for reading, and returns its size.
pub(crate) fn open(path: &Path) -> Result<(File, u64), LayoutError> {
    open_with(path, OpenOptions::new().read(true)).map_err(|kind| LayoutError::new(path, kind))
}

/// Opens an existing regular file.
pub(crate) fn open_with(path: &Path, options: &OpenOptions) -> Result<(File, u64), LayoutErrorKind> {
    let before = fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(LayoutErrorKind::NotAFile(name(before.file_type())));
    }
    let file = options.open(path)?;
    let opened = file.metadata()?;
    if !same(&before, &opened) {
        return Err(LayoutErrorKind::NotAFile("another file, which replaced it"));
    }
    Ok((file, opened.len()))
}

/// Opens the file of a digest, and returns its size.
pub(crate) fn open_blob(layout: &Path, digest: &Digest) -> Result<(File, u64), LayoutError> {
    check_directories(layout, digest)?;
    open(&layout.join(blob_path(digest)))
}

/// The size of the file of a digest, which is not opened.
pub(crate) fn blob_size(layout: &Path, digest: &Digest) -> Result<u64, LayoutError> {
    check_directories(layout, digest)?;
    let path = layout.join(blob_path(digest));
    let found = fs::symlink_metadata(&path).map_err(|error| LayoutError::new(&path, error))?;
    if found.is_file() {
        Ok(found.len())
    } else {
        Err(LayoutError::new(&path, LayoutErrorKind::NotAFile(name(found.file_type()))))
    }
}

/// Fails unless the path is that of a directory, not a link to one.
pub(crate) fn check_directory(path: &Path) -> Result<(), LayoutError> {
    let found = fs::symlink_metadata(path).map_err(|error| LayoutError::new(path, error))?;
    if found.is_dir() {
        Ok(())
    } else {
        Err(LayoutError::new(path, LayoutErrorKind::NotADirectory(name(found.file_type()))))
    }
}

/// Makes a directory unless it exists.
pub(crate) fn make_directory(path: &Path) -> Result<(), LayoutError> {
    // Checked first: it usually exists, and `create_dir` waits for writers in the parent directory.
    match check_directory(path) {
        Err(error) if error.is_missing() => match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(LayoutError::new(path, error)),
            _ => check_directory(path),
        },
        checked => checked,
    }
}

/// Removes a file or a link if it exists.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the whole file of a digest, of at most `limit` bytes.
pub(crate) fn read_blob(layout: &Path, digest: &Digest, limit: u64) -> Result<Bytes, LayoutError> {
    check_directories(layout, digest)?;
    read(&layout.join(blob_path(digest)), limit)
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Bytes, LayoutError> {
    let (file, size) = open(path)?;
    let wrong = |kind: LayoutErrorKind| LayoutError::new(path, kind);
    if size > limit {
        return Err(wrong(LayoutErrorKind::TooLarge(limit)));
    }
    // A file may grow while it is read.
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| wrong(error.into()))?;
    if bytes.len() as u64 > limit {
        return Err(wrong(LayoutErrorKind::TooLarge(limit)));
    }
    Ok(bytes.into())
}

/// Whether an open file still has this name.
pub(crate) fn has_name(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(named)) => same(&named, &opened),
        _ => false,
    }
}

/// The directory of an algorithm's blobs.
pub(crate) fn blob_directory(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join(BLOBS).join(digest.algorithm_name())
}

fn check_directories(layout: &Path, digest: &Digest) -> Result<(), LayoutError> {
    check_directory(&layout.join(BLOBS))?;
    check_directory(&blob_directory(layout, digest)).map_err(|error| match error.kind() {
        // An algorithm without blobs needs no directory.
        LayoutErrorKind::Missing => {
            LayoutError::new(&layout.join(blob_path(digest)), LayoutErrorKind::Missing)
        }
        _ => error,
    })
}

pub(crate) fn name(found: FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a directory"
    } else if found.is_file() {
        "a file"
    } else {
        "a device, a pipe or a socket"
    }
}

#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// On other systems the standard library cannot identify files.
#[cfg(not(unix))]
fn same(one: &Metadata, other: &Metadata) -> bool {
    one.file_type() == other.file_type()
}
