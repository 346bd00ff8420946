//! One operation, from its start to its end or to its drop.

use std::sync::{Arc, Condvar};
use std::time::Duration;

use oci_proto::{Completion, Event, Fault, FaultKind, OpId, Session};

use crate::driver::Shared;
use crate::pool::Driver;
use crate::state::{Step, Turn};

/// An operation that has been started. Cancelled when dropped.
pub(crate) struct Call {
    driver: Arc<Driver>,
    op: OpId,
    wake: Arc<Condvar>,
}

/// Starts an operation.
pub(crate) type Later = Box<dyn FnOnce() -> Call + Send>;

impl Call {
    pub(crate) fn start(
        driver: Arc<Driver>,
        timeout: Option<Duration>,
        begin: impl FnOnce(&mut Session) -> OpId,
    ) -> Self {
        let shared = &driver.0;
        let mut state = shared.lock();
        let op = begin(&mut state.session);
        let wake = state.open(op, timeout.map(|timeout| shared.now() + timeout));
        drop(state);
        Self { driver, op, wake }
    }

    /// Waits for the next event of an operation that has no sink. Not to be called after its last.
    pub(crate) fn event(&self) -> Event {
        loop {
            match self.step() {
                Step::Event(event) => return event,
                // Not to be: but the session must not wait for what nobody carries.
                Step::Carry(job) => {
                    let fault = Fault::new(FaultKind::Sink, "this operation has nowhere to put a body");
                    self.complete(job.refuse(fault));
                }
            }
        }
    }

    /// Waits for the next step of the operation. Not to be called after its last event. Notices on the way are
    /// told here, and go no further.
    pub(crate) fn step(&self) -> Step {
        let hooks = &self.shared().hooks;
        loop {
            match self.shared().step(self.op, &self.wake) {
                Step::Event(Event::Retry(retry)) => (hooks.retry)(&retry),
                Step::Event(Event::Warning(warning)) => (hooks.warning)(&warning),
                step => return step,
            }
        }
    }

    /// Hands back what a step said to carry.
    pub(crate) fn complete(&self, completion: Completion) {
        self.shared().lock().complete(self.shared().now(), completion);
    }

    /// Says what there is of some content that a pull wants.
    #[cfg(feature = "pull")]
    pub(crate) fn held(&self, digest: &oci_proto::Digest, held: oci_proto::Held) {
        let mut state = self.shared().lock();
        state.session.held(self.op, digest, held);
        state.stale = true;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.driver.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let shared = self.shared();
        let mut state = shared.lock();
        let Some(rest) = state.close(self.op) else { return };
        shared.drive(&mut state, Turn::Passing);
        drop(state);
        // What nobody will take is dropped after the lock.
        drop(rest);
    }
}
