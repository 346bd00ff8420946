//! The state behind the lock: the session, and the mailboxes of calls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar};

use oci_proto::{
    Answer, Completion, Event, Exchange, ExchangeId, Fault, OpId, QueryId, Question, Session, Time,
};
use oci_proto_common::{Backlog, OperationSpan};

use crate::exchange::Job;
use crate::link::Link;
use crate::pool::Pool;

/// The session and its mailboxes.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) pool: Pool,
    /// The time of the session's last [`Output::Wait`](oci_proto::Output::Wait).
    pub(crate) wait: Option<Time>,
    /// Whether the session must be polled.
    pub(crate) stale: bool,
    /// The open queries for credentials.
    pub(crate) look_ups: Vec<QueryId>,
    mailboxes: BTreeMap<OpId, Mailbox>,
    /// The exchanges without a source or a sink that are queued or running, with their operations.
    running: BTreeMap<ExchangeId, Option<OpId>>,
    /// The links of these exchanges and of those with a source or a sink, which calls run.
    links: BTreeMap<ExchangeId, Arc<Link>>,
}

/// The messages that a call has not taken yet.
struct Mailbox {
    messages: VecDeque<Message>,
    wake: Arc<Condvar>,
    waiting: bool,
    backlog: Backlog,
    deadline: Option<Time>,
    span: OperationSpan,
}

/// A message to a call.
pub(crate) enum Message {
    /// An event of the operation.
    Event(Event),
    /// A question that the call must answer.
    Ask(QueryId, Question),
    /// An exchange that the call must run, since it owns the source or the sink.
    Exchange(Box<Job>),
}

/// The caller that polls the session. It may run an exchange itself instead of handing it to another thread.
#[derive(Clone, Copy)]
pub(crate) enum Poller {
    /// A call that waits for its next message.
    Call(OpId),
    /// A thread of the pool.
    Worker,
    /// A caller that runs no exchange.
    Other,
}

impl State {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            pool: Pool::default(),
            wait: None,
            stale: false,
            look_ups: Vec::new(),
            mailboxes: BTreeMap::new(),
            running: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Opens the mailbox of a new operation.
    pub(crate) fn open(&mut self, op: OpId, deadline: Option<Time>, span: OperationSpan) -> Arc<Condvar> {
        if let Some(at) = deadline {
            self.session.set_deadline(op, at);
        }
        let wake = Arc::new(Condvar::new());
        let mailbox = Mailbox {
            messages: VecDeque::new(),
            wake: Arc::clone(&wake),
            waiting: false,
            backlog: Backlog::default(),
            deadline,
            span,
        };
        self.mailboxes.insert(op, mailbox);
        self.stale = true;
        wake
    }

    /// Cancels an operation whose call is dropped. Returns the messages that it has not taken, or `None` if
    /// the operation has ended.
    pub(crate) fn close(&mut self, op: OpId) -> Option<VecDeque<Message>> {
        let mailbox = self.mailboxes.remove(&op)?;
        self.session.cancel(op);
        self.stale = true;
        Some(mailbox.messages)
    }

    /// Takes the next message of an operation, if there is one. The last event closes the mailbox.
    pub(crate) fn take(&mut self, op: OpId) -> Option<Message> {
        let mailbox = self.mailboxes.get_mut(&op)?;
        let message = mailbox.messages.pop_front()?;
        if matches!(message, Message::Event(Event::Done | Event::Failed(_))) {
            self.mailboxes.remove(&op);
            return Some(message);
        }
        if mailbox.backlog.must_resume(mailbox.messages.len()) {
            self.session.resume(op);
            self.stale = true;
        }
        Some(message)
    }

    /// Puts a message into the mailbox of an operation. Drops it if the call is gone.
    pub(crate) fn post(&mut self, op: OpId, message: Message) {
        let Some(mailbox) = self.mailboxes.get_mut(&op) else { return };
        let event = if let Message::Event(event) = &message { Some(event) } else { None };
        if mailbox.backlog.must_pause(event, mailbox.messages.len() + 1) {
            self.session.pause(op);
        }
        mailbox.messages.push_back(message);
        if mailbox.waiting {
            mailbox.wake.notify_one();
        }
    }

    /// Sends an exchange with a source or a sink to the call that owns it. Returns any other as a job.
    pub(crate) fn route(&mut self, exchange: Exchange) -> Option<Job> {
        let op = exchange.op();
        let mailbox = op.and_then(|op| self.mailboxes.get(&op));
        let deadline = mailbox.and_then(|mailbox| mailbox.deadline);
        let operation = mailbox.map(|mailbox| mailbox.span.clone());
        let owner = op.filter(|_| exchange.source().is_some() || exchange.sink().is_some());
        let job = Job { exchange, deadline, link: Arc::default(), operation };
        self.links.insert(job.id(), Arc::clone(&job.link));
        if let Some(op) = owner {
            self.post(op, Message::Exchange(Box::new(job)));
            return None;
        }
        self.running.insert(job.id(), op);
        Some(job)
    }

    /// Takes the job from a batch that the polling caller runs itself.
    pub(crate) fn choose(&self, batch: &mut VecDeque<Job>, poller: Poller) -> Option<Job> {
        let op = match poller {
            Poller::Call(op) => op,
            Poller::Worker => return batch.pop_front(),
            Poller::Other => return None,
        };
        let mailbox = self.mailboxes.get(&op)?;
        if !mailbox.messages.is_empty() {
            return None;
        }
        // If other threads run exchanges of this call, the call must stay free for their events.
        let out = self.running.values().filter(|served| **served == Some(op)).count();
        if out > batch.iter().filter(|job| job.op() == Some(op)).count() {
            return None;
        }
        // A job that may serve several operations has no deadline, and may outlast the deadline of this call.
        let serves = |job: &Job| job.op().map_or(mailbox.deadline.is_none(), |served| served == op);
        let first = batch.iter().position(serves)?;
        batch.remove(first)
    }

    /// Hands a completion to the session.
    pub(crate) fn complete(&mut self, now: Time, completion: Completion) {
        self.forget(completion.id());
        self.session.complete(now, completion);
        self.stale = true;
    }

    /// Reports an exchange to the session as lost.
    pub(crate) fn lost(&mut self, now: Time, id: ExchangeId, fault: Fault) {
        self.forget(id);
        self.session.lost(now, id, fault);
        self.stale = true;
    }

    /// Hands an answer to the session.
    pub(crate) fn answer(&mut self, now: Time, query: QueryId, answer: Answer) {
        self.look_ups.retain(|open| *open != query);
        self.session.answer(now, query, answer);
        self.stale = true;
    }

    /// Returns whether the session waits for the end of an exchange.
    pub(crate) fn is_in_flight(&self, id: ExchangeId) -> bool {
        self.links.contains_key(&id)
    }

    /// Forgets an aborted exchange. If it is running, it ends at its next read or write.
    pub(crate) fn abort(&mut self, id: ExchangeId) {
        self.forget(id);
        self.pool.queue.retain(|job| job.id() != id);
        for mailbox in self.mailboxes.values_mut() {
            mailbox.messages.retain(|message| !matches!(message, Message::Exchange(job) if job.id() == id));
        }
    }

    fn forget(&mut self, id: ExchangeId) {
        self.running.remove(&id);
        if let Some(link) = self.links.remove(&id) {
            link.abandon();
        }
    }

    pub(crate) fn set_waiting(&mut self, op: OpId, waiting: bool) {
        if let Some(mailbox) = self.mailboxes.get_mut(&op) {
            mailbox.waiting = waiting;
        }
    }

    /// Wakes all waiting calls, so that none sleeps past the time to poll.
    pub(crate) fn wake_all(&self) {
        for mailbox in self.mailboxes.values().filter(|mailbox| mailbox.waiting) {
            mailbox.wake.notify_one();
        }
    }
}
