//! What a status means: one table, by the kind of request that it answers.
//!
//! Where several lines fit, the first one counts.
//!
//! | request | status | meaning |
//! |---|---|---|
//! | GET of anything but a session; HEAD; POST of a token | 200, 203 | [`Content`](Class::Content) |
//! | GET of a manifest or a blob, in the registry or elsewhere | 206 | [`Part`](Class::Part) |
//! | the same | 416 | [`NothingLeft`](Class::NothingLeft) |
//! | GET of referrers | 400, 404, 405, 406 | [`Unsupported`](Class::Unsupported) |
//! | POST that begins an upload, or mounts | 201 | [`Done`](Class::Done) |
//! | the same | 200, 202, 204 | [`Session`](Class::Session) |
//! | PATCH of a chunk | 200, 201, 202, 204 | [`Accepted`](Class::Accepted) |
//! | PUT of a whole blob, PUT that closes an upload, PUT of a manifest | 200, 201, 202, 204 | [`Done`](Class::Done) |
//! | PUT of a whole blob | 400, 404, 405, 411, 413, 415, 416, 501 | [`NotWhole`](Class::NotWhole) |
//! | PATCH of a chunk, PUT that closes an upload | 413 | [`TooLarge`](Class::TooLarge) |
//! | the same | 416 | [`WrongPosition`](Class::WrongPosition) |
//! | the same, GET of a session's status | 404 | [`Gone`](Class::Gone) |
//! | GET of a session's status | 200, 204 | [`Progress`](Class::Progress) |
//! | DELETE of a session | 2xx, 404 | [`Done`](Class::Done) |
//! | DELETE of a manifest, a tag or a blob | 200, 202, 204 | [`Done`](Class::Done) |
//! | the same | 404 | [`Gone`](Class::Gone) |
//! | the same | 405 | [`Unsupported`](Class::Unsupported) |
//! | any | 307, 308 | [`Redirect`](Class::Redirect) |
//! | GET, HEAD | 301, 302, 303 | [`Redirect`](Class::Redirect) |
//! | any | 401 | [`Challenge`](Class::Challenge) |
//! | POST that mounts | other 3xx and 4xx but 408, 425, 429 and 499; 5xx | [`NotMounted`](Class::NotMounted) |
//! | any | 408, 425, 429, 499; 5xx but 501, 505 and 511 | [`Trouble`](Class::Trouble) |
//! | any | other 3xx, 4xx and 5xx | [`Final`](Class::Final) |
//! | any | any other | [`Meaningless`](Class::Meaningless) |
//!
//! Two meanings need more than the status. A 400 with the code `UNSUPPORTED` says of a DELETE what 405 says,
//! and a 401 to a mount refuses the mount once no login answers it.
//!
//! Source: RFC 9110, section 15; distribution-spec, "Endpoints" and "Error Codes". Registries differ from the
//! specification in the statuses of their successes, which is why several count.

use http::{Method, StatusCode};

/// A method at an end-point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// end-1
    GetVersion,
    /// end-3
    GetManifest,
    /// end-3
    HeadManifest,
    /// end-2
    GetBlob,
    /// end-2
    HeadBlob,
    /// Content at a URL that a descriptor names.
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
    /// end-6, where all of the blob comes with it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no operation uploads yet, and to a server it is any PUT")
    )]
    PutWhole,
    /// end-6, where bytes came before.
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

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The content follows; for HEAD, its description is in the head.
    Content,
    /// A part of the content follows.
    Part,
    /// The content has nothing from where it was asked for.
    NothingLeft,
    /// What was asked for is done: content is stored, mounted or deleted, or a session is over.
    Done,
    /// An upload has a session, at the URL in Location.
    Session,
    /// The chunk is stored.
    Accepted,
    /// Range says how much of the upload is stored.
    Progress,
    /// The session, or the content to delete, does not exist, or no longer does.
    Gone,
    /// The chunk does not begin where the stored bytes end: the session's status says where that is.
    WrongPosition,
    /// The chunk is too large.
    TooLarge,
    /// The blob is refused for its size or for the form of the request: chunks may be accepted.
    NotWhole,
    /// The blob cannot be mounted: an upload without a mount may be accepted.
    NotMounted,
    /// The registry does not implement the request, or does not allow it to anybody.
    Unsupported,
    /// The answer is elsewhere.
    Redirect,
    /// The server wants to know who asks.
    Challenge,
    /// The server is in trouble, or busy, and the same request may be answered later.
    Trouble,
    /// The answer is no.
    Final,
    /// Nothing that the request can be answered with.
    Meaningless,
}

impl RequestKind {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::GetVersion
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

    /// Looks a status up in the [table](self).
    pub(crate) fn classify(self, status: StatusCode) -> Class {
        let code = status.as_u16();
        self.own_meaning(code).unwrap_or_else(|| match code {
            300..=399 if self.follows(code) => Class::Redirect,
            401 => Class::Challenge,
            // Neither a method, a version nor a captive portal goes away by waiting.
            501 | 505 | 511 => Class::Final,
            408 | 425 | 429 | 499 | 500..=599 => Class::Trouble,
            300..=499 => Class::Final,
            _ => Class::Meaningless,
        })
    }

    /// Whether the request may be sent again though it may have been acted on.
    ///
    /// A chunk that is stored twice breaks its upload, and an upload that is closed twice fails: a request at
    /// a session asks for its status first. A manifest is stored under its digest, and a DELETE that is
    /// repeated finds nothing to delete, which counts as done.
    ///
    /// Source: RFC 9110, section 9.2.2.
    pub(crate) fn may_repeat(self) -> bool {
        match self {
            Self::SendChunk | Self::PutWhole | Self::CloseUpload => false,
            _ => self.method().is_idempotent(),
        }
    }

    /// The statuses that mean something else to this kind than to the rest.
    #[expect(clippy::match_same_arms, reason = "arms are the lines of the table, in its order")]
    fn own_meaning(self, code: u16) -> Option<Class> {
        Some(match (self, code) {
            // 203 is what a transforming proxy sends; the digest decides whether it changed anything.
            (
                Self::GetVersion
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
            (Self::Delete, 405) => Class::Unsupported,
            _ => return None,
        })
    }

    /// Whether the request follows a redirect with this status. After 301, 302 and 303 only a read is sent
    /// again with the same method.
    ///
    /// Source: RFC 9110, section 15.4.
    fn follows(self, code: u16) -> bool {
        let reads = matches!(self.method(), Method::GET | Method::HEAD);
        matches!(code, 307 | 308) || matches!(code, 301..=303) && reads
    }
}

/// Whether the answer slows down every request to its server, and not only the one that met it.
pub(crate) fn slows_all(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Whether a token server's answer to a refresh token means that it is to be asked in the other way.
///
/// Source: Docker's page on `OAuth2`; servers that do not know it answer with one of these.
pub(crate) fn refuses_refresh_token(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 404 | 405)
}

/// Whether a refused HEAD says nothing of what GET would say.
///
/// A registry or a proxy may not know HEAD (405, 501), may not sign for it, or may not allow it; but a
/// manifest that is unknown, a login that is not enough, a registry that wants fewer requests and one that
/// fails say the same to GET.
pub(crate) fn head_may_differ(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 404 | 429)
        || status == StatusCode::NOT_IMPLEMENTED
}

#[cfg(test)]
mod tests;
