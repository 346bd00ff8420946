//! One operation, from its start to its last event.

use std::sync::{Arc, Condvar};
use std::time::Duration;

use oci_proto::{Answer, Completion, Error, Event, Fault, FaultKind, OpId, QueryId, Session};
use oci_proto_common::OperationSpan;

use crate::driver::{Driver, Shared};
use crate::state::{Message, Poller};

/// A started operation. Dropping it cancels the operation.
pub(crate) struct Call {
    driver: Arc<Driver>,
    op: OpId,
    span: OperationSpan,
    wake: Arc<Condvar>,
}

/// A function that starts an operation.
pub(crate) type Later = Box<dyn FnOnce() -> Call + Send>;

impl Call {
    /// Starts an operation. `verb` is the method that does.
    pub(crate) fn start(
        driver: Arc<Driver>,
        timeout: Option<Duration>,
        verb: &'static str,
        begin: impl FnOnce(&mut Session) -> OpId,
    ) -> Self {
        let shared = &driver.0;
        let span = shared.transport.monitor().operation(verb);
        let mut state = shared.lock();
        let op = begin(&mut state.session);
        let wake = state.open(op, timeout.map(|timeout| shared.now() + timeout), span.clone());
        drop(state);
        Self { driver, op, span, wake }
    }

    /// Waits for the next event of an operation that has no sink and stores nothing. Must not be called after
    /// the last event.
    pub(crate) fn event(&self) -> Event {
        loop {
            match self.message() {
                Message::Event(event) => return event,
                message => self.ignore(message),
            }
        }
    }

    /// Waits for the end of such an operation, and passes its other events to `each`.
    pub(crate) fn finish(self, mut each: impl FnMut(Event)) -> Result<(), Error> {
        loop {
            match self.event() {
                Event::Done => return Ok(()),
                Event::Failed(error) => return Err(error),
                event => each(event),
            }
        }
    }

    /// Waits for the next message. Must not be called after the last event. Retries, mirrors and warnings are reported
    /// to the hooks instead.
    pub(crate) fn message(&self) -> Message {
        let (hooks, monitor) = (&self.shared().hooks, self.shared().transport.monitor());
        loop {
            match self.shared().message(self.op, &self.wake) {
                Message::Event(Event::Retry(retry)) => {
                    monitor.retry(&self.span, &retry);
                    (hooks.retry)(&retry);
                }
                Message::Event(Event::Mirror(report)) => {
                    monitor.mirror(&self.span, &report);
                    (hooks.mirror)(&report);
                }
                Message::Event(Event::Warning(warning)) => {
                    monitor.warning(&self.span, &warning);
                    (hooks.warning)(&warning);
                }
                message => return message,
            }
        }
    }

    /// Hands the completion of an exchange to the session.
    pub(crate) fn complete(&self, completion: Completion) {
        self.shared().lock().complete(self.shared().now(), completion);
    }

    /// Answers a question of the operation.
    pub(crate) fn answer(&self, query: QueryId, answer: Answer) {
        self.shared().lock().answer(self.shared().now(), query, answer);
    }

    /// Rejects a message that the call does not expect, so that the session does not wait for it.
    pub(crate) fn ignore(&self, message: Message) {
        match message {
            Message::Event(_) => {}
            Message::Ask(query, _) => self.decline(query),
            Message::Exchange(job) => {
                let fault = Fault::new(FaultKind::Unsupported, "this call has no sink and no source");
                self.complete(job.refuse(fault));
            }
        }
    }

    /// Fails the operation for a question that its call cannot answer.
    pub(crate) fn decline(&self, query: QueryId) {
        let fault = Fault::new(FaultKind::Unsupported, "this call has no such content");
        self.answer(query, Answer::Failed(fault));
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.driver.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let shared = self.shared();
        let mut state = shared.lock();
        let rest = state.close(self.op);
        // Also needed after a panic: other calls may wait for outputs that this call did not handle.
        if state.stale {
            shared.drive(&mut state, Poller::Other);
        }
        drop(state);
        // The remaining messages are dropped after the lock is released.
        drop(rest);
    }
}
