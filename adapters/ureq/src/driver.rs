//! Drives the session that all calls of a client share. Each thread that changes the session also polls it.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use oci_proto::{
    Answer, Completion, CredentialsQuery, ExchangeId, Fault, FaultKind, OpId, Output, QueryId, Question,
    Session, Time,
};
use oci_proto_common::{Hooks, end_look_ups};
use oci_proto_credentials::Store;

use crate::exchange::Job;
use crate::state::{Message, Poller, State};
use crate::transport::Transport;

/// Shuts the threads down when it is dropped. Each client, call, walk and reader holds a reference.
pub(crate) struct Driver(pub(crate) Arc<Shared>);

impl Drop for Driver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pool.is_closed = true;
        state.pool.queue.clear();
        drop(state);
        self.0.work.notify_all();
        self.0.transport.shut_down();
    }
}

/// The state that the calls and the threads of a client share.
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) hooks: Hooks,
    credentials: Store,
    /// The maximum number of threads in the pool.
    threads: usize,
    /// Wakes a thread of the pool.
    work: Condvar,
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
            hooks,
            credentials,
            threads,
            work: Condvar::new(),
            epoch: Instant::now(),
            state: Mutex::new(State::new(session)),
        })
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_epoch(self.epoch.elapsed())
    }

    /// Locks the state. The lock is never held while a thread waits for the network.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next message of an operation, and drives the session meanwhile.
    pub(crate) fn message(self: &Arc<Self>, op: OpId, wake: &Condvar) -> Message {
        let mut state = self.lock();
        loop {
            if let Some(message) = state.take(op) {
                if state.stale {
                    self.drive(&mut state, Poller::Other);
                }
                return message;
            }
            let left = state.wait.map(|at| at.saturating_since(self.now()));
            if state.stale || left.is_some_and(|left| left.is_zero()) {
                if let Some(job) = self.drive(&mut state, Poller::Call(op)) {
                    drop(state);
                    state = self.run_job(job);
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

    /// Reports the end of an exchange to the session: its completion, or a fault if it is lost.
    pub(crate) fn end(&self, id: ExchangeId, ended: Result<Completion, Fault>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        match ended {
            Ok(completion) => state.complete(self.now(), completion),
            Err(fault) => state.lost(self.now(), id, fault),
        }
        state
    }

    /// Polls the session until it waits. Returns the exchange that `poller` runs itself, if any.
    pub(crate) fn drive(self: &Arc<Self>, state: &mut State, poller: Poller) -> Option<Job> {
        let before = state.wait;
        let mut own = None;
        loop {
            let mut batch = VecDeque::new();
            state.stale = false;
            state.wait = loop {
                match state.session.poll_output(self.now()) {
                    Output::Send(exchange) => batch.extend(state.route(exchange)),
                    Output::Ask(id, Question::Credentials(query)) => self.look_up(state, id, query),
                    Output::Ask(id, question) => {
                        if let Some(op) = question.op() {
                            state.post(op, Message::Ask(id, question));
                        }
                    }
                    Output::Abort(id) => state.abort(id),
                    Output::Event(op, event) => state.post(op, Message::Event(event)),
                    Output::Wait(at) => break at,
                }
            };
            own = own.or_else(|| state.choose(&mut batch, poller));
            for job in batch {
                self.hand_over(state, job);
            }
            if !state.stale {
                break;
            }
        }
        if state.wait.is_some_and(|at| before.is_none_or(|before| at < before)) {
            state.wake_all();
        }
        let State { session, look_ups, .. } = state;
        end_look_ups(&self.credentials, look_ups, session, self.now());
        own
    }

    /// Looks up credentials on another thread, which answers the question.
    fn look_up(self: &Arc<Self>, state: &mut State, id: QueryId, query: CredentialsQuery) {
        state.look_ups.push(id);
        let waiting = Arc::downgrade(self);
        let looking_up = oci_proto_common::look_up(&self.credentials, query, move |found| {
            if let Some(shared) = waiting.upgrade() {
                let mut state = shared.lock();
                state.answer(shared.now(), id, found.map_or_else(Answer::Failed, Answer::Credentials));
                shared.drive(&mut state, Poller::Other);
            }
        });
        if let Err(fault) = looking_up {
            state.answer(self.now(), id, Answer::Failed(fault));
        }
    }

    /// Queues a job for the pool, and starts a thread if all are busy. Fails the job if no thread runs and
    /// none can be started.
    fn hand_over(self: &Arc<Self>, state: &mut State, job: Job) {
        if state.pool.is_busy() && state.pool.threads < self.threads {
            let shared = Arc::clone(self);
            let name = format!("oci-proto-{}", state.pool.threads);
            match thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => state.pool.threads += 1,
                Err(error) if state.pool.threads == 0 => {
                    return state.complete(self.now(), job.refuse(no_thread(&error)));
                }
                // A running thread will take the job.
                Err(_) => {}
            }
        }
        state.pool.queue.push_back(job);
        self.work.notify_one();
    }

    /// Runs a thread of the pool.
    fn work(self: Arc<Self>) {
        let worker = Worker(&self);
        let mut state = self.lock();
        loop {
            if let Some(job) = state.pool.queue.pop_front() {
                let mut next = Some(job);
                while let Some(job) = next {
                    drop(state);
                    state = self.run_job(job);
                    next = self.drive(&mut state, Poller::Worker);
                }
            } else if state.pool.is_closed {
                break;
            } else {
                state.pool.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.pool.idle -= 1;
            }
        }
        drop(state);
        drop(worker);
    }

    /// Runs an exchange that has neither a source nor a sink.
    fn run_job(&self, job: Job) -> MutexGuard<'_, State> {
        let id = job.id();
        let run = || job.run(&self.transport, self.now(), None);
        // Several calls may wait for the exchange, and this thread may belong to none of them. State that a
        // panic leaves inconsistent is dropped with the exchange.
        let ended = panic::catch_unwind(AssertUnwindSafe(run));
        self.end(id, ended.map_err(|_| Fault::new(FaultKind::Unsupported, "the transport panicked")))
    }
}

/// The fault of an exchange if the system starts no thread for it.
pub(crate) fn no_thread(error: &io::Error) -> Fault {
    Fault::new(FaultKind::NotSent, format_args!("could not start a thread: {error}"))
}

/// A running thread of the pool.
struct Worker<'a>(&'a Shared);

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pool.threads -= 1;
        if thread::panicking() {
            // The calls take over its work.
            state.stale = true;
            state.wake_all();
        }
    }
}
