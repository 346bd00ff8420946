//! Takes the body of a request: hashes it, and writes it to the storage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use oci_proto::server::{Body, Failure, Storage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::server::request_body::Part;
use crate::server::writer::{End, Receiving};

/// The number of chunks that are written or hashed at once.
const WRITES: usize = 32;
/// The number of manifests that may have more than one chunk at once, since they are kept in memory.
const LARGE_MANIFESTS: usize = 32;
/// The time that such a manifest has to arrive, in timeouts of its connection, since others wait for its place. At the
/// minimum rate, it could take hours.
const LARGE_MANIFEST_TIMEOUTS: u32 = 2;

/// What limits the bodies of a registry together.
///
/// Each chunk is a job of its own, and a body has one at a time. So a body that waits for its client occupies no
/// thread, and no number of slow clients keeps others from writing.
#[derive(Clone, Debug)]
pub(super) struct Capacity {
    writes: Arc<Semaphore>,
    large_manifests: Arc<Semaphore>,
}

impl Default for Capacity {
    fn default() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { writes: semaphore(WRITES), large_manifests: semaphore(LARGE_MANIFESTS) }
    }
}

impl Capacity {
    /// Receives a body, and returns the response. Returns `None` if the registry is broken. `timeout` is that of the
    /// connection.
    pub(super) async fn receive<S: Storage + Send + 'static>(
        &self,
        mut receiving: Receiving,
        storage: S,
        mut parts: mpsc::Receiver<Part>,
        timeout: Duration,
    ) -> Option<Response<Body>> {
        if receiving.incoming()?.place().is_none() {
            // It is in memory until it is stored.
            let (end, _place) = self.keep(&mut receiving, &mut parts, timeout).await?;
            drop(parts);
            return receiving.end(end).await;
        }
        let mut upload = Upload { receiving, storage, has_unsynced: false };
        loop {
            let part = parts.recv().await;
            let permit = self.writes.clone().acquire_owned().await.ok()?;
            let (taken, end) = spawn_blocking(move || upload.run(part, permit)).await.ok()?;
            upload = taken;
            if let Some(end) = end {
                // The sender does not wait for the client any more.
                drop(parts);
                return upload.receiving.end(end).await;
            }
        }
    }

    /// Takes a manifest, which is kept in memory. Returns its place, too, if it is large.
    async fn keep(
        &self,
        receiving: &mut Receiving,
        parts: &mut mpsc::Receiver<Part>,
        timeout: Duration,
    ) -> Option<(End, Option<OwnedSemaphorePermit>)> {
        let (mut place, mut end) = (None, None);
        loop {
            let part = match end {
                None => parts.recv().await,
                Some(end) => timeout_at(end, parts.recv()).await.unwrap_or_default(),
            };
            let (bytes, is_last) = match part {
                Some(Part::More(bytes)) => (bytes, false),
                Some(Part::Last(bytes)) => (bytes, true),
                None => return Some((End::BrokenOff, place)),
            };
            if receiving.incoming()?.push(&bytes).is_err() || is_last {
                return Some((End::Complete, place));
            }
            if place.is_none() {
                place = Some(self.large_manifests.clone().acquire_owned().await.ok()?);
                end = Instant::now().checked_add(timeout.saturating_mul(LARGE_MANIFEST_TIMEOUTS));
            }
        }
    }
}

/// An upload whose body is received.
struct Upload<S> {
    receiving: Receiving,
    storage: S,
    has_unsynced: bool,
}

impl<S: Storage> Upload<S> {
    /// Takes a part of the body, or its premature end, on a blocking thread.
    fn run(mut self, part: Option<Part>, _permit: OwnedSemaphorePermit) -> (Self, Option<End>) {
        let taken = catch_unwind(AssertUnwindSafe(|| self.take(part)));
        let end = taken.unwrap_or(Err(Failure::Storage)).unwrap_or_else(|failure| Some(End::Failed(failure)));
        (self, end)
    }

    fn take(&mut self, part: Option<Part>) -> Result<Option<End>, Failure> {
        let (bytes, end) = match part {
            Some(Part::More(bytes)) => (bytes, None),
            Some(Part::Last(bytes)) => (bytes, Some(End::Complete)),
            None => (Vec::new(), Some(End::BrokenOff)),
        };
        let incoming = self.receiving.incoming().ok_or(Failure::Storage)?;
        let Some((upload, offset)) = incoming.place() else { return Err(Failure::Storage) };
        let upload = upload.clone();
        if let Some(range) = incoming.stored() {
            self.storage.read_upload(&upload, range, &mut |bytes| incoming.push_stored(bytes))?;
        }
        if !bytes.is_empty() {
            self.storage.write(incoming.repository(), &upload, offset, &bytes)?;
            self.has_unsynced = true;
            if incoming.push(&bytes).is_err() {
                return Ok(Some(End::Complete));
            }
        }
        if end.is_some() && self.has_unsynced {
            self.storage.sync(&upload)?;
        }
        Ok(end)
    }
}
