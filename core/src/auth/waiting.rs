//! Queues of requests that wait for a login or a token, in order of arrival.

use std::collections::BTreeMap;

use crate::types::id::{QueryId, TaskId};

/// The event that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// The driver's answer to a question.
    Login(QueryId),
    /// The outcome of a token request.
    Token(TaskId),
}

/// A queue of requests for each login and token. A request is in at most one queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: BTreeMap<(Awaited, u64), TaskId>,
    places: BTreeMap<TaskId, (Awaited, u64)>,
    arrivals: u64,
}

impl Waiting {
    /// Appends a request to a queue.
    pub(crate) fn join(&mut self, request: TaskId, awaited: Awaited) {
        self.leave(request);
        let place = (awaited, self.arrivals);
        self.arrivals += 1;
        self.queues.insert(place, request);
        self.places.insert(request, place);
    }

    /// Removes a request from its queue.
    pub(crate) fn leave(&mut self, request: TaskId) -> Option<Awaited> {
        let place = self.places.remove(&request)?;
        self.queues.remove(&place);
        Some(place.0)
    }

    /// Drains a queue.
    pub(crate) fn take(&mut self, awaited: Awaited) -> Vec<TaskId> {
        let requests: Vec<TaskId> = self.queue(awaited).collect();
        for request in &requests {
            self.leave(*request);
        }
        requests
    }

    /// Returns the requests of a queue.
    pub(crate) fn queue(&self, awaited: Awaited) -> impl Iterator<Item = TaskId> {
        self.queues.range((awaited, 0)..=(awaited, u64::MAX)).map(|(_, request)| *request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::id::Ids;

    #[test]
    fn queues_are_independent_and_in_order_of_arrival() {
        let mut ids = Ids::new();
        let [a, b, c, d, fetch] = [(); 5].map(|()| ids.task());
        let (login, token) = (Awaited::Login(ids.query()), Awaited::Token(fetch));
        let mut waiting = Waiting::default();
        for (request, awaited) in [(d, login), (b, token), (a, login), (c, login)] {
            waiting.join(request, awaited);
        }
        assert_eq!(waiting.leave(a), Some(login));
        assert_eq!(waiting.leave(a), None);
        // A request that joins another queue leaves its own.
        waiting.join(d, token);
        assert_eq!(waiting.take(login), [c]);
        assert_eq!(waiting.take(login), []);
        assert_eq!(waiting.take(token), [b, d]);
        assert!(waiting.queues.is_empty() && waiting.places.is_empty());
    }
}
