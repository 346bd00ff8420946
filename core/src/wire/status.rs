//! What a status means for a request: the one table, and the bodies of those that say no.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER, WARNING};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::error::{Refusal, RegistryError, Responder};
use crate::header::http_date::HttpDate;
use crate::header::retry_after::RetryAfter;
use crate::header::warning::Warning;
use crate::wire::origin;
use crate::wire::redact::Redactor;

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

/// Reads a refusal's headers and body, which may say again what was shown.
pub(crate) fn refusal(
    status: StatusCode,
    by: Responder,
    headers: &HeaderMap,
    body: &[u8],
    echo: &Redactor,
    max_entries: usize,
) -> Refusal {
    let errors = registry_errors(body, echo, max_entries);
    Refusal { status, by, errors, retry_after: retry_after(headers), with_login: false }
}

/// The wait that a response asks for; a header that cannot be read asks for none.
///
/// Source: RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = headers.get(DATE).and_then(|date| HttpDate::parse(date.as_bytes()).ok());
    RetryAfter::parse(headers.get(RETRY_AFTER)?.as_bytes()).ok()?.delay(date)
}

/// The warnings that a response has for the user. Those that cannot be read are left out.
///
/// Source: distribution-spec, "Warnings".
pub(crate) fn warnings(headers: &HeaderMap, echo: &Redactor) -> impl Iterator<Item = Warning> {
    let values = headers.get_all(WARNING).iter();
    let warnings = values.flat_map(|value| Warning::parse(value.as_bytes()).unwrap_or_default());
    warnings.map(|warning| warning.map(|text| echo.hide(text)))
}

/// The longest code or message of an error body that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// Reads an error body: the specification's array, other JSON with a message, or text. HTML says nothing.
fn registry_errors(body: &[u8], echo: &Redactor, max_entries: usize) -> Vec<RegistryError> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let text = text.trim();
        let is_text = !text.is_empty() && !text.starts_with(['<', '{', '[']);
        return is_text.then(|| entry("", text, echo)).flatten().into_iter().collect();
    };
    match value.get("errors").and_then(Value::as_array) {
        Some(errors) => errors.iter().filter_map(|error| one_error(error, echo)).take(max_entries).collect(),
        None => one_error(&value, echo).into_iter().collect(),
    }
}

fn one_error(value: &Value, echo: &Redactor) -> Option<RegistryError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let message =
        ["message", "error_description", "details", "error"].into_iter().map(field).find(|m| !m.is_empty());
    entry(field("code"), message.or_else(|| value.as_str()).unwrap_or_default(), echo)
}

/// What is left of it to show, if anything is.
fn entry(code: &str, message: &str, echo: &Redactor) -> Option<RegistryError> {
    let shown = |text: &str| {
        let safe = |c: char| if c.is_control() { ' ' } else { c };
        echo.hide(text).chars().take(MAX_MESSAGE).map(safe).collect::<String>().trim().to_owned()
    };
    let (code, message) = (shown(code), shown(message));
    (!code.is_empty() || !message.is_empty()).then_some(RegistryError { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        let entries = registry_errors(body.as_bytes(), &Redactor::default(), 2);
        entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn error_bodies_of_all_sorts_are_read() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "MANIFEST_UNKNOWN: manifest unknown",
            ),
            (r#"{"errors":[{"code":"ODD_CODE"},{"message":"m"},{"code":"THIRD"}]}"#, "ODD_CODE | m"),
            (r#"{"errors":[{"code":7,"message":null,"detail":[1,[2]]},"plain"]}"#, "plain"),
            (r#"{"errors":{}}"#, ""),
            (r#"{"message":"no such thing"}"#, "no such thing"),
            (r#"{"error":"invalid","error_description":"bad scope"}"#, "bad scope"),
            ("<html><body>Not Found</body></html>", ""),
            ("404 page not found\n", "404 page not found"),
            ("a\x1b[31mb\nc", "a [31mb c"),
            ("", ""),
            ("{", ""),
            ("null", ""),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
        for nothing in [&b"\xff\xfe"[..], b"\x01\x08", br#""\u0001""#, br#"{"errors":[{"code":"\u0001"}]}"#] {
            assert_eq!(registry_errors(nothing, &Redactor::default(), 2), [], "{nothing:?}");
        }
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(shown(&"x".repeat(10_000)).len(), MAX_MESSAGE);
    }

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
