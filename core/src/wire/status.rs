//! The meaning of response statuses, by kind of request.
//!
//! The first matching row applies.
//!
//! | request | status | meaning |
//! |---|---|---|
//! | GET of anything but an upload session; HEAD; POST of a token | 200, 203 | [`Content`](Class::Content) |
//! | GET of a manifest or a blob, in the registry or elsewhere | 206 | [`Part`](Class::Part) |
//! | the same | 416 | [`NothingLeft`](Class::NothingLeft) |
//! | GET of referrers | 400, 404, 405, 406; 401 without `WWW-Authenticate` | [`Unsupported`](Class::Unsupported) |
//! | POST that begins an upload, or mounts | 201 | [`Done`](Class::Done) |
//! | the same | 200, 202, 204 | [`Session`](Class::Session) |
//! | PATCH of a chunk | 200, 201, 202, 204 | [`Accepted`](Class::Accepted) |
//! | PUT of a whole blob, PUT that closes an upload, PUT of a manifest | 200, 201, 202, 204 | [`Done`](Class::Done) |
//! | PUT of a whole blob | 400, 404, 405, 411, 413, 415, 416, 501 | [`NotWhole`](Class::NotWhole) |
//! | PATCH of a chunk, PUT that closes an upload | 413 | [`TooLarge`](Class::TooLarge) |
//! | the same | 416 | [`WrongPosition`](Class::WrongPosition) |
//! | the same, GET of an upload session | 404 | [`Gone`](Class::Gone) |
//! | GET of an upload session | 200, 204 | [`Progress`](Class::Progress) |
//! | DELETE of an upload session | 2xx, 404 | [`Done`](Class::Done) |
//! | DELETE of a manifest, a tag or a blob | 200, 202, 204 | [`Done`](Class::Done) |
//! | the same | 404 | [`Gone`](Class::Gone) |
//! | any | 307, 308 | [`Redirect`](Class::Redirect) |
//! | GET, HEAD | 301, 302, 303 | [`Redirect`](Class::Redirect) |
//! | any | 401 | [`Challenge`](Class::Challenge) |
//! | POST that mounts | other 3xx and 4xx but 408, 425, 429 and 499; 5xx | [`NotMounted`](Class::NotMounted) |
//! | any | 408, 425, 429, 499; 5xx but 501, 505 and 511 | [`Trouble`](Class::Trouble) |
//! | any | other 3xx, 4xx and 5xx | [`Final`](Class::Final) |
//! | any | any other | [`Meaningless`](Class::Meaningless) |
//!
//! A 401 response to a mount also means that the mount is rejected, if no login or token answers the challenge.
//!
//! Source: RFC 9110, section 15; distribution-spec, "Endpoints" and "Error Codes". Several statuses
//! count as success because registries deviate from the specification.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Method, StatusCode};

use crate::error::fault::FaultKind;
use crate::error::{Cause, LimitExceeded, Misbehaviour, Refusal, RegistryError, Responder};
use crate::header::url::UrlKind;

/// A method on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// end-1
    CheckVersion,
    /// end-3
    GetManifest,
    /// end-3
    HeadManifest,
    /// end-2
    GetBlob,
    /// end-2
    HeadBlob,
    /// Content at a URL in a descriptor.
    GetElsewhere,
    GetToken,
    PostToken,
    /// end-8a, end-8b
    ListTags,
    /// end-12a, end-12b
    ListReferrers,
    /// Not in the specification.
    ListRepositories,
    /// end-4a, end-4b
    BeginUpload,
    /// end-11
    Mount,
    /// end-5
    SendChunk,
    /// end-6, with the whole blob in the request.
    PutWhole,
    /// end-6, after earlier chunks.
    CloseUpload,
    /// end-13
    UploadStatus,
    /// end-14
    CancelUpload,
    /// end-7
    PutManifest,
    /// end-9, end-10: a manifest, a tag or a blob.
    Delete,
}

/// The meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The content follows; for HEAD, the headers describe it.
    Content,
    /// Part of the content follows.
    Part,
    /// The content has no bytes in the requested range.
    NothingLeft,
    /// The request succeeded: content is stored, mounted or deleted, or an upload is closed.
    Done,
    /// An upload session is open, at the URL in Location.
    Session,
    /// The chunk is stored.
    Accepted,
    /// The Range header states how much of the upload is stored.
    Progress,
    /// The upload session or the content to delete does not exist.
    Gone,
    /// The chunk does not start at the end of the stored bytes, which the status of the upload reports.
    WrongPosition,
    /// The chunk is too large.
    TooLarge,
    /// The blob was rejected for its size or because it was sent whole. Chunks may be accepted.
    NotWhole,
    /// The blob cannot be mounted. A regular upload may be accepted.
    NotMounted,
    /// The registry does not implement the request, or permits it to no one.
    Unsupported,
    /// The response is at another URL.
    Redirect,
    /// The server requires authentication.
    Challenge,
    /// A transient failure: a retry may succeed.
    Trouble,
    /// The request failed permanently.
    Final,
    /// The status is not defined for the request.
    Meaningless,
}

impl RequestKind {
    /// Returns the kind of the request's URLs.
    pub(crate) fn url_kind(self) -> UrlKind {
        match self {
            Self::GetToken | Self::PostToken => UrlKind::TokenRequest,
            Self::Mount | Self::PutWhole | Self::CloseUpload => UrlKind::Upload,
            _ => UrlKind::Other,
        }
    }

    pub(crate) fn method(self) -> Method {
        match self {
            Self::CheckVersion
            | Self::GetManifest
            | Self::GetBlob
            | Self::GetElsewhere
            | Self::GetToken
            | Self::ListTags
            | Self::ListReferrers
            | Self::ListRepositories
            | Self::UploadStatus => Method::GET,
            Self::HeadManifest | Self::HeadBlob => Method::HEAD,
            Self::PostToken | Self::BeginUpload | Self::Mount => Method::POST,
            Self::SendChunk => Method::PATCH,
            Self::PutWhole | Self::CloseUpload | Self::PutManifest => Method::PUT,
            Self::CancelUpload | Self::Delete => Method::DELETE,
        }
    }

    /// Looks up the status of a response in the [table](self).
    pub(crate) fn classify(self, status: StatusCode, headers: &HeaderMap) -> Class {
        let code = status.as_u16();
        // Harbor before 2.8 responds so, whatever the login.
        if self == Self::ListReferrers && code == 401 && !headers.contains_key(WWW_AUTHENTICATE) {
            return Class::Unsupported;
        }
        self.specific_meaning(code).unwrap_or_else(|| match code {
            300..=399 if self.follows(code) => Class::Redirect,
            401 => Class::Challenge,
            // Waiting does not help against an unsupported method or version, or a captive portal.
            501 | 505 | 511 => Class::Final,
            408 | 425 | 429 | 499 | 500..=599 => Class::Trouble,
            300..=499 => Class::Final,
            _ => Class::Meaningless,
        })
    }

    /// Returns whether the request may be repeated even if the server may have processed it.
    ///
    /// Storing a chunk twice corrupts its upload, and closing an upload twice fails, so a retry within
    /// an upload first requests its status. A manifest is stored under its digest, and a
    /// repeated DELETE finds nothing to delete, which counts as success. A POST that begins an upload carries
    /// no content: repeated, it leaves an empty upload behind, which the registry removes.
    ///
    /// Source: RFC 9110, section 9.2.2.
    pub(crate) fn may_repeat(self) -> bool {
        match self {
            Self::SendChunk | Self::PutWhole | Self::CloseUpload => false,
            Self::BeginUpload | Self::Mount => true,
            _ => self.method().is_idempotent(),
        }
    }

    /// Returns the meaning of a status that is specific to this kind of request.
    #[expect(clippy::match_same_arms, reason = "the arms are the rows of the table, in order")]
    fn specific_meaning(self, code: u16) -> Option<Class> {
        Some(match (self, code) {
            // A transforming proxy sends 203; the digest shows whether it changed the content.
            (
                Self::CheckVersion
                | Self::GetManifest
                | Self::HeadManifest
                | Self::GetBlob
                | Self::HeadBlob
                | Self::GetElsewhere
                | Self::GetToken
                | Self::PostToken
                | Self::ListTags
                | Self::ListReferrers
                | Self::ListRepositories,
                200 | 203,
            ) => Class::Content,
            (Self::GetManifest | Self::GetBlob | Self::GetElsewhere, 206) => Class::Part,
            (Self::GetManifest | Self::GetBlob | Self::GetElsewhere, 416) => Class::NothingLeft,
            (Self::ListReferrers, 400 | 404 | 405 | 406) => Class::Unsupported,

            (Self::BeginUpload | Self::Mount, 201) => Class::Done,
            (Self::BeginUpload | Self::Mount, 200 | 202 | 204) => Class::Session,
            (Self::Mount, 401 | 408 | 425 | 429 | 499) => return None,
            (Self::Mount, 300..=599) if !self.follows(code) => Class::NotMounted,
            (Self::SendChunk, 200 | 201 | 202 | 204) => Class::Accepted,
            (Self::PutWhole | Self::CloseUpload | Self::PutManifest, 200 | 201 | 202 | 204) => Class::Done,
            (Self::PutWhole, 400 | 404 | 405 | 411 | 413 | 415 | 416 | 501) => Class::NotWhole,
            (Self::SendChunk | Self::CloseUpload, 413) => Class::TooLarge,
            (Self::SendChunk | Self::CloseUpload, 416) => Class::WrongPosition,
            (Self::SendChunk | Self::CloseUpload | Self::UploadStatus, 404) => Class::Gone,
            (Self::UploadStatus, 200 | 204) => Class::Progress,
            (Self::CancelUpload, 200..=299 | 404) => Class::Done,

            (Self::Delete, 200 | 202 | 204) => Class::Done,
            (Self::Delete, 404) => Class::Gone,
            _ => return None,
        })
    }

    /// Returns whether the request follows a redirect with this status. After 301, 302 and 303, only
    /// GET and HEAD keep their method.
    ///
    /// Source: RFC 9110, section 15.4.
    fn follows(self, code: u16) -> bool {
        let reads = matches!(self.method(), Method::GET | Method::HEAD);
        matches!(code, 307 | 308) || matches!(code, 301..=303) && reads
    }
}

/// Returns whether the status delays all requests to the server instead of only this one.
pub(crate) fn slows_all(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Returns whether a transient status of a PUT of a manifest refuses the manifest itself, so that no retry helps.
/// distribution responds with 500 if a layer has a URL that it does not allow.
///
/// Source: distribution-spec, "Error Codes".
pub(crate) fn refuses_manifest(kind: RequestKind, refusal: &Refusal) -> bool {
    const CODES: [&str; 3] = ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNVERIFIED"];
    let refuses = |error: &RegistryError| CODES.contains(&error.code.as_str());
    kind == RequestKind::PutManifest && refusal.errors.iter().any(refuses)
}

/// Returns whether a token server's response to a refresh token by POST means that GET must be used.
///
/// Source: Docker's page on `OAuth2`. Servers without support for it respond with one of these statuses.
pub(crate) fn refuses_refresh_token(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 404 | 405)
}

/// Returns whether GET decides after HEAD failed for this cause.
///
/// A registry or a proxy may not implement HEAD, may not sign URLs for it, may forbid it, close the connection, or
/// respond with any other status, and only the response to GET has a body that explains the failure. An answered
/// challenge applies to GET too, and so does a rate limit.
pub(crate) fn get_decides(cause: &Cause) -> bool {
    match cause {
        Cause::Answered(refusal) => {
            let is_login = refusal.status == StatusCode::UNAUTHORIZED && refusal.challenged;
            let is_challenge = is_login && refusal.by == Responder::Registry;
            let is_delayed = slows_all(refusal.status) && refusal.retry_after.is_some();
            !is_challenge && !is_delayed && refusal.status != StatusCode::TOO_MANY_REQUESTS
        }
        Cause::Misbehaved(Misbehaviour::Status(_)) => true,
        Cause::Misbehaved(Misbehaviour::Header { name, .. }) => *name == "Location",
        Cause::Misbehaved(Misbehaviour::Grammar(error)) => error.header() == "Location",
        Cause::Limit(limit) => matches!(limit, LimitExceeded::Redirects(_)),
        Cause::Transport(fault) => fault.kind() == FaultKind::Reset,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
