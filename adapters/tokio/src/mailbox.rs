//! What has arrived for one operation, until its call reads it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use oci_proto::Event;

use crate::Transport;
use crate::carrying::Carrying;

/// A mailbox with this many letters gets no more until it is below half of that: the operation is paused.
pub(crate) const FULL: usize = 64;

/// What has arrived for one operation, and whom to wake.
pub(crate) struct Mailbox<T: Transport> {
    pub(crate) letters: VecDeque<Letter<T>>,
    /// Set when there is a reason to look inside, and whenever `waker` is empty. Read without the lock.
    pub(crate) flag: Arc<AtomicBool>,
    pub(crate) waker: Option<Waker>,
    pub(crate) paused: bool,
}

/// What a call is told.
#[expect(
    clippy::large_enum_variant,
    reason = "events are what mailboxes hold; an exchange comes once a blob"
)]
pub(crate) enum Letter<T: Transport> {
    /// Something happened.
    Event(Event),
    /// An exchange whose body is the call's to take.
    Carry(Box<Carrying<T>>),
}

impl<T: Transport> Mailbox<T> {
    pub(crate) fn new(flag: Arc<AtomicBool>) -> Self {
        Self { letters: VecDeque::new(), flag, waker: None, paused: false }
    }

    pub(crate) fn put(&mut self, letter: Letter<T>, wake: &mut Vec<Waker>) {
        self.letters.push_back(letter);
        self.wake(wake);
    }

    /// Makes the call look again; the waker is woken by whoever holds no lock.
    pub(crate) fn wake(&mut self, wake: &mut Vec<Waker>) {
        self.flag.store(true, Ordering::Release);
        wake.extend(self.waker.take());
    }
}
