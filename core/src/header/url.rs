//! Redaction of URLs.

use http::Uri;

/// Returns a URL for an error message. Query values are redacted, except for a token request's `scope`
/// and `service`.
pub(crate) fn redacted(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.authority().map_or("", |authority| {
        let text = authority.as_str();
        text.rsplit_once('@').map_or(text, |(_, host)| host)
    });
    let mut shown = format!("{scheme}://{host}{}", uri.path());
    for (index, pair) in pairs(uri).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        let public = secret_value(pair).map_or(pair, |value| pair.strip_suffix(value).unwrap_or_default());
        shown.push_str(public);
        if public != pair {
            shown.push_str("REDACTED");
        }
    }
    shown
}

/// The maximum length of an invalid URL in an error message, in characters.
const MAX_SHOWN: usize = 200;

/// Returns text that is not a usable URL, for an error message: without user name, query and fragment.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("//").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let slashes = &text[scheme.len()..text.len() - rest.len()];
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    [scheme, slashes, rest].concat().chars().take(MAX_SHOWN).map(printable).collect()
}

/// Returns the query values of a URL that must be redacted, verbatim.
pub(crate) fn secret_values(uri: &Uri) -> impl Iterator<Item = &str> {
    pairs(uri).filter_map(secret_value)
}

fn pairs(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().into_iter().flat_map(|query| query.split('&'))
}

/// Returns the part of a query pair that must be redacted: the value of any parameter but `scope` and
/// `service`, or a pair without a name.
pub(crate) fn secret_value(pair: &str) -> Option<&str> {
    match pair.split_once('=') {
        Some(("scope" | "service", _)) => None,
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
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_SHOWN);
    }

    #[test]
    fn query_values_are_redacted() {
        for (uri, shown) in [
            ("https://h/v2/", "https://h/v2/"),
            (
                "https://u:p@h:1/a?X-Sig=abc&scope=repository:a:pull",
                "https://h:1/a?X-Sig=REDACTED&scope=repository:a:pull",
            ),
            ("http://h/a?secret", "http://h/a?REDACTED"),
        ] {
            assert_eq!(redacted(&uri.parse().unwrap()), shown);
        }
    }
}
