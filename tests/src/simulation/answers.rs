//! The trait of servers in a simulation.

use std::fmt;

use bytes::Bytes;
use http::{Request, request};
use oci_proto::{Credentials, CredentialsQuery, Digest, Fault, FaultKind, OpId, Payload, Time};

use crate::simulation::choices::Choices;
use crate::transcript::parse::Answer;

/// Part of every secret of the default credentials: no event may contain it.
pub(super) const SECRET: &str = "hunter2";

/// A request at its arrival.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The time of its arrival.
    pub now: Time,
    /// Its operation; none if it serves several.
    pub op: Option<OpId>,
    /// The request.
    pub head: &'a request::Parts,
    /// Its payload.
    pub payload: &'a Payload,
}

/// Responds to requests.
pub trait Answers {
    /// The response to a request.
    ///
    /// # Errors
    ///
    /// There is no response, and the transport fails like this.
    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault>;

    /// Called for each request when it is sent, with its operation.
    fn sent(&mut self, _op: Option<OpId>, _request: &Request<Payload>) {}

    /// Called when the driver fails a request by itself.
    fn failed(&mut self, _asked: &Asked<'_>, _kind: FaultKind) {}

    /// The result of a credentials lookup.
    ///
    /// # Errors
    ///
    /// The lookup fails.
    fn login(
        &mut self,
        _asked: &CredentialsQuery,
        choices: &mut Choices<'_>,
    ) -> Result<Option<Credentials>, Fault> {
        match choices.below(5) {
            0 => Ok(None),
            1 => Ok(Some(Credentials::login("user", SECRET).expect("the name has no colon"))),
            2 => Ok(Some(Credentials::Identity(SECRET.into()))),
            3 => Ok(Some(Credentials::Bearer(SECRET.into()))),
            _ => Err(Fault::new(FaultKind::Credentials, "from the input")),
        }
    }

    /// Called when the driver does not answer a question for credentials.
    fn no_login(&mut self, _asked: &CredentialsQuery) {}

    /// The correct content of a digest, as an earlier pull may have stored it.
    fn content(&self, _digest: &Digest) -> Option<Bytes> {
        None
    }

    /// Called with each text that the session shows.
    fn shown(&mut self, _what: &dyn fmt::Debug) {}
}
