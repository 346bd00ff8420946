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
