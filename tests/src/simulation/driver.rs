//! A session's driver, and the network that it carries requests over.
//!
//! The clock is the driver's own: it stands while something happens, and goes on to the next delivery, or to
//! what the session's `Wait` says, whichever is earlier.

use std::collections::BTreeMap;
use std::time::Duration;

use oci_proto::{
    Config, CredentialsQuery, Descriptor, Event, ExchangeId, Limits, OpId, Output, QueryId, Session, Time,
};

use super::answers::SECRET;
use super::carried::{Carried, Progress};
use super::trace::Trace;
use super::watched::Watched;
use super::{Answers, Choices, Counts, Manners};
use crate::transcript::describe;

/// A session and its driver.
pub struct Simulation<'c, A> {
    /// Operations are started on it, and then [watched](Self::watch).
    pub session: Session,
    /// Every request that was sent.
    pub requests: Vec<String>,
    /// Who answers.
    pub answers: A,
    /// How often the driver did what.
    pub counts: Counts,
    pub(super) trace: Trace,
    pub(super) choices: Choices<'c>,
    pub(super) manners: Manners,
    limits: Limits,
    pub(super) now: Time,
    pub(super) ops: BTreeMap<OpId, Watched>,
    pub(super) out: Vec<Carried>,
    /// Those that the session waits for no more.
    pub(super) stale: Vec<Carried>,
    /// Questions for logins that have no answer yet, and when they will have one.
    pub(super) owed: Vec<(Time, QueryId, CredentialsQuery)>,
    /// Some that had one.
    pub(super) answered: Vec<QueryId>,
    /// What pulls ask for that has no answer yet, and when it will have one.
    pub(super) wanted: Vec<(Time, OpId, Descriptor)>,
    /// How many steps the driver does nothing but carry requests.
    pub(super) calm: usize,
    /// Origins that asked to be left alone, and until when.
    closed: BTreeMap<String, Time>,
    /// Whether what the session says now is what a completion has just led to.
    pub(super) is_fresh: bool,
    /// What ended last.
    ended: Option<ExchangeId>,
    /// For how long its server asked to be left alone.
    pub(super) wait: Option<Duration>,
    steps: usize,
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
            answers,
            counts: Counts::new(),
            trace: Trace::default(),
            choices,
            manners,
            limits,
            now: Time::ZERO,
            ops: BTreeMap::new(),
            out: Vec::new(),
            stale: Vec::new(),
            owed: Vec::new(),
            answered: Vec::new(),
            wanted: Vec::new(),
            calm: 0,
            closed: BTreeMap::new(),
            is_fresh: false,
            ended: None,
            wait: None,
            steps: 0,
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
        while self.step() {}
    }

    /// Takes what the session says, and does one thing more; whether an operation goes on.
    pub(super) fn step(&mut self) -> bool {
        let until = self.poll();
        if self.ops.values().all(|watched| watched.is_over) {
            return false;
        }
        self.steps += 1;
        assert!(self.steps <= MAX_STEPS, "operations go on after {MAX_STEPS} steps: {:?}", self.ops);
        self.act(until);
        true
    }

    /// How much has happened.
    pub(super) fn steps(&self) -> usize {
        self.steps
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
                    let carried = Carried::new(exchange, self.now, &mut self.answers, &mut self.choices);
                    self.send(carried);
                }
                Output::Event(op, event) => self.take(op, event),
                Output::Abort(id) => self.abort(id),
                Output::Credentials(query, asked) => {
                    let delay = self.choices.pick(&[0, 0, 5, 300, 3000]);
                    self.trace.note(self.now, || format!("? {query:?} {asked:?}"));
                    self.owed.push((self.now + Duration::from_millis(delay), query, asked));
                }
                Output::Wait(until) => {
                    self.check_wait(until);
                    self.is_fresh = false;
                    return until;
                }
                other => panic!("the driver does not know {other:?}"),
            }
        }
        panic!("the session does not wait after {MAX_STEPS} outputs");
    }

    fn send(&mut self, carried: Carried) {
        self.trace.note(self.now, || match carried.op {
            Some(op) => format!("> {:?} for {op:?}: {}", carried.id, carried.request),
            None => format!("> {:?}: {}", carried.id, carried.request),
        });
        if let Some(op) = carried.op {
            let watched = self.ops.get_mut(&op).expect("an operation that was started");
            assert!(!watched.is_over, "a request of an operation that is over");
            assert!(!watched.is_paused, "a request of a paused operation");
            watched.sent(carried.name(), carried.path());
        }
        let closed = self.closed.get(&carried.origin).filter(|until| self.now < **until);
        assert_eq!(closed, None, "a request to a server that asked to be left alone: {}", carried.request);
        self.requests.push(carried.request.clone());
        assert!(self.requests.len() <= MAX_REQUESTS, "more than {MAX_REQUESTS} requests");
        let beside = self.out.iter().filter(|other| other.origin == carried.origin).count();
        assert!(beside < self.limits.in_flight_per_origin.max(1), "too many requests to an origin");
        self.out.push(carried);
        assert!(self.out.len() <= self.limits.in_flight.max(1), "too many requests in all");
    }

    /// What a session may wait for: not for what is over, not for nothing, and not past a retry.
    fn check_wait(&self, until: Option<Time>) {
        assert!(until.is_none_or(|until| until > self.now), "a wait that is over spins");
        let waits = |watched: &&Watched| !watched.is_over && !watched.is_paused;
        let idle = self.out.is_empty() && self.owed.is_empty() && self.wanted.is_empty();
        let hangs = until.is_none() && idle && self.ops.values().any(|watched| waits(&watched));
        assert!(!hangs, "the session waits for nothing: {:?}", self.ops);
        let retries = self.ops.values().filter(waits).flat_map(|watched| &watched.retries);
        if let Some(next) = retries.filter(|at| **at > self.now).min() {
            assert!(
                until.is_some_and(|until| until <= *next),
                "a retry at {next:?}, and a wait until {until:?}"
            );
        }
    }

    fn take(&mut self, op: OpId, event: Event) {
        let said = describe(&event);
        self.trace.note(self.now, || format!("= {op:?} {said}"));
        assert!(!said.contains(SECRET), "a secret is told: {said}");
        let watched = self.ops.get_mut(&op).expect("an event of an operation that was started");
        assert!(!watched.is_over, "after its end, an operation says {said}");
        assert!(!watched.is_paused, "a paused operation says {said}");
        match &event {
            Event::Retry(retry) => {
                let most = self.limits.backoff_max.max(self.limits.retry_after_max);
                assert!(retry.delay <= most, "a wait of {:?}, where {most:?} is the longest", retry.delay);
                if self.is_fresh {
                    let wait = self.wait.unwrap_or_default();
                    assert!(retry.delay >= wait, "a wait of {:?}, where {wait:?} was asked for", retry.delay);
                    let at = self.now + retry.delay;
                    watched.retries.push(at);
                    let slows = matches!(retry.error.status().map(|status| status.as_u16()), Some(429 | 503));
                    if let Some((_, url)) = retry.error.request().filter(|_| slows) {
                        let uri = url.parse().expect("the URL of a request");
                        let until = self.closed.entry(super::carried::origin(&uri)).or_default();
                        *until = at.max(*until);
                    }
                }
            }
            Event::Wanted(descriptor) => {
                let delay = self.choices.pick(&[0, 0, 1, 200]);
                self.wanted.push((self.now + Duration::from_millis(delay), op, descriptor.clone()));
            }
            _ => {}
        }
        watched.take(event, said);
    }

    fn abort(&mut self, id: ExchangeId) {
        self.trace.note(self.now, || format!("x {id:?}"));
        if let Some(index) = self.out.iter().position(|carried| carried.id == id) {
            self.stale.push(self.out.remove(index));
        } else {
            // A deadline that passes with an exchange's end calls it off.
            assert_eq!(self.ended, Some(id), "only what is out is called off");
        }
    }

    /// Does one of the things that a driver may do.
    fn act(&mut self, until: Option<Time>) {
        if self.choices.is_empty() && self.ops.values().any(|watched| watched.is_paused) {
            // Without further choice it goes straight on.
            return self.resume_all();
        }
        if !self.choices.is_empty() && self.calm == 0 && (self.manners.interrupts || self.manners.ends) {
            self.calm = self.choices.below(24);
            return self.indulge();
        }
        self.calm = self.calm.saturating_sub(1);
        let next = self.out.iter().enumerate().min_by_key(|(_, carried)| (carried.due, carried.id));
        let next = next.map(|(index, carried)| (index, carried.due));
        let owed = self.owed.iter().map(|(due, ..)| *due).min();
        let wanted = self.wanted.iter().map(|(due, ..)| *due).min();
        let Some(due) = [next.map(|(_, due)| due), owed, wanted, until].into_iter().flatten().min() else {
            // Whoever is not paused has nothing to do.
            return self.resume_all();
        };
        self.now = self.now.max(due);
        if owed == Some(due) {
            let index = self.owed.iter().position(|(at, ..)| *at == due).expect("what is due");
            self.look_up(index);
        } else if wanted == Some(due) {
            let index = self.wanted.iter().position(|(at, ..)| *at == due).expect("what is due");
            self.say_what_is_held(index);
        } else if let Some((index, _)) = next.filter(|(_, at)| *at == due) {
            self.go_on(index);
        } else {
            self.sleeps += 1;
            let Self { sleeps, ops, .. } = self;
            assert!(*sleeps <= MAX_SLEEPS, "it sleeps {MAX_SLEEPS} times, and is no further: {ops:?}");
        }
    }

    /// Carries on with a request by what is delivered next.
    fn go_on(&mut self, index: usize) {
        let carried = self.out.swap_remove(index);
        let Self { ops, answers, choices, trace, .. } = self;
        let progress = carried.go_on(self.now, answers, choices, trace, |sink, at, bytes| {
            let watched = ops.get_mut(&sink.op).expect("a sink of an operation that was started");
            watched.deliver(&sink.digest, at, bytes);
        });
        match progress {
            Progress::Going(carried) => self.out.push(carried),
            Progress::Ended(completion, wait) => {
                self.answers.shown(&completion);
                self.wait = wait;
                self.ended = Some(completion.id());
                self.session.complete(self.now, completion);
                self.is_fresh = true;
            }
        }
    }

    /// Answers a question for a login.
    fn look_up(&mut self, index: usize) {
        let (_, query, asked) = self.owed.remove(index);
        let found = self.answers.login(&asked, &mut self.choices);
        self.trace.note(self.now, || format!("  login {query:?} {found:?}"));
        self.session.credentials(self.now, query, found);
        self.answered.push(query);
    }

    pub(super) fn resume_all(&mut self) {
        let paused = self.ops.iter().filter(|(_, watched)| watched.is_paused).map(|(op, _)| *op);
        for op in paused.collect::<Vec<_>>() {
            self.resume(op);
        }
    }

    pub(super) fn resume(&mut self, op: OpId) {
        self.session.resume(op);
        if let Some(watched) = self.ops.get_mut(&op) {
            watched.is_paused = false;
        }
    }

    /// All operations are over: nothing more is said, whatever still comes.
    pub(super) fn end(&mut self) {
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
