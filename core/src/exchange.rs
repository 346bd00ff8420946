//! One HTTP round trip, as an owned value that a driver carries out.
use std::fmt;

use bytes::Bytes;
use http::{Request, response};

use crate::{Digest, OpId};

/// Names an exchange within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// One HTTP round trip that the session asks for.
#[derive(Debug)]
#[must_use = "the session waits for the exchange's completion"]
pub struct Exchange {
    request: Request<Payload>,
    awaiting: Awaiting,
}

impl Exchange {
    /// The exchange's name, as [`Output::Abort`](crate::Output::Abort) gives it.
    pub fn id(&self) -> ExchangeId {
        todo!()
    }
    /// The operation that the exchange serves; none for one that serves several (a token).
    pub fn op(&self) -> Option<OpId> {
        todo!()
    }
    /// Whether a success's body belongs in the operation's sink: known before the request is sent.
    pub fn has_sink(&self) -> bool {
        todo!()
    }
    /// The request to send, and what takes its answer.
    pub fn split(self) -> (Request<Payload>, Awaiting) {
        (self.request, self.awaiting)
    }
}

/// What a request carries as its body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
}

/// An exchange whose answer has not begun.
#[derive(Debug)]
#[must_use]
pub struct Awaiting {}

impl Awaiting {
    /// Takes the head of the final (not 1xx) response.
    pub fn head(self, head: &response::Parts) -> Receiving {
        let _ = head;
        todo!()
    }
    /// The request could not be carried out.
    pub fn fail(self, fault: Fault) -> Completion {
        let _ = fault;
        todo!()
    }
}

/// An exchange whose answer's body is arriving.
#[derive(Debug)]
#[must_use]
pub struct Receiving {}

impl Receiving {
    /// Where the body's bytes belong; `None` if nowhere outside.
    pub fn sink(&self) -> Option<Sink> {
        todo!()
    }
    /// Whether the body is of any use. Where it is not the driver drops it and calls `finish`.
    pub fn wants_body(&self) -> bool {
        todo!()
    }
    /// Takes the next bytes of the body; returns those of them that belong in the sink.
    ///
    /// # Errors
    /// The body is refused: stop reading, and call `finish`; the completion knows why.
    pub fn push<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], Refused> {
        let _ = chunk;
        todo!()
    }
    /// The body ended as HTTP says it should, or was refused, or is not wanted.
    pub fn finish(self) -> Completion {
        todo!()
    }
    /// The body broke off, or its sink failed.
    pub fn fail(self, fault: Fault) -> Completion {
        let _ = fault;
        todo!()
    }
}

/// Where a body's bytes belong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sink {
    /// The operation whose sink it is.
    pub op: OpId,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes, where it is known.
    pub size: Option<u64>,
    /// How many of the content's bytes the sink has had before this exchange.
    pub offset: u64,
}

/// The body is refused: no more of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the response is not wanted")]
#[non_exhaustive]
pub struct Refused;

/// How an exchange ended: to be handed to [`Session::complete`](crate::Session::complete).
#[derive(Debug)]
#[must_use = "the session waits for it"]
pub struct Completion {}

impl Completion {
    /// The exchange that ended.
    pub fn id(&self) -> ExchangeId {
        todo!()
    }
}

/// Why a transport, or a sink, could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    message: String,
}

impl Fault {
    /// A fault in the transport's own words.
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
    /// What kind it is.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
    /// The transport's own words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Where a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// No connection: name resolution, routing, refusal, proxy.
    Connect,
    /// No secure connection: certificate, name, protocol.
    Tls,
    /// Nothing arrived in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Reset,
    /// What takes the bytes failed: a full disk, a closed pipe.
    Sink,
}
