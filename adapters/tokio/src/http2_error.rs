//! What an error of HTTP/2 says about the request and the server (RFC 9113, section 7).

use std::error::Error;

/// Why a request over HTTP/2 has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "there are no errors of HTTP/2"))]
pub(crate) enum Http2Failure {
    /// The server did not process the request (section 8.7). Any request may be repeated.
    NotProcessed,
    /// The server wants HTTP/1.1 for the request, and did not process it.
    NeedsHttp1,
    /// The server violated the protocol, or closed the connection.
    Broken,
    /// A timeout, or a failure of this side.
    Other,
}

impl Http2Failure {
    /// Classifies the failure of a request that was sent over HTTP/2.
    pub(crate) fn of(error: &hyper::Error) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(one) = next {
            if let Some(failure) = Self::of_one(one) {
                return failure;
            }
            next = one.source();
        }
        if error.is_timeout() || error.is_user() { Self::Other } else { Self::Broken }
    }

    /// Classifies one error of a chain. Returns `None` for an error of another layer.
    pub(crate) fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        #[cfg(feature = "http2")]
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_of_server = error.is_remote() || error.is_library() || error.is_io();
            return Some(match error.reason() {
                Some(h2::Reason::HTTP_1_1_REQUIRED) if error.is_remote() => Self::NeedsHttp1,
                Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Self::NotProcessed,
                // Requests that the server still answers do not get this error.
                Some(h2::Reason::NO_ERROR) if error.is_remote() && error.is_go_away() => Self::NotProcessed,
                _ if is_of_server => Self::Broken,
                _ => Self::Other,
            });
        }
        let _ = error;
        None
    }
}
