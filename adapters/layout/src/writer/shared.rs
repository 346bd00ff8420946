//! The state that a layout writer shares with its blob writers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::Digest;
use oci_proto::layout::BLOBS;

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::work::partial_name;
use crate::writer::durability::Durability;
use crate::writer::lock::Lock;

/// The layout that is being written, and the lock on it.
#[derive(Debug)]
pub(super) struct Shared {
    directory: Directory,
    durability: Durability,
    /// The blobs being written.
    busy: Mutex<BTreeSet<Digest>>,
    /// Released when the last of them is dropped.
    lock: Lock,
}

impl Shared {
    /// Locks the layout in a directory.
    pub(super) fn lock(directory: Directory, durability: Durability) -> Result<Self, LayoutError> {
        let lock = Lock::take(&directory)?;
        Ok(Self { directory, durability, busy: Mutex::default(), lock })
    }

    /// The directory of the layout.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The directory for temporary files.
    pub(super) fn work(&self) -> &Directory {
        self.lock.work()
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durability == Durability::Synced
    }

    /// Replaces a file of the layout atomically.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let mut file = self.work().create(name)?;
        file.write_all(content).map_err(|error| self.work().wrong(name, error))?;
        self.sync_work(name, &file)?;
        self.work().rename(name, &self.directory, name)?;
        self.sync(&self.directory)
    }

    /// Gives a partial blob, which is complete, its name. Returns the directory to sync.
    pub(super) fn publish(&self, digest: &Digest) -> Result<Directory, LayoutError> {
        let blobs = self.make_directory(&self.directory, BLOBS)?;
        let directory = self.make_directory(&blobs, digest.algorithm_name())?;
        self.work().rename(&partial_name(digest), &directory, digest.encoded())?;
        Ok(directory)
    }

    /// Opens a directory, which is made if it does not exist.
    pub(super) fn make_directory(&self, parent: &Directory, name: &str) -> Result<Directory, LayoutError> {
        let (directory, is_made) = parent.make_directory(name)?;
        if is_made {
            self.sync(parent)?;
        }
        Ok(directory)
    }

    /// Syncs a temporary file if the writer is durable.
    pub(super) fn sync_work(&self, name: &str, file: &File) -> Result<(), LayoutError> {
        if self.is_durable() { self.work().sync_file(name, file) } else { Ok(()) }
    }

    /// Syncs a directory if the writer is durable.
    pub(super) fn sync(&self, directory: &Directory) -> Result<(), LayoutError> {
        if self.is_durable() { directory.sync() } else { Ok(()) }
    }

    /// Syncs all directories of blobs, then the layout's, if the writer is durable.
    pub(super) fn sync_directories(&self) -> Result<(), LayoutError> {
        if !self.is_durable() {
            return Ok(());
        }
        let blobs = self.directory.directory(BLOBS)?;
        for name in blobs.names()? {
            // Anything that is not a directory has no blobs.
            if let Some(directory) = name.to_str().and_then(|name| blobs.directory(name).ok()) {
                directory.sync()?;
            }
        }
        blobs.sync()?;
        self.directory.sync()
    }

    pub(super) fn busy(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // Nothing panics while it holds the guard.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
