//! The errors of operations, classified by the party at fault.

pub(crate) mod fault;
pub(crate) mod hint;
pub(crate) mod texts;

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::fault::{Fault, FaultKind};
use crate::header::error::InvalidHeader;
use crate::manifest::error::{InvalidManifest, VerifyError};
use crate::registries::RouteError;
use crate::types::digest::Digest;
use crate::types::platform::Platform;
use crate::types::token::InvalidToken;

/// The error of a failed operation.
///
/// Its `Display` output names the request or the document, and the cause. It never contains tokens,
/// passwords or the values of a URL's query, even if the registry repeats them: they are replaced by
/// `REDACTED`, and a digest that contains one by `redacted:redacted`.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    context: Option<Context>,
    cause: Cause,
}

/// The request or document that an error concerns.
#[derive(Clone, Debug)]
enum Context {
    Request {
        method: Method,
        url: String,
        /// The length of the part of the URL that the caller chose.
        own: usize,
    },
    Document(Digest),
}

impl Error {
    /// Creates an error without a context.
    pub(crate) fn new(cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { context: None, cause: cause.into() }))
    }

    /// Creates an error of a request, with its redacted URL, and the length of the part of it that the caller
    /// chose.
    pub(crate) fn of_request(method: &Method, url: String, own: usize, cause: impl Into<Cause>) -> Self {
        let context = Context::Request { method: method.clone(), url, own };
        Self(Box::new(Inner { context: Some(context), cause: cause.into() }))
    }

    /// Creates an error of a document, or of reaching it.
    pub(crate) fn of_document(digest: &Digest, cause: impl Into<Cause>) -> Self {
        let context = Context::Document(digest.clone());
        Self(Box::new(Inner { context: Some(context), cause: cause.into() }))
    }

    /// Returns the error with another cause.
    pub(crate) fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = cause.into();
        self
    }

    /// Returns the cause, classified by the party at fault.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Returns the request's method and its URL without query values, if a request caused the error.
    pub fn request(&self) -> Option<(&Method, &str)> {
        match &self.0.context {
            Some(Context::Request { method, url, .. }) => Some((method, url)),
            _ => None,
        }
    }

    /// Returns the document that the error concerns, if no request caused it.
    pub fn document(&self) -> Option<&Digest> {
        match &self.0.context {
            Some(Context::Document(digest)) => Some(digest),
            _ => None,
        }
    }

    /// Returns the status of the response that caused the error.
    pub fn status(&self) -> Option<StatusCode> {
        Some(self.refusal()?.status)
    }

    /// Returns whether the response to the request was 404: from the registry, from the target of its
    /// redirect, or from the URL of a layer. A 404 of a token server does not count.
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| {
            refusal.status == StatusCode::NOT_FOUND && refusal.by != Responder::TokenServer
        })
    }

    /// Returns whether the response was 401 or 403: from the registry, from its token server, or from
    /// elsewhere. Registries may return the same response for content that does not exist, and storage behind
    /// a redirect for a URL that has expired.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Returns whether the registry does not implement or does not allow the request at all: the response was 405,
    /// or 400 with the code `UNSUPPORTED`. Some registries allow no one to delete content, or only manifests, or
    /// only tags.
    ///
    /// Source: distribution-spec, "Deleting tags" and "Error Codes".
    pub fn is_unsupported(&self) -> bool {
        self.refusal().is_some_and(|refusal| match refusal.status {
            _ if refusal.by != Responder::Registry => false,
            StatusCode::BAD_REQUEST => refusal.errors.iter().any(|error| error.code == "UNSUPPORTED"),
            status => status == StatusCode::METHOD_NOT_ALLOWED,
        })
    }

    /// Returns whether a server's rate limit was reached.
    pub fn is_rate_limited(&self) -> bool {
        self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// Returns the delay before a retry that the server requested, counted from its response.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self.cause() {
            Cause::Answered(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the driver's fault, if it caused the error.
    pub fn fault(&self) -> Option<&Fault> {
        match self.cause() {
            Cause::Transport(fault) => Some(fault),
            _ => None,
        }
    }
}

/// A driver's fault outside of any exchange, such as a failure to store content that required no request.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.context {
            Some(Context::Request { method, url, .. }) => write!(f, "{method} {url}: ")?,
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

/// The cause of an error, classified by the party at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The caller's request is invalid.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// A server responded with an error status.
    #[error(transparent)]
    Answered(#[from] Refusal),
    /// The registry violated the protocol: its response cannot be trusted or understood.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
    /// The driver reported a fault: of its transport, its storage or its credential lookup.
    #[error(transparent)]
    Transport(#[from] Fault),
    /// A limit was exceeded.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl Cause {
    /// Returns whether a request failed because its connection did, which another attempt may not meet. No retry
    /// fixes a certificate, a full disk or a failing credential helper.
    pub(crate) fn is_interruption(&self) -> bool {
        use FaultKind::{Connect, NotSent, Reset, Timeout};
        match self {
            Self::Transport(fault) => matches!(fault.kind(), Connect | NotSent | Reset | Timeout),
            Self::Misbehaved(Misbehaviour::TooShort { .. }) => true,
            _ => false,
        }
    }

    /// Returns whether the receiver of some content has taken bytes that may not belong to it.
    pub(crate) fn is_wrong_content(&self) -> bool {
        use Misbehaviour::{ContentEncoding, TooLong, WrongDigest};
        matches!(self, Self::Misbehaved(WrongDigest { .. } | ContentEncoding(_) | TooLong { .. }))
    }
}

impl From<VerifyError> for Cause {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Size { expected, found } if found > expected => {
                Misbehaviour::TooLong { expected }.into()
            }
            VerifyError::Size { expected, found: received } => {
                Misbehaviour::TooShort { expected, received }.into()
            }
            VerifyError::UnknownAlgorithm(digest) => InvalidRequest::UnknownAlgorithm(digest).into(),
            VerifyError::Digest { expected, computed } => {
                Misbehaviour::WrongDigest { expected, computed }.into()
            }
            VerifyError::Manifest(refused) => Misbehaviour::Manifest(refused).into(),
        }
    }
}

/// An invalid request of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The digest's algorithm is not supported, so its content cannot be verified.
    #[error("`{0}` cannot be verified: its algorithm is not sha256, sha384 or sha512")]
    UnknownAlgorithm(Digest),
    /// The destination's reference has a digest that is not the root's.
    #[error("the destination is to be {named}, but the content to send is {root}")]
    OtherDigest {
        /// The digest in the reference.
        named: Digest,
        /// The digest of the root.
        root: Digest,
    },
    /// The root of a push or a copy is of another type than images and indexes, which alone have trees and tags.
    #[error("the root {0} is neither an image nor an index, so there is no tree to send")]
    RootType(Digest),
    /// The configuration of registries does not permit the operation on this reference.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The reference to a blob has no digest.
    #[error("a blob requires a digest: REPOSITORY@DIGEST")]
    BlobWithoutDigest,
    /// No image in the index matches the platform.
    #[error("no image for platform {asked}; available: {}", list(offered))]
    NoPlatform {
        /// The requested platform.
        asked: Platform,
        /// The first few platforms of the index, in document order.
        offered: Vec<Platform>,
    },
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An error response of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The response's status.
    pub status: StatusCode,
    /// The server that responded.
    pub by: Responder,
    /// The codes and messages in the response body.
    pub errors: Vec<RegistryError>,
    /// The Retry-After header, as a delay from the response.
    pub retry_after: Option<Duration>,
    /// Whether the response has a WWW-Authenticate header, or refuses a credential.
    pub challenged: bool,
    /// Whether the session has a login for the repository. A request to another origin is sent without it.
    pub with_login: bool,
}

/// The server that responded to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Responder {
    /// The registry.
    Registry,
    /// A server that the registry redirected to.
    Elsewhere,
    /// The registry's token server.
    TokenServer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.by {
            Responder::Registry => "the registry answered ",
            Responder::Elsewhere => "the redirect target answered ",
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
            write!(f, "; retry after {} s", wait.as_secs_f64().ceil())?;
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
    /// The code, such as `MANIFEST_UNKNOWN`; empty if the body has none. Unknown codes are kept.
    pub code: String,
    /// The message, safe to display: control characters are replaced by spaces, and its length is bounded.
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

/// A protocol violation by a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// The content does not match its digest.
    #[error("digest mismatch: expected {expected}, got {computed}")]
    WrongDigest {
        /// The digest that was requested, or that the registry announced.
        expected: Digest,
        /// The digest of the received content.
        computed: Digest,
    },
    /// The content does not match the size in its descriptor.
    #[error("size mismatch: the descriptor says {expected} bytes, the registry {announced}")]
    WrongSize {
        /// The size in the descriptor.
        expected: u64,
        /// The size that the response announced, or the number of bytes received before the response was
        /// aborted.
        announced: u64,
    },
    /// The content is longer than its size.
    #[error("the content is longer than {expected} bytes")]
    TooLong {
        /// The size according to the descriptor or the response.
        expected: u64,
    },
    /// The content ended before its size was reached.
    #[error("the content ended after {received} of {expected} bytes")]
    TooShort {
        /// The size according to the descriptor or the response.
        expected: u64,
        /// The number of bytes received.
        received: u64,
    },
    /// The document is invalid.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// A header violates its grammar.
    #[error(transparent)]
    Grammar(#[from] InvalidHeader),
    /// A header is well formed, but its value is not acceptable.
    #[error("the {name} header is unusable: {problem}")]
    Header {
        /// The header's name.
        name: &'static str,
        /// The reason.
        problem: String,
    },
    /// The body has a content coding, although the request accepted only `identity` (RFC 9110, section
    /// 12.5.3), and its bytes do not match the wanted digest and size, or neither is known.
    #[error(
        "the response has the Content-Encoding `{0}`, which the request did not accept, and its bytes match no known digest"
    )]
    ContentEncoding(String),
    /// A URL in a document must not be requested.
    #[error("a layer URL in a document {why}")]
    Url {
        /// The reason.
        why: &'static str,
    },
    /// A server or a document leads to an address that is not public, although its registry is not known to be private.
    /// [`Config::allow_private_addresses`](crate::Config::allow_private_addresses) permits it.
    #[error(
        "{lead} leads to {host}, which only a private registry may name, unless `allow_private_addresses` is set"
    )]
    PrivateAddress {
        /// What leads there: `the realm`, `the redirect`, `the Location of the upload`, `the Link` or `the URL of the
        /// layer`.
        lead: &'static str,
        /// The host of the URL.
        host: String,
    },
    /// A list of tags, repositories or referrers is invalid, or its pages lead nowhere.
    #[error("the list of {of} is unusable: {problem}")]
    List {
        /// The entries of the list: `tags`, `repositories` or `referrers`.
        of: &'static str,
        /// The reason.
        problem: String,
    },
    /// A token server's response has no usable token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The status is not defined for the request.
    #[error("the status {0} is unexpected for this request")]
    Status(StatusCode),
    /// The registry said that it stored content before it had received all of it.
    #[error("the registry reported success after {sent} of {length} bytes were sent")]
    Early {
        /// The number of bytes that were sent.
        sent: u64,
        /// The length of the payload.
        length: u64,
    },
    /// The registry said that it stored content, and does not have it.
    #[error("the registry does not have {0}, although it reported success")]
    NotStored(Digest),
    /// The registry has lost part of a stream.
    #[error("the upload is gone, with {acknowledged} bytes of a stream, which cannot be read again")]
    StreamLost {
        /// The number of bytes that the registry had acknowledged.
        acknowledged: u64,
    },
    /// The response does not answer the request.
    #[error("the response does not fit the request")]
    Unexpected,
    /// Descriptors give different sizes for one digest.
    #[error("{digest} has conflicting sizes: {first} bytes in one descriptor and {second} in another")]
    Contradiction {
        /// The digest.
        digest: Digest,
        /// The verified size, or the first one encountered.
        first: u64,
        /// The conflicting size.
        second: u64,
    },
    /// The registry lacks a manifest that its parent refers to, and the walk is strict.
    #[error("the registry does not have {0}, which a document under the reference refers to")]
    Missing(Digest),
    /// The registry lacks a manifest that it lists as a referrer.
    #[error("the registry lists {0} as a referrer, but does not have it")]
    MissingReferrer(Digest),
}

/// The limit that was exceeded. Each variant names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// [`Limits::manifest_bytes`](crate::Limits::manifest_bytes).
    #[error("the manifest exceeds the limit of {0} bytes")]
    ManifestBytes(u64),
    /// [`Limits::manifest_bytes`](crate::Limits::manifest_bytes), for a config that would state the platform of an image.
    #[error("the config exceeds the limit of {0} bytes")]
    ConfigBytes(u64),
    /// [`Limits::blob_bytes`](crate::Limits::blob_bytes).
    #[error("the blob exceeds the limit of {0} bytes for blobs of unknown size")]
    BlobBytes(u64),
    /// [`Limits::walk_depth`](crate::Limits::walk_depth).
    #[error("its depth exceeds the limit of {0} levels")]
    WalkDepth(u32),
    /// [`Limits::walk_nodes`](crate::Limits::walk_nodes).
    #[error("the tree exceeds the limit of {0} nodes; this is the first over it")]
    WalkNodes(u64),
    /// [`Limits::walk_bytes`](crate::Limits::walk_bytes).
    #[error("with it, the tree's manifests exceed the limit of {0} bytes")]
    WalkBytes(u64),
    /// [`Limits::token_bytes`](crate::Limits::token_bytes).
    #[error("the token server's response exceeds the limit of {0} bytes")]
    TokenBytes(u64),
    /// [`Limits::list_pages`](crate::Limits::list_pages).
    #[error("the list exceeds the limit of {0} pages")]
    ListPages(u32),
    /// [`Limits::list_entries`](crate::Limits::list_entries).
    #[error("the list exceeds the limit of {0} entries")]
    ListEntries(u64),
    /// [`Limits::list_bytes`](crate::Limits::list_bytes).
    #[error("a page of the list exceeds the limit of {0} bytes")]
    ListBytes(u64),
    /// [`Limits::redirects`](crate::Limits::redirects).
    #[error("the request was redirected more than {0} times")]
    Redirects(u32),
    /// The operation's deadline.
    #[error("the operation's deadline passed")]
    Deadline,
}
