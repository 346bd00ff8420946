//! Publishes complete files in the background: in the order in which they are given, each once it is synced.
//!
//! A file system writes many files at once faster than one by one, so several threads wait for it. Since the
//! order is kept, a document never has its name before the content that it refers to.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use oci_proto::Digest;

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::writer::blob::BlobWriter;

/// More threads than this save little time.
const MAX_THREADS: usize = 8;
/// The maximum number of files that wait, all of which are open.
const MAX_WAITING: usize = 64;

/// Publishes files. Dropping it keeps those that wait as partial blobs.
pub(super) struct Publisher(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when anything changes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The files in order. The first `started` of them are being synced, or are synced.
    queue: VecDeque<Entry>,
    started: usize,
    /// The number of files that have left the queue.
    published: u64,
    threads: usize,
    idle: usize,
    /// The first error, after which nothing is published.
    failed: Option<LayoutError>,
    stopped: bool,
}

/// A file in the queue, from [`Publisher::add`] or [`Publisher::sync`].
struct Entry {
    /// `None` if the file is published already.
    blob: Option<BlobWriter>,
    to_sync: ToSync,
    is_synced: bool,
}

/// An open file, with its directory and name.
type ToSync = (Arc<File>, Directory, String);

impl Publisher {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Publishes a verified blob later. Blocks while too many others wait.
    ///
    /// # Errors
    /// An earlier file could not be published.
    pub(super) fn add(&self, blob: BlobWriter) -> Result<(), LayoutError> {
        let to_sync = blob.to_sync();
        self.push(Entry { blob: Some(blob), to_sync, is_synced: false })
    }

    /// Syncs a published file, and publishes what is added after it later.
    ///
    /// # Errors
    /// An earlier file could not be published.
    pub(super) fn sync(&self, published: ToSync) -> Result<(), LayoutError> {
        self.push(Entry { blob: None, to_sync: published, is_synced: false })
    }

    /// Waits until everything is published.
    ///
    /// # Errors
    /// A file cannot be synced or renamed.
    pub(super) fn flush(&self) -> Result<(), LayoutError> {
        drop(self.0.wait(|state| state.queue.is_empty())?);
        Ok(())
    }

    /// Waits until a blob is published, if it was added.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub(super) fn wait_for(&self, digest: &Digest) -> Result<(), LayoutError> {
        let is_digest = |entry: &Entry| entry.blob.as_ref().is_some_and(|blob| blob.digest() == digest);
        drop(self.0.wait(|state| !state.queue.iter().any(is_digest))?);
        Ok(())
    }

    fn push(&self, entry: Entry) -> Result<(), LayoutError> {
        let mut state = self.0.wait(|state| state.queue.len() < MAX_WAITING)?;
        state.queue.push_back(entry);
        if state.queue.len() - state.started > state.idle && state.threads < MAX_THREADS {
            let shared = self.0.clone();
            // If a thread cannot be started, fewer are used.
            let started = thread::Builder::new().spawn(move || shared.work());
            state.threads += usize::from(started.is_ok());
        }
        let alone = state.threads == 0;
        drop(state);
        self.0.changed.notify_all();
        while alone && self.0.step() {}
        Ok(())
    }
}

impl Shared {
    /// Waits until a condition holds.
    fn wait(&self, until: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>, LayoutError> {
        let mut state = self.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if until(&state) {
                return Ok(state);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The body of a thread.
    fn work(&self) {
        loop {
            if self.step() {
                continue;
            }
            let mut state = self.lock();
            state.idle += 1;
            while !state.stopped && state.started == state.queue.len() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle -= 1;
            if state.stopped {
                return;
            }
        }
    }

    /// Syncs the next file, and publishes all that are synced. Returns `false` if there is no next file.
    fn step(&self) -> bool {
        let mut state = self.lock();
        let place = state.started;
        let Some(entry) = state.queue.get(place) else { return false };
        let (file, directory, name) = entry.to_sync.clone();
        let number = state.published + place as u64;
        state.started += 1;
        drop(state);
        let synced = directory.sync_file(&name, &file);
        drop(file);
        let mut state = self.lock();
        let place = usize::try_from(number.saturating_sub(state.published)).unwrap_or(usize::MAX);
        // After a failure, and once this is stopped, the queue is empty.
        if let Some(entry) = state.queue.get_mut(place) {
            entry.is_synced = true;
            let synced = match &mut entry.blob {
                Some(blob) => blob.synced(synced),
                None => synced,
            };
            if let Err(error) = synced.and_then(|()| state.publish()) {
                state.failed = Some(error);
                state.clear();
            }
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Publishes the files at the front of the queue that are synced.
    fn publish(&mut self) -> Result<(), LayoutError> {
        while self.queue.front().is_some_and(|entry| entry.is_synced) {
            let blob = self.queue.pop_front().and_then(|entry| entry.blob);
            self.started -= 1;
            self.published += 1;
            if let Some(blob) = blob {
                blob.publish()?;
            }
        }
        Ok(())
    }

    /// Keeps the files that wait as partial blobs.
    fn clear(&mut self) {
        self.published += self.queue.len() as u64;
        self.queue.clear();
        self.started = 0;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        // Nothing is renamed from here on, so the lock of the layout may be released.
        state.clear();
        drop(state);
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("waiting", &self.0.lock().queue.len()).finish_non_exhaustive()
    }
}
