//! The link between an exchange and its connection.
//!
//! ureq has no path from one to the other, but uses a connection on the thread that calls it. The link of an
//! exchange is therefore current on a thread while that thread calls ureq for the exchange.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Link>>> = const { RefCell::new(None) };
}

/// The state that an exchange shares with its connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Whether the request was answered before its end.
    answered: AtomicBool,
    /// Whether nothing waits for the exchange any more.
    abandoned: AtomicBool,
    /// The end of the time for reading, if it has one.
    deadline: OnceLock<Instant>,
}

impl Link {
    /// Calls ureq for the exchange. A call may nest others for other exchanges.
    pub(crate) fn call<T>(self: &Arc<Self>, ureq: impl FnOnce() -> T) -> T {
        let _outer = Outer(CURRENT.replace(Some(Arc::clone(self))));
        ureq()
    }

    /// Returns the link of the exchange that this thread calls ureq for.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with_borrow(Clone::clone).unwrap_or_default()
    }

    /// Reports that the request was answered before its end.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends the exchange at its next read or write.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.abandoned.load(Ordering::Relaxed)
    }

    /// Limits the time of all further reads together.
    pub(crate) fn limit(&self, time: Duration) {
        // A second limit would be later than the first one.
        let _ = self.deadline.set(Instant::now() + time);
    }

    /// Returns the time that is left for reading.
    pub(crate) fn left(&self) -> Duration {
        let left = |at: &Instant| at.saturating_duration_since(Instant::now());
        self.deadline.get().map_or(Duration::MAX, left)
    }
}

/// The link that is current again once a nested call has ended.
struct Outer(Option<Arc<Link>>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
