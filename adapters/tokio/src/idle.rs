//! The idle timeout.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Measures the time without progress.
pub(crate) struct IdleTimer {
    limit: Duration,
    /// Created at the first wait, so that an exchange can be created outside a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
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
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !mem::replace(&mut self.waiting, true)
            && let Some(deadline) = Instant::now().checked_add(self.limit)
        {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
