//! Error responses: a status, and the error body of the specification.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::server::body::Body;
use crate::wire::endpoint::InvalidEndpoint;

/// The reason for an error response.
#[derive(Clone, Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    message: String,
}

/// An error code.
///
/// Source: distribution-spec 1.1, "Error Codes". The last four are not specified, but used by registries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    Unsupported,
    TooManyRequests,
    TagInvalid,
    PaginationNumberInvalid,
    RangeInvalid,
    Unknown,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: Code, message: impl fmt::Display) -> Self {
        Self { status, code, message: message.to_string() }
    }

    /// The requested resource does not exist.
    pub(super) fn not_found(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The request is malformed.
    pub(super) fn malformed(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The endpoint is unknown or not supported.
    pub(super) fn not_served() -> Self {
        Self::not_found(Code::Unsupported, "no such endpoint: this registry supports pulls only")
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = json!({ "errors": [{ "code": self.code.as_str(), "message": self.message }] });
        let mut response = Response::new(Body::Bytes(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl From<InvalidEndpoint> for ErrorResponse {
    fn from(invalid: InvalidEndpoint) -> Self {
        use InvalidEndpoint as Invalid;
        match invalid {
            Invalid::Unknown | Invalid::UploadId => Self::not_served(),
            Invalid::PathEncoding | Invalid::Repository(_) => Self::malformed(Code::NameInvalid, invalid),
            // An invalid tag counts as an unknown one: end-3 defines no failure other than 404.
            Invalid::Tag(_) => Self::not_found(Code::TagInvalid, invalid),
            Invalid::TagParameter(_) => Self::malformed(Code::TagInvalid, invalid),
            Invalid::Digest(_) | Invalid::Algorithm => Self::malformed(Code::DigestInvalid, invalid),
            Invalid::Number(_) => Self::malformed(Code::PaginationNumberInvalid, invalid),
            Invalid::QueryEncoding | Invalid::MediaType(_) => Self::malformed(Code::Unsupported, invalid),
        }
    }
}

impl Code {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::TagInvalid => "TAG_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::Unknown => "UNKNOWN",
        }
    }
}
