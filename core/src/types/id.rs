//! Identifiers of operations, queries, exchanges and tasks within a session.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Allocates the ids of one session. No id is allocated twice.
#[derive(Debug)]
pub(crate) struct Ids {
    session: SessionId,
    ops: u64,
    queries: u64,
    exchanges: u64,
    tasks: u64,
}

impl Ids {
    /// Creates the allocator of a new session.
    pub(crate) fn new() -> Self {
        Self { session: SessionId::new(), ops: 0, queries: 0, exchanges: 0, tasks: 0 }
    }

    pub(crate) fn op(&mut self) -> OpId {
        OpId { session: self.session, number: next(&mut self.ops) }
    }

    /// Returns the number of the next operation.
    pub(crate) fn next_op(&self) -> u64 {
        self.ops
    }

    pub(crate) fn query(&mut self) -> QueryId {
        QueryId { session: self.session, number: next(&mut self.queries) }
    }

    pub(crate) fn exchange(&mut self) -> ExchangeId {
        ExchangeId { session: self.session, number: next(&mut self.exchanges) }
    }

    pub(crate) fn task(&mut self) -> TaskId {
        TaskId(next(&mut self.tasks))
    }
}

fn next(counter: &mut u64) -> u64 {
    let number = *counter;
    *counter += 1;
    number
}

/// Distinguishes the sessions of a process.
///
/// Every public id contains it, so a session never mistakes another session's completion or answer for
/// its own. It is only compared: no output depends on its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct SessionId(usize);

impl SessionId {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Identifies one task: content to fetch, across all requests for it. Internal to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// An id belongs to one session; other sessions ignore it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            session: SessionId,
            number: u64,
        }

        impl $name {
            /// Returns the number within the session, counted from 0. Two sessions with equal inputs
            /// allocate equal numbers.
            pub fn number(self) -> u64 {
                self.number
            }

            /// Returns whether it was allocated by `ids`.
            pub(crate) fn is_of(self, ids: &Ids) -> bool {
                self.session == ids.session
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.number)
            }
        }
    };
}

public_id! {
    /// Identifies an operation.
    OpId
}

public_id! {
    /// Identifies a question to the driver.
    QueryId
}

public_id! {
    /// Identifies an exchange.
    ExchangeId
}
