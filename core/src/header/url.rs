//! URLs fit to be shown.

use http::Uri;

/// A URL fit for an error message: query values are left out, but for those that say what a token is for.
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

/// The values of a URL's query that are not to be shown, as they stand there.
pub(crate) fn secret_values(uri: &Uri) -> impl Iterator<Item = &str> {
    pairs(uri).filter_map(secret_value)
}

fn pairs(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().into_iter().flat_map(|query| query.split('&'))
}

/// What of a query's pair is not to be shown: all but its name, and what a token is for.
fn secret_value(pair: &str) -> Option<&str> {
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
    fn query_values_do_not_show() {
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
