//! Every request that is sent, each with its end-point in the distribution specification.

use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use crate::origin::Base;
use crate::{Config, Digest, Payload, Repository, Tag};

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Tag(Tag),
    Digest(Digest),
}

/// `GET` or `HEAD /v2/<name>/manifests/<reference>` (end-3).
pub(crate) fn manifest_uri(base: &Base, repository: &Repository, name: &Name) -> Uri {
    match name {
        Name::Tag(tag) => base.uri(&format!("/v2/{repository}/manifests/{tag}")),
        Name::Digest(digest) => base.uri(&format!("/v2/{repository}/manifests/{digest}")),
    }
}

/// `GET /v2/<name>/blobs/<digest>` (end-2).
pub(crate) fn blob_uri(base: &Base, repository: &Repository, digest: &Digest) -> Uri {
    base.uri(&format!("/v2/{repository}/blobs/{digest}"))
}

/// What the content of a request's answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Manifest,
    Blob,
}

/// The request itself.
pub(crate) fn build(config: &Config, method: Method, uri: Uri, accepting: Accepting) -> Request<Payload> {
    let mut request = Request::new(Payload::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let accept = match accepting {
        Accepting::Manifest => MANIFEST_TYPES,
        Accepting::Blob => HeaderValue::from_static("*/*"),
    };
    headers.insert(ACCEPT, accept);
    // Digests are over the bytes as the registry holds them (RFC 9110, section 12.5.3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(agent) = &config.user_agent {
        headers.insert(USER_AGENT, agent.clone());
    }
    request
}

/// The four types that are understood: image and index, of OCI and of Docker.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);
