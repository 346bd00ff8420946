//! The state of a session's driver.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use oci_proto::{Config, Digest, ExchangeId, Limits, OpId, QueryId, Question, Session, Time};

use crate::simulation::answers::Answers;
use crate::simulation::behaviour::Behaviour;
use crate::simulation::choices::Choices;
use crate::simulation::counts::Counts;
use crate::simulation::pipes::Pipes;
use crate::simulation::trace::Trace;
use crate::simulation::transfer::{Answered, Transfer};
use crate::simulation::watched::Watched;

/// A session and its driver.
pub struct Simulation<'c, A> {
    /// The session. Start an operation on it, and then [watch](Self::watch) it.
    pub session: Session,
    /// All requests sent.
    pub requests: Vec<String>,
    /// The servers.
    pub answers: A,
    /// Counters of the driver's actions.
    pub counts: Counts,
    pub(super) trace: Trace,
    pub(super) choices: Choices<'c>,
    pub(super) behaviour: Behaviour,
    pub(super) limits: Limits,
    pub(super) now: Time,
    pub(super) ops: BTreeMap<OpId, Watched>,
    pub(super) out: Vec<Transfer>,
    /// Operations that send content from one registry to another.
    pub(super) copies: BTreeSet<OpId>,
    pub(super) pipes: Pipes,
    /// Whether an upload may have to be cancelled after the end of its operation.
    pub(super) writes: bool,
    /// Aborted, abandoned and lost requests.
    pub(super) stale: Vec<Transfer>,
    /// Unanswered questions, with the time of their answer.
    pub(super) owed: Vec<(Time, QueryId, Question)>,
    /// Some answered questions.
    pub(super) answered: Vec<QueryId>,
    /// The questions of a dropped driver, until they are asked again.
    pub(super) forgotten: BTreeMap<QueryId, Option<OpId>>,
    /// The number of steps for which the driver only performs requests.
    pub(super) calm: usize,
    /// Origins with a Retry-After, and its end.
    pub(super) closed: BTreeMap<String, Time>,
    /// Whether the current outputs follow directly from a completion.
    pub(super) is_fresh: bool,
    /// The exchange that ended last.
    pub(super) ended: Option<ExchangeId>,
    /// Its response, if there was one.
    pub(super) response: Option<Answered>,
    pub(super) steps: usize,
    pub(super) sleeps: usize,
}

impl<A> fmt::Debug for Simulation<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<'c, A: Answers> Simulation<'c, A> {
    /// An idle session with its driver.
    pub fn new(config: Config, answers: A, behaviour: Behaviour, choices: Choices<'c>) -> Self {
        let limits = config.limits.clone();
        Self {
            session: Session::new(config, 1),
            requests: Vec::new(),
            answers,
            counts: Counts::new(),
            trace: Trace::default(),
            choices,
            behaviour,
            limits,
            now: Time::ZERO,
            ops: BTreeMap::new(),
            out: Vec::new(),
            copies: BTreeSet::new(),
            pipes: Pipes::default(),
            writes: false,
            stale: Vec::new(),
            owed: Vec::new(),
            answered: Vec::new(),
            forgotten: BTreeMap::new(),
            calm: 0,
            closed: BTreeMap::new(),
            is_fresh: false,
            ended: None,
            response: None,
            steps: 0,
            sleeps: 0,
        }
    }

    /// Watches an operation that was started.
    pub fn watch(&mut self, op: OpId) -> OpId {
        self.watch_with(op, BTreeSet::new());
        op
    }

    /// Watches an operation that stores these referrers after their root.
    pub(super) fn watch_with(&mut self, op: OpId, after_root: BTreeSet<Digest>) {
        let mut watched = Watched::default();
        watched.after_root = after_root;
        self.ops.insert(op, watched);
    }

    /// The same for an operation that sends content from one registry to another.
    pub(super) fn watch_copy(&mut self, op: OpId, after_root: BTreeSet<Digest>) {
        self.watch_with(op, after_root);
        self.copies.insert(op);
    }

    /// A measure of progress.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
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

    /// Removes the questions of an ended operation.
    pub(super) fn forget(&mut self, op: OpId) {
        self.owed.retain(|(_, _, question)| question.op() != Some(op));
        self.forgotten.retain(|_, asking| *asking != Some(op));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
