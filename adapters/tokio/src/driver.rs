//! What every call of a client shares: the session, and who waits for what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use oci_proto::{Completion, CredentialsQuery, ExchangeId, OpId, Output, QueryId, Session, Time};
use oci_proto_credentials::Store;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::Transport;
use crate::carrying::{Carrying, Rules, Task};
use crate::hooks::Hooks;
use crate::login::look_up;
use crate::mailbox::{FULL, Letter, Mailbox};

/// What the clones of a client, its calls and its tasks share.
pub(crate) struct Shared<T: Transport> {
    pub(crate) epoch: Instant,
    /// How long an operation may take.
    pub(crate) timeout: Option<Duration>,
    pub(crate) credentials: Arc<Store>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) hooks: Hooks,
    pub(crate) state: Mutex<State<T>>,
}

/// What changes. Nothing holds its lock across I/O or an await.
pub(crate) struct State<T: Transport> {
    pub(crate) session: Session,
    pub(crate) transport: T,
    pub(crate) mailboxes: BTreeMap<OpId, Mailbox<T>>,
    /// When the session wants to be polled again. No call that waits sleeps longer than this.
    pub(crate) wait: Option<Time>,
    /// The tasks that carry exchanges; `None` between the decision to spawn one and its handle.
    tasks: BTreeMap<ExchangeId, Option<AbortHandle>>,
    /// Where the latest call was started.
    pub(crate) runtime: Option<Handle>,
}

/// What is done once the lock is released: wakers and tasks run foreign code.
struct Effects<T: Transport> {
    wake: Vec<Waker>,
    spawn: Vec<(ExchangeId, Box<Carrying<T>>)>,
    look_up: Vec<(QueryId, CredentialsQuery)>,
}

impl<T: Transport> Shared<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere is that call's own; the guards that clean up after it come through here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on the session, then does everything that it asks for.
    pub(crate) fn step<R>(self: &Arc<Self>, act: impl FnOnce(&mut State<T>, Time) -> R) -> R {
        let mut errands = Effects { wake: Vec::new(), spawn: Vec::new(), look_up: Vec::new() };
        let mut state = self.lock();
        let now = Time::from_epoch(self.epoch.elapsed());
        let result = act(&mut state, now);
        state.drive(now, &self.rules, &mut errands);
        let runtime = if errands.spawn.is_empty() { None } else { state.runtime() };
        drop(state);
        errands.wake.into_iter().for_each(Waker::wake);
        errands.look_up.into_iter().for_each(|(id, query)| look_up(self, id, query));
        for (id, carrying) in errands.spawn {
            // Without a runtime, or on one that has shut down, the task is dropped, and says so.
            let task = Task::new(self, carrying);
            let Some(handle) = runtime.as_ref().map(|runtime| runtime.spawn(task).abort_handle()) else {
                continue;
            };
            match self.lock().tasks.get_mut(&id) {
                Some(place) => *place = Some(handle),
                None => handle.abort(),
            }
        }
        result
    }

    /// Hands back the end of an exchange that a task carried.
    pub(crate) fn complete(self: &Arc<Self>, completion: Completion) {
        self.step(|state, now| {
            state.tasks.remove(&completion.id());
            state.session.complete(now, completion);
        });
    }
}

impl<T: Transport> State<T> {
    pub(crate) fn new(session: Session, transport: T) -> Self {
        let (mailboxes, tasks) = (BTreeMap::new(), BTreeMap::new());
        Self { session, transport, mailboxes, wait: None, tasks, runtime: None }
    }

    /// The runtime that this code runs on; where it runs on none, the one of the latest call.
    fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.clone())
    }

    fn drive(&mut self, now: Time, rules: &Arc<Rules>, errands: &mut Effects<T>) {
        loop {
            match self.session.poll_output(now) {
                Output::Send(exchange) => {
                    let (id, op) = (exchange.id(), exchange.op().filter(|_| exchange.has_sink()));
                    let carrying = Box::new(Carrying::new(exchange, self.transport.clone(), rules.clone()));
                    if let Some(mailbox) = op.and_then(|op| self.mailboxes.get_mut(&op)) {
                        mailbox.put(Letter::Carry(carrying), &mut errands.wake);
                    } else {
                        self.tasks.insert(id, None);
                        errands.spawn.push((id, carrying));
                    }
                }
                Output::Abort(id) => {
                    if let Some(Some(task)) = self.tasks.remove(&id) {
                        task.abort();
                    }
                }
                Output::Event(op, event) => {
                    let Some(mailbox) = self.mailboxes.get_mut(&op) else { continue };
                    mailbox.put(Letter::Event(event), &mut errands.wake);
                    if mailbox.letters.len() >= FULL && !mailbox.paused {
                        mailbox.paused = true;
                        self.session.pause(op);
                    }
                }
                Output::Wait(until) => {
                    // Calls that sleep until later, or for good, look again.
                    if until.is_some_and(|until| self.wait.is_none_or(|wait| until < wait)) {
                        self.mailboxes.values_mut().for_each(|mailbox| mailbox.wake(&mut errands.wake));
                    }
                    self.wait = until;
                    return;
                }
                Output::Credentials(id, query) => errands.look_up.push((id, query)),
                // A newer core's outputs are answered by a newer driver.
                _ => {}
            }
        }
    }
}

impl<T: Transport> Drop for Shared<T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.tasks.values().flatten().for_each(AbortHandle::abort);
    }
}
