//! What is behind the lock: the session, and what each call has not taken yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar};

use oci_proto::{Completion, Event, Exchange, ExchangeId, OpId, Session, Time};

use crate::exchange::Job;
use crate::pool::Pool;

/// A mailbox that holds this many steps takes no more events.
const FULL: usize = 64;

/// The session and its mailboxes.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) pool: Pool,
    /// When to poll again though nothing happens.
    pub(crate) wait: Option<Time>,
    /// Whether something happened since the last poll.
    pub(crate) stale: bool,
    mailboxes: BTreeMap<OpId, Mailbox>,
    /// What is being carried, save by calls into their own sinks, and for which operation.
    carried: BTreeMap<ExchangeId, Option<OpId>>,
}

/// What one call has not taken yet.
struct Mailbox {
    steps: VecDeque<Step>,
    wake: Arc<Condvar>,
    waiting: bool,
    paused: bool,
    deadline: Option<Time>,
}

/// What a call does next.
pub(crate) enum Step {
    /// This happened.
    Event(Event),
    /// The call carries this itself, since it owns the sink.
    Carry(Job),
}

/// Who polls, and so may carry an exchange itself instead of handing it to another thread.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    /// A call that has nothing else to do.
    Call(OpId),
    /// A thread of the pool.
    Worker,
    /// Someone with other things to do.
    Passing,
}

impl State {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            pool: Pool::default(),
            wait: None,
            stale: false,
            mailboxes: BTreeMap::new(),
            carried: BTreeMap::new(),
        }
    }

    /// Opens the mailbox of an operation that has just been started.
    pub(crate) fn open(&mut self, op: OpId, deadline: Option<Time>) -> Arc<Condvar> {
        if let Some(at) = deadline {
            self.session.set_deadline(op, at);
        }
        let wake = Arc::new(Condvar::new());
        let mailbox = Mailbox {
            steps: VecDeque::new(),
            wake: Arc::clone(&wake),
            waiting: false,
            paused: false,
            deadline,
        };
        self.mailboxes.insert(op, mailbox);
        self.stale = true;
        wake
    }

    /// Ends an operation whose call is gone; returns what it has not taken. `None` if it had ended.
    pub(crate) fn close(&mut self, op: OpId) -> Option<VecDeque<Step>> {
        let mailbox = self.mailboxes.remove(&op)?;
        self.session.cancel(op);
        self.stale = true;
        Some(mailbox.steps)
    }

    /// The next step of an operation, if there is one. The last one closes its mailbox.
    pub(crate) fn take(&mut self, op: OpId) -> Option<Step> {
        let mailbox = self.mailboxes.get_mut(&op)?;
        let step = mailbox.steps.pop_front()?;
        if matches!(step, Step::Event(Event::Done | Event::Failed(_))) {
            self.mailboxes.remove(&op);
            return Some(step);
        }
        if mailbox.paused && mailbox.steps.len() < FULL / 2 {
            mailbox.paused = false;
            self.session.resume(op);
            self.stale = true;
        }
        Some(step)
    }

    /// Puts a step into its operation's mailbox; drops it where the call is gone.
    pub(crate) fn post(&mut self, op: OpId, step: Step) {
        let Some(mailbox) = self.mailboxes.get_mut(&op) else { return };
        mailbox.steps.push_back(step);
        if mailbox.waiting {
            mailbox.wake.notify_one();
        }
        if mailbox.steps.len() >= FULL && !mailbox.paused {
            mailbox.paused = true;
            self.session.pause(op);
        }
    }

    /// Gives an exchange with a sink to the call that owns it; any other comes back as a job.
    pub(crate) fn route(&mut self, exchange: Exchange) -> Option<Job> {
        let op = exchange.op();
        let deadline = op.and_then(|op| self.mailboxes.get(&op)?.deadline);
        let sink = op.filter(|_| exchange.has_sink());
        let job = Job { exchange, deadline };
        if let Some(op) = sink {
            self.post(op, Step::Carry(job));
            return None;
        }
        self.carried.insert(job.id(), op);
        Some(job)
    }

    /// Takes out of a batch what the one whose turn it is carries itself.
    pub(crate) fn choose(&self, batch: &mut VecDeque<Job>, turn: Turn) -> Option<Job> {
        let op = match turn {
            Turn::Call(op) => op,
            Turn::Worker => return batch.pop_front(),
            Turn::Passing => return None,
        };
        let mailbox = self.mailboxes.get(&op)?;
        if !mailbox.steps.is_empty() {
            return None;
        }
        // A call that carried something while others carry what comes before would keep its events waiting.
        let out = self.carried.values().filter(|served| **served == Some(op)).count();
        if out > batch.iter().filter(|job| job.op() == Some(op)).count() {
            return None;
        }
        // What serves several operations has no deadline, and may outlast this one's.
        let serves = |job: &Job| job.op().map_or(mailbox.deadline.is_none(), |served| served == op);
        let first = batch.iter().position(serves)?;
        batch.remove(first)
    }

    /// Hands the end of an exchange to the session.
    pub(crate) fn complete(&mut self, now: Time, completion: Completion) {
        self.carried.remove(&completion.id());
        self.session.complete(now, completion);
        self.stale = true;
    }

    /// Whether an exchange is being carried for somebody still.
    pub(crate) fn carries(&self, id: ExchangeId) -> bool {
        self.carried.contains_key(&id)
    }

    /// Forgets an exchange that nobody waits for. One that is on its way ends when its next bytes come.
    pub(crate) fn abort(&mut self, id: ExchangeId) {
        self.carried.remove(&id);
        self.pool.queue.retain(|job| job.id() != id);
        for mailbox in self.mailboxes.values_mut() {
            mailbox.steps.retain(|step| !matches!(step, Step::Carry(job) if job.id() == id));
        }
    }

    pub(crate) fn set_waiting(&mut self, op: OpId, waiting: bool) {
        if let Some(mailbox) = self.mailboxes.get_mut(&op) {
            mailbox.waiting = waiting;
        }
    }

    /// Wakes all calls that wait: the time to poll again has come closer, and they must not sleep past it.
    pub(crate) fn wake_all(&self) {
        for mailbox in self.mailboxes.values().filter(|mailbox| mailbox.waiting) {
            mailbox.wake.notify_one();
        }
    }
}
