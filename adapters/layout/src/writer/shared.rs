//! The state that a layout writer shares with its blob writers.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::Digest;
use oci_proto::layout::BLOBS;

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::work::partial_name;
use crate::writer::durability::Durability;
use crate::writer::lock::Lock;
use crate::writer::staging::Staging;

/// The layout that is being written, and the lock on it.
#[derive(Debug)]
pub(super) struct Shared {
    directory: Directory,
    staging: Staging,
    /// The blobs being written.
    busy: Mutex<BTreeSet<Digest>>,
    /// Released when the last of them is dropped.
    _lock: Lock,
}

impl Shared {
    /// Locks the layout in a directory.
    pub(super) fn lock(directory: Directory, durability: Durability) -> Result<Self, LayoutError> {
        let lock = Lock::take(&directory)?;
        let staging = Staging::new(lock.work().clone(), durability);
        Ok(Self { directory, staging, busy: Mutex::default(), _lock: lock })
    }

    /// The directory of the layout.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The directory for temporary files.
    pub(super) fn work(&self) -> &Directory {
        self.staging.work()
    }

    /// Writes files that are not blobs.
    pub(super) fn staging(&self) -> &Staging {
        &self.staging
    }

    pub(super) fn is_durable(&self) -> bool {
        self.staging.is_durable()
    }

    /// Replaces a file of the layout atomically.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        self.staging.replace(&self.directory, name, content)
    }

    /// Gives a partial blob, which is complete, its name. Returns the directory to sync.
    pub(super) fn publish(&self, digest: &Digest) -> Result<Directory, LayoutError> {
        let (blobs, _) = self.staging.make_directory(&self.directory, BLOBS)?;
        let (directory, _) = self.staging.make_directory(&blobs, digest.algorithm_name())?;
        self.work().rename(&partial_name(digest), &directory, digest.encoded())?;
        Ok(directory)
    }

    /// Syncs a temporary file if the writer is durable.
    pub(super) fn sync_work(&self, name: &str, file: &File) -> Result<(), LayoutError> {
        self.staging.sync_file(name, file)
    }

    /// Syncs a directory if the writer is durable.
    pub(super) fn sync(&self, directory: &Directory) -> Result<(), LayoutError> {
        self.staging.sync(directory)
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
