//! The bodies and headers of error responses.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER, WARNING, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::{Refusal, RegistryError, Responder};
use crate::header::http_date::HttpDate;
use crate::header::retry_after::RetryAfter;
use crate::header::warning::Warning;

/// Parses the headers and body of an error response.
pub(crate) fn refusal(
    status: StatusCode,
    by: Responder,
    headers: &HeaderMap,
    body: &[u8],
    max_entries: usize,
) -> Refusal {
    let errors = registry_errors(body, max_entries);
    let challenged = headers.contains_key(WWW_AUTHENTICATE);
    Refusal { status, by, errors, retry_after: retry_after(headers), challenged, with_login: false }
}

/// Returns the delay in a response's Retry-After header. An invalid header is ignored.
///
/// Source: RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = headers.get(DATE).and_then(|date| HttpDate::parse(date.as_bytes()).ok());
    RetryAfter::parse(headers.get(RETRY_AFTER)?.as_bytes()).ok()?.delay(date)
}

/// Returns the warnings of a response for the user. Invalid ones are skipped.
///
/// Source: distribution-spec, "Warnings".
pub(crate) fn warnings(headers: &HeaderMap) -> impl Iterator<Item = Warning> {
    let values = headers.get_all(WARNING).iter();
    values.flat_map(|value| Warning::parse(value.as_bytes()).unwrap_or_default())
}

/// The maximum length of a code or message from an error body, in characters.
const MAX_MESSAGE: usize = 300;

/// Parses an error body: the specification's array, other JSON with a message, or text. HTML is ignored.
fn registry_errors(body: &[u8], max_entries: usize) -> Vec<RegistryError> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let text = text.trim();
        let is_text = !text.is_empty() && !text.starts_with(['<', '{', '[']);
        return is_text.then(|| sanitize("", text)).flatten().into_iter().collect();
    };
    match value.get("errors").and_then(Value::as_array) {
        Some(errors) => errors.iter().filter_map(parse_error).take(max_entries).collect(),
        None => parse_error(&value).into_iter().collect(),
    }
}

fn parse_error(value: &Value) -> Option<RegistryError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let message =
        ["message", "error_description", "details", "error"].into_iter().map(field).find(|m| !m.is_empty());
    sanitize(field("code"), message.or_else(|| value.as_str()).unwrap_or_default())
}

/// Sanitizes a code and a message. Returns `None` if both are empty.
fn sanitize(code: &str, message: &str) -> Option<RegistryError> {
    let sanitized = |text: &str| {
        let safe = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().take(MAX_MESSAGE).map(safe).collect::<String>().trim().to_owned()
    };
    let (code, message) = (sanitized(code), sanitized(message));
    (!code.is_empty() || !message.is_empty()).then_some(RegistryError { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        let entries = registry_errors(body.as_bytes(), 2);
        entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn error_bodies_of_all_forms_are_parsed() {
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
            assert_eq!(registry_errors(nothing, 2), [], "{nothing:?}");
        }
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(shown(&"x".repeat(10_000)).len(), MAX_MESSAGE);
    }
}
