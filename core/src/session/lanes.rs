//! The admission of requests, per origin: the number in flight, the queue, and the time until which the
//! origin is closed.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::Limits;
use crate::types::id::{OpId, TaskId};
use crate::types::time::Time;
use crate::wire::origin::Origin;

/// An entry in the queue of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// An operation that may have something to fetch.
    Op(OpId),
    /// A task whose next request is due.
    Task(TaskId),
    /// Two tasks whose first requests must be sent together. The first one is sent to this origin.
    Pair(TaskId, TaskId),
}

/// Admits requests, origin by origin in turn.
///
/// A pair is admitted when there is a slot for each half. While it waits, its origins admit no new job, and
/// no origin does if only the overall limit holds the pair back, so that it is not starved. A pair with a
/// closed origin holds up no job. A half whose exchange ended keeps its slot for its next attempt until the
/// other half has ended, or both are parked. Halves therefore do not take each other's slots. They may still
/// wait for each other at origins to which they were redirected; the session resolves this, see
/// [`waiting`](Self::waiting).
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    by_origin: BTreeMap<Origin, Lane>,
    /// The origin that was served last. The next one in order is served first.
    served: Option<Origin>,
    /// The origin whose turn it is, until a request is sent or its queue is empty.
    turn: Option<Origin>,
    in_flight: usize,
    reserved: usize,
    /// The pairs that wait for slots, in the order in which they are admitted.
    waiting_pairs: Vec<WaitingPair>,
}

/// A pair that waits for its slots.
#[derive(Debug)]
struct WaitingPair {
    tasks: (TaskId, TaskId),
    origins: (Origin, Origin),
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    /// The number of slots that are reserved for halves of pairs.
    reserved: usize,
    queue: VecDeque<Job>,
    /// The number of jobs that may still be queued, although their operations or tasks have ended.
    ended: usize,
    /// Tasks that requests in flight may depend on: token requests, and halves with a reserved slot.
    urgent: VecDeque<TaskId>,
    /// No request is sent before this time.
    closed_until: Time,
}

impl Lanes {
    pub(crate) fn push(&mut self, origin: &Origin, job: Job) {
        self.lane(origin).queue.push_back(job);
    }

    /// Notes that an operation or a task with a job for the origin has ended. Its job is dropped at its turn
    /// or, if the turn does not come, once such jobs are half of those that are queued.
    pub(crate) fn forget(&mut self, origin: &Origin, now: Time, is_alive: impl Fn(Job) -> bool) {
        let Some(lane) = self.by_origin.get_mut(origin) else { return };
        lane.ended += 1;
        let queued = lane.queue.len() + lane.urgent.len();
        if lane.ended > queued / 2 {
            lane.queue.retain(|job| is_alive(*job));
            lane.urgent.retain(|task| is_alive(Job::Task(*task)));
            lane.ended = 0;
        }
        self.tidy(origin, now);
    }

    /// Queues a task before all others, because requests in flight may depend on it.
    pub(crate) fn push_urgent(&mut self, origin: &Origin, task: TaskId) {
        self.lane(origin).urgent.push_back(task);
    }

    /// Returns all queued jobs.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> Vec<Job> {
        let jobs = |lane: &Lane| {
            let urgent = lane.urgent.iter().map(|task| Job::Task(*task));
            lane.queue.iter().copied().chain(urgent).collect::<Vec<Job>>()
        };
        self.by_origin.values().flat_map(jobs).collect()
    }

    /// Returns the next job that may be started now, with its origin.
    pub(crate) fn next(&mut self, limits: &Limits, now: Time) -> Option<(Origin, Job)> {
        // The pair waits until it is admitted or forgotten.
        let with_room = (0..self.waiting_pairs.len()).find(|at| self.has_room(*at, limits, now));
        if let Some(pair) = with_room.and_then(|at| self.waiting_pairs.get(at)) {
            let WaitingPair { tasks: (first, second), origins: (origin, _) } = pair;
            return Some((origin.clone(), Job::Pair(*first, *second)));
        }
        let per_origin = limits.in_flight_per_origin.max(1);
        let all = limits.in_flight.max(1);
        let waiting = || self.waiting_pairs.iter().filter(|pair| !self.is_closed(pair, now));
        // Without this, requests to other origins would starve a pair that waits for the overall limit.
        let admits_new = self.in_flight + self.reserved < all
            && waiting().all(|pair| !self.fits_origins(&pair.origins, per_origin));
        let is_full = self.is_full(limits);
        let admits_urgent = |lane: &Lane| !is_full && lane.in_flight < per_origin;
        let admits = |origin: &Origin, lane: &Lane| {
            let is_claimed = || waiting().any(|pair| pair.has(origin));
            let used = lane.in_flight + lane.reserved;
            let urgent = !lane.urgent.is_empty() && admits_urgent(lane);
            let new = !lane.queue.is_empty() && admits_new && used < per_origin && !is_claimed();
            lane.closed_until <= now && (urgent || new)
        };
        let after = self.served.as_ref();
        let is_later = |origin: &Origin| after.is_none_or(|after| origin > after);
        let lanes =
            || self.by_origin.iter().filter(|(origin, lane)| admits(origin, lane)).map(|(origin, _)| origin);
        let same =
            self.turn.as_ref().filter(|turn| self.by_origin.get(turn).is_some_and(|lane| admits(turn, lane)));
        let in_turn = same.or_else(|| lanes().find(|origin| is_later(origin))).or_else(|| lanes().next());
        let origin = in_turn?.clone();
        self.turn = Some(origin.clone());
        let lane = self.by_origin.get_mut(&origin)?;
        let urgent = if admits_urgent(lane) { lane.urgent.pop_front() } else { None };
        let job = urgent.map(Job::Task).or_else(|| lane.queue.pop_front())?;
        Some((origin, job))
    }

    /// Returns the open origins with urgent tasks, which only the limits hold back.
    pub(crate) fn waiting(&self, now: Time) -> impl Iterator<Item = &Origin> {
        let waits = move |lane: &Lane| !lane.urgent.is_empty() && lane.closed_until <= now;
        self.by_origin.iter().filter(move |(_, lane)| waits(lane)).map(|(origin, _)| origin)
    }

    /// Returns whether the overall limit on requests in flight is reached.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.in_flight >= limits.in_flight.max(1)
    }

    /// Takes the next urgent task of an origin, regardless of the limits.
    pub(crate) fn next_urgent(&mut self, origin: &Origin) -> Option<TaskId> {
        self.by_origin.get_mut(origin)?.urgent.pop_front()
    }

    /// Returns whether a pair may be sent now. If not, the pair waits for its slots.
    pub(crate) fn admits_pair(
        &mut self,
        (first, a): (TaskId, &Origin),
        (second, b): (TaskId, &Origin),
        limits: &Limits,
        now: Time,
    ) -> bool {
        let known = self.waiting_pairs.iter().position(|pair| pair.tasks == (first, second));
        let at = known.unwrap_or(self.waiting_pairs.len());
        if known.is_none() {
            let origins = (a.clone(), b.clone());
            self.waiting_pairs.push(WaitingPair { tasks: (first, second), origins });
        }
        let admits = self.has_room(at, limits, now);
        if admits {
            self.waiting_pairs.remove(at);
        }
        admits
    }

    /// Removes the waiting pair that contains this half.
    pub(crate) fn forget_pair(&mut self, half: TaskId) {
        self.waiting_pairs
            .retain(|WaitingPair { tasks: (first, second), .. }| *first != half && *second != half);
    }

    /// Returns whether there are slots for the pair at this index, and no earlier pair waits for the same
    /// origins.
    fn has_room(&self, at: usize, limits: &Limits, now: Time) -> bool {
        let Some(pair) = self.waiting_pairs.get(at).filter(|pair| !self.is_closed(pair, now)) else {
            return false;
        };
        let (a, b) = &pair.origins;
        let before = self.waiting_pairs.iter().take(at).filter(|other| !self.is_closed(other, now));
        before.into_iter().all(|other| !other.has(a) && !other.has(b))
            && self.fits_origins(&pair.origins, limits.in_flight_per_origin.max(1))
            && fits(self.in_flight + self.reserved, 2, limits.in_flight.max(1))
    }

    fn fits_origins(&self, (a, b): &(Origin, Origin), per_origin: usize) -> bool {
        let used =
            |origin: &Origin| self.by_origin.get(origin).map_or(0, |lane| lane.in_flight + lane.reserved);
        if a == b {
            fits(used(a), 2, per_origin)
        } else {
            fits(used(a), 1, per_origin) && fits(used(b), 1, per_origin)
        }
    }

    /// Returns whether one of the pair's origins is closed. Such a pair does not hold up other jobs.
    fn is_closed(&self, pair: &WaitingPair, now: Time) -> bool {
        let (a, b) = &pair.origins;
        [a, b]
            .into_iter()
            .any(|origin| self.by_origin.get(origin).is_some_and(|lane| lane.closed_until > now))
    }

    /// Counts a request that is sent to the origin, in its reserved slot if it has one.
    pub(crate) fn sent(&mut self, origin: &Origin, kept: Option<&Origin>, now: Time) {
        self.in_flight += 1;
        self.lane(origin).in_flight += 1;
        if let Some(kept) = kept {
            self.unreserve(kept, now);
        }
        self.served = Some(origin.clone());
        self.turn = None;
    }

    /// Counts a request to the origin that has ended.
    pub(crate) fn ended(&mut self, origin: &Origin, now: Time) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(lane) = self.by_origin.get_mut(origin) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        self.tidy(origin, now);
    }

    /// Reserves a slot at the origin for the next attempt of a half.
    pub(crate) fn reserve(&mut self, origin: &Origin) {
        self.reserved += 1;
        self.lane(origin).reserved += 1;
    }

    /// Releases a reserved slot.
    pub(crate) fn unreserve(&mut self, origin: &Origin, now: Time) {
        self.reserved = self.reserved.saturating_sub(1);
        if let Some(lane) = self.by_origin.get_mut(origin) {
            lane.reserved = lane.reserved.saturating_sub(1);
        }
        self.tidy(origin, now);
    }

    /// Closes the origin until this time. Also removes idle origins, since a registry may redirect to a
    /// different one each time.
    pub(crate) fn close(&mut self, origin: &Origin, until: Time, now: Time) {
        self.by_origin.retain(|_, lane| !lane.is_idle(now));
        let lane = self.lane(origin);
        lane.closed_until = lane.closed_until.max(until);
    }

    /// Returns the time at which the first closed origin with waiting jobs opens.
    pub(crate) fn opens_at(&self, now: Time) -> Option<Time> {
        let waits = |origin: &Origin, lane: &Lane| {
            !lane.queue.is_empty()
                || !lane.urgent.is_empty()
                || self.waiting_pairs.iter().any(|pair| pair.has(origin))
        };
        let closed = self.by_origin.iter().filter(|(_, lane)| lane.closed_until > now);
        closed.filter(|(origin, lane)| waits(origin, lane)).map(|(_, lane)| lane.closed_until).min()
    }

    /// Removes the origin if it is idle.
    pub(crate) fn tidy(&mut self, origin: &Origin, now: Time) {
        if self.by_origin.get(origin).is_some_and(|lane| lane.is_idle(now)) {
            self.by_origin.remove(origin);
        }
    }

    fn lane(&mut self, origin: &Origin) -> &mut Lane {
        self.by_origin.entry(origin.clone()).or_default()
    }
}

/// Returns whether `wanted` more requests fit. A pair on its own may exceed a limit below two.
fn fits(used: usize, wanted: usize, limit: usize) -> bool {
    used + wanted <= limit || used == 0
}

impl WaitingPair {
    fn has(&self, origin: &Origin) -> bool {
        let (a, b) = &self.origins;
        a == origin || b == origin
    }
}

impl Lane {
    fn is_idle(&self, now: Time) -> bool {
        let waits = !self.queue.is_empty() || !self.urgent.is_empty();
        self.in_flight == 0 && self.reserved == 0 && !waits && self.closed_until <= now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::id::Ids;

    fn origin(name: &str) -> Origin {
        Origin::of(&format!("https://{name}.example/").parse().unwrap()).unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::from_epoch(Duration::from_secs(seconds))
    }

    fn limits(per_origin: usize, all: usize) -> Limits {
        Limits { in_flight_per_origin: per_origin, in_flight: all, ..Limits::default() }
    }

    #[test]
    fn idle_origins_are_removed() {
        let mut lanes = Lanes::default();
        for n in 0..1000 {
            let origin = origin(&format!("n{n}"));
            lanes.sent(&origin, None, at(n));
            lanes.ended(&origin, at(n));
            lanes.close(&origin, at(n + 10), at(n));
        }
        assert!(lanes.by_origin.len() <= 11, "{} origins are kept", lanes.by_origin.len());

        // Neither do forgotten jobs and released slots keep an origin.
        let mut lanes = Lanes::default();
        let (last, task) = (origin("last"), Ids::new().task());
        for n in 0..1000 {
            let origin = origin(&format!("n{n}"));
            lanes.push(&origin, Job::Task(task));
            lanes.forget(&origin, at(0), |_| false);
            lanes.push_urgent(&origin, task);
            lanes.forget(&origin, at(0), |_| false);
            lanes.reserve(&origin);
            if n % 2 == 0 {
                lanes.unreserve(&origin, at(0));
            } else {
                lanes.sent(&last, Some(&origin), at(0));
                lanes.ended(&last, at(0));
            }
        }
        assert!(lanes.by_origin.is_empty(), "{} origins are kept", lanes.by_origin.len());
    }

    #[test]
    fn a_pair_waits_for_slots_at_both_origins_and_is_not_overtaken() {
        let (a, b) = (origin("a"), origin("b"));
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(2, 32));
        let [first, second, other] = [(); 3].map(|()| ids.task());
        lanes.sent(&b, None, at(0));
        lanes.sent(&b, None, at(0));
        assert!(!lanes.admits_pair((first, &a), (second, &b), &limits, at(0)), "b is full");
        // Neither origin admits a new job meanwhile.
        lanes.push(&a, Job::Task(other));
        lanes.push(&b, Job::Task(other));
        assert_eq!(lanes.next(&limits, at(0)), None);
        lanes.ended(&b, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((a.clone(), Job::Pair(first, second))));
        assert!(lanes.admits_pair((first, &a), (second, &b), &limits, at(0)), "both have a free slot");
        lanes.sent(&a, None, at(0));
        lanes.sent(&b, None, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((a, Job::Task(other))), "a has a slot left");
        assert_eq!(lanes.next(&limits, at(0)), None, "b is full");
    }

    #[test]
    fn a_pair_within_one_origin_needs_two_slots() {
        let a = origin("a");
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(2, 32));
        let [first, second] = [(); 2].map(|()| ids.task());
        lanes.sent(&a, None, at(0));
        assert!(!lanes.admits_pair((first, &a), (second, &a), &limits, at(0)));
        lanes.ended(&a, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((a.clone(), Job::Pair(first, second))));
        assert!(lanes.admits_pair((first, &a), (second, &a), &limits, at(0)));
    }

    #[test]
    fn a_pair_on_its_own_may_exceed_the_limits() {
        let (a, b) = (origin("a"), origin("b"));
        let (mut lanes, mut ids) = (Lanes::default(), Ids::new());
        let [first, second] = [(); 2].map(|()| ids.task());
        assert!(lanes.admits_pair((first, &a), (second, &b), &limits(1, 1), at(0)));
        assert!(lanes.admits_pair((first, &a), (second, &a), &limits(1, 1), at(0)));
    }

    #[test]
    fn a_pair_with_a_closed_origin_does_not_hold_up_other_jobs() {
        let (a, b) = (origin("a"), origin("b"));
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(2, 32));
        let [first, second, other] = [(); 3].map(|()| ids.task());
        lanes.close(&b, at(10), at(0));
        assert!(!lanes.admits_pair((first, &a), (second, &b), &limits, at(0)));
        lanes.push(&a, Job::Task(other));
        assert_eq!(lanes.next(&limits, at(0)), Some((a.clone(), Job::Task(other))));
        assert_eq!(lanes.next(&limits, at(0)), None);
        assert_eq!(lanes.opens_at(at(0)), Some(at(10)));
        assert_eq!(lanes.next(&limits, at(10)), Some((a.clone(), Job::Pair(first, second))));
        assert!(lanes.admits_pair((first, &a), (second, &b), &limits, at(10)));
    }

    #[test]
    fn waiting_pairs_at_different_origins_keep_their_order() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(origin);
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(1, 32));
        let [ab, ba, cd, dc, ac, ca] = [(); 6].map(|()| ids.task());
        lanes.sent(&b, None, at(0));
        lanes.sent(&d, None, at(0));
        assert!(!lanes.admits_pair((ab, &a), (ba, &b), &limits, at(0)), "b is full");
        assert!(!lanes.admits_pair((cd, &c), (dc, &d), &limits, at(0)), "d is full");
        assert!(!lanes.admits_pair((ac, &a), (ca, &c), &limits, at(0)), "others wait for a and c");
        assert_eq!(lanes.next(&limits, at(0)), None);
        lanes.ended(&d, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((c, Job::Pair(cd, dc))));
        lanes.forget_pair(cd);
        lanes.forget_pair(ba);
        assert_eq!(lanes.next(&limits, at(0)), Some((a, Job::Pair(ac, ca))));
    }

    #[test]
    fn requests_to_other_origins_do_not_overtake_a_pair() {
        let [a, b, c] = ["a", "b", "c"].map(origin);
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(8, 3));
        let [first, second, other] = [(); 3].map(|()| ids.task());
        lanes.sent(&c, None, at(0));
        lanes.sent(&c, None, at(0));
        assert!(!lanes.admits_pair((first, &a), (second, &b), &limits, at(0)), "one slot is left");
        lanes.push(&c, Job::Task(other));
        assert_eq!(lanes.next(&limits, at(0)), None);
        lanes.ended(&c, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((a, Job::Pair(first, second))));
    }

    #[test]
    fn a_half_keeps_its_slot_for_its_next_attempt() {
        let a = origin("a");
        let (mut lanes, mut ids, limits) = (Lanes::default(), Ids::new(), limits(2, 2));
        let [half, new] = [(); 2].map(|()| ids.task());
        lanes.sent(&a, None, at(0));
        lanes.sent(&a, None, at(0));
        lanes.ended(&a, at(0));
        lanes.reserve(&a);
        lanes.push(&a, Job::Task(new));
        assert_eq!(lanes.next(&limits, at(0)), None, "the slot is reserved");
        lanes.push_urgent(&a, half);
        assert_eq!(lanes.next(&limits, at(0)), Some((a.clone(), Job::Task(half))));
        lanes.sent(&a, Some(&a), at(0));
        lanes.ended(&a, at(0));
        assert_eq!(lanes.next(&limits, at(0)), Some((a, Job::Task(new))));
    }
}
