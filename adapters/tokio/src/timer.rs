//! Timers that survive the runtime on which they were set.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for a future that may move to another runtime. The timers of a runtime that has shut down panic, so
/// each runtime gets its own.
#[derive(Default)]
pub(crate) struct Timer {
    at: Option<Instant>,
    sleep: Option<(Id, Pin<Box<Sleep>>)>,
}

impl Timer {
    /// Sets the time at which the timer fires, or `None` for never.
    pub(crate) fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Returns `Ready` from the set time on.
    ///
    /// # Panics
    /// There is no runtime, or it has no timers or has shut down.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let here = Handle::current().id();
        drop(self.sleep.take_if(|(runtime, _)| *runtime != here));
        let (_, sleep) = self.sleep.get_or_insert_with(|| (here, Box::pin(sleep_until(at))));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

/// Measures the time without progress.
pub(crate) struct IdleTimer {
    limit: Duration,
    timer: Timer,
    waiting: bool,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: Timer::default(), waiting: false }
    }

    /// Restarts the timer after progress.
    pub(crate) fn renew(&mut self) {
        self.waiting = false;
    }

    /// Restarts the timer after progress, with a new limit.
    pub(crate) fn renew_with(&mut self, limit: Duration) {
        (self.limit, self.waiting) = (limit, false);
    }

    /// Returns `Ready` once the limit has passed without progress, counted from the first call after the last
    /// progress.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !mem::replace(&mut self.waiting, true) {
            self.timer.set(Instant::now().checked_add(self.limit));
        }
        self.timer.poll(cx)
    }
}
