//! Requests to each origin: how many are out, which wait, and until when none is sent.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::Limits;
use crate::types::id::{OpId, TaskId};
use crate::types::time::Time;
use crate::wire::origin::Origin;

/// What waits to be sent to an origin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// An operation that may have something to fetch.
    Op(OpId),
    /// A task whose next request is to be made.
    Task(TaskId),
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_origin: BTreeMap<Origin, Lane>,
    /// The origin that was served last: the next one in order comes first.
    served: Option<Origin>,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    queue: VecDeque<Job>,
    /// The origin asked to be left alone until then.
    closed_until: Time,
}

impl Lanes {
    pub(super) fn push(&mut self, origin: &Origin, job: Job) {
        if let Some(lane) = self.by_origin.get_mut(origin) {
            lane.queue.push_back(job);
        } else {
            self.by_origin.entry(origin.clone()).or_default().queue.push_back(job);
        }
    }

    /// The next job for the origin; an origin that turns out to have none is forgotten.
    pub(super) fn pop(&mut self, origin: &Origin, now: Time) -> Option<Job> {
        let job = self.by_origin.get_mut(origin).and_then(|lane| lane.queue.pop_front());
        if job.is_none() {
            self.tidy(origin, now);
        }
        job
    }

    /// A request to the origin was sent.
    pub(super) fn sent(&mut self, origin: &Origin) {
        self.in_flight += 1;
        self.by_origin.entry(origin.clone()).or_default().in_flight += 1;
        self.served = Some(origin.clone());
    }

    /// A request to the origin is over.
    pub(super) fn ended(&mut self, origin: &Origin, now: Time) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(lane) = self.by_origin.get_mut(origin) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        self.tidy(origin, now);
    }

    /// Sends nothing to the origin until then. Those that were closed before, and are of no use, are forgotten: a
    /// registry may redirect to another one each time.
    pub(super) fn close(&mut self, origin: &Origin, until: Time, now: Time) {
        self.by_origin.retain(|_, lane| !lane.is_idle(now));
        let lane = self.by_origin.entry(origin.clone()).or_default();
        lane.closed_until = lane.closed_until.max(until);
    }

    /// The origins that a request may be sent to now, in turn.
    pub(super) fn open(&self, limits: &Limits, now: Time) -> Vec<Origin> {
        if self.in_flight >= limits.in_flight.max(1) {
            return Vec::new();
        }
        let per_origin = limits.in_flight_per_origin.max(1);
        let is_open =
            |lane: &Lane| lane.in_flight < per_origin && !lane.queue.is_empty() && lane.closed_until <= now;
        let open = self.by_origin.iter().filter(|(_, lane)| is_open(lane));
        let mut origins: Vec<Origin> = open.map(|(origin, _)| origin.clone()).collect();
        let after = self.served.as_ref();
        let first = origins.partition_point(|origin| after.is_some_and(|after| origin <= after));
        origins.rotate_left(first);
        origins
    }

    /// When the first origin opens again that something waits for.
    pub(super) fn opens_at(&self, now: Time) -> Option<Time> {
        let closed = self.by_origin.values().filter(|lane| lane.closed_until > now && !lane.queue.is_empty());
        closed.map(|lane| lane.closed_until).min()
    }

    fn tidy(&mut self, origin: &Origin, now: Time) {
        if self.by_origin.get(origin).is_some_and(|lane| lane.is_idle(now)) {
            self.by_origin.remove(origin);
        }
    }
}

impl Lane {
    fn is_idle(&self, now: Time) -> bool {
        self.in_flight == 0 && self.queue.is_empty() && self.closed_until <= now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_origin_that_nobody_asks_again_is_forgotten() {
        let mut lanes = Lanes::default();
        let at = |seconds| Time::from_epoch(Duration::from_secs(seconds));
        for n in 0..1000 {
            let uri = format!("https://n{n}.example/").parse().unwrap();
            let origin = Origin::of(&uri).unwrap();
            lanes.sent(&origin);
            lanes.ended(&origin, at(n));
            lanes.close(&origin, at(n + 10), at(n));
        }
        assert!(lanes.by_origin.len() <= 11, "{} origins are kept", lanes.by_origin.len());
    }
}
