//! The state that all calls of a client share: the session, the mailboxes of operations, and the tasks of
//! exchanges.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use oci_proto::{
    Answer, Completion, CredentialsQuery, ExchangeId, Fault, FaultKind, OpId, Output, QueryId, Question,
    Session, Time,
};
use oci_proto_common::{Hooks, end_look_ups, look_up};
use oci_proto_credentials::Store;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::mailbox::{Mailbox, Message};
use crate::transfer::{Progress, Transfer, TransferContext};

/// The state that the clones of a client, its calls and its tasks share.
pub(crate) struct Shared {
    pub(crate) epoch: Instant,
    /// The timeout of an operation.
    pub(crate) timeout: Option<Duration>,
    pub(crate) credentials: Store,
    pub(crate) context: Arc<TransferContext>,
    pub(crate) hooks: Hooks,
    pub(crate) state: Mutex<State>,
}

/// The mutable state. Its lock is never held across I/O or an await, or while user code runs.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) mailboxes: BTreeMap<OpId, Mailbox>,
    /// The time of the session's last [`Output::Wait`]. No waiting call sleeps longer than this.
    pub(crate) wait: Option<Time>,
    /// The tasks that run exchanges. `None` until the task is spawned and its handle is known.
    tasks: BTreeMap<ExchangeId, Option<AbortHandle>>,
    /// The operations of the exchanges that calls run.
    owners: BTreeMap<ExchangeId, OpId>,
    /// The open queries for credentials.
    look_ups: Vec<QueryId>,
    /// The runtime of the latest call.
    pub(crate) runtime: Option<Handle>,
}

/// Actions for after the lock is released, since wakers and tasks run user code.
#[derive(Default)]
struct Effects {
    wake: Vec<Waker>,
    spawn: Vec<Transfer>,
    look_up: Vec<(QueryId, CredentialsQuery)>,
    dropped: Vec<Message>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic concerns only the call in which it occurred, and the cleanup after it needs the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on the session, then carries out all its outputs.
    pub(crate) fn step<R>(self: &Arc<Self>, act: impl FnOnce(&mut State, Time) -> R) -> R {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let now = Time::from_epoch(self.epoch.elapsed());
        let result = act(&mut state, now);
        state.drive(now, &self.context, &mut effects);
        let runtime = if effects.spawn.is_empty() { None } else { state.runtime() };
        let State { session, look_ups, .. } = &mut *state;
        end_look_ups(&self.credentials, look_ups, session, now);
        effects.look_up.retain(|(id, _)| look_ups.contains(id));
        drop(state);
        effects.wake.into_iter().for_each(Waker::wake);
        for (id, query) in effects.look_up {
            let shared = Arc::downgrade(self);
            let answer = move |found: Result<_, _>| {
                if let Some(shared) = shared.upgrade() {
                    shared.answer(id, found.map_or_else(Answer::Failed, Answer::Credentials));
                }
            };
            if let Err(fault) = look_up(&self.credentials, query, answer) {
                self.answer(id, Answer::Failed(fault));
            }
        }
        for transfer in effects.spawn {
            let id = transfer.id();
            // Without a runtime, or on one that has shut down, the task is dropped, and its guard reports the
            // exchange as lost.
            let task = Task { guard: self.guard(id), transfer };
            let Some(handle) = runtime.as_ref().map(|runtime| runtime.spawn(task).abort_handle()) else {
                continue;
            };
            match self.lock().tasks.get_mut(&id) {
                Some(task) => *task = Some(handle),
                None => handle.abort(),
            }
        }
        result
    }

    /// Answers a question.
    pub(crate) fn answer(self: &Arc<Self>, query: QueryId, answer: Answer) {
        self.step(|state, now| {
            state.look_ups.retain(|open| *open != query);
            state.session.answer(now, query, answer);
        });
    }

    /// Returns the guard of a running exchange.
    pub(crate) fn guard(self: &Arc<Self>, id: ExchangeId) -> CompletionGuard {
        CompletionGuard { shared: Arc::downgrade(self), id, is_used: AtomicBool::new(false) }
    }
}

impl State {
    pub(crate) fn new(session: Session) -> Self {
        let (mailboxes, tasks, owners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { session, mailboxes, wait: None, tasks, owners, look_ups: Vec::new(), runtime: None }
    }

    /// Returns the current runtime, or else that of the latest call.
    fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.clone())
    }

    /// Returns whether the session waits for the end of an exchange that a call runs.
    pub(crate) fn is_in_flight(&self, id: ExchangeId) -> bool {
        self.owners.contains_key(&id)
    }

    fn drive(&mut self, now: Time, context: &Arc<TransferContext>, effects: &mut Effects) {
        loop {
            match self.session.poll_output(now) {
                Output::Send(exchange) => {
                    // The call that owns the sink or the source runs the exchange.
                    let (sink, source) = (exchange.sink(), exchange.source());
                    let op = sink.map(|sink| sink.op).or_else(|| source.map(|source| source.op));
                    let of = exchange.op().and_then(|op| self.mailboxes.get(&op));
                    let transfer = Transfer::new(exchange, of.map(|of| of.span.clone()), context.clone());
                    if let Some((op, mailbox)) = op.and_then(|op| Some((op, self.mailboxes.get_mut(&op)?))) {
                        self.owners.insert(transfer.id(), op);
                        mailbox.put(Message::Exchange(Box::new(transfer)), &mut effects.wake);
                    } else {
                        self.tasks.insert(transfer.id(), None);
                        effects.spawn.push(transfer);
                    }
                }
                Output::Ask(id, Question::Credentials(query)) => {
                    self.look_ups.push(id);
                    effects.look_up.push((id, query));
                }
                Output::Ask(id, question) => {
                    if let Some(op) = question.op() {
                        self.tell(op, Message::Ask(id, question), effects);
                    }
                }
                Output::Abort(id) => {
                    if let Some(Some(task)) = self.tasks.remove(&id) {
                        task.abort();
                    }
                    // An exchange that a call runs usually ends with its operation, and so with the call.
                    let owner = self.owners.remove(&id);
                    if let Some(mailbox) = owner.and_then(|op| self.mailboxes.get_mut(&op)) {
                        let is_it =
                            |message: &Message| matches!(message, Message::Exchange(sent) if sent.id() == id);
                        match mailbox.messages.iter().position(is_it) {
                            Some(unsent) => effects.dropped.extend(mailbox.messages.remove(unsent)),
                            None => mailbox.put(Message::Abort(id), &mut effects.wake),
                        }
                    }
                }
                Output::Event(op, event) => self.tell(op, Message::Event(event), effects),
                Output::Wait(until) => {
                    // Calls that sleep longer must wake up.
                    if until.is_some_and(|until| self.wait.is_none_or(|wait| until < wait)) {
                        self.mailboxes.values_mut().for_each(|mailbox| mailbox.wake(&mut effects.wake));
                    }
                    self.wait = until;
                    return;
                }
            }
        }
    }

    /// Puts a message into the mailbox of an operation, and pauses the operation if the mailbox is full.
    fn tell(&mut self, op: OpId, message: Message, effects: &mut Effects) {
        let Some(mailbox) = self.mailboxes.get_mut(&op) else { return };
        if mailbox.backlog.must_pause(message.event(), mailbox.messages.len() + 1) {
            self.session.pause(op);
        }
        mailbox.put(message, &mut effects.wake);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.tasks.values().flatten().for_each(AbortHandle::abort);
    }
}

/// Hands the completion of an exchange to the session. If it is dropped without one, the exchange is reported
/// as lost.
pub(crate) struct CompletionGuard {
    shared: Weak<Shared>,
    id: ExchangeId,
    is_used: AtomicBool,
}

impl CompletionGuard {
    /// Hands over the completion, if there is one.
    pub(crate) fn settle(&self, completion: Option<Completion>) {
        if let Some(completion) = completion {
            self.end(|state, now| state.session.complete(now, completion));
        }
    }

    fn end(&self, tell: impl FnOnce(&mut State, Time)) {
        if self.is_used.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.step(|state, now| {
                state.tasks.remove(&self.id);
                state.owners.remove(&self.id);
                tell(state, now);
            });
        }
    }
}

impl Drop for CompletionGuard {
    fn drop(&mut self) {
        let fault = || Fault::new(FaultKind::Reset, "the runtime of the request has shut down");
        self.end(|state, now| state.session.lost(now, self.id, fault()));
    }
}

/// A task that runs an exchange without a sink or a source.
///
/// It may be dropped unfinished, when it is aborted or when its runtime shuts down.
struct Task {
    guard: CompletionGuard,
    transfer: Transfer,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.transfer.poll(cx)) {
                Progress::Ended => {
                    let completion = self.transfer.settle();
                    self.guard.settle(completion);
                    return Poll::Ready(());
                }
                // The exchange has no sink.
                Progress::Chunk(_) => {}
                Progress::NeedsData => self.transfer.fail_without_source(),
            }
        }
    }
}
