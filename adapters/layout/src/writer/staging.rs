//! Durable changes of files: content is written under a temporary name, synced, and renamed.

use std::fs::File;

use oci_proto::Limits;
use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, marker};

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::layout::is_blank;
use crate::writer::durability::Durability;

/// The directory for temporary files, and whether files are synced.
#[derive(Debug)]
pub(crate) struct Staging {
    work: Directory,
    durability: Durability,
}

impl Staging {
    pub(crate) fn new(work: Directory, durability: Durability) -> Self {
        Self { work, durability }
    }

    /// The directory for temporary files.
    pub(crate) fn work(&self) -> &Directory {
        &self.work
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durability == Durability::Synced
    }

    /// Writes a temporary file, in place of anything that has its name, and syncs it.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let file = self.work.create(name)?;
        self.work.write_file(name, &file, content)?;
        self.sync_file(name, &file)
    }

    /// Replaces a file of a directory atomically.
    pub(crate) fn replace(
        &self,
        directory: &Directory,
        name: &str,
        content: &[u8],
    ) -> Result<(), LayoutError> {
        let renamed = self.write(name, content).and_then(|()| self.work.rename(name, directory, name));
        renamed.inspect_err(|_| _ = self.work.remove(name))?;
        self.sync(directory)
    }

    /// Makes a directory a layout, unless it is one. Without the marker there is no layout, so it is written last.
    pub(crate) fn make_layout(&self, directory: &Directory) -> Result<(), LayoutError> {
        if is_lost(directory, INDEX) {
            self.replace(directory, INDEX, &Index::new().to_bytes())?;
        }
        if is_lost(directory, MARKER) {
            self.make_directory(directory, BLOBS)?;
            self.replace(directory, MARKER, marker())?;
        }
        Ok(())
    }

    /// Opens a directory, which is made if it does not exist. Also returns whether it was made.
    pub(crate) fn make_directory(
        &self,
        parent: &Directory,
        name: &str,
    ) -> Result<(Directory, bool), LayoutError> {
        let (directory, is_made) = parent.make_directory(name)?;
        if is_made {
            self.sync(parent)?;
        }
        Ok((directory, is_made))
    }

    /// Syncs a temporary file.
    pub(crate) fn sync_file(&self, name: &str, file: &File) -> Result<(), LayoutError> {
        if self.is_durable() { self.work.sync_file(name, file) } else { Ok(()) }
    }

    /// Syncs the names in a directory.
    pub(crate) fn sync(&self, directory: &Directory) -> Result<(), LayoutError> {
        if self.is_durable() { directory.sync() } else { Ok(()) }
    }
}

/// Whether a file is missing, or a crash has lost its content.
pub(crate) fn is_lost(directory: &Directory, name: &str) -> bool {
    match directory.read(name, Limits::default().manifest_bytes) {
        Ok(bytes) => is_blank(&bytes),
        Err(error) => error.is_missing(),
    }
}
