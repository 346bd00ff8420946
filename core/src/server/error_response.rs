//! Error responses: a status, and the error body of the specification.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::server::body::Body;
use crate::types::digest::Digest;
use crate::wire::endpoint::InvalidEndpoint;

/// The reason for an error response.
#[derive(Clone, Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    message: String,
    /// Further headers of the response.
    headers: HeaderMap,
}

/// An error code.
///
/// Source: distribution-spec 1.1, "Error Codes". The last four are not specified, but used by registries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Unsupported,
    TooManyRequests,
    TagInvalid,
    PaginationNumberInvalid,
    RangeInvalid,
    Unknown,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: Code, message: impl fmt::Display) -> Self {
        Self { status, code, message: message.to_string(), headers: HeaderMap::new() }
    }

    /// The requested resource does not exist.
    pub(super) fn not_found(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The request is malformed.
    pub(super) fn malformed(code: Code, message: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The endpoint is unknown.
    pub(super) fn not_served() -> Self {
        Self::not_found(Code::Unsupported, "no such endpoint")
    }

    /// The algorithm of a digest under which something is pushed is not known.
    pub(super) fn unverifiable(digest: &Digest) -> Self {
        let name = digest.algorithm_name();
        let message = format_args!("{name} cannot be verified; use sha256, sha384 or sha512");
        Self::malformed(Code::DigestInvalid, message)
    }

    /// Adds headers.
    pub(super) fn with_all(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds the methods that the endpoint supports.
    pub(super) fn allowing(self, methods: &'static str) -> Self {
        self.with(ALLOW, HeaderValue::from_static(methods))
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = json!({ "errors": [{ "code": self.code.as_str(), "message": self.message }] });
        let mut response = Response::new(Body::Bytes(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.headers);
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
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::Denied => "DENIED",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::TagInvalid => "TAG_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::Unknown => "UNKNOWN",
        }
    }
}
