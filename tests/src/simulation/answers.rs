//! Who answers what a simulated driver carries.

use std::fmt;

use bytes::Bytes;
use http::{Request, request};
use oci_proto::{Credentials, CredentialsQuery, Digest, Fault, FaultKind, OpId, Payload, Time};

use super::Choices;
use crate::transcript::Answer;

/// What no event may say, of those logins that answers do not choose themselves.
pub(super) const SECRET: &str = "hunter2";

/// A request that has arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// When that is.
    pub now: Time,
    /// The operation that it is for; none where it is for several.
    pub op: Option<OpId>,
    /// What is asked.
    pub head: &'a request::Parts,
    /// What comes with it.
    pub payload: &'a Payload,
}

/// Gives a request its answer.
pub trait Answers {
    /// The answer to a request that has arrived.
    ///
    /// # Errors
    ///
    /// It has no answer, and this is what its transport says in the end.
    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault>;

    /// Sees a request as it is sent, and the operation that it is for.
    fn sent(&mut self, _op: Option<OpId>, _request: &Request<Payload>) {}

    /// Sees that the driver fails a request by itself.
    fn failed(&mut self, _asked: &Asked<'_>, _kind: FaultKind) {}

    /// What is found where the session asks for a login.
    ///
    /// # Errors
    ///
    /// It cannot be looked up.
    fn login(
        &mut self,
        _asked: &CredentialsQuery,
        choices: &mut Choices<'_>,
    ) -> Result<Option<Credentials>, Fault> {
        match choices.below(5) {
            0 => Ok(None),
            1 => Ok(Some(Credentials::login("user", SECRET).expect("a name without a colon"))),
            2 => Ok(Some(Credentials::Identity(SECRET.into()))),
            3 => Ok(Some(Credentials::Bearer(SECRET.into()))),
            _ => Err(Fault::new(FaultKind::Credentials, "as it was drawn")),
        }
    }

    /// Some content as it should be, which an earlier pull may have left behind.
    fn content(&self, _digest: &Digest) -> Option<Bytes> {
        None
    }

    /// Sees what the session, or something of it, shows of itself.
    fn shown(&mut self, _what: &dyn fmt::Debug) {}
}
