//! What a status means for a request: the one table, and the bodies of those that say no.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::error::{Refusal, RegistryError};

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The content follows; for HEAD, its description is in the head.
    Content,
    /// A part of the content follows.
    Part,
    /// The registry answers elsewhere, or wants to be asked as somebody, or is in trouble, or does not
    /// have it: the answer to the question is no.
    Refusal,
    /// Nothing that the request can be answered with.
    Meaningless,
}

/// Says what `status` means as the answer to a request with `method`.
///
/// Source: RFC 9110, section 15; distribution-spec, "Endpoints" and "Error Codes".
pub(crate) fn classify(method: &Method, status: StatusCode) -> Class {
    match status.as_u16() {
        // 203 is what a transforming proxy sends; the digest decides whether it changed anything.
        200 | 203 => Class::Content,
        206 if *method == Method::GET => Class::Part,
        300..=599 => Class::Refusal,
        _ => Class::Meaningless,
    }
}

/// Whether a refused HEAD says nothing of what GET would say.
///
/// A registry or a proxy may not know HEAD (405, 501), may not sign for it, or may not allow it; but a
/// manifest that is unknown, a registry that wants fewer requests and one that fails say the same to GET.
pub(crate) fn head_may_differ(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 429) || status == StatusCode::NOT_IMPLEMENTED
}

/// Reads a refusal's headers and body.
pub(crate) fn refusal(status: StatusCode, _headers: &HeaderMap, body: &[u8], max_entries: usize) -> Refusal {
    Refusal { status, errors: registry_errors(body, max_entries), retry_after: None }
}

/// The longest code or message of an error body that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// Reads an error body: the specification's array, other JSON with a message, or text. HTML says nothing.
fn registry_errors(body: &[u8], max_entries: usize) -> Vec<RegistryError> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let text = text.trim();
        let is_text = !text.is_empty() && !text.starts_with(['<', '{', '[']);
        return is_text.then(|| entry("", text)).into_iter().collect();
    };
    match value.get("errors").and_then(Value::as_array) {
        Some(errors) => errors.iter().filter_map(one_error).take(max_entries).collect(),
        None => one_error(&value).into_iter().collect(),
    }
}

fn one_error(value: &Value) -> Option<RegistryError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let message =
        ["message", "error_description", "details", "error"].into_iter().map(field).find(|m| !m.is_empty());
    let entry = entry(field("code"), message.or_else(|| value.as_str()).unwrap_or_default());
    (!entry.code.is_empty() || !entry.message.is_empty()).then_some(entry)
}

fn entry(code: &str, message: &str) -> RegistryError {
    let shown = |text: &str| {
        let safe = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().take(MAX_MESSAGE).map(safe).collect::<String>().trim().to_owned()
    };
    RegistryError { code: shown(code), message: shown(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        let entries = registry_errors(body.as_bytes(), 2);
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
        assert_eq!(registry_errors(b"\xff\xfe", 2), []);
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(shown(&"x".repeat(10_000)).len(), MAX_MESSAGE);
    }

    #[test]
    fn a_head_refused_for_its_method_is_asked_again_as_get() {
        for (status, differs) in
            [(405, true), (400, true), (403, true), (501, true), (404, false), (429, false), (503, false)]
        {
            assert_eq!(head_may_differ(StatusCode::from_u16(status).unwrap()), differs, "{status}");
        }
    }
}
