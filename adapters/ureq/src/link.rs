//! The link between an exchange and its connection.
//!
//! ureq has no path from one to the other, but uses a connection on the thread that calls it. The link of an
//! exchange is therefore current on a thread while that thread calls ureq for the exchange.

use std::cell::RefCell;
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

thread_local! {
    static CURRENT: RefCell<Call> = RefCell::default();
}

/// A call of ureq.
#[derive(Clone, Default)]
struct Call {
    link: Arc<Link>,
    deadline: Option<Deadline>,
}

/// The end of the time for all reads of a call together, and its name. ureq limits a read, and the whole of some
/// parts of an exchange.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    reason: Timeout,
}

/// The state that an exchange shares with its connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Whether the request was answered before its end.
    answered: AtomicBool,
    /// Whether nothing waits for the exchange any more.
    abandoned: AtomicBool,
    /// The address of the server or the proxy that the request was sent to.
    peer: Mutex<Option<IpAddr>>,
}

impl Link {
    /// Calls ureq for the exchange. A call may nest others for other exchanges.
    pub(crate) fn call<T>(self: &Arc<Self>, ureq: impl FnOnce() -> T) -> T {
        Call { link: Arc::clone(self), deadline: None }.run(ureq)
    }

    /// The same, within this time of reading. [`Timeout::PerRead`] is the error after it.
    pub(crate) fn call_within<T>(self: &Arc<Self>, time: Duration, ureq: impl FnOnce() -> T) -> T {
        let deadline = Deadline::after(time, Timeout::PerRead);
        Call { link: Arc::clone(self), deadline }.run(ureq)
    }

    /// Returns the link of the exchange that this thread calls ureq for.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with_borrow(|call| Arc::clone(&call.link))
    }

    /// Reports that the request was answered before its end.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Notes the address that the request is sent to.
    pub(crate) fn set_peer(&self, peer: Option<IpAddr>) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
    }

    pub(crate) fn peer(&self) -> Option<IpAddr> {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the exchange at its next read or write.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.abandoned.load(Ordering::Relaxed)
    }
}

/// Runs a part of the current call within a time of reading.
pub(crate) fn within<T>(time: NextTimeout, part: impl FnOnce() -> T) -> T {
    let mut call = CURRENT.with_borrow(Clone::clone);
    let deadline = Deadline::after(*time.after, time.reason);
    call.deadline = [call.deadline, deadline].into_iter().flatten().min_by_key(|deadline| deadline.at);
    call.run(part)
}

/// Returns the time that is left for reading in the current call, or its timeout.
pub(crate) fn time_left() -> Result<Duration, Timeout> {
    let Some(Deadline { at, reason }) = CURRENT.with_borrow(|call| call.deadline) else {
        return Ok(Duration::MAX);
    };
    let left = at.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(reason) } else { Ok(left) }
}

impl Deadline {
    /// `None` if the time is too long for a deadline.
    fn after(time: Duration, reason: Timeout) -> Option<Self> {
        Some(Self { at: Instant::now().checked_add(time)?, reason })
    }
}

impl Call {
    fn run<T>(self, ureq: impl FnOnce() -> T) -> T {
        let _outer = Outer(CURRENT.replace(self));
        ureq()
    }
}

/// The call that is current again once a nested one has ended.
struct Outer(Call);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(mem::take(&mut self.0));
    }
}
