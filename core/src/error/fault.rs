//! What goes wrong outside the protocol.

use std::fmt;

/// Why a transport, or a sink, could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    message: String,
}

impl Fault {
    /// A fault in the transport's own words, which must hold no secret: they become part of an error.
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// Where the transport failed.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The transport's own words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Connect => "no connection",
            FaultKind::Tls => "no secure connection",
            FaultKind::Timeout => "no answer in time",
            FaultKind::Reset => "the connection broke",
            FaultKind::Sink => "the content could not be written",
            FaultKind::Credentials => "the login could not be looked up",
        };
        write!(f, "{what}: {}", self.message)
    }
}

impl std::error::Error for Fault {}

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
    /// A login could not be looked up: a credential helper that fails, a file that cannot be read.
    Credentials,
}
