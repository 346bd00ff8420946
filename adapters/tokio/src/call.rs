//! One operation, from its start to its last event.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use oci_proto::{Error, Event, Fault, FaultKind, OpId, Session};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep_until};

use crate::Transport;
use crate::driver::Shared;
use crate::mailbox::{FULL, Letter, Mailbox};

/// An operation that somebody waits for. Dropping it cancels the operation.
pub(crate) struct Call<T: Transport> {
    shared: Arc<Shared<T>>,
    stage: Stage,
    /// The mailbox's flag.
    flag: Arc<AtomicBool>,
    /// The waker that the mailbox has, or had.
    waker: Option<Waker>,
    /// Fires when the session wants to be polled.
    alarm: Option<Pin<Box<Sleep>>>,
}

type Start = Box<dyn FnOnce(&mut Session) -> OpId + Send>;

enum Stage {
    New(Start),
    Running(OpId),
    /// The last event was read, and the mailbox is gone.
    Over,
}

impl<T: Transport> Call<T> {
    /// An operation that starts with the first poll.
    pub(crate) fn later(
        shared: Arc<Shared<T>>,
        start: impl FnOnce(&mut Session) -> OpId + Send + 'static,
    ) -> Self {
        let flag = Arc::new(AtomicBool::new(true));
        Self { shared, stage: Stage::New(Box::new(start)), flag, waker: None, alarm: None }
    }

    pub(crate) fn start(shared: Arc<Shared<T>>, start: impl FnOnce(&mut Session) -> OpId) -> Self {
        let flag = Arc::new(AtomicBool::new(true));
        let op = begin(&shared, &flag, start);
        Self { shared, stage: Stage::Running(op), flag, waker: None, alarm: None }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    /// The next event of an operation without a sink; pending forever after the last.
    pub(crate) async fn event(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            match self.poll_letter(cx) {
                Poll::Ready(Letter::Event(Event::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Letter::Event(event)) => return Poll::Ready(Ok(event)),
                // Not to be: but the session must not wait for what nobody carries.
                Poll::Ready(Letter::Carry(mut carrying)) => {
                    let fault = Fault::new(FaultKind::Sink, "this operation has nowhere to put a body");
                    if let Some(completion) = carrying.fail(fault) {
                        self.shared.complete(completion);
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What the operation's mailbox holds. Notices among it are told here, and go no further.
    pub(crate) fn poll_letter(&mut self, cx: &mut Context<'_>) -> Poll<Letter<T>> {
        loop {
            match ready!(self.poll_mailbox(cx)) {
                Letter::Event(Event::Retry(retry)) => (self.shared.hooks.retry)(&retry),
                Letter::Event(Event::Warning(warning)) => (self.shared.hooks.warning)(&warning),
                letter => return Poll::Ready(letter),
            }
        }
    }

    /// Takes no lock while there is nothing new.
    fn poll_mailbox(&mut self, cx: &mut Context<'_>) -> Poll<Letter<T>> {
        let op = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(start) => begin(&self.shared, &self.flag, start),
            Stage::Running(op) => op,
            Stage::Over => return Poll::Pending,
        };
        self.stage = Stage::Running(op);
        loop {
            // Some wakers do not know their own clones: those cost a look at each poll.
            let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if (!known || self.flag.swap(false, Ordering::Acquire))
                && let Some(letter) = self.look(op, cx)
            {
                return Poll::Ready(letter);
            }
            let Some(alarm) = &mut self.alarm else { return Poll::Pending };
            ready!(alarm.as_mut().poll(cx));
            self.alarm = None;
            self.shared.step(|_, _| ());
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a letter; where there is none leaves the waker and sets the alarm.
    fn look(&mut self, op: OpId, cx: &mut Context<'_>) -> Option<Letter<T>> {
        let mut state = self.shared.lock();
        let wait = state.wait;
        let Some(mailbox) = state.mailboxes.get_mut(&op) else {
            self.stage = Stage::Over;
            return None;
        };
        let Some(letter) = mailbox.letters.pop_front() else {
            mailbox.waker = Some(cx.waker().clone());
            self.flag.store(false, Ordering::Relaxed);
            self.waker = Some(cx.waker().clone());
            drop(state);
            self.set_alarm(wait.map(oci_proto::Time::since_epoch));
            return None;
        };
        // There may be more, and the mailbox may have used up its waker.
        self.flag.store(true, Ordering::Relaxed);
        let resume = mailbox.paused && mailbox.letters.len() < FULL / 2;
        if resume {
            mailbox.paused = false;
        }
        if matches!(letter, Letter::Event(Event::Done | Event::Failed(_))) {
            self.stage = Stage::Over;
            let mailbox = state.mailboxes.remove(&op);
            // What it holds is dropped after the lock.
            drop(state);
            drop(mailbox);
        } else if resume {
            drop(state);
            self.shared.step(|state, _| state.session.resume(op));
        }
        Some(letter)
    }

    /// Says what there is of some content that a pull wants.
    #[cfg(feature = "pull")]
    pub(crate) fn held(&self, digest: &oci_proto::Digest, held: oci_proto::Held) {
        if let Stage::Running(op) = self.stage {
            self.shared.step(|state, _| state.session.held(op, digest, held));
        }
    }

    fn set_alarm(&mut self, after: Option<Duration>) {
        let at = after.and_then(|after| self.shared.epoch.checked_add(after));
        match (at, &mut self.alarm) {
            (None, alarm) => *alarm = None,
            (Some(at), Some(alarm)) if alarm.deadline() == at => {}
            (Some(at), Some(alarm)) => alarm.as_mut().reset(at),
            (Some(at), alarm) => *alarm = Some(Box::pin(sleep_until(at))),
        }
    }
}

impl<T: Transport> Drop for Call<T> {
    fn drop(&mut self) {
        if let Stage::Running(op) = self.stage {
            // What the mailbox holds is dropped after the lock.
            drop(self.shared.step(|state, _| {
                state.session.cancel(op);
                state.mailboxes.remove(&op)
            }));
        }
    }
}

fn begin<T: Transport>(
    shared: &Arc<Shared<T>>,
    flag: &Arc<AtomicBool>,
    start: impl FnOnce(&mut Session) -> OpId,
) -> OpId {
    let runtime = Handle::current();
    shared.step(|state, now| {
        let op = start(&mut state.session);
        if let Some(timeout) = shared.timeout {
            state.session.set_deadline(op, now + timeout);
        }
        state.mailboxes.insert(op, Mailbox::new(flag.clone()));
        state.runtime = Some(runtime);
        op
    })
}
