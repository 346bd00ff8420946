//! Who answers what a simulated driver carries.

use std::fmt;

use http::{Request, request};
use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind, OpId, Payload};

use super::Choices;
use crate::transcript::Answer;

/// What no event may say, of those logins that answers do not choose themselves.
pub(super) const SECRET: &str = "hunter2";

/// Gives a request its answer.
pub trait Answers {
    /// The answer to a request.
    fn answer(&mut self, head: &request::Parts, choices: &mut Choices<'_>) -> Answer;

    /// Sees a request before it is to be answered, and the operation that it is for.
    fn asked(&mut self, _op: Option<OpId>, _request: &Request<Payload>) {}

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

    /// Sees what the session, or something of it, shows of itself.
    fn shown(&mut self, _what: &dyn fmt::Debug) {}
}
