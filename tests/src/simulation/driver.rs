//! The driver of a session, with its network.
//!
//! The clock belongs to the driver: it advances to the next delivery or to the end of the session's `Wait`,
//! whichever is earlier, and stands still in between.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use oci_proto::{Event, Exchange, ExchangeId, OpId, Output, QueryId, Question, Time};

use crate::simulation::answers::{Answers, SECRET};
use crate::simulation::state::Simulation;
use crate::simulation::transfer::{Answered, Progress, Transfer};
use crate::simulation::watched::Watched;
use crate::transcript::describe::{describe, describe_question};

/// More requests than any run needs.
const MAX_REQUESTS: usize = 20_000;
/// More decisions of the driver than any run needs.
const MAX_STEPS: usize = 1_000_000;
/// More waits than any run needs: for each failure and each deadline.
const MAX_SLEEPS: usize = 2_000;

impl<A: Answers> Simulation<'_, A> {
    /// Drives all operations to completion, and returns the observations of each.
    ///
    /// # Panics
    ///
    /// The session violates its contract.
    pub fn run(mut self) -> (BTreeMap<OpId, Watched>, Vec<String>) {
        self.drive();
        self.end();
        (self.ops, self.requests)
    }

    /// Drives all operations to completion. More may be started then.
    ///
    /// # Panics
    ///
    /// The session violates its contract.
    pub fn drive(&mut self) {
        while self.step() {}
    }

    /// Handles the session's outputs, and performs one more action. Returns whether any operation is still
    /// running.
    pub(super) fn step(&mut self) -> bool {
        let until = self.poll();
        if self.ops.values().all(|watched| watched.is_over) {
            let is_over = !self.writes || self.session.is_idle();
            if is_over || until.is_none() && !self.out.iter().any(Transfer::is_cleanup) {
                return false;
            }
        }
        self.steps += 1;
        assert!(self.steps <= MAX_STEPS, "operations are running after {MAX_STEPS} steps: {:?}", self.ops);
        self.act(until);
        true
    }

    /// Handles the session's outputs, up to its `Wait`.
    fn poll(&mut self) -> Option<Time> {
        for _ in 0..MAX_STEPS {
            let output = self.session.poll_output(self.now);
            self.answers.shown(&output);
            match output {
                Output::Send(exchange) => {
                    self.send(exchange);
                }
                Output::Event(op, event) => self.take(op, event),
                Output::Abort(id) => self.abort(id),
                Output::Ask(query, question) => self.ask(query, question),
                Output::Wait(until) => {
                    self.check_wait(until);
                    self.check_counts();
                    self.is_fresh = false;
                    return until;
                }
            }
        }
        panic!("the session does not wait after {MAX_STEPS} outputs");
    }

    fn send(&mut self, exchange: Exchange) {
        let is_copy = exchange.op().is_some_and(|op| self.copies.contains(&op));
        if is_copy {
            match (exchange.sink(), exchange.source()) {
                (Some(sink), _) => self.pipes.open(exchange.id(), sink),
                (_, Some(source)) => self.pipes.connect(exchange.id(), source),
                _ => {}
            }
        }
        let transfer = Transfer::new(exchange, is_copy, self.now, &mut self.answers, &mut self.choices);
        self.trace.note(self.now, || match transfer.op {
            Some(op) => format!("> {:?} for {op:?}: {}", transfer.id, transfer.request),
            None => format!("> {:?}: {}", transfer.id, transfer.request),
        });
        if let Some(op) = transfer.op {
            let watched = self.ops.get_mut(&op).expect("the operation was started");
            assert!(!watched.is_over, "a request of an ended operation");
            let continues = self.out.iter().any(|other| is_pair(other, &transfer));
            assert!(continues || !watched.is_paused, "a request of a paused operation");
            watched.sent(transfer.name(), transfer.path());
        }
        let closed = self.closed.get(&transfer.origin).filter(|until| self.now < **until);
        assert_eq!(closed, None, "a request before the server's Retry-After: {}", transfer.request);
        self.requests.push(transfer.request.clone());
        assert!(self.requests.len() <= MAX_REQUESTS, "more than {MAX_REQUESTS} requests");
        let beside: Vec<&Transfer> =
            self.out.iter().filter(|other| other.origin == transfer.origin).collect();
        // A request may go beyond the limit if all others wait for their other halves.
        let waits = |half: &&Transfer| half.is_half && !self.out.iter().any(|other| is_pair(other, half));
        let fits = beside.len() < self.limits.in_flight_per_origin.max(1);
        assert!(fits || beside.iter().all(waits), "too many requests to an origin");
        self.out.push(transfer);
        let pairs = self.limits.in_flight == 1 && self.out.iter().any(|transfer| transfer.is_half);
        let most = self.limits.in_flight.max(if pairs { 2 } else { 1 });
        assert!(self.out.len() <= most, "too many requests in total");
    }

    /// A session may wait for live operations only, for something that can happen, and no longer than until a
    /// retry.
    fn check_wait(&self, until: Option<Time>) {
        assert!(until.is_none_or(|until| until > self.now), "a wait in the past spins");
        let waits = |watched: &&Watched| !watched.is_over && !watched.is_paused;
        let idle = self.owed.is_empty() && !self.out.iter().any(|transfer| transfer.is_ready(&self.pipes));
        let waits_for_any = self.ops.values().any(|watched| waits(&watched)) || !self.out.is_empty();
        let hangs = until.is_none() && idle && waits_for_any;
        assert!(!hangs, "the session waits for nothing: {:?}", self.ops);
        // The retry of one half of a pair may be replaced by that of the other.
        let single = self.ops.iter().filter(|(op, _)| !self.copies.contains(op)).map(|(_, watched)| watched);
        let retries = single.filter(waits).flat_map(|watched| &watched.retries);
        if let Some(next) = retries.filter(|at| **at > self.now).min() {
            assert!(
                until.is_some_and(|until| until <= *next),
                "a retry at {next:?}, but a wait until {until:?}"
            );
        }
    }

    /// The session's own counts must agree with the driver's.
    fn check_counts(&self) {
        assert_eq!(self.session.in_flight(), self.out.len(), "requests in flight");
        let open = self.owed.len() + self.forgotten.len();
        assert_eq!(self.session.unanswered(), open, "unanswered questions: {:?}", self.owed);
        let idle = self.out.is_empty() && self.ops.values().all(|watched| watched.is_over);
        let is_idle = self.session.is_idle();
        // The cancellation of an upload may wait to be sent.
        let agrees = if self.writes { idle || !is_idle } else { idle == is_idle };
        assert!(agrees, "a session is idle when all operations have ended: {:?}", self.ops);
    }

    fn ask(&mut self, query: QueryId, question: Question) {
        let asks = describe_question(&question);
        self.trace.note(self.now, || format!("? {query:?} of {:?}: {asks}", question.op()));
        assert!(self.owed.iter().all(|(_, owed, _)| *owed != query), "asked twice: {asks}");
        assert!(!self.answered.contains(&query), "asked again after its answer: {asks}");
        let again = self.forgotten.remove(&query).is_some();
        if again {
            self.count("questions asked again");
        }
        if let Some(op) = question.op() {
            let watched = self.ops.get_mut(&op).expect("the operation of the question was started");
            assert!(!watched.is_over, "an ended operation asks {asks}");
            assert!(!watched.is_paused, "a paused operation asks {asks}");
            if !again {
                watched.ask(&question, asks);
            }
        }
        let delays = match &question {
            Question::Credentials(_) => [0, 0, 5, 300, 3000],
            Question::Held { .. } => [0, 0, 1, 200, 0],
            Question::Store { .. }
            | Question::Document { .. }
            | Question::Referrers { .. }
            | Question::Read { .. } => [0, 0, 1, 200, 30],
        };
        let delay = Duration::from_millis(self.choices.pick(&delays));
        self.owed.push((self.now + delay, query, question));
    }

    fn take(&mut self, op: OpId, event: Event) {
        let said = describe(&event);
        self.trace.note(self.now, || format!("= {op:?} {said}"));
        assert!(!said.contains(SECRET), "a secret in an event: {said}");
        let watched = self.ops.get_mut(&op).expect("the operation of the event was started");
        assert!(!watched.is_over, "an ended operation emits {said}");
        assert!(!watched.is_paused, "a paused operation emits {said}");
        match &event {
            Event::Retry(retry) => {
                let most = self.limits.backoff_max.max(self.limits.retry_after_max);
                assert!(
                    retry.delay <= most,
                    "a delay of {:?}, longer than the maximum {most:?}",
                    retry.delay
                );
                if self.is_fresh {
                    let uri = retry.error.request().map(|(_, url)| url.parse::<Uri>());
                    let uri = uri.map(|uri| uri.expect("the URL of a request is valid"));
                    let path = uri.as_ref().map_or("", Uri::path);
                    let is_of = |answered: &&Answered| {
                        retry.error.status() == Some(answered.status) && answered.path == path
                    };
                    let answered = self.response.as_ref().filter(is_of);
                    let wait = answered.map_or(Duration::ZERO, |answered| answered.wait);
                    assert!(
                        retry.delay >= wait,
                        "a delay of {:?}, shorter than the Retry-After {wait:?}",
                        retry.delay
                    );
                    let at = self.now + retry.delay;
                    watched.retries.push(at);
                    let slows =
                        answered.is_some_and(|answered| matches!(answered.status.as_u16(), 429 | 503));
                    if let Some(uri) = uri.filter(|_| slows) {
                        // The next attempt of an upload has a delay of its own.
                        let is_upload = uri.path().contains("/blobs/uploads/");
                        let opens = if is_upload { self.now + wait } else { at };
                        let until = self.closed.entry(super::transfer::origin(&uri)).or_default();
                        *until = opens.max(*until);
                    }
                }
            }
            Event::Done | Event::Failed(_) => self.forget(op),
            _ => {}
        }
        let watched = self.ops.get_mut(&op).expect("the operation was started");
        watched.take(event, said);
    }

    fn abort(&mut self, id: ExchangeId) {
        self.trace.note(self.now, || format!("x {id:?}"));
        if let Some(index) = self.out.iter().position(|transfer| transfer.id == id) {
            let mut transfer = self.out.remove(index);
            transfer.cut_off(self.now, &mut self.answers);
            self.pipes.close(id);
            self.stale.push(transfer);
        } else {
            // A deadline that passes together with an exchange's end aborts it.
            assert_eq!(self.ended, Some(id), "only requests in flight are aborted");
        }
    }

    /// Performs one action of a driver.
    fn act(&mut self, until: Option<Time>) {
        if self.choices.is_empty() && self.ops.values().any(|watched| watched.is_paused) {
            // When all input is used up, it takes the direct way.
            return self.resume_all();
        }
        if !self.choices.is_empty() && self.calm == 0 && (self.behaviour.interrupts || self.behaviour.ends) {
            self.calm = self.choices.below(24);
            return self.act_arbitrarily();
        }
        self.calm = self.calm.saturating_sub(1);
        let ready = self.out.iter().enumerate().filter(|(_, transfer)| transfer.is_ready(&self.pipes));
        let next = ready.min_by_key(|(_, transfer)| (transfer.due, transfer.id));
        let next = next.map(|(index, transfer)| (index, transfer.due));
        let owed = self.owed.iter().map(|(due, ..)| *due).min();
        let Some(due) = [next.map(|(_, due)| due), owed, until].into_iter().flatten().min() else {
            // Resuming requires a paused operation.
            return self.resume_all();
        };
        self.now = self.now.max(due);
        if owed == Some(due) {
            let index = self.owed.iter().position(|(at, ..)| *at == due).expect("a question is due");
            self.reply(index);
        } else if let Some((index, _)) = next.filter(|(_, at)| *at == due) {
            self.advance(index);
        } else {
            self.sleeps += 1;
            let Self { sleeps, ops, .. } = self;
            assert!(*sleeps <= MAX_SLEEPS, "{MAX_SLEEPS} waits without progress: {ops:?}");
        }
    }

    /// Makes the next delivery of a request.
    fn advance(&mut self, index: usize) {
        let transfer = self.out.swap_remove(index);
        let Self { ops, answers, choices, pipes, trace, .. } = self;
        let (id, is_half, mut piped) = (transfer.id, transfer.is_half, Vec::new());
        let progress = transfer.advance(self.now, answers, choices, pipes, trace, |sink, at, bytes| {
            if is_half {
                return piped.push((at, bytes.to_vec()));
            }
            let watched = ops.get_mut(&sink.op).expect("the operation of the sink was started");
            watched.deliver(&sink.digest, at, bytes);
        });
        for (at, bytes) in piped {
            self.pipes.write(id, at, &bytes);
        }
        match progress {
            Progress::Going(transfer) => self.out.push(*transfer),
            Progress::Ended(completion, answered) => {
                self.answers.shown(&*completion);
                self.pipes.finish(id);
                self.response = answered;
                self.ended = Some(completion.id());
                self.session.complete(self.now, *completion);
                self.is_fresh = true;
            }
        }
    }

    /// All operations have ended: the session emits nothing more, whatever arrives.
    pub(super) fn end(&mut self) {
        assert!(self.out.iter().all(|transfer| transfer.op.is_none()), "a request of an ended operation");
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

/// Whether two requests are a download and the upload that it feeds.
fn is_pair(one: &Transfer, other: &Transfer) -> bool {
    let halves = one.is_half && other.is_half && one.op == other.op && one.content == other.content;
    halves && one.id != other.id
}
