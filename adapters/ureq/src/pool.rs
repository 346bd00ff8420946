//! The threads that carry exchanges beside the calls: started when needed, bounded, ended with the client.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::thread;

use oci_proto::{Completion, Fault, FaultKind};

use crate::driver::Shared;
use crate::exchange::Job;
use crate::state::{State, Turn};

/// What the threads share.
#[derive(Default)]
pub(crate) struct Pool {
    /// Jobs that no thread has taken yet.
    pub(crate) queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    /// Sees to it that a thread carries this job. Where there is no thread and none can be started, the
    /// job ends unsent, and its completion comes back.
    pub(crate) fn hand_over(self: &Arc<Self>, state: &mut State, job: Job) -> Option<Completion> {
        let pool = &mut state.pool;
        // A thread that has been woken counts as idle until it has taken its job out of the queue.
        if pool.idle <= pool.queue.len() && pool.threads < self.threads {
            let shared = Arc::clone(self);
            let name = format!("oci-proto-{}", pool.threads);
            match thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(_) => pool.threads += 1,
                Err(error) if pool.threads == 0 => {
                    let fault = Fault::new(FaultKind::Connect, format_args!("no thread: {error}"));
                    return Some(job.refuse(fault));
                }
                // Those that run will get to it.
                Err(_) => {}
            }
        }
        pool.queue.push_back(job);
        self.work.notify_one();
        None
    }

    /// The life of one thread.
    fn work(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some(mut job) = state.pool.queue.pop_front() {
                loop {
                    drop(state);
                    let completion = self.carry(job);
                    state = self.lock();
                    state.complete(self.now(), completion);
                    match self.drive(&mut state, Turn::Worker) {
                        Some(next) => job = next,
                        None => break,
                    }
                }
            } else if state.pool.closed {
                break;
            } else {
                state.pool.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.pool.idle -= 1;
            }
        }
        state.pool.threads -= 1;
    }
}

/// Held by all that can still ask something of the threads; its end is theirs.
pub(crate) struct Driver(pub(crate) Arc<Shared>);

impl Drop for Driver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pool.closed = true;
        state.pool.queue.clear();
        drop(state);
        self.0.work.notify_all();
        self.0.transport.shut_down();
    }
}
