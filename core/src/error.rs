//! Why an operation failed, and by whose fault.

pub(crate) mod fault;
pub(crate) mod hint;

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode, Uri};

use crate::error::fault::Fault;
use crate::header::{InvalidHeader, url};
use crate::manifest::error::InvalidManifest;
use crate::types::digest::Digest;
use crate::types::platform::Platform;
use crate::types::token::InvalidToken;

/// Why an operation failed.
///
/// Displayed, it says what was asked of whom and what came back. It never holds a token, a password
/// or the values of a URL's query.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    place: Option<Context>,
    cause: Cause,
}

/// Where it happened.
#[derive(Clone, Debug)]
enum Context {
    Request { method: Method, url: String },
    Document(Digest),
}

impl Error {
    /// Makes an error that needs no place: its cause says it.
    pub(crate) fn new(cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { place: None, cause: cause.into() }))
    }

    /// Makes an error of what a request met.
    pub(crate) fn of_request(method: &Method, uri: &Uri, cause: impl Into<Cause>) -> Self {
        let place = Context::Request { method: method.clone(), url: url::redacted(uri) };
        Self(Box::new(Inner { place: Some(place), cause: cause.into() }))
    }

    /// Makes an error of what is wrong with a document, or with coming to it.
    pub(crate) fn of_document(digest: &Digest, cause: impl Into<Cause>) -> Self {
        let place = Context::Document(digest.clone());
        Self(Box::new(Inner { place: Some(place), cause: cause.into() }))
    }

    /// Why, sorted by blame.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The request's method and its URL without query values, if a request led to the error.
    pub fn request(&self) -> Option<(&Method, &str)> {
        match &self.0.place {
            Some(Context::Request { method, url }) => Some((method, url)),
            _ => None,
        }
    }

    /// The document that the error is about, where no request led to it.
    pub fn document(&self) -> Option<&Digest> {
        match &self.0.place {
            Some(Context::Document(digest)) => Some(digest),
            _ => None,
        }
    }

    /// The response's status, if the registry's answer is the reason.
    pub fn status(&self) -> Option<StatusCode> {
        Some(self.refusal()?.status)
    }

    /// Whether the registry says that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| {
            refusal.status == StatusCode::NOT_FOUND && refusal.by != Responder::TokenServer
        })
    }

    /// Whether the registry, or its token server, wants a login, or another one. Registries hide what is
    /// not there behind the same answer.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Whether a server limits how much it serves.
    pub fn is_rate_limited(&self) -> bool {
        self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// How long the server asks to be left alone, from its answer on.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self.cause() {
            Cause::Answered(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The transport's fault, if that is the reason.
    pub fn fault(&self) -> Option<&Fault> {
        match self.cause() {
            Cause::Transport(fault) => Some(fault),
            _ => None,
        }
    }
}

/// What failed a driver outside of any exchange: a sink that cannot take content that needed no request.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Some(Context::Request { method, url }) => write!(f, "{method} {url}: ")?,
            Some(Context::Document(digest)) => write!(f, "{digest}: ")?,
            None => {}
        }
        fmt::Display::fmt(&self.0.cause, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.cause() {
            Cause::Misbehaved(Misbehaviour::Manifest(reason)) => Some(reason),
            _ => None,
        }
    }
}

/// Why an operation failed, sorted by blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// What the caller asked for cannot be done as asked.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The registry answered that it will not, or cannot.
    #[error(transparent)]
    Answered(#[from] Refusal),
    /// The registry broke a rule: its answer cannot be trusted or understood.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
    /// The transport, or what takes the bytes, failed.
    #[error(transparent)]
    Transport(#[from] Fault),
    /// A bound was met.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Why what the caller asked for cannot be done as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The digest's algorithm is not one that can be verified.
    #[error("`{0}` cannot be verified: its algorithm is not sha256, sha384 or sha512")]
    UnknownAlgorithm(Digest),
    /// A blob is named by its digest, and the reference has none.
    #[error("a blob is named by its digest: REPOSITORY@DIGEST")]
    BlobWithoutDigest,
    /// Nothing in the index fits the platform.
    #[error("nothing fits the platform {asked}; there is: {}", list(offered))]
    NoPlatform {
        /// What was asked for.
        asked: Platform,
        /// What there is, in document order; the first few.
        offered: Vec<Platform>,
    },
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no entry with a platform".to_owned();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The response's status.
    pub status: StatusCode,
    /// Who answered.
    pub by: Responder,
    /// The server's own codes and messages.
    pub errors: Vec<RegistryError>,
    /// The Retry-After header, as a duration from the response.
    pub retry_after: Option<Duration>,
    /// Whether a login was shown.
    pub with_login: bool,
}

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Responder {
    /// The registry.
    Registry,
    /// A server that the registry redirected to.
    Elsewhere,
    /// The server that makes tokens for the registry.
    TokenServer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.by {
            Responder::Registry => "the registry answered ",
            Responder::Elsewhere => "the server that the registry redirects to answered ",
            Responder::TokenServer => "the registry's token server answered ",
        })?;
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        for error in &self.errors {
            write!(f, "; {error}")?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, "; it asks to be left alone for {} s", wait.as_secs_f64().ceil())?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// One entry of an error body.
///
/// Source: distribution-spec, "Error Codes".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryError {
    /// The code, such as `MANIFEST_UNKNOWN`; empty where the body has none. Unknown codes are kept.
    pub code: String,
    /// The message, fit to be shown: spaces stand for control characters, and its length is bounded.
    pub message: String,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, _) => f.write_str(&self.message),
            (false, true) => f.write_str(&self.code),
            (false, false) => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

/// How a registry broke a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// The content is not what its digest names.
    #[error("wrong content: asked for {expected}, got {computed}")]
    WrongDigest {
        /// The digest that was asked for, or that the registry announced.
        expected: Digest,
        /// The digest of what came.
        computed: Digest,
    },
    /// The content has not the size that its descriptor gives.
    #[error("wrong size: the descriptor says {expected} bytes, the registry {announced}")]
    WrongSize {
        /// What the descriptor says.
        expected: u64,
        /// What the response says, or what came before it was stopped.
        announced: u64,
    },
    /// The content goes on beyond its size.
    #[error("the content goes on beyond its {expected} bytes")]
    TooLong {
        /// What the descriptor or the response says.
        expected: u64,
    },
    /// The content ended before its size was reached.
    #[error("the content ended after {received} of {expected} bytes")]
    TooShort {
        /// What the descriptor or the response says.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// The document breaks a rule.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// A header does not fit its grammar.
    #[error(transparent)]
    Grammar(#[from] InvalidHeader),
    /// A header does not mean what it must.
    #[error("the {name} header is unusable: {problem}")]
    Header {
        /// The header's name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The body is encoded although only the identity was accepted (RFC 9110, section 12.5.3).
    #[error("the body is encoded as `{0}`, which was not accepted: its bytes cannot be verified")]
    ContentEncoding(String),
    /// A URL in a document cannot be asked.
    #[error("a URL that a document gives for a layer {why}")]
    Url {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A token server's answer has no token that can be used.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// A status that has no meaning for the request.
    #[error("the status {0} has no meaning for this request")]
    Status(StatusCode),
    /// One digest comes with different sizes.
    #[error("{digest} is said to have {first} bytes in one place and {second} in another")]
    Contradiction {
        /// The digest.
        digest: Digest,
        /// The verified size, or the first one seen.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A manifest that its parent names is not there, and the walk is strict.
    #[error("the registry does not have {0}, which a document under the reference names")]
    Missing(Digest),
}

/// Which bound was met, and where it can be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// [`Limits::manifest_bytes`](crate::Limits::manifest_bytes).
    #[error("the manifest is larger than {0} bytes, the most that is read")]
    ManifestBytes(u64),
    /// [`Limits::blob_bytes`](crate::Limits::blob_bytes).
    #[error("the blob is larger than {0} bytes, the most that is read without a known size")]
    BlobBytes(u64),
    /// [`Limits::walk_depth`](crate::Limits::walk_depth).
    #[error("it lies deeper than {0} levels, the most that a walk descends")]
    WalkDepth(u32),
    /// [`Limits::walk_nodes`](crate::Limits::walk_nodes).
    #[error("the tree has more than {0} nodes, the most that a walk reports; this is the first beyond")]
    WalkNodes(u64),
    /// [`Limits::walk_bytes`](crate::Limits::walk_bytes).
    #[error("with it the tree's manifests have more than {0} bytes, the most that a walk reads")]
    WalkBytes(u64),
    /// [`Limits::token_bytes`](crate::Limits::token_bytes).
    #[error("the token server's answer is larger than {0} bytes, the most that is read")]
    TokenBytes(u64),
    /// [`Limits::redirects`](crate::Limits::redirects).
    #[error("the request was redirected more than {0} times")]
    Redirects(u32),
    /// The operation's deadline.
    #[error("the operation's deadline passed")]
    Deadline,
}
