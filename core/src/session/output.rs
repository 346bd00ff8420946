//! What a session says.

use crate::auth::credentials::CredentialsQuery;
use crate::op::event::Event;
use crate::types::id::{ExchangeId, OpId, QueryId};
use crate::types::time::Time;
use crate::wire::exchange::Exchange;

/// What a session asks of its driver.
#[derive(Debug)]
#[must_use = "the session waits for what it asks"]
#[non_exhaustive]
pub enum Output {
    /// Carry this out, and hand its completion back.
    Send(Exchange),
    /// Look up the login for this registry and repository, and hand it to [`Session::credentials`](crate::Session::credentials). Comes
    /// after the registry asked for one, and once until the registry refuses it.
    Credentials(QueryId, CredentialsQuery),
    /// Nobody waits for this exchange any more. Ignoring it is harmless.
    Abort(ExchangeId),
    /// Something happened in an operation.
    Event(OpId, Event),
    /// Nothing to do until a completion, or an answer; or, where a time is given, until then.
    Wait(Option<Time>),
}
