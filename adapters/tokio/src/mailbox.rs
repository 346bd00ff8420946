//! The mailbox of an operation: events, questions and exchanges that its call has not taken yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use oci_proto::{Event, ExchangeId, QueryId, Question};
use oci_proto_common::{Backlog, OperationSpan};

use crate::transfer::Transfer;

/// The messages for one operation, and the waker of its call.
pub(crate) struct Mailbox {
    pub(crate) span: OperationSpan,
    pub(crate) messages: VecDeque<Message>,
    /// Set if the call must check the mailbox, and whenever `waker` is empty. It is read without the lock.
    pub(crate) flag: Arc<AtomicBool>,
    pub(crate) waker: Option<Waker>,
    pub(crate) backlog: Backlog,
}

/// A message to a call.
pub(crate) enum Message {
    /// An event of the operation.
    Event(Event),
    /// A question that the call must answer.
    Ask(QueryId, Question),
    /// An exchange that the call must run, since it owns the sink or the source.
    Exchange(Box<Transfer>),
    /// An exchange that the call runs, and that must be stopped.
    Abort(ExchangeId),
}

impl Message {
    /// Returns the event, if it is one.
    pub(crate) fn event(&self) -> Option<&Event> {
        if let Self::Event(event) = self { Some(event) } else { None }
    }
}

impl Mailbox {
    pub(crate) fn new(flag: Arc<AtomicBool>, span: OperationSpan) -> Self {
        Self { span, messages: VecDeque::new(), flag, waker: None, backlog: Backlog::default() }
    }

    pub(crate) fn put(&mut self, message: Message, wake: &mut Vec<Waker>) {
        self.messages.push_back(message);
        self.wake(wake);
    }

    /// Makes the call check the mailbox. The caller wakes the waker after it has released the lock.
    pub(crate) fn wake(&mut self, wake: &mut Vec<Waker>) {
        self.flag.store(true, Ordering::Release);
        wake.extend(self.waker.take());
    }
}
