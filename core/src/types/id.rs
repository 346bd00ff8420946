//! The names that a session gives to what it has under way.

/// Names an operation within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

/// Names a question for a login within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(crate) u64);

/// Names an exchange within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// Names one thing to fetch within its session, over all the requests that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

/// Hands out the ids of tasks and queries, each once.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    tasks: u64,
    queries: u64,
}

impl Ids {
    pub(crate) fn task(&mut self) -> TaskId {
        let id = TaskId(self.tasks);
        self.tasks += 1;
        id
    }

    pub(crate) fn query(&mut self) -> QueryId {
        let id = QueryId(self.queries);
        self.queries += 1;
        id
    }
}
