//! Which proxies clients can use. The core talks to none; what both adapters hold to stands here.

use std::ffi::OsString;

use http::Uri;

/// Whether a text is the URL of a proxy that a client can use: it has a host, a port that is a number if any, and
/// the scheme `http`, `https`, `socks5` or `socks5h`; without a scheme, `http` is meant.
///
/// It may hold a password, and is not to be shown.
pub fn is_proxy_url(text: &str) -> bool {
    const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
    let scheme = text.split_once("://").map_or("http", |(scheme, _)| scheme);
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return false;
    }
    let Ok(url) = text.parse::<Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    // A port that is no number is not told from none.
    !host.is_empty() && (authority.ends_with(host) || url.port().is_some())
}

/// The first variable that should name a proxy, and does not; `variable` looks one up. Where there is one, a client
/// is better not made than made to go there without a proxy.
///
/// Empty counts as not set. A CGI program, which `REQUEST_METHOD` tells, has no proxies at all: `HTTP_PROXY` is what
/// its own client says there, in a header.
pub fn unusable_proxy_variable(variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    if variable("REQUEST_METHOD").is_some() {
        return None;
    }
    let names = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"];
    let names = names.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_lowercase()]);
    names.into_iter().find(|name| {
        let value = variable(name).unwrap_or_default();
        !value.is_empty() && !value.to_str().is_some_and(is_proxy_url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_a_scheme_that_is_known_and_a_host() {
        for text in ["http://a", "a:3128", "a", "SOCKS5://u:p@a:1", "socks5h://[::1]:1/", "https://[::1]"] {
            assert!(is_proxy_url(text), "{text}");
        }
        for text in ["", "http://", "ftp://a:1", "http://a:b", "http://a b", "a:70000", "http://u:p@", "://a"]
        {
            assert!(!is_proxy_url(text), "{text}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_found() {
        let found = |set: &'static [(&str, &str)]| {
            unusable_proxy_variable(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(
            found(&[("HTTPS_PROXY", "http://a:1"), ("http_proxy", ""), ("NO_PROXY", "ftp://a")]),
            None
        );
        assert_eq!(
            found(&[("HTTPS_PROXY", "http://a:1"), ("http_proxy", "a:b")]).as_deref(),
            Some("http_proxy")
        );
        assert_eq!(found(&[("all_proxy", "ftp://a")]).as_deref(), Some("all_proxy"));
        assert_eq!(found(&[("HTTP_PROXY", "of a client"), ("REQUEST_METHOD", "GET")]), None);
    }
}
