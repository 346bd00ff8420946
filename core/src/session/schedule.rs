//! The order of outputs: events and questions of operations, and requests to the origins in turn.

use std::mem;
use std::sync::Arc;

use crate::error::{Error, LimitExceeded};
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, OpOutput};
use crate::session::lanes::Job;
use crate::session::output::{Output, Question};
use crate::session::running::Running;
use crate::session::state::Session;
use crate::session::task::{Task, TaskState};
use crate::types::id::{OpId, TaskId};
use crate::types::time::Time;
use crate::wire::exchange::Exchange;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

impl Session {
    /// Moves the time forward, and handles the timers and deadlines that have expired.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((at, id)) = self.timers.first().copied()
            && at <= self.now
        {
            self.timers.pop_first();
            self.queue(id);
        }
        while let Some((at, op)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.deadlines.pop_first();
            if let Some(running) = self.ops.get_mut(&op) {
                running.deadline = None;
            }
            self.end_operation(op, Error::new(LimitExceeded::Deadline));
        }
    }

    /// Returns the next event or question of an operation.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        while let Some(op) = self.ready.front().copied() {
            let output = self.ops.get_mut(&op).filter(|running| !running.paused).and_then(next_of);
            let Some(output) = output else {
                if let Some(again) = self.repeated_question(op) {
                    return Some(again);
                }
                self.ready.pop_front();
                if let Some(running) = self.ops.get_mut(&op) {
                    running.is_ready = false;
                }
                continue;
            };
            let question = match output {
                OpOutput::Event(mut event @ (Event::Done | Event::Failed(_))) => {
                    self.redact(op, &mut event);
                    self.ready.pop_front();
                    self.remove(op);
                    return Some(Output::Event(op, event));
                }
                OpOutput::Event(mut event) => {
                    // The reported event frees space in the operation's window of fetches.
                    self.wake(op);
                    self.redact(op, &mut event);
                    return Some(Output::Event(op, event));
                }
                OpOutput::Held(descriptor) => Question::Held { op, descriptor },
                OpOutput::Store(descriptor, content) => Question::Store { op, descriptor, content },
                OpOutput::Document(descriptor) => Question::Document { op, descriptor },
                OpOutput::Referrers(subject) => Question::Referrers { op, subject },
                OpOutput::Read(max) => Question::Read { op, max },
            };
            self.wake(op);
            let query = self.ids.query();
            self.asked.insert(query, question.clone());
            if let Some(running) = self.ops.get_mut(&op) {
                running.asked.insert(query);
            }
            return Some(Output::Ask(query, question));
        }
        None
    }

    /// Returns a question of the operation that must be asked again.
    fn repeated_question(&mut self, op: OpId) -> Option<Output> {
        let running = self.ops.get_mut(&op)?;
        if running.paused || running.ended.is_some() {
            return None;
        }
        let query = running.to_ask.pop_first()?;
        let question = self.asked.get(&query)?.clone();
        Some(Output::Ask(query, question))
    }

    /// Returns the next request to send. Origins take turns, and so do the operations of each origin.
    pub(super) fn next_exchange(&mut self) -> Option<Exchange> {
        while let Some((origin, job)) = self.next_job() {
            if let Some(exchange) = self.start_job(job, &origin) {
                return Some(exchange);
            }
            self.lanes.tidy(&origin, self.now);
            if self.auth.has_question() {
                return None;
            }
        }
        None
    }

    /// Returns the next job that may be started now.
    ///
    /// A limit may be exceeded if all requests that it counts are halves that wait for their other half to
    /// be sent. None of them would end otherwise.
    fn next_job(&mut self) -> Option<(Origin, Job)> {
        let limits = &self.config.limits;
        if let Some(next) = self.lanes.next(limits, self.now) {
            return Some(next);
        }
        let is_full = self.lanes.is_full(limits);
        let may_exceed = |origin: &&Origin| self.only_halves_wait(|task| is_full || task.origin == **origin);
        let origin = self.lanes.waiting(self.now).find(may_exceed)?.clone();
        let task = self.lanes.next_urgent(&origin)?;
        Some((origin, Job::Task(task)))
    }

    fn start_job(&mut self, job: Job, origin: &Origin) -> Option<Exchange> {
        match job {
            Job::Task(id) => {
                if self.park_if_paused(id) {
                    return None;
                }
                self.send(id)
            }
            Job::Pair(first, second) => {
                if [first, second].map(|half| self.park_if_paused(half)).contains(&true) {
                    self.lanes.forget_pair(first);
                    return None;
                }
                self.send_pair(first, second)
            }
            Job::Op(id) => {
                let running = self.ops.get_mut(&id)?;
                let idle = running.paused || running.ended.is_some();
                let Some(admission) = (if idle { None } else { next_fetch(running, origin, &self.habits) })
                else {
                    running.queued.retain(|queued| queued != origin);
                    // It may have ended instead.
                    if !mem::replace(&mut running.is_ready, true) {
                        self.ready.push_back(id);
                    }
                    return None;
                };
                self.lanes.push(origin, Job::Op(id));
                match admission {
                    Admission::One(fetch) => {
                        let id = self.begin_fetch(id, fetch)?;
                        let task = self.tasks.get(&id)?;
                        match task.state {
                            TaskState::Asleep(_) => return None,
                            _ if task.origin == *origin => return self.send(id),
                            _ => {}
                        }
                        // A different origin has its own limits.
                        self.queue(id);
                        None
                    }
                    Admission::Pair(halves) => {
                        let (first, second) = self.begin_pair(id, *halves)?;
                        self.send_pair(first, second)
                    }
                }
            }
        }
    }

    /// Parks a task if its operation is paused. Returns whether it did. A half is not parked while the other
    /// one is in flight, which does not end without it. A parked pair keeps no slots.
    fn park_if_paused(&mut self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let running = task.op().and_then(|op| self.ops.get(&op));
        if !running.is_some_and(|running| running.paused) {
            return false;
        }
        let other = task.half.as_ref().map(|half| half.other);
        let is_in_flight = |task: &Task| matches!(task.state, TaskState::InFlight(_));
        if other.and_then(|other| self.tasks.get(&other)).is_some_and(is_in_flight) {
            return false;
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = TaskState::Parked;
        }
        if let Some(other) = other {
            self.part_if_parked([id, other]);
        }
        true
    }

    /// Gives up the slots of a pair if both halves are parked. The pair must be admitted again.
    fn part_if_parked(&mut self, pair: [TaskId; 2]) {
        let is_parked = |id| self.tasks.get(id).is_some_and(|task| matches!(task.state, TaskState::Parked));
        if !pair.iter().all(is_parked) {
            return;
        }
        for id in pair {
            let half = self.tasks.get_mut(&id).and_then(|task| task.half.as_mut());
            let Some(half) = half else { continue };
            half.admitted = false;
            if let Some(origin) = half.slot.take() {
                self.lanes.unreserve(&origin, self.now);
            }
        }
    }
}

/// Returns the next fetch from a target at an origin, or with a mirror there.
fn next_fetch(running: &mut Running, origin: &Origin, habits: &Habits) -> Option<Admission> {
    let is_served = |target: &&Arc<Target>| target.with_mirrors().any(|source| source.origin == *origin);
    let served = running.op.targets().iter().filter(is_served).map(|target| target.origin.clone());
    let served: Vec<Origin> = served.collect();
    served.iter().find_map(|target| running.op.next_fetch(target, habits))
}

/// Returns the next output of an operation. Events that the session raises come first.
fn next_of(running: &mut Running) -> Option<OpOutput> {
    if let Some(notice) = running.notices.pop_front() {
        return Some(OpOutput::Event(notice));
    }
    if let Some(error) = running.ended.take() {
        return Some(OpOutput::Event(Event::Failed(error)));
    }
    running.op.next_output()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::op::location::Locations;
    use crate::op::operation::{BlobFetch, Fetch, FetchKind, Fetched, Operation};
    use crate::types::digest::{Algorithm, Digest};
    use crate::types::reference::Reference;

    /// Fetches two blobs together, and is done when both are settled.
    #[derive(Debug)]
    struct Both {
        target: Arc<Target>,
        locations: Option<[Locations; 2]>,
        settled: usize,
        has_failed: bool,
    }

    impl Operation for Both {
        fn targets(&self) -> &[Arc<Target>] {
            std::slice::from_ref(&self.target)
        }

        fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
            let [first, second] = self.locations.take()?.map(|locations| {
                let blob = BlobFetch {
                    digest: Digest::of(Algorithm::Sha256, b"content"),
                    size: Some(7),
                    locations,
                    resume: None,
                    feeds_from: None,
                    may_restart: true,
                    discard: true,
                    has_others: false,
                };
                let kind = FetchKind::Blob(Box::new(blob));
                Fetch { target: self.target.clone(), kind, ticket: None, is_search: false }
            });
            Some(Admission::Pair(Box::new((first, second))))
        }

        fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
            self.settled += 1;
            self.has_failed |= outcome.is_err();
        }

        fn next_output(&mut self) -> Option<OpOutput> {
            (self.settled == 2 || self.has_failed).then_some(OpOutput::Event(Event::Done))
        }
    }

    #[test]
    fn a_pair_ends_if_one_half_cannot_begin() {
        let valid = || Locations::of(&[], false);
        let invalid = || Locations::of(&["ftp://elsewhere.example/".to_owned()], false);
        for (locations, requests) in [
            ([valid(), valid()], 2),
            ([invalid(), valid()], 0),
            ([valid(), invalid()], 0),
            ([invalid(), invalid()], 0),
        ] {
            let mut session = Session::new(Config::default(), 0);
            let reference: Reference = "registry.example/team/app:1".parse().unwrap();
            let target = Target::to_repository(reference.registry(), reference.repository(), false);
            let (target, locations) = (Arc::new(target), Some(locations));
            session.start(Box::new(Both { target, locations, settled: 0, has_failed: false }));
            let mut sent = 0;
            loop {
                match session.poll_output(Time::ZERO) {
                    Output::Send(exchange) => {
                        sent += 1;
                        let mut receiving =
                            exchange.split().2.head(http::StatusCode::OK, http::HeaderMap::new());
                        receiving.push(b"content").unwrap();
                        session.complete(Time::ZERO, receiving.finish());
                    }
                    Output::Event(_, Event::Done) => break,
                    other => panic!("{requests} requests: {other:?}"),
                }
            }
            assert_eq!(sent, requests);
            assert!(session.is_idle());
        }
    }
}
