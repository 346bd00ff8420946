//! Responses to requests.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName,
    HeaderValue, LINK, RANGE, RETRY_AFTER,
};
use http::uri::Authority;
use http::{Method, Response, StatusCode, Version, request};
use serde_json::json;

use crate::header::range::{ByteRange, Selected};
use crate::server::body::{Body, Unavailable};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::holdings::Holdings;
use crate::server::precondition::{Precondition, evaluate, range_applies};
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::{Endpoint, Page};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The maximum number of tags in a response, so that a client that does not read it occupies little memory.
/// A Link header leads to the rest.
const TAGS: usize = 1000;

/// Answers a request to a registry with these repositories.
pub(super) fn respond(
    repositories: &BTreeMap<Repository, Holdings>,
    head: &request::Parts,
) -> Response<Body> {
    finish(&head.method, answer(repositories, head).unwrap_or_else(ErrorResponse::into_response))
}

/// Answers a request whose blob cannot be read.
pub(super) fn respond_without(head: &request::Parts, digest: &Digest, reason: Unavailable) -> Response<Body> {
    let error = match (reason, Endpoint::parse(&head.uri)) {
        (Unavailable::Missing, Ok(Endpoint::Manifest(..))) => {
            let message = format_args!("manifest {digest} is missing from the registry's storage");
            ErrorResponse::not_found(Code::ManifestUnknown, message)
        }
        (Unavailable::Missing, _) => {
            let message = format_args!("blob {digest} is missing from the registry's storage");
            ErrorResponse::not_found(Code::BlobUnknown, message)
        }
        (Unavailable::Unreadable, _) => {
            let message = format_args!("the registry cannot read {digest}; its log has the reason");
            ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
        }
    };
    finish(&head.method, error.into_response())
}

/// Rejects a connection from an address that has too many.
pub(super) fn too_many_connections() -> Response<Body> {
    let message = "too many connections from this address; close some";
    let error = ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
    let mut response = error.into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    finish(&Method::GET, response)
}

fn finish(method: &Method, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if response.status() != StatusCode::NOT_MODIFIED {
        let size = response.body().size();
        response.headers_mut().insert(CONTENT_LENGTH, size.into());
    }
    if *method == Method::HEAD {
        let body = std::mem::replace(response.body_mut(), Body::Empty);
        if let Body::Blob { digest, range } = body {
            *response.body_mut() = Body::Blob { digest, range: range.end..range.end };
        }
    }
    response
}

fn answer(
    repositories: &BTreeMap<Repository, Holdings>,
    head: &request::Parts,
) -> Result<Response<Body>, ErrorResponse> {
    check_host(head)?;
    if head.method != Method::GET && head.method != Method::HEAD {
        let message = "this registry is read-only: only GET and HEAD are allowed";
        return Err(ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message));
    }
    let holdings = |repository: &Repository| {
        let unknown =
            || ErrorResponse::not_found(Code::NameUnknown, format_args!("no repository `{repository}` here"));
        repositories.get(repository).ok_or_else(unknown)
    };
    match Endpoint::parse(&head.uri)? {
        Endpoint::Version => Ok(json_response("{}".to_owned())),
        Endpoint::Blob(repository, digest) => blob(head, holdings(&repository)?, &repository, digest),
        Endpoint::Manifest(repository, name, _) => manifest(head, holdings(&repository)?, &repository, &name),
        Endpoint::Tags(repository, page) => Ok(tags(holdings(&repository)?, repository, &page)),
        Endpoint::Referrers(repository, subject, artifact_type) => {
            // An unknown repository, too, has an empty list (end-12a).
            let holdings = repositories.get(&repository);
            Ok(referrers(holdings, &subject, artifact_type.as_ref()))
        }
        Endpoint::Uploads(..) | Endpoint::Upload(..) | Endpoint::Catalog(_) => {
            Err(ErrorResponse::not_served())
        }
    }
}

/// Checks the Host header: HTTP/1.1 requires exactly one, and no version allows two. A target that names its
/// host, as in the requests of a [`Session`](crate::Session), needs none.
///
/// Source: RFC 9112, section 3.2.
fn check_host(head: &request::Parts) -> Result<(), ErrorResponse> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let problem = match (hosts.next(), hosts.next()) {
        (None, _) if head.version == Version::HTTP_11 && head.uri.authority().is_none() => {
            "HTTP/1.1 requires a Host header"
        }
        (None, _) => return Ok(()),
        (Some(_), Some(_)) => "the request has several Host headers",
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (Some(_), None) => "the Host header is neither empty nor a host with an optional port",
    };
    Err(ErrorResponse::malformed(Code::Unsupported, problem))
}

fn is_host(value: &[u8]) -> bool {
    value.is_empty() || Authority::try_from(value).is_ok_and(|host| !host.as_str().contains('@'))
}

/// end-2
fn blob(
    head: &request::Parts,
    holdings: &Holdings,
    repository: &Repository,
    digest: Digest,
) -> Result<Response<Body>, ErrorResponse> {
    let Some(&size) = holdings.blobs.get(&digest) else {
        let message = format_args!("no blob {digest} in `{repository}`");
        return Err(ErrorResponse::not_found(Code::BlobUnknown, message));
    };
    let etag = digest.to_string();
    // RFC 9110, section 14.2: Range is defined for GET only.
    let asked = if head.method == Method::GET && range_applies(&head.headers, &etag) {
        byte_range(&head.headers)
    } else {
        None
    };
    conditional(head, &etag, || match asked.map_or(Selected::Whole, |range| range.select(size)) {
        Selected::Whole => octets(StatusCode::OK, Body::Blob { digest, range: 0..size }),
        Selected::Part(range) => {
            let shown = value(format_args!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)));
            let mut response = octets(StatusCode::PARTIAL_CONTENT, Body::Blob { digest, range });
            response.headers_mut().insert(CONTENT_RANGE, shown);
            response
        }
        Selected::Nothing => {
            let message = format_args!("the range lies outside the blob's {size} bytes");
            let error = ErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::RangeInvalid, message);
            let mut response = error.into_response();
            response.headers_mut().insert(CONTENT_RANGE, value(format_args!("bytes */{size}")));
            response
        }
    })
}

/// Returns the requested byte range. Returns `None` for several ranges or an invalid header, which a
/// server may ignore (RFC 9110, section 14.2).
fn byte_range(headers: &HeaderMap) -> Option<ByteRange> {
    let mut lines = headers.get_all(RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => ByteRange::parse(line.as_bytes()).ok().flatten(),
        _ => None,
    }
}

/// end-3
fn manifest(
    head: &request::Parts,
    holdings: &Holdings,
    repository: &Repository,
    name: &TagOrDigest,
) -> Result<Response<Body>, ErrorResponse> {
    let named = match name {
        TagOrDigest::Digest(digest) => Some(digest),
        TagOrDigest::Tag(tag) => holdings.tags.get(tag),
    };
    let Some((digest, manifest)) = named.and_then(|digest| holdings.manifests.get_key_value(digest)) else {
        let message = match name {
            TagOrDigest::Digest(digest) => format!("no manifest {digest} in `{repository}`"),
            TagOrDigest::Tag(tag) => format!("no manifest tagged `{tag}` in `{repository}`"),
        };
        return Err(ErrorResponse::not_found(Code::ManifestUnknown, message));
    };
    conditional(head, &digest.to_string(), || {
        let mut response = Response::new(match &manifest.bytes {
            Some(bytes) => Body::Bytes(bytes.clone()),
            None => Body::Blob { digest: digest.clone(), range: 0..manifest.size },
        });
        response.headers_mut().insert(CONTENT_TYPE, value(&manifest.media_type));
        response
    })
}

/// Evaluates the request's preconditions, and calls `respond` if they hold. A response other than an
/// error includes the digest and the entity tag.
fn conditional(
    head: &request::Parts,
    digest: &str,
    respond: impl FnOnce() -> Response<Body>,
) -> Result<Response<Body>, ErrorResponse> {
    let mut response = match evaluate(&head.headers, digest) {
        Precondition::Met => respond(),
        Precondition::NotModified => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        Precondition::Failed => {
            let message = format_args!("If-Match does not list {digest}");
            return Err(ErrorResponse::new(StatusCode::PRECONDITION_FAILED, Code::Unsupported, message));
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, value(digest));
    headers.insert(ETAG, value(format_args!("\"{digest}\"")));
    Ok(response)
}

/// end-8a, end-8b
fn tags(holdings: &Holdings, repository: Repository, page: &Page<Tag>) -> Response<Body> {
    let n = page.n.unwrap_or(TAGS).min(TAGS);
    let after = page.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut tags = holdings.tags.range((after, Bound::Unbounded)).map(|(tag, _)| tag);
    let shown: Vec<&Tag> = tags.by_ref().take(n).collect();
    let texts: Vec<&str> = shown.iter().map(|tag| tag.as_str()).collect();
    let mut response = json_response(json!({ "name": repository.as_str(), "tags": texts }).to_string());
    if let (Some(last), Some(_)) = (shown.last(), tags.next()) {
        let next = Endpoint::Tags(repository, Page { n: page.n, last: Some(Tag::clone(last)) });
        let link = format_args!("<{}>; rel=\"next\"", next.path_and_query());
        response.headers_mut().insert(LINK, value(link));
    }
    response
}

/// end-12a, end-12b
fn referrers(
    holdings: Option<&Holdings>,
    subject: &Digest,
    artifact_type: Option<&MediaType>,
) -> Response<Body> {
    let shown: Vec<&str> = holdings
        .into_iter()
        .flat_map(|holdings| holdings.referrers(subject))
        .filter(|referrer| artifact_type.is_none() || referrer.artifact_type.as_ref() == artifact_type)
        .map(|referrer| referrer.entry.as_str())
        .collect();
    let (index, entries) = (MediaType::OCI_INDEX, shown.join(","));
    let list = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{entries}]}}"#);
    let mut response = json_response(list);
    response.headers_mut().insert(CONTENT_TYPE, value(index));
    if artifact_type.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    response
}

fn octets(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn json_response(body: String) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn value(text: impl fmt::Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string())
        .expect("digests, media types, repositories, tags and numbers are visible ASCII by their grammars")
}

#[cfg(test)]
mod tests;
