//! Refusals: a status, and the error body of the specification.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::server::Body;
use crate::wire::endpoint::InvalidEndpoint;

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    message: String,
}

/// An error's code.
///
/// Source: distribution-spec 1.1, "Error Codes"; the last three are used by registries besides.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    Unsupported,
    TagInvalid,
    PaginationNumberInvalid,
    RangeInvalid,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Code, message: impl fmt::Display) -> Self {
        Self { status, code, message: message.to_string() }
    }

    /// There is no such thing.
    pub(super) fn not_found(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The request is malformed.
    pub(super) fn malformed(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The end-point is unknown, or not served here.
    pub(super) fn not_served() -> Self {
        Self::not_found(Code::Unsupported, "this registry has no such end-point: it serves pulls only")
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

impl From<InvalidEndpoint> for Refusal {
    fn from(invalid: InvalidEndpoint) -> Self {
        use InvalidEndpoint as Invalid;
        match invalid {
            Invalid::Unknown | Invalid::UploadId => Self::not_served(),
            Invalid::PathEncoding | Invalid::Repository(_) => Self::malformed(Code::NameInvalid, invalid),
            // An invalid tag is an unknown one: end-3 has no other failure than 404.
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
            Self::TagInvalid => "TAG_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
        }
    }
}
