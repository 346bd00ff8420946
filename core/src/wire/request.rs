//! The headers and payloads of requests.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, RANGE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use crate::config::Config;
use crate::header::range::ByteRange;
use crate::types::digest::Digest;
use crate::types::id::OpId;

/// The kind of content that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Manifest,
    /// A blob, starting at this byte.
    Blob(u64),
    /// A token, or a list.
    Json,
    /// The referrers of a subject.
    Referrers,
    /// Whatever the server sends.
    Any,
}

/// Builds a request without credentials and payload.
pub(crate) fn build(config: &Config, method: Method, uri: Uri, accepting: Accepting) -> Request<Payload> {
    let mut request = Request::new(Payload::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let accept = match accepting {
        Accepting::Manifest => MANIFEST_TYPES,
        Accepting::Blob(_) | Accepting::Any => HeaderValue::from_static("*/*"),
        Accepting::Json => HeaderValue::from_static("application/json"),
        Accepting::Referrers => HeaderValue::from_static("application/vnd.oci.image.index.v1+json"),
    };
    headers.insert(ACCEPT, accept);
    // A digest covers the bytes that the registry stores, without a content coding (RFC 9110, section
    // 12.5.3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(agent) = &config.user_agent {
        headers.insert(USER_AGENT, agent.clone());
    }
    if let Accepting::Blob(offset @ 1..) = accepting
        && let Ok(range) = HeaderValue::from_str(&ByteRange::starting_at(offset).to_string())
    {
        headers.insert(RANGE, range);
    }
    request
}

/// Sets Content-Length, also for an empty payload if the method gives a payload a meaning.
///
/// Source: RFC 9110, section 8.6.
pub(crate) fn set_content_length(request: &mut Request<Payload>) {
    let length = request.body().length();
    if length > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}

/// The four supported media types: image and index, of OCI and of Docker.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

/// The body of a request.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver cannot send a payload of an unknown kind")]
pub enum Payload {
    /// No bytes.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// A range of some content, which the driver reads from the operation's source.
    Source(Source),
}

impl Payload {
    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source(source) => source.length(),
        }
    }
}

impl fmt::Debug for Payload {
    /// Omits the bytes, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Source(source) => source.fmt(f),
        }
    }
}

/// A range of some content, for the driver to send.
///
/// A retry, a redirect or a resumed upload is a new exchange with its own `Source`. A driver never has to
/// rewind within an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The operation that the source belongs to.
    pub op: OpId,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// The position of the first byte to read; at most `range.start`. The bytes before the range are passed
    /// to [`Sending::push`](crate::Sending::push), which verifies the whole content, and are not sent.
    pub start: u64,
    /// The range to send, in bytes: from `start` up to, but not including, `end`.
    pub range: Range<u64>,
}

impl Source {
    /// Returns the length of the range to send, in bytes.
    pub fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Returns the range to read, in bytes. It ends with the range to send, and may start before it.
    pub fn read_range(&self) -> Range<u64> {
        self.start..self.range.end
    }
}
