//! Files and folders, opened without following what is in their place.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::layout::{BLOBS, blob_path};

use crate::LayoutError;
use crate::error::Trouble;

/// Opens a regular file to be read, and says how long it is.
pub(crate) fn open(path: &Path) -> Result<(File, u64), LayoutError> {
    open_with(path, OpenOptions::new().read(true)).map_err(|trouble| LayoutError::new(path, trouble))
}

/// Opens a regular file that is there.
pub(crate) fn open_with(path: &Path, options: &OpenOptions) -> Result<(File, u64), Trouble> {
    let before = fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(Trouble::NotAFile(name(before.file_type())));
    }
    let file = options.open(path)?;
    let opened = file.metadata()?;
    if !same(&before, &opened) {
        return Err(Trouble::NotAFile("what has just replaced it"));
    }
    Ok((file, opened.len()))
}

/// Opens content, and says how long it is.
pub(crate) fn open_blob(layout: &Path, digest: &Digest) -> Result<(File, u64), LayoutError> {
    check_folders(layout, digest)?;
    open(&layout.join(blob_path(digest)))
}

/// The size of content, which is not opened.
pub(crate) fn blob_size(layout: &Path, digest: &Digest) -> Result<u64, LayoutError> {
    check_folders(layout, digest)?;
    let path = layout.join(blob_path(digest));
    let found = fs::symlink_metadata(&path).map_err(|error| LayoutError::new(&path, error))?;
    if found.is_file() {
        Ok(found.len())
    } else {
        Err(LayoutError::new(&path, Trouble::NotAFile(name(found.file_type()))))
    }
}

/// Makes sure that a folder is one.
pub(crate) fn check_folder(path: &Path) -> Result<(), LayoutError> {
    let found = fs::symlink_metadata(path).map_err(|error| LayoutError::new(path, error))?;
    if found.is_dir() {
        Ok(())
    } else {
        Err(LayoutError::new(path, Trouble::NotAFolder(name(found.file_type()))))
    }
}

/// Reads all of some content, which has at most `limit` bytes.
pub(crate) fn read_blob(layout: &Path, digest: &Digest, limit: u64) -> Result<Bytes, LayoutError> {
    check_folders(layout, digest)?;
    read(&layout.join(blob_path(digest)), limit)
}

/// Reads a whole file, which has at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Bytes, LayoutError> {
    let (file, size) = open(path)?;
    let wrong = |trouble: Trouble| LayoutError::new(path, trouble);
    if size > limit {
        return Err(wrong(Trouble::TooLarge(limit)));
    }
    // A file may grow while it is read.
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| wrong(error.into()))?;
    if bytes.len() as u64 > limit {
        return Err(wrong(Trouble::TooLarge(limit)));
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

/// The folder of an algorithm's content.
pub(crate) fn blob_folder(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join(BLOBS).join(digest.algorithm_name())
}

fn check_folders(layout: &Path, digest: &Digest) -> Result<(), LayoutError> {
    check_folder(&layout.join(BLOBS))?;
    check_folder(&blob_folder(layout, digest)).map_err(|error| match error.trouble() {
        // A folder that holds nothing need not be there.
        Trouble::Missing => LayoutError::new(&layout.join(blob_path(digest)), Trouble::Missing),
        _ => error,
    })
}

pub(crate) fn name(found: FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a folder"
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

/// Elsewhere the standard library does not tell files apart.
#[cfg(not(unix))]
fn same(one: &Metadata, other: &Metadata) -> bool {
    one.file_type() == other.file_type()
}
