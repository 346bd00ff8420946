//! The requests that wait for a login or a token, in order of arrival.

use std::collections::BTreeMap;

use crate::types::id::{QueryId, TaskId};

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// The driver's answer to a question.
    Login(QueryId),
    /// The end of a token request.
    Token(TaskId),
}

/// A line of requests for each login and token. A request stands in one of them at most.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    lines: BTreeMap<(Awaited, u64), TaskId>,
    places: BTreeMap<TaskId, (Awaited, u64)>,
    arrivals: u64,
}

impl Waiting {
    /// Puts a request at the end of a line.
    pub(crate) fn join(&mut self, request: TaskId, awaited: Awaited) {
        self.leave(request);
        let place = (awaited, self.arrivals);
        self.arrivals += 1;
        self.lines.insert(place, request);
        self.places.insert(request, place);
    }

    /// Takes a request out of its line.
    pub(crate) fn leave(&mut self, request: TaskId) -> Option<Awaited> {
        let place = self.places.remove(&request)?;
        self.lines.remove(&place);
        Some(place.0)
    }

    /// Empties a line.
    pub(crate) fn take(&mut self, awaited: Awaited) -> Vec<TaskId> {
        let requests: Vec<TaskId> = self.line(awaited).collect();
        for request in &requests {
            self.leave(*request);
        }
        requests
    }

    /// The requests of a line.
    pub(crate) fn line(&self, awaited: Awaited) -> impl Iterator<Item = TaskId> {
        self.lines.range((awaited, 0)..=(awaited, u64::MAX)).map(|(_, request)| *request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_order_of_arrival_and_independent() {
        let (login, token) = (Awaited::Login(QueryId(1)), Awaited::Token(TaskId(1)));
        let mut waiting = Waiting::default();
        for (request, awaited) in [(9, login), (5, token), (3, login), (7, login)] {
            waiting.join(TaskId(request), awaited);
        }
        assert_eq!(waiting.leave(TaskId(3)), Some(login));
        assert_eq!(waiting.leave(TaskId(3)), None);
        // A request that joins another line leaves its own.
        waiting.join(TaskId(9), token);
        assert_eq!(waiting.take(login), [TaskId(7)]);
        assert_eq!(waiting.take(login), []);
        assert_eq!(waiting.take(token), [TaskId(5), TaskId(9)]);
        assert!(waiting.lines.is_empty() && waiting.places.is_empty());
    }
}
