//! A request, as logs may show it.

use std::fmt;

use http::{Method, Uri};

use crate::header::url::{UrlKind, redacted};

/// A request, as logs may show it: its method and its URL, without values of the query that may be secret, and without the
/// path if a server chose it.
///
/// Creating and cloning one costs little: the text is only made by [`Display`](fmt::Display).
#[derive(Clone, Debug)]
pub struct RequestSummary {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) kind: UrlKind,
    /// Whether the session built the URL.
    pub(crate) is_own: bool,
}

impl fmt::Display for RequestSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, kind, is_own } = self;
        if *is_own {
            return write!(f, "{method} {}", redacted(url, *kind));
        }
        let origin = Uri::builder()
            .scheme(url.scheme_str().unwrap_or("https"))
            .authority(url.authority().map_or("", |authority| authority.as_str()))
            .path_and_query("/...");
        match origin.build() {
            Ok(shown) => write!(f, "{method} {}", redacted(&shown, *kind)),
            Err(_) => write!(f, "{method} ..."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_chose_is_not_shown() {
        let shown = |url: &'static str, kind, is_own| {
            let (method, url) = (Method::GET, Uri::from_static(url));
            RequestSummary { method, url, kind, is_own }.to_string()
        };
        let token = "https://auth.example/token?account=ann&service=s&scope=repository:a:pull";
        assert_eq!(
            shown(token, UrlKind::TokenRequest, true),
            "GET https://auth.example/token?account=REDACTED&service=s&scope=repository:a:pull",
        );
        let signed = "https://user:pw@cdn.example:444/secret/path?sig=secret";
        assert_eq!(shown(signed, UrlKind::Other, false), "GET https://cdn.example:444/...");
    }
}
