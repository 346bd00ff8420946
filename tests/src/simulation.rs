//! A driver whose every decision is drawn from bytes: whose answer goes on next and by how much, who
//! is paused, when the driver is dropped. What it holds the session to, it holds it to always.
//!
//! Held are: no more requests out than the limits say; no event and no request of an operation that is
//! paused, cancelled or over; one end to each operation; each byte of a blob once, in order; no
//! hanging, no spinning, and a bounded number of requests and of steps.

use std::collections::BTreeMap;
use std::time::Duration;

use oci_proto::{
    Config, Credentials, CredentialsQuery, Event, ExchangeId, Fault, FaultKind, Limits, OpId, Output,
    QueryId, Session, Time,
};

use crate::transcript::describe;
pub use answers::Answers;
use answers::SECRET;
use carried::{Carried, Progress};
pub use choices::Choices;
pub use registry::Registry;

mod answers;
mod carried;
mod choices;
mod registry;

/// What the driver may do besides carrying requests out.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Manners {
    /// Pauses and resumes, is dropped and comes back, answers late, lets time pass. None of it changes
    /// what an operation says.
    pub interrupts: bool,
    /// Cancels operations, sets deadlines, and fails requests.
    pub ends: bool,
}

impl Manners {
    /// Carries requests out, in any order and any pieces, and does nothing else.
    pub const PLAIN: Self = Self { interrupts: false, ends: false };
    /// Does also what must change nothing.
    pub const RESTLESS: Self = Self { interrupts: true, ends: false };
    /// Does everything.
    pub const ROUGH: Self = Self { interrupts: true, ends: true };
}

/// What was seen of an operation.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Watched {
    /// Its events, as transcripts write them.
    pub events: Vec<String>,
    /// What its sink has had.
    pub sink: Vec<u8>,
    /// How many requests it sent, but for those that a driver dropped.
    pub requests: usize,
    is_paused: bool,
    is_over: bool,
    /// Whether a request of it was dropped, so that its sink's bytes may come anew.
    is_anew: bool,
    /// How many of its requests were dropped, and were not sent again yet.
    dropped: usize,
}

/// A session and its driver.
pub struct Simulation<'c, A> {
    /// Operations are started on it, and then [watched](Self::watch).
    pub session: Session,
    /// Every request that was sent.
    pub requests: Vec<String>,
    choices: Choices<'c>,
    /// Who answers.
    pub answers: A,
    manners: Manners,
    limits: Limits,
    now: Time,
    ops: BTreeMap<OpId, Watched>,
    out: Vec<Carried>,
    /// Those that the session waits for no more.
    stale: Vec<Carried>,
    /// Questions for logins that have no answer yet.
    owed: Vec<(QueryId, CredentialsQuery)>,
    /// Some that had one.
    answered: Vec<QueryId>,
    sleeps: usize,
}

/// More requests than any conversation of these tests needs.
const MAX_REQUESTS: usize = 20_000;
/// The same, of decisions of the driver.
const MAX_STEPS: usize = 1_000_000;
/// The same, of times that it sleeps as it was told: for each failure, and for each deadline.
const MAX_SLEEPS: usize = 2_000;

impl<'c, A: Answers> Simulation<'c, A> {
    /// A session with nothing to do, and its driver.
    pub fn new(config: Config, answers: A, manners: Manners, choices: Choices<'c>) -> Self {
        let limits = config.limits.clone();
        Self {
            session: Session::new(config, 1),
            requests: Vec::new(),
            choices,
            answers,
            manners,
            limits,
            now: Time::ZERO,
            ops: BTreeMap::new(),
            out: Vec::new(),
            stale: Vec::new(),
            owed: Vec::new(),
            answered: Vec::new(),
            sleeps: 0,
        }
    }

    /// Watches an operation that was started.
    pub fn watch(&mut self, op: OpId) -> OpId {
        self.ops.insert(op, Watched::default());
        op
    }

    /// Drives all operations to their ends, and says what was seen of each.
    ///
    /// # Panics
    ///
    /// The session does what it must not.
    pub fn run(mut self) -> (BTreeMap<OpId, Watched>, Vec<String>) {
        self.drive();
        self.end();
        (self.ops, self.requests)
    }

    /// Drives all operations to their ends. More may be started then.
    ///
    /// # Panics
    ///
    /// The session does what it must not.
    pub fn drive(&mut self) {
        for _ in 0..MAX_STEPS {
            let until = self.poll();
            if self.ops.values().all(|watched| watched.is_over) {
                return;
            }
            self.act(until);
        }
        panic!("operations go on after {MAX_STEPS} steps: {:?}", self.ops);
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Takes what the session says, up to its `Wait`.
    fn poll(&mut self) -> Option<Time> {
        for _ in 0..MAX_STEPS {
            let output = self.session.poll_output(self.now);
            self.answers.shown(&output);
            match output {
                Output::Send(exchange) => {
                    let op = exchange.op();
                    let watched = op.map(|op| &self.ops[&op]);
                    assert!(
                        watched.is_none_or(|watched| !watched.is_over),
                        "a request of an operation that is over"
                    );
                    assert!(
                        watched.is_none_or(|watched| !watched.is_paused),
                        "a request of a paused operation"
                    );
                    if let Some(watched) = op.and_then(|op| self.ops.get_mut(&op)) {
                        let again = watched.dropped > 0;
                        watched.dropped -= usize::from(again);
                        watched.requests += usize::from(!again);
                    }
                    let carried = Carried::new(exchange, &mut self.answers, &mut self.choices);
                    self.requests.push(carried.request.clone());
                    assert!(self.requests.len() <= MAX_REQUESTS, "more than {MAX_REQUESTS} requests");
                    let beside = self.out.iter().filter(|other| other.origin == carried.origin).count();
                    assert!(
                        beside < self.limits.in_flight_per_origin.max(1),
                        "too many requests to an origin"
                    );
                    self.out.push(carried);
                    assert!(self.out.len() <= self.limits.in_flight.max(1), "too many requests in all");
                }
                Output::Event(op, event) => self.take(op, &event),
                Output::Abort(id) => self.abort(id),
                Output::Credentials(query, asked) => self.owed.push((query, asked)),
                Output::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "a wait that is over spins");
                    let waits = |watched: &Watched| !watched.is_over && !watched.is_paused;
                    let idle = self.out.is_empty() && self.owed.is_empty();
                    let hangs = until.is_none() && idle && self.ops.values().any(waits);
                    assert!(!hangs, "the session waits for nothing: {:?}", self.ops);
                    return until;
                }
                other => panic!("the driver does not know {other:?}"),
            }
        }
        panic!("the session does not wait after {MAX_STEPS} outputs");
    }

    fn take(&mut self, op: OpId, event: &Event) {
        let said = describe(event);
        let watched = self.ops.get_mut(&op).expect("an event of an operation that was started");
        assert!(!watched.is_over, "after its end, an operation says {said}");
        assert!(!watched.is_paused, "a paused operation says {said}");
        if let Event::Data(bytes) = event {
            watched.sink.extend_from_slice(bytes);
        }
        assert!(!said.contains(SECRET), "a secret is told: {said}");
        watched.is_over = matches!(event, Event::Done | Event::Failed(_));
        watched.events.push(said);
    }

    fn abort(&mut self, id: ExchangeId) {
        let index = self.out.iter().position(|carried| carried.id == id);
        let carried = self.out.remove(index.expect("only what is out is called off"));
        self.stale.push(carried);
    }

    /// Does one of the things that a driver may do.
    fn act(&mut self, until: Option<Time>) {
        if self.choices.is_empty() {
            // Without further choice it goes straight on.
            let paused: Vec<OpId> =
                self.ops.iter().filter(|(_, watched)| watched.is_paused).map(|(op, _)| *op).collect();
            for op in paused {
                self.resume(op);
            }
            match (self.out.is_empty(), until) {
                _ if !self.owed.is_empty() => self.look_up(0),
                (false, _) => self.go_on(0, usize::MAX),
                (true, Some(until)) => self.sleep(until),
                (true, None) => {}
            }
            return;
        }
        if !self.owed.is_empty() && self.choices.flip() {
            let index = self.choices.below(self.owed.len());
            return self.look_up(index);
        }
        match self.choices.below(16) {
            0..8 if !self.out.is_empty() => {
                let index = self.choices.below(self.out.len());
                let most = self.choices.below(64);
                self.go_on(index, most);
            }
            8..12 if !self.out.is_empty() => {
                let index = self.choices.below(self.out.len());
                self.go_on(index, usize::MAX);
            }
            12..15 if self.manners.interrupts => self.interrupt(),
            15 if self.manners.ends => self.end_something(),
            // Whoever does nothing else lets the time pass that the session waits for.
            _ => self.now = until.filter(|_| self.out.is_empty()).unwrap_or(self.now),
        }
    }

    fn sleep(&mut self, until: Time) {
        self.now = until;
        self.sleeps += 1;
        assert!(self.sleeps <= MAX_SLEEPS, "it sleeps {MAX_SLEEPS} times, and is no further: {:?}", self.ops);
    }

    /// Carries on with a request by at most so many bytes of its answer; the end counts as one more.
    fn go_on(&mut self, index: usize, most: usize) {
        let carried = self.out.remove(index);
        let ops = &mut self.ops;
        let progress = carried.go_on(most, |sink, at, bytes| {
            let watched = ops.get_mut(&sink.op).expect("a sink of an operation that was started");
            let at = usize::try_from(at).expect("a place in memory");
            if at < watched.sink.len() && watched.is_anew {
                watched.sink.truncate(at);
            }
            assert_eq!(at, watched.sink.len(), "a sink gets bytes twice, or misses some");
            watched.is_anew = false;
            watched.sink.extend_from_slice(bytes);
        });
        match progress {
            Progress::Going(carried) => self.out.insert(index, carried),
            Progress::Ended(completion) => {
                self.answers.shown(&completion);
                self.session.complete(self.now, completion);
            }
        }
    }

    /// Answers a question for a login.
    fn look_up(&mut self, index: usize) {
        let (query, asked) = self.owed.remove(index);
        let found = self.answers.login(&asked, &mut self.choices);
        self.session.credentials(self.now, query, found);
        self.answered.push(query);
    }

    fn interrupt(&mut self) {
        match self.choices.below(6) {
            0 => {
                let op = self.some_op();
                self.session.pause(op);
                if let Some(watched) = self.ops.get_mut(&op) {
                    watched.is_paused = !watched.is_over;
                }
            }
            1 | 2 => {
                let op = self.some_op();
                self.resume(op);
            }
            3 => {
                for carried in &self.out {
                    if let Some(watched) = carried.op.and_then(|op| self.ops.get_mut(&op)) {
                        (watched.is_anew, watched.dropped) = (true, watched.dropped + 1);
                    }
                }
                self.stale.append(&mut self.out);
                self.answered.extend(self.owed.drain(..).map(|(query, _)| query));
                self.session.abandon_in_flight(self.now);
            }
            4 => {
                // What comes late, or with a time that has passed, changes nothing.
                if let Some(stale) = self.stale.pop() {
                    self.session.complete(Time::ZERO, stale.end());
                }
                if let Some(query) = self.answered.pop()
                    && !self.owed.iter().any(|(owed, _)| *owed == query)
                {
                    self.session.credentials(Time::ZERO, query, Ok(Some(Credentials::Bearer("late".into()))));
                }
            }
            _ => self.now = self.now + Duration::from_millis(self.choices.below(256) as u64),
        }
    }

    fn end_something(&mut self) {
        match self.choices.below(4) {
            0 => {
                let op = self.some_op();
                self.session.cancel(op);
                if let Some(watched) = self.ops.get_mut(&op) {
                    (watched.is_over, watched.is_paused) = (true, false);
                }
            }
            1 => {
                let op = self.some_op();
                let at = Duration::from_millis(self.choices.below(256) as u64);
                self.session.set_deadline(op, self.now + at);
            }
            _ if !self.out.is_empty() => {
                let index = self.choices.below(self.out.len());
                let kinds = [
                    FaultKind::Connect,
                    FaultKind::Tls,
                    FaultKind::Timeout,
                    FaultKind::Reset,
                    FaultKind::Sink,
                ];
                let kind = kinds[self.choices.below(kinds.len())];
                let carried = self.out.remove(index);
                self.session.complete(self.now, carried.fail(Fault::new(kind, "as it was drawn")));
            }
            _ => {}
        }
    }

    fn resume(&mut self, op: OpId) {
        self.session.resume(op);
        if let Some(watched) = self.ops.get_mut(&op) {
            watched.is_paused = false;
        }
    }

    fn some_op(&mut self) -> OpId {
        let index = self.choices.below(self.ops.len());
        *self.ops.keys().nth(index).expect("an index below the length")
    }

    /// All operations are over: nothing more is said, whatever still comes.
    fn end(&mut self) {
        assert!(
            self.out.iter().all(|carried| carried.op.is_none()),
            "a request of an operation that is over"
        );
        for stale in std::mem::take(&mut self.stale) {
            self.session.complete(self.now, stale.end());
        }
        for op in self.ops.keys() {
            self.session.resume(*op);
            self.session.cancel(*op);
        }
        self.poll();
        for watched in self.ops.values() {
            let ends =
                watched.events.iter().filter(|said| *said == "done" || said.starts_with("failed ")).count();
            assert!(ends <= 1, "an operation ends {ends} times: {:?}", watched.events);
        }
    }
}
