//! One operation, from its start to its last event.

use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use oci_proto::{Answer, Error, Event, Fault, FaultKind, OpId, QueryId, Session};
use oci_proto_common::OperationSpan;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::driver::Shared;
use crate::fault::panic_message;
use crate::mailbox::{Mailbox, Message};
use crate::timer::Timer;

/// An operation in progress. Dropping it cancels the operation.
pub(crate) struct Call {
    shared: Arc<Shared>,
    stage: Stage,
    span: OperationSpan,
    /// The flag of the mailbox.
    flag: Arc<AtomicBool>,
    /// The last waker that was registered in the mailbox.
    waker: Option<Waker>,
    /// Fires when the session must be polled.
    timer: Timer,
}

type Start = Box<dyn FnOnce(&mut Session) -> OpId + Send>;

enum Stage {
    New(Start),
    Running(OpId),
    /// The last event was read, and the mailbox is gone.
    Over,
}

impl Call {
    /// Creates a call whose operation starts with the first poll.
    pub(crate) fn later(
        shared: Arc<Shared>,
        verb: &'static str,
        start: impl FnOnce(&mut Session) -> OpId + Send + 'static,
    ) -> Self {
        let (flag, span) = (Arc::new(AtomicBool::new(true)), shared.context.monitor.operation(verb));
        Self { shared, stage: Stage::New(Box::new(start)), span, flag, waker: None, timer: Timer::default() }
    }

    /// Starts an operation. `verb` is the method that does.
    pub(crate) fn start(
        shared: Arc<Shared>,
        verb: &'static str,
        start: impl FnOnce(&mut Session) -> OpId,
    ) -> Self {
        let (flag, span) = (Arc::new(AtomicBool::new(true)), shared.context.monitor.operation(verb));
        let op = begin(&shared, &flag, &span, start);
        Self { shared, stage: Stage::Running(op), span, flag, waker: None, timer: Timer::default() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the next message. Pends forever after the last event.
    pub(crate) async fn message(&mut self) -> Message {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The same, for a call whose exchanges run in tasks. Resumes a panic of a task, which comes from the user's
    /// code.
    pub(crate) async fn message_beside(&mut self, tasks: &mut JoinSet<()>) -> Message {
        poll_fn(|cx| {
            while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                if let Some(panic) = ended.err().and_then(|ended| ended.try_into_panic().ok()) {
                    resume_unwind(panic);
                }
            }
            self.poll_message(cx)
        })
        .await
    }

    /// Returns the next event of an operation without a sink. Pends forever after the last event.
    pub(crate) async fn event(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits for the end of such an operation, and passes its other events to `each`.
    pub(crate) async fn finish(mut self, mut each: impl FnMut(Event)) -> Result<(), Error> {
        loop {
            match self.event().await? {
                Event::Done => return Ok(()),
                event => each(event),
            }
        }
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            match self.poll_message(cx) {
                Poll::Ready(Message::Event(Event::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Message::Event(event)) => return Poll::Ready(Ok(event)),
                Poll::Ready(message) => self.ignore(message),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Returns the next message. Retries, mirrors and warnings are reported to the hooks instead.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        loop {
            match ready!(self.poll_mailbox(cx)) {
                Message::Event(Event::Retry(retry)) => {
                    self.shared.context.monitor.retry(&self.span, &retry);
                    (self.shared.hooks.retry)(&retry);
                }
                Message::Event(Event::Mirror(report)) => {
                    self.shared.context.monitor.mirror(&self.span, &report);
                    (self.shared.hooks.mirror)(&report);
                }
                Message::Event(Event::Warning(warning)) => {
                    self.shared.context.monitor.warning(&self.span, &warning);
                    (self.shared.hooks.warning)(&warning);
                }
                message => return Poll::Ready(message),
            }
        }
    }

    /// Returns the next message in the mailbox. Takes the lock only if the flag is set or the waker is new.
    fn poll_mailbox(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        let op = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(start) => begin(&self.shared, &self.flag, &self.span, start),
            Stage::Running(op) => op,
            Stage::Over => return Poll::Pending,
        };
        self.stage = Stage::Running(op);
        loop {
            // For some wakers, `will_wake` is false even for a clone. They cost a lock per poll.
            let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if (!known || self.flag.swap(false, Ordering::Acquire))
                && let Some(message) = self.check(op, cx)
            {
                return Poll::Ready(message);
            }
            match catch_unwind(AssertUnwindSafe(|| self.timer.poll(cx))) {
                Ok(fired) => {
                    ready!(fired);
                    self.shared.step(|_, _| ());
                }
                Err(panic) => {
                    let why = panic_message(&*panic);
                    self.fail(Fault::new(FaultKind::Unsupported, format_args!("no timer: {why}")));
                }
            }
            self.timer.set(None);
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a message. If there is none, registers the waker and sets the timer.
    fn check(&mut self, op: OpId, cx: &mut Context<'_>) -> Option<Message> {
        // Wakers are cloned before the lock is taken, and dropped after it is released.
        let mut waker = Some(cx.waker().clone());
        let mut state = self.shared.lock();
        let wait = state.wait;
        let Some(mailbox) = state.mailboxes.get_mut(&op) else {
            self.stage = Stage::Over;
            return None;
        };
        let Some(message) = mailbox.messages.pop_front() else {
            mem::swap(&mut mailbox.waker, &mut waker);
            self.flag.store(false, Ordering::Relaxed);
            drop(state);
            self.waker = Some(cx.waker().clone());
            let at = wait.and_then(|wait| self.shared.epoch.checked_add(wait.since_epoch()));
            self.timer.set(at);
            return None;
        };
        // There may be further messages, and the mailbox may have consumed its waker.
        self.flag.store(true, Ordering::Relaxed);
        let resume = mailbox.backlog.must_resume(mailbox.messages.len());
        if matches!(message, Message::Event(Event::Done | Event::Failed(_))) {
            self.stage = Stage::Over;
            let mailbox = state.mailboxes.remove(&op);
            // Its content is dropped after the lock is released.
            drop(state);
            drop(mailbox);
        } else if resume {
            drop(state);
            self.shared.step(|state, _| state.session.resume(op));
        }
        Some(message)
    }

    /// Answers a question of the operation.
    pub(crate) fn answer(&self, query: QueryId, answer: Answer) {
        self.shared.answer(query, answer);
    }

    /// Rejects a message that the call does not expect, so that the session does not wait for it.
    pub(crate) fn ignore(&self, message: Message) {
        match message {
            Message::Event(_) | Message::Abort(_) => {}
            Message::Ask(query, _) => self.decline(query),
            Message::Exchange(mut transfer) => {
                let fault = Fault::new(FaultKind::Unsupported, "this call has no sink and no source");
                transfer.fail(fault);
                self.shared.guard(transfer.id()).settle(transfer.settle());
            }
        }
    }

    /// Fails the operation for a question that its call cannot answer.
    pub(crate) fn decline(&self, query: QueryId) {
        let fault = Fault::new(FaultKind::Unsupported, "this call has no such content");
        self.answer(query, Answer::Failed(fault));
    }

    /// Fails the operation.
    pub(crate) fn fail(&self, fault: Fault) {
        if let Stage::Running(op) = self.stage {
            self.shared.step(|state, _| state.session.fail(op, fault));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Stage::Running(op) = self.stage {
            // The content of the mailbox is dropped after the lock is released.
            drop(self.shared.step(|state, _| {
                state.session.cancel(op);
                state.mailboxes.remove(&op)
            }));
        }
    }
}

fn begin(
    shared: &Arc<Shared>,
    flag: &Arc<AtomicBool>,
    span: &OperationSpan,
    start: impl FnOnce(&mut Session) -> OpId,
) -> OpId {
    let runtime = Handle::current();
    let (op, former) = shared.step(|state, now| {
        let op = start(&mut state.session);
        if let Some(timeout) = shared.timeout {
            state.session.set_deadline(op, now + timeout);
        }
        state.mailboxes.insert(op, Mailbox::new(flag.clone(), span.clone()));
        (op, state.runtime.replace(runtime))
    });
    // The last handle of a runtime owns callbacks of the user.
    drop(former);
    op
}
