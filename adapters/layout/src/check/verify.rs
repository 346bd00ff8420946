//! Verifies blobs in several threads.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use oci_proto::Item;

use crate::check::progress::{CheckProgress, OnProgress};
use crate::error::LayoutError;
use crate::layout::Layout;

/// More threads than this make a disk seek too much.
const MAX_THREADS: usize = 16;

/// An iterator over blobs and the results of their verification, in the given order.
///
/// Dropping it stops its threads. A panic in one of them (in the progress hook) is resumed by `next`, so that
/// no blob is skipped silently.
pub(super) struct Verifying {
    work: Arc<Work>,
    threads: Vec<JoinHandle<()>>,
    verified: Receiver<(usize, Verified)>,
    /// Results that arrived before their turn.
    early: BTreeMap<usize, Verified>,
    turn: usize,
}

type Verified = (Item, Result<(), LayoutError>);

struct Work {
    layout: Layout,
    waiting: Mutex<std::iter::Enumerate<std::vec::IntoIter<Item>>>,
    stop: AtomicBool,
    read: AtomicU64,
    of: u64,
    progress: Option<OnProgress>,
}

impl Verifying {
    pub(super) fn start(layout: Layout, blobs: Vec<Item>, progress: Option<OnProgress>) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = threads.min(MAX_THREADS).min(blobs.len());
        let work = Arc::new(Work {
            layout,
            of: blobs.iter().map(|blob| blob.descriptor.size).fold(0, u64::saturating_add),
            waiting: Mutex::new(blobs.into_iter().enumerate()),
            stop: AtomicBool::new(false),
            read: AtomicU64::new(0),
            progress,
        });
        let (to, verified) = channel();
        let start = |_| {
            let (work, to) = (work.clone(), to.clone());
            // If a thread cannot be started, fewer are used, or none.
            thread::Builder::new().spawn(move || work.verify_all(&to)).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Self { work, threads, verified, early: BTreeMap::new(), turn: 0 }
    }
}

impl Iterator for Verifying {
    type Item = Verified;

    fn next(&mut self) -> Option<Verified> {
        loop {
            if let Some(verified) = self.early.remove(&self.turn) {
                self.turn += 1;
                return Some(verified);
            }
            let Ok((n, verified)) = self.verified.recv() else {
                for thread in self.threads.drain(..) {
                    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                }
                // Without any thread, the blobs are verified here.
                let (n, verified) = self.work.verify_one()?;
                self.early.insert(n, verified);
                continue;
            };
            self.early.insert(n, verified);
        }
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.work.stop.store(true, Relaxed);
    }
}

impl Work {
    fn verify_all(&self, to: &Sender<(usize, Verified)>) {
        while let Some(verified) = self.verify_one() {
            if to.send(verified).is_err() {
                return;
            }
        }
    }

    fn verify_one(&self) -> Option<(usize, Verified)> {
        let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let (n, item) = next?;
        let verified = self.layout.blob(&item.descriptor.digest, Some(item.descriptor.size));
        let verified = verified.and_then(|blob| blob.verify(|bytes| self.report(bytes)));
        Some((n, (item, verified)))
    }

    /// Reports bytes that were read, and returns whether to continue.
    fn report(&self, bytes: u64) -> ControlFlow<()> {
        let read = self.read.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if let Some(progress) = &self.progress {
            progress(CheckProgress { read, of: self.of });
        }
        if self.stop.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
