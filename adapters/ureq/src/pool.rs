//! The thread pool that runs exchanges in addition to the calls.

use std::collections::VecDeque;

use crate::exchange::Job;

/// The queue and the threads of the pool.
#[derive(Default)]
pub(crate) struct Pool {
    /// Jobs that no thread has taken yet.
    pub(crate) queue: VecDeque<Job>,
    /// The number of running threads.
    pub(crate) threads: usize,
    /// The number of threads that wait for a job or are about to take one.
    pub(crate) idle: usize,
    /// Whether the threads must end.
    pub(crate) is_closed: bool,
}

impl Pool {
    /// Returns whether no thread is free for another job.
    pub(crate) fn is_busy(&self) -> bool {
        // A woken thread counts as idle until it has taken its job from the queue.
        self.idle <= self.queue.len()
    }
}
