//! What a client waits for, and its time limits.

use std::time::Duration;

use oci_proto::{Fault, FaultKind};

/// A part of an exchange that has a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// The connection, including proxy and TLS. The limit is [`connect_timeout`](crate::Settings::connect_timeout);
    /// for all other parts it is [`idle_timeout`](crate::Settings::idle_timeout).
    Connection,
    /// The time until the next part of the request is written.
    Request,
    /// The whole head of the response, including interim responses.
    Head,
    /// The next data of the response's body, or its end, including trailers.
    Body,
}

impl Awaited {
    /// Returns the fault of an exchange if this did not come within `limit`.
    pub fn timed_out(self, limit: Duration) -> Fault {
        let message = match self {
            Self::Connection => format!("no connection within {limit:?}"),
            Self::Request => format!("no progress of the request within {limit:?}"),
            Self::Head => format!("no complete response head within {limit:?}"),
            Self::Body => format!("no data or end of the response body within {limit:?}"),
        };
        Fault::new(FaultKind::Timeout, message)
    }
}
