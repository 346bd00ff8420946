//! The proxy settings of a client.

use std::env;
use std::ffi::OsString;

use http::Uri;
use http::uri::Authority;

use crate::error::BuildError;
use crate::no_proxy::NoProxy;

/// A proxy for each scheme of a request's URL, and the hosts that are reached directly.
///
/// A proxy is a URL with a host and the scheme `http`, `https`, `socks5` or `socks5h`, in lower case; the
/// default scheme is `http`. It may contain a password, so this type does not implement `Debug`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Proxies {
    /// The proxy for `http` URLs.
    pub http: Option<String>,
    /// The proxy for `https` URLs.
    pub https: Option<String>,
    /// The hosts that are reached directly.
    pub no_proxy: NoProxy,
}

impl Proxies {
    /// One proxy for every URL, or none.
    ///
    /// # Errors
    /// The URL is not a valid proxy URL.
    pub fn all(url: Option<&str>) -> Result<Self, BuildError> {
        let proxy = url.map(|url| read(url).ok_or(BuildError::Proxy)).transpose()?;
        Ok(Self { http: proxy.clone(), https: proxy, no_proxy: NoProxy::default() })
    }

    /// The proxies in the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same
    /// in lower case.
    ///
    /// # Errors
    /// A variable is not a valid proxy URL, or `NO_PROXY` has an invalid entry and there is a proxy. A client
    /// that ignored it would connect directly, or through a proxy that must not be used.
    pub fn from_env() -> Result<Self, BuildError> {
        Self::from_vars(|name| env::var_os(name))
    }

    /// The proxies in the given environment variables.
    ///
    /// An empty variable counts as unset. In a CGI program, recognized by `REQUEST_METHOD`, no proxy is used,
    /// since the sender of the request controls `HTTP_PROXY` through the `Proxy` header.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Result<Self, BuildError> {
        if vars("REQUEST_METHOD").is_some() {
            return Ok(Self::default());
        }
        // Checked even if another variable takes precedence.
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
            for name in [name.to_owned(), name.to_ascii_lowercase()] {
                let value = vars(&name).unwrap_or_default();
                if !value.is_empty() && value.to_str().and_then(read).is_none() {
                    return Err(BuildError::ProxyVariable(name));
                }
            }
        }
        // The name that is set, and its value. An invalid character is part of an invalid entry.
        let value = |name: &str| {
            let text = |name: String| Some((vars(&name)?.to_string_lossy().into_owned(), name));
            text(name.to_owned()).or_else(|| text(name.to_ascii_lowercase()))
        };
        let proxy = |name| value(name).and_then(|(url, _)| read(&url));
        let all = proxy("ALL_PROXY");
        let http = proxy("HTTP_PROXY").or_else(|| all.clone());
        let https = proxy("HTTPS_PROXY").or(all);
        let no_proxy = match value("NO_PROXY") {
            Some((text, variable)) if http.is_some() || https.is_some() => {
                NoProxy::parse(&text).map_err(|entry| {
                    // A URL that is here by mistake may contain a password.
                    let entry = entry.rsplit('@').next().unwrap_or_default().to_owned();
                    BuildError::NoProxy { variable, entry }
                })?
            }
            _ => NoProxy::default(),
        };
        Ok(Self { http, https, no_proxy })
    }
}

/// Checks a proxy URL, and converts its scheme to lower case.
fn read(text: &str) -> Option<String> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), None | Some("http" | "https" | "socks5" | "socks5h")) {
        return None;
    }
    let url = text.parse::<Uri>().ok()?;
    let host = url.host().unwrap_or_default();
    let authority = url.authority().map(Authority::as_str).unwrap_or_default();
    // `Uri` accepts a port that is not a number, and reports no port.
    if host.is_empty() || !(authority.ends_with(host) || url.port().is_some()) {
        return None;
    }
    let scheme = scheme.unwrap_or_default();
    text.get(scheme.len()..).map(|rest| scheme + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(variables: &'static [(&str, &str)]) -> Result<Proxies, BuildError> {
        Proxies::from_vars(|name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn unusable(variables: &'static [(&str, &str)]) -> Option<String> {
        match given(variables) {
            Err(BuildError::ProxyVariable(name)) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn a_proxy_requires_a_known_scheme_and_a_host() {
        for text in ["http://a", "a:3128", "a", "SOCKS5://u:p@a:1", "socks5h://[::1]:1/", "https://[::1]"] {
            assert!(read(text).is_some(), "{text}");
        }
        for text in ["", "http://", "ftp://a:1", "http://a:b", "http://a b", "a:70000", "http://u:p@", "://a"]
        {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn schemes_are_case_insensitive() {
        assert_eq!(read("SOCKS5://User:Pass@a:1").as_deref(), Some("socks5://User:Pass@a:1"));
        assert_eq!(read("Proxy:3128").as_deref(), Some("Proxy:3128"));
    }

    #[test]
    fn an_invalid_variable_is_named() {
        assert_eq!(unusable(&[("HTTPS_PROXY", "http://a:1"), ("http_proxy", "")]), None);
        assert_eq!(
            unusable(&[("HTTPS_PROXY", "http://a:1"), ("http_proxy", "a:b")]).as_deref(),
            Some("http_proxy")
        );
        assert_eq!(unusable(&[("all_proxy", "ftp://a")]).as_deref(), Some("all_proxy"));
        assert_eq!(unusable(&[("HTTP_PROXY", "of a client"), ("REQUEST_METHOD", "GET")]), None);
    }

    #[test]
    fn an_invalid_entry_of_no_proxy_is_named_if_there_is_a_proxy() {
        let error = given(&[("ALL_PROXY", "a:1"), ("no_proxy", "a.test,http://me:secret@b.test")]);
        assert_eq!(
            error.err().unwrap().to_string(),
            "the variable no_proxy has the entry \"b.test\", which is not *, a host name, a domain, an address \
             or a network such as 192.0.2.0/24: correct or remove it"
        );
        assert!(given(&[("NO_PROXY", "127.*")]).is_ok());
    }

    #[test]
    fn each_scheme_has_a_variable_and_all_proxy_is_the_fallback() {
        let proxies = given(&[("HTTPS_PROXY", "http://secure:1"), ("all_proxy", "socks5://any:2")]).unwrap();
        assert_eq!(proxies.https.as_deref(), Some("http://secure:1"));
        assert_eq!(proxies.http.as_deref(), Some("socks5://any:2"));
        let proxies = given(&[("http_proxy", "plain:1"), ("no_proxy", "a, b")]).unwrap();
        assert_eq!(proxies.http.as_deref(), Some("plain:1"));
        assert_eq!(proxies.https, None);
        assert!(proxies.no_proxy.is_direct(&"http://b/".parse().unwrap()));
        assert!(!proxies.no_proxy.is_direct(&"http://c/".parse().unwrap()));
    }

    #[test]
    fn empty_variables_and_those_of_a_cgi_program_are_ignored() {
        for variables in [
            &[("ALL_PROXY", "")][..],
            &[("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")],
            &[("HTTP_PROXY", ""), ("http_proxy", "http://masked:1")],
        ] {
            let proxies = given(variables).unwrap();
            assert_eq!((proxies.http, proxies.https), (None, None), "{variables:?}");
        }
    }

    #[test]
    fn an_invalid_proxy_url_is_not_shown() {
        for url in
            ["", "ftp://user:secret@host", "http://", "socks4://host:1080", "user:secret@host with spaces"]
        {
            let message = Proxies::all(Some(url)).err().expect(url).to_string();
            assert!(
                message.contains("the proxy is not a URL") && !message.contains("secret"),
                "{url}: {message}"
            );
        }
    }
}
