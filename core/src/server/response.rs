//! What all responses have in common.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, LOCATION, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Method, Response, StatusCode, Version, request};

use crate::server::body::Body;
use crate::server::error_response::{Code, ErrorResponse};
use crate::types::digest::Digest;
use crate::wire::endpoint::Endpoint;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Completes the response to a request with this method.
pub(super) fn finish(method: &Method, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // RFC 9110, section 8.6: a 204 has no Content-Length, and that of a 304 is the one of a 200.
    if !matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
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

/// Returns a response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Returns the response for content that is stored at this endpoint.
pub(super) fn created(at: &Endpoint, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    response.headers_mut().insert(LOCATION, value(at.path_and_query()));
    response.headers_mut().insert(CONTENT_DIGEST, value(digest));
    response
}

/// Returns a response with a JSON document.
pub(super) fn json_response(body: String) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(Bytes::from(body)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// Returns the value of a header.
pub(super) fn value(text: impl fmt::Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string())
        .expect("digests, media types, names, tags, ids and numbers are visible ASCII by their grammars, and warnings have no control characters")
}

/// Checks what HTTP requires of every request.
pub(super) fn check_head(head: &request::Parts) -> Result<(), ErrorResponse> {
    check_host(head)?;
    check_transfer_coding(&head.headers)
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

/// Checks that the body has no transfer coding but `chunked`, which the adapter decodes: it would be stored encoded.
///
/// Source: RFC 9112, section 6.1.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), ErrorResponse> {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let mut codings = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let message = "the only transfer coding that is supported is `chunked`";
            Err(ErrorResponse::new(StatusCode::NOT_IMPLEMENTED, Code::Unsupported, message))
        }
    }
}

fn is_host(value: &[u8]) -> bool {
    value.is_empty() || Authority::try_from(value).is_ok_and(|host| !host.as_str().contains('@'))
}
