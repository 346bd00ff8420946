//! Ends a transfer before a signal ends the process.

use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::output::Failure;
use crate::signals;

/// The longest time for which a signal waits for a transfer to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// A transfer that a signal may interrupt. The signal waits until it is dropped, for a short time.
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    requested: Notify,
}

#[derive(Default)]
struct State {
    is_requested: bool,
    has_ended: bool,
}

/// The payload of the panic that interrupts a transfer.
struct Interrupted;

impl Interrupt {
    pub(crate) fn new() -> Result<Self, Failure> {
        let shared = Arc::<Shared>::default();
        let signalled = shared.clone();
        signals::before_end(move || signalled.interrupt())
            .map_err(|error| Failure::failed(format_args!("could not handle signals: {error}")))?;
        Ok(Self(shared))
    }

    /// Returns once a signal has come.
    pub(crate) async fn requested(&self) {
        self.0.requested.notified().await;
    }

    /// Returns a function that unwinds if a signal has come. A transfer calls it whenever it reports progress.
    pub(crate) fn checker(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let shared = self.0.clone();
        move || {
            if shared.lock().is_requested {
                resume_unwind(Box::new(Interrupted));
            }
        }
    }

    /// Runs a transfer. Returns `None` if it was interrupted.
    pub(crate) fn run<T>(&self, transfer: impl FnOnce() -> T) -> Option<T> {
        // After a panic in a hook, a client is usable, and cancels the uploads. Nothing else of the transfer is used.
        match panic::catch_unwind(AssertUnwindSafe(transfer)) {
            Ok(ended) => Some(ended),
            // If a thread of the transfer was interrupted, the payload is another one.
            Err(_) if self.0.lock().is_requested => None,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.ended.notify_all();
    }
}

impl Shared {
    /// Interrupts the transfer, and waits until it has ended.
    fn interrupt(&self) {
        let mut state = self.lock();
        if state.has_ended {
            return;
        }
        state.is_requested = true;
        // Threads of the transfer unwind without a message.
        panic::set_hook(Box::new(|_| ()));
        self.requested.notify_one();
        let _ended = self.ended.wait_timeout_while(state, PATIENCE, |state| !state.has_ended);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
