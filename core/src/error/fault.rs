//! Failures outside the protocol: of transports, storage and credential lookups.

use std::fmt;

/// A failure that a driver reports, of its transport, its storage or its credential lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    message: String,
}

impl Fault {
    /// Creates a fault. The message becomes part of an error, so it must not contain secrets.
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// Returns the kind.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Returns the driver's message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = match self.kind {
            FaultKind::Connect => "could not connect",
            FaultKind::Proxy => "the proxy refused the request",
            FaultKind::Tls => "could not establish TLS",
            FaultKind::Timeout => "timed out",
            FaultKind::Reset => "the connection broke",
            FaultKind::Storage => "could not read or write the content",
            FaultKind::Credentials => "could not look up the login",
            FaultKind::NotSent => "the request was not sent",
            FaultKind::OutOfReach => "the address is not allowed",
            FaultKind::Unsupported => "not supported by this client",
        };
        write!(f, "{description}: {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// The kind of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection could not be established: name resolution, routing, refusal, an unreachable proxy.
    Connect,
    /// A proxy refused to pass the request on: it requires a login, or another one. It is not retried.
    Proxy,
    /// TLS could not be established: certificate, host name, protocol.
    Tls,
    /// A timeout expired.
    Timeout,
    /// The connection broke, or the server did not speak HTTP.
    Reset,
    /// A sink or a source failed: a full disk, a closed pipe, a file with the wrong content.
    Storage,
    /// A login could not be looked up: a credential helper failed, or a file is unreadable.
    Credentials,
    /// No byte of the request was sent, for example because a pooled connection was stale, or the server has said that it
    /// did not process the request (RFC 9113, section 8.7). Any request may be retried.
    NotSent,
    /// The address of the host is not within the exchange's [`Reach`](crate::Reach). It is not retried.
    OutOfReach,
    /// The driver does not support the exchange. It is not retried.
    Unsupported,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Proxy,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Storage,
        Self::Credentials,
        Self::NotSent,
        Self::OutOfReach,
        Self::Unsupported,
    ];

    /// Returns the kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the name, as in logs and recordings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Storage => "storage",
            Self::Credentials => "credentials",
            Self::NotSent => "notsent",
            Self::OutOfReach => "outofreach",
            Self::Unsupported => "unsupported",
        }
    }
}
