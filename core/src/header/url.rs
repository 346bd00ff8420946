//! Redaction of URLs.

use http::Uri;

use crate::types::digest::Digest;

/// Replaces a secret in a reported text.
pub(crate) const MARK: &str = "REDACTED";

/// The purpose of a URL, which determines the values of its query that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlKind {
    /// A token request, whose `scope` and `service` name what is requested.
    TokenRequest,
    /// A request of an upload, whose `digest` or `mount` names the content.
    Upload,
    /// Any other URL. All values may be secret.
    Other,
}

/// Returns a URL for an error message, without a user name, a password and the secret values of its query.
pub(crate) fn redacted(uri: &Uri, kind: UrlKind) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.authority().map_or("", |authority| {
        let text = authority.as_str();
        text.rsplit_once('@').map_or(text, |(_, host)| host)
    });
    let mut shown = format!("{scheme}://{host}{}", uri.path());
    if let Some(query) = uri.query() {
        shown.push('?');
        shown.push_str(&map_secret_values(query, kind, marked));
    }
    shown
}

/// The maximum length of an invalid URL in an error message, in characters.
const MAX_SHOWN: usize = 200;

/// Returns text that is not a usable URL, for an error message: without user name, query and fragment.
pub(crate) fn unusable_shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("//").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let slashes = &text[scheme.len()..text.len() - rest.len()];
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    [scheme, slashes, rest].concat().chars().take(MAX_SHOWN).map(printable).collect()
}

/// Redacts the URLs in a text, like [`redacted`].
pub(crate) fn redact_all(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        let is_end = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>\\".contains(c);
        let (url, after) = url.split_at(url.find(is_end).unwrap_or(url.len()));
        let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
        let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        shown.push_str(before);
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.extend([MARK, "@", host]),
            None => shown.push_str(authority),
        }
        shown.push_str(path);
        if let Some(query) = query {
            shown.push('?');
            shown.push_str(&map_secret_values(query, UrlKind::Other, marked));
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn marked(value: &str) -> String {
    if value.is_empty() { String::new() } else { MARK.to_owned() }
}

/// Returns the query values of a URL that must be redacted, verbatim.
pub(crate) fn secret_values(uri: &Uri, kind: UrlKind) -> impl Iterator<Item = &str> {
    let query = uri.query().unwrap_or_default();
    let pairs = query.split(['&', ';']).filter_map(move |pair| secret_value(pair, kind));
    pairs.chain(longer_values(query, kind))
}

/// Returns the values with semicolons that must be redacted, verbatim. A server that separates pairs only by `&` repeats
/// a value with its semicolons.
pub(crate) fn longer_values(query: &str, kind: UrlKind) -> impl Iterator<Item = &str> {
    let longer = query.split('&').filter(|pair| pair.contains(';'));
    longer.filter_map(move |pair| secret_value(pair, kind))
}

/// Replaces the values of a query that must be redacted. Both `&` and `;` separate pairs.
pub(crate) fn map_secret_values(
    query: &str,
    kind: UrlKind,
    mut replaced: impl FnMut(&str) -> String,
) -> String {
    let mut shown = String::with_capacity(query.len());
    for part in query.split_inclusive(['&', ';']) {
        let pair = part.trim_end_matches(['&', ';']);
        let value = secret_value(pair, kind).unwrap_or_default();
        shown.push_str(pair.strip_suffix(value).unwrap_or_default());
        shown.push_str(&replaced(value));
        shown.push_str(&part[pair.len()..]);
    }
    shown
}

/// Returns the part of a query pair that must be redacted: the value, or a pair without a name.
fn secret_value(pair: &str, kind: UrlKind) -> Option<&str> {
    match pair.split_once('=') {
        Some(("scope" | "service", _)) if kind == UrlKind::TokenRequest => None,
        // A registry could use the name for something else.
        Some(("digest" | "mount", value)) if kind == UrlKind::Upload && value.parse::<Digest>().is_ok() => {
            None
        }
        Some((_, value)) => Some(value),
        None => Some(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_url_is_shown_without_secrets() {
        for (text, expected) in [
            ("https://h:1:1/v2/token?a=b", "https://h:1:1/v2/token"),
            ("https://u:p@h/t#x", "https://h/t"),
            ("u:p@h?x", "h"),
            ("//u@h/", "//h/"),
            ("Registry Realm", "Registry Realm"),
            ("a\tb", "a b"),
            ("", ""),
        ] {
            assert_eq!(unusable_shown(text), expected);
        }
        assert_eq!(unusable_shown(&"x".repeat(1000)).len(), MAX_SHOWN);
    }

    #[test]
    fn query_values_are_redacted() {
        for (uri, shown) in [
            ("https://h/v2/", "https://h/v2/"),
            ("https://u:p@h:1/a?X-Sig=abc&scope=x", "https://h:1/a?X-Sig=REDACTED&scope=REDACTED"),
            ("http://h/a?secret", "http://h/a?REDACTED"),
            ("http://h/a?a=b;service=secret", "http://h/a?a=REDACTED;service=REDACTED"),
            ("http://h/a?a=;&&b=c", "http://h/a?a=;&&b=REDACTED"),
        ] {
            assert_eq!(redacted(&uri.parse().unwrap(), UrlKind::Other), shown);
        }
    }

    #[test]
    fn urls_in_a_text_are_redacted() {
        for (text, shown) in [
            ("no :// URL?a=b", "no :// URL?a=b"),
            (
                "see https://h/a?b=c; or 'ftp://u:p@q@h?s'?",
                "see https://h/a?b=REDACTED; or 'ftp://REDACTED@h?REDACTED'?",
            ),
            ("https://h/a@b, x://", "https://h/a@b, x://"),
        ] {
            assert_eq!(redact_all(text), shown);
        }
    }

    #[test]
    fn a_request_of_an_upload_shows_the_digest_of_its_content() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (query, shown) in [
            (format!("_state=abc&digest={digest}"), format!("_state=REDACTED&digest={digest}")),
            (format!("mount={digest}&from=a"), format!("mount={digest}&from=REDACTED")),
            ("digest=secret".to_owned(), "digest=REDACTED".to_owned()),
        ] {
            let uri = format!("https://h/v2/a/blobs/uploads/1?{query}").parse().unwrap();
            let shown = format!("https://h/v2/a/blobs/uploads/1?{shown}");
            assert_eq!(redacted(&uri, UrlKind::Upload), shown);
            assert_eq!(redacted(&uri, UrlKind::Other).matches(&digest).count(), 0);
        }
    }

    #[test]
    fn a_token_request_shows_what_it_asks_for() {
        for (uri, shown) in [
            (
                "https://h/t?k=a&scope=repository:a:pull&service=h",
                "k=REDACTED&scope=repository:a:pull&service=h",
            ),
            ("https://h/t?scope=repository:a:pull;k=secret", "scope=repository:a:pull;k=REDACTED"),
        ] {
            let expected = format!("https://h/t?{shown}");
            assert_eq!(redacted(&uri.parse().unwrap(), UrlKind::TokenRequest), expected);
        }
    }
}
