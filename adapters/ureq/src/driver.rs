//! Drives the one session that all calls of a client share: whoever has something to do also polls.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use oci_proto::{Completion, OpId, Output, Session, Time};
use oci_proto_credentials::Store;

use crate::exchange::Job;
use crate::hooks::Hooks;
use crate::state::{State, Step, Turn};
use crate::transport::Transport;

/// What the calls and the threads of a client share.
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) credentials: Arc<Store>,
    pub(crate) hooks: Hooks,
    /// The most threads that carry exchanges beside the calls.
    pub(crate) threads: usize,
    /// Wakes one of them.
    pub(crate) work: Condvar,
    epoch: Instant,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(
        session: Session,
        credentials: Store,
        transport: Transport,
        hooks: Hooks,
        threads: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            credentials: Arc::new(credentials),
            hooks,
            threads,
            work: Condvar::new(),
            epoch: Instant::now(),
            state: Mutex::new(State::new(session)),
        })
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.epoch.elapsed())
    }

    /// The lock is never held while anything waits for the network.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step of an operation: waits for it, and does meanwhile what is to be done.
    pub(crate) fn step(self: &Arc<Self>, op: OpId, wake: &Condvar) -> Step {
        let mut state = self.lock();
        loop {
            if let Some(step) = state.take(op) {
                if state.stale {
                    self.drive(&mut state, Turn::Passing);
                }
                return step;
            }
            let left = state.wait.map(|at| at.saturating_since(self.now()));
            if state.stale || left.is_some_and(|left| left.is_zero()) {
                if let Some(job) = self.drive(&mut state, Turn::Call(op)) {
                    drop(state);
                    let completion = self.carry(job);
                    state = self.lock();
                    state.complete(self.now(), completion);
                }
                continue;
            }
            state.set_waiting(op, true);
            state = match left {
                Some(left) => wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.set_waiting(op, false);
        }
    }

    /// Carries out what no call carries into its own sink.
    pub(crate) fn carry(&self, job: Job) -> Completion {
        let id = job.id();
        job.carry(&self.transport, self.now(), || self.lock().carries(id))
    }

    /// Polls until there is nothing to do. Returns what the one whose turn it is carries itself.
    pub(crate) fn drive(self: &Arc<Self>, state: &mut State, turn: Turn) -> Option<Job> {
        let before = state.wait;
        let mut own = None;
        loop {
            let mut batch = VecDeque::new();
            state.stale = false;
            state.wait = loop {
                match state.session.poll_output(self.now()) {
                    Output::Send(exchange) => batch.extend(state.route(exchange)),
                    Output::Event(op, event) => state.post(op, Step::Event(event)),
                    Output::Abort(id) => state.abort(id),
                    Output::Credentials(id, query) => self.look_up(state, id, query),
                    Output::Wait(at) => break at,
                    _ => {}
                }
            };
            own = own.or_else(|| state.choose(&mut batch, turn));
            for job in batch {
                if let Some(completion) = self.hand_over(state, job) {
                    state.complete(self.now(), completion);
                }
            }
            if !state.stale {
                break;
            }
        }
        if state.wait.is_some_and(|at| before.is_none_or(|before| at < before)) {
            state.wake_all();
        }
        own
    }
}
