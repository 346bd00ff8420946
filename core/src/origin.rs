//! What may go where.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::{PlainHttp, Registry};

/// Scheme, host and port: what a connection is made to, and what trust is bound to.
///
/// Source: RFC 6454, section 4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a registry's API.
    pub(crate) fn of_registry(registry: &Registry, plain_http: PlainHttp) -> (Self, Base) {
        let scheme = match plain_http {
            PlainHttp::Always => Scheme::HTTP,
            PlainHttp::Loopback if registry.is_loopback() => Scheme::HTTP,
            PlainHttp::Loopback | PlainHttp::Never => Scheme::HTTPS,
        };
        let base = Base { scheme, authority: registry.api_authority() };
        (base.origin(), base)
    }
}

/// The scheme and authority that a registry's URLs begin with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    scheme: Scheme,
    authority: Authority,
}

impl Base {
    /// The URL of a path, which must begin with a slash and be made of parsed parts alone.
    pub(crate) fn uri(&self, path: &str) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        // Repositories, tags and digests hold none but URL characters, and all are short.
        Uri::from_parts(parts).expect("a scheme, an authority and a path of parsed names make a URL")
    }

    fn origin(&self) -> Origin {
        let plain = self.scheme == Scheme::HTTP;
        Origin {
            scheme: if plain { "http" } else { "https" },
            host: self.authority.host().to_ascii_lowercase(),
            port: self.authority.port_u16().unwrap_or(if plain { 80 } else { 443 }),
        }
    }
}

/// A URL fit for an error message: query values are left out, but for those that say what a token is for.
pub(crate) fn redacted(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.authority().map_or("", |authority| {
        let text = authority.as_str();
        text.rsplit_once('@').map_or(text, |(_, host)| host)
    });
    let mut shown = format!("{scheme}://{host}{}", uri.path());
    for (index, pair) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some(("scope" | "service", _)) => shown.push_str(pair),
            Some((name, _)) => {
                shown.push_str(name);
                shown.push_str("=REDACTED");
            }
            None => shown.push_str("REDACTED"),
        }
    }
    shown
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
