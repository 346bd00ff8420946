//! Responses to requests.

use std::ops::Bound;

use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LINK, RANGE,
    RETRY_AFTER,
};
use http::{Method, Response, StatusCode, request};
use serde_json::json;

use crate::header::range::{ByteRange, Selected};
use crate::server::body::{Body, Unavailable};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::holdings::Holdings;
use crate::server::policy::{Access, User, read_only, unauthorized};
use crate::server::precondition::{Precondition, evaluate, range_applies};
use crate::server::response::{CONTENT_DIGEST, check_head, empty, finish, json_response, value};
use crate::server::state::State;
use crate::server::web_page;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::{Endpoint, Page};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The maximum number of tags, repositories or referrers in a response, so that a client that does not read it occupies
/// little memory. A Link header leads to the rest.
const ENTRIES: usize = 1000;
/// The maximum size of the referrers in a response, unless there is only one. Their annotations may be large.
const REFERRERS_BYTES: usize = 1 << 20;

/// Answers a request that changes nothing: GET or HEAD.
pub(super) fn respond(state: &State, head: &request::Parts) -> Response<Body> {
    let mut response = answer(state, head).unwrap_or_else(ErrorResponse::into_response);
    state.policy.warn(&mut response);
    finish(&head.method, response)
}

/// Returns whether a request with this method reads.
pub(super) fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// Returns the repository of a request.
pub(super) fn repository(head: &request::Parts) -> Option<Repository> {
    match Endpoint::parse(&head.uri).ok()? {
        Endpoint::Blob(repository, _)
        | Endpoint::Manifest(repository, ..)
        | Endpoint::Tags(repository, _)
        | Endpoint::Referrers(repository, ..)
        | Endpoint::Uploads(repository, _)
        | Endpoint::Upload(repository, ..) => Some(repository),
        Endpoint::Version | Endpoint::Catalog(_) => None,
    }
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

/// Rejects a request whose login is wrong.
pub(super) fn wrong_login(method: &Method) -> Response<Body> {
    finish(method, unauthorized("the user name or the password is wrong").into_response())
}

/// Rejects a request of a web page that is not local.
pub(super) fn foreign(head: &request::Parts) -> Option<Response<Body>> {
    web_page::check(head).err().map(|error| finish(&head.method, error.into_response()))
}

/// Rejects a connection from an address that has too many.
pub(super) fn too_many_connections() -> Response<Body> {
    let message = "too many connections from this address; close some";
    let error = ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
    let mut response = error.into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    finish(&Method::GET, response)
}

fn answer(state: &State, head: &request::Parts) -> Result<Response<Body>, ErrorResponse> {
    check_head(head)?;
    if !is_read(&head.method) {
        return Err(read_only());
    }
    let user = head.extensions.get::<User>();
    let reads = |repository: &_| state.policy.check(Access::Read, repository, user);
    let holdings = |repository: &Repository| {
        reads(repository)?;
        let unknown =
            || ErrorResponse::not_found(Code::NameUnknown, format_args!("no repository `{repository}` here"));
        state.repositories.get(repository).ok_or_else(unknown)
    };
    match Endpoint::parse(&head.uri)? {
        Endpoint::Uploads(..) | Endpoint::Upload(..) if state.policy.is_read_only() => {
            Err(ErrorResponse::not_served())
        }
        Endpoint::Version => {
            state.policy.check_version(user)?;
            Ok(json_response("{}".to_owned()))
        }
        Endpoint::Blob(repository, digest) => blob(head, holdings(&repository)?, &repository, digest),
        Endpoint::Manifest(repository, name, ..) => {
            manifest(head, holdings(&repository)?, &repository, &name)
        }
        Endpoint::Tags(repository, page) => Ok(tags(holdings(&repository)?, repository, &page)),
        Endpoint::Referrers(repository, subject, artifact_type, last) => {
            reads(&repository)?;
            // An unknown repository, too, has an empty list (end-12a).
            let holdings = state.repositories.get(&repository);
            Ok(referrers(holdings, repository, subject, artifact_type, last.as_ref()))
        }
        Endpoint::Upload(repository, id, _) => {
            state.policy.check(Access::Write, &repository, user)?;
            let mut response = empty(StatusCode::NO_CONTENT);
            let upload = state.uploads.get(&repository, &id)?;
            response.headers_mut().extend(upload.headers(&id, &state.policy));
            Ok(response)
        }
        Endpoint::Catalog(page) => {
            let shown = state.repositories.keys().filter(|repository| state.policy.shows(repository, user));
            Ok(catalog(shown, &page))
        }
        Endpoint::Uploads(..) => {
            let message = "an upload begins with a POST";
            let error = ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message);
            Err(error.allowing("POST"))
        }
    }
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
    let mut response = match evaluate(&head.headers, Some(digest)) {
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
    let after = page.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let tags = holdings.tags.range((after, Bound::Unbounded)).map(|(tag, _)| tag);
    let (shown, next) = page_of(tags, page);
    let texts: Vec<&str> = shown.iter().map(|tag| tag.as_str()).collect();
    let mut response = json_response(json!({ "name": repository.as_str(), "tags": texts }).to_string());
    link(&mut response, next.map(|next| Endpoint::Tags(repository, next)));
    response
}

/// Docker's registry API, "Listing Repositories".
fn catalog<'a>(
    repositories: impl Iterator<Item = &'a Repository>,
    page: &Page<Repository>,
) -> Response<Body> {
    let after = repositories.skip_while(|name| page.last.as_ref().is_some_and(|last| *name <= last));
    let (shown, next) = page_of(after, page);
    let texts: Vec<&str> = shown.iter().map(|name| name.as_str()).collect();
    let mut response = json_response(json!({ "repositories": texts }).to_string());
    link(&mut response, next.map(Endpoint::Catalog));
    response
}

/// Returns the entries on a page, and the next page if there is one.
fn page_of<'a, T: Clone>(
    mut entries: impl Iterator<Item = &'a T>,
    page: &Page<T>,
) -> (Vec<&'a T>, Option<Page<T>>) {
    let n = page.n.unwrap_or(ENTRIES).min(ENTRIES);
    let shown: Vec<&T> = entries.by_ref().take(n).collect();
    let last = shown.last().filter(|_| entries.next().is_some());
    let next = last.map(|last| Page { n: page.n, last: Some(T::clone(last)) });
    (shown, next)
}

/// Adds the link to the next page.
fn link(response: &mut Response<Body>, next: Option<Endpoint>) {
    if let Some(next) = next {
        let link = format_args!("<{}>; rel=\"next\"", next.path_and_query());
        response.headers_mut().insert(LINK, value(link));
    }
}

/// end-12a, end-12b
fn referrers(
    holdings: Option<&Holdings>,
    repository: Repository,
    subject: Digest,
    artifact_type: Option<MediaType>,
    last: Option<&Digest>,
) -> Response<Body> {
    let all = holdings.into_iter().flat_map(|holdings| holdings.referrers(&subject, last));
    let all = all.filter(|(_, referrer)| {
        artifact_type.is_none() || referrer.artifact_type.as_ref() == artifact_type.as_ref()
    });
    let (mut entries, mut count, mut shown, mut next) = (String::new(), 0, None::<&Digest>, None);
    for (digest, referrer) in all {
        // One entry always fits.
        if count > 0 && (count == ENTRIES || entries.len() + referrer.entry.len() > REFERRERS_BYTES) {
            next = shown.cloned();
            break;
        }
        if count > 0 {
            entries.push(',');
        }
        entries.push_str(&referrer.entry);
        count += 1;
        shown = Some(digest);
    }
    let index = MediaType::OCI_INDEX;
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{entries}]}}"#);
    let mut response = json_response(document);
    response.headers_mut().insert(CONTENT_TYPE, value(index));
    if artifact_type.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    let next = next.map(|last| Endpoint::Referrers(repository, subject, artifact_type, Some(last)));
    link(&mut response, next);
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

#[cfg(test)]
mod tests;
