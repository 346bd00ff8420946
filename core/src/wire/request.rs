//! The headers and the payload of every request that is sent.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, RANGE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use crate::config::Config;
use crate::header::range::ByteRange;

/// What the content of a request's answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Manifest,
    /// A blob from this byte on.
    Blob(u64),
    Token,
}

/// The request itself.
pub(crate) fn build(config: &Config, method: Method, uri: Uri, accepting: Accepting) -> Request<Payload> {
    let mut request = Request::new(Payload::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let accept = match accepting {
        Accepting::Manifest => MANIFEST_TYPES,
        Accepting::Blob(_) => HeaderValue::from_static("*/*"),
        Accepting::Token => HeaderValue::from_static("application/json"),
    };
    headers.insert(ACCEPT, accept);
    // Digests are over the bytes as the registry holds them (RFC 9110, section 12.5.3).
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

/// The four types that are understood: image and index, of OCI and of Docker.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

/// What a request carries as its body.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
}

impl fmt::Debug for Payload {
    /// Leaves out the bytes, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}
