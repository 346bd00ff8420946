//! The trait of servers in a simulation.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use http::{Method, Request, request};
use oci_proto::{
    Credentials, CredentialsQuery, Descriptor, Digest, Fault, FaultKind, OpId, Payload, Reach, Time,
};

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
    /// The bytes of the payload that have arrived.
    pub arrived: &'a [u8],
}

impl Asked<'_> {
    /// Whether it is a request for a token.
    pub fn is_token(&self) -> bool {
        self.op.is_none() && !self.is_cleanup()
    }

    /// Whether it cancels an upload of an operation that has ended.
    pub fn is_cleanup(&self) -> bool {
        self.op.is_none() && self.head.method == Method::DELETE
    }

    /// The length of its payload in bytes.
    pub fn length(&self) -> u64 {
        match self.payload {
            Payload::Empty => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Source(source) => source.length(),
        }
    }

    /// Whether all of its payload has arrived.
    pub fn is_complete(&self) -> bool {
        self.arrived.len() as u64 == self.length()
    }
}

/// Responds to requests.
pub trait Answers {
    /// The response to a request.
    ///
    /// # Errors
    ///
    /// There is no response, and the transport fails like this.
    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault>;

    /// The number of bytes of a payload that are read before the response.
    fn reads(&mut self, asked: &Asked<'_>, _choices: &mut Choices<'_>) -> u64 {
        asked.length()
    }

    /// Called when a connection breaks before the response, after some of the payload has arrived.
    fn cut_off(&mut self, _asked: &Asked<'_>) {}

    /// Called for each request when it is sent, with its operation.
    fn sent(&mut self, _op: Option<OpId>, _request: &Request<Payload>) {}

    /// The address that a request is sent to, within its reach or not; none through a proxy.
    fn address(&self, _op: Option<OpId>, _request: &Request<Payload>, _reach: Reach) -> Option<IpAddr> {
        None
    }

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

    /// The driver's own content for a digest, to be sent. It may be wrong.
    fn source(&self, digest: &Digest) -> Option<Bytes> {
        self.content(digest)
    }

    /// The documents of the driver whose subject is this one.
    fn referrers(&self, _subject: &Digest) -> Vec<Descriptor> {
        Vec::new()
    }

    /// The next bytes of an operation's stream, at most this many, and whether they are the last ones.
    fn stream(&mut self, op: OpId, _max: usize, _choices: &mut Choices<'_>) -> (Bytes, bool) {
        panic!("{op:?} has no stream")
    }

    /// Called with each text that the session shows.
    fn shown(&mut self, _what: &dyn fmt::Debug) {}
}
