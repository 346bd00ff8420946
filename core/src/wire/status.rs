//! What a status means for a request: the one table, and the bodies of those that say no.

use http::{Method, StatusCode};

use crate::wire::origin;

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The content follows; for HEAD, its description is in the head.
    Content,
    /// A part of the content follows.
    Part,
    /// The content has nothing from where it was asked for.
    NothingLeft,
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

/// Says what `status` means as the answer to a request with `method`.
///
/// | status | meaning |
/// |---|---|
/// | 200, 203 | the content |
/// | 206 (GET) | a part of it, where a part was asked for |
/// | 416 (GET) | nothing is left of it, where the rest was asked for |
/// | 301, 302, 303 (not POST), 307, 308 | elsewhere |
/// | 401 | who asks? |
/// | 408, 425, 429, 499, and 5xx but for 501, 505, 511 | later, perhaps |
/// | any other from 300 to 599 | no |
/// | the rest | nothing |
///
/// Source: RFC 9110, section 15; distribution-spec, "Endpoints" and "Error Codes".
pub(crate) fn classify(method: &Method, status: StatusCode) -> Class {
    match status.as_u16() {
        // 203 is what a transforming proxy sends; the digest decides whether it changed anything.
        200 | 203 => Class::Content,
        206 if *method == Method::GET => Class::Part,
        416 if *method == Method::GET => Class::NothingLeft,
        code @ 300..=399 if origin::may_follow(method, code) => Class::Redirect,
        401 => Class::Challenge,
        // Neither a method, a version nor a captive portal goes away by waiting.
        501 | 505 | 511 => Class::Final,
        408 | 425 | 429 | 499 | 500..=599 => Class::Trouble,
        300..=499 => Class::Final,
        _ => Class::Meaningless,
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
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning() {
        use Class::{Challenge, Content, Final, Meaningless, NothingLeft, Part, Redirect, Trouble};
        for (statuses, meaning) in [
            (&[200, 203][..], Content),
            (&[206], Part),
            (&[416], NothingLeft),
            (&[301, 302, 303, 307, 308], Redirect),
            (&[401], Challenge),
            (&[408, 425, 429, 499, 500, 502, 503, 504, 520, 599], Trouble),
            (&[300, 304, 305, 400, 402, 403, 404, 405, 410, 451, 501, 505, 511], Final),
            (&[201, 202, 204, 205, 207, 226, 600, 999], Meaningless),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(classify(&Method::GET, status), meaning, "{status}");
            }
        }
        assert_eq!(classify(&Method::POST, StatusCode::FOUND), Final);
        assert_eq!(classify(&Method::POST, StatusCode::TEMPORARY_REDIRECT), Redirect);
        assert_eq!(classify(&Method::HEAD, StatusCode::PARTIAL_CONTENT), Meaningless);
        assert_eq!(classify(&Method::HEAD, StatusCode::RANGE_NOT_SATISFIABLE), Final);
    }

    #[test]
    fn two_statuses_slow_down_all_requests_to_a_server() {
        let slow = (300..600).filter(|code| slows_all(StatusCode::from_u16(*code).unwrap()));
        assert_eq!(slow.collect::<Vec<_>>(), [429, 503]);
    }

    #[test]
    fn a_head_refused_for_its_method_is_asked_again_as_get() {
        for (status, differs) in [
            (405, true),
            (400, true),
            (403, true),
            (501, true),
            (401, false),
            (404, false),
            (429, false),
            (503, false),
        ] {
            assert_eq!(head_may_differ(StatusCode::from_u16(status).unwrap()), differs, "{status}");
        }
    }
}
