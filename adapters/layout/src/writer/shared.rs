//! The state that a layout writer shares with its blob writers.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::Digest;
use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, marker};

use crate::error::LayoutError;
use crate::files::{make_directory, remove};
use crate::work::{WORK, partial_name};
use crate::writer::lock::Lock;

/// The layout that is being written, and the lock on it.
#[derive(Debug)]
pub(super) struct Shared {
    directory: PathBuf,
    durable: AtomicBool,
    /// The blobs being written.
    busy: Mutex<BTreeSet<Digest>>,
    /// Released when the last of them is dropped.
    _lock: Lock,
}

impl Shared {
    /// Locks the layout in a directory.
    pub(super) fn lock(directory: &Path) -> Result<Self, LayoutError> {
        let lock = Lock::take(&directory.join(WORK))?;
        let (durable, busy) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { directory: directory.to_owned(), durable, busy, _lock: lock })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn set_durable(&self, durable: bool) {
        self.durable.store(durable, Relaxed);
    }

    /// Makes an empty directory a layout. The marker is written last: without it there is no layout.
    pub(super) fn make_layout(&self) -> Result<(), LayoutError> {
        self.replace(INDEX, &Index::new().to_bytes())?;
        make_directory(&self.directory.join(BLOBS))?;
        self.replace(MARKER, marker())
    }

    /// Replaces a file of the layout atomically.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let (partial, path) = (self.work(name), self.directory.join(name));
        let written = remove(&partial).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
            file.write_all(content)?;
            if self.is_durable() { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|error| LayoutError::new(&partial, error))?;
        fs::rename(&partial, &path).map_err(|error| LayoutError::new(&path, error))?;
        self.sync_directory(&self.directory)
    }

    /// Syncs a directory if the writer is durable.
    pub(super) fn sync_directory(&self, directory: &Path) -> Result<(), LayoutError> {
        // On other systems directories cannot be opened like files.
        if !self.is_durable() || cfg!(not(unix)) {
            return Ok(());
        }
        let synced = fs::File::open(directory).and_then(|opened| opened.sync_all());
        synced.map_err(|error| LayoutError::new(directory, error))
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable.load(Relaxed)
    }

    fn work(&self, name: &str) -> PathBuf {
        self.directory.join(WORK).join(name)
    }

    /// The path of a partial blob.
    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.work(&partial_name(digest))
    }

    pub(super) fn busy(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // Nothing panics while it holds the guard.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
