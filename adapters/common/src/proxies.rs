//! The proxy settings of a client.

use std::env;
use std::ffi::OsString;

use http::{Uri, uri};

use crate::error::BuildError;
use crate::no_proxy::NoProxy;
use crate::notice::Notice;
use crate::proxy::{Proxy, ProxyProtocol};

/// A proxy for each scheme of a request's URL, and the hosts that are reached directly.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: NoProxy,
}

/// How a request reaches its server.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a transport cannot ignore a route that it does not know")]
pub enum Route<'a> {
    /// Over a connection to the server.
    Direct,
    /// Over a connection to an HTTP proxy, with the URL in absolute-form (RFC 9112, section 3.2.2) and the
    /// [login](Proxy::authorization) of the proxy: `http` URLs.
    Forward(&'a Proxy),
    /// Through a tunnel that an HTTP proxy opens for CONNECT (RFC 9110, section 9.3.6): `https` URLs.
    Tunnel(&'a Proxy),
    /// Through a SOCKS proxy, which resolves the name.
    Socks(&'a Proxy),
}

impl Proxies {
    /// One proxy for every URL, or none.
    ///
    /// # Errors
    /// The URL is not a valid proxy URL.
    pub fn all(url: Option<&str>) -> Result<Self, BuildError> {
        let proxy = url.map(str::parse::<Proxy>).transpose()?;
        Ok(Self { http: proxy.clone(), https: proxy, no_proxy: NoProxy::default() })
    }

    /// The proxies in the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same
    /// in lower case. `NO_PROXY` may have entries that are not valid, which the notice names.
    ///
    /// # Errors
    /// A variable is not a valid proxy URL. A client that ignored it would connect directly.
    pub fn from_env() -> Result<(Self, Option<Notice>), BuildError> {
        Self::from_vars(|name| env::var_os(name))
    }

    /// The proxies in the given environment variables.
    ///
    /// An empty variable counts as unset. In a CGI program, recognized by `REQUEST_METHOD`, `HTTP_PROXY` is
    /// ignored, since the sender of the request controls it through the `Proxy` header.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Result<(Self, Option<Notice>), BuildError> {
        let is_cgi = vars("REQUEST_METHOD").is_some();
        // The names on Windows are case-insensitive.
        let is_forged =
            |name: &str| is_cgi && (name == "HTTP_PROXY" || cfg!(windows) && name == "http_proxy");
        let vars = |name: &str| vars(name).filter(|_| !is_forged(name));
        // The value of the first name that is set, and that name. Invalid characters become part of the value.
        let value = |name: &str| {
            let text = |name: String| Some((vars(&name)?.to_string_lossy().into_owned(), name));
            text(name.to_owned()).or_else(|| text(name.to_ascii_lowercase()))
        };
        // Checked even if another variable takes precedence.
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
            for name in [name.to_owned(), name.to_ascii_lowercase()] {
                let value = vars(&name).unwrap_or_default();
                if !value.is_empty() && value.to_str().is_none_or(|url| url.parse::<Proxy>().is_err()) {
                    return Err(BuildError::ProxyVariable(name));
                }
            }
        }
        let proxy = |name| value(name).and_then(|(url, _)| url.parse::<Proxy>().ok());
        let all = proxy("ALL_PROXY");
        let http = proxy("HTTP_PROXY").or_else(|| all.clone());
        let https = proxy("HTTPS_PROXY").or(all);
        let (text, variable) = value("NO_PROXY").unwrap_or_default();
        let (no_proxy, ignored) = NoProxy::parse(&text);
        let is_relevant = !ignored.is_empty() && (http.is_some() || https.is_some());
        let notice = is_relevant.then_some(Notice::NoProxy { variable, entries: ignored });
        Ok((Self { http, https, no_proxy }, notice))
    }

    /// Returns the route to a URL. Loopback hosts are always reached directly, since plain HTTP to them must not
    /// leave the machine.
    pub fn route(&self, to: &Uri) -> Route<'_> {
        let is_plain = to.scheme() == Some(&uri::Scheme::HTTP);
        let proxy = if is_plain { &self.http } else { &self.https };
        match proxy {
            Some(proxy) if !self.no_proxy.is_direct(to) => match proxy.protocol() {
                ProxyProtocol::Socks5 => Route::Socks(proxy),
                ProxyProtocol::Http | ProxyProtocol::Https if is_plain => Route::Forward(proxy),
                ProxyProtocol::Http | ProxyProtocol::Https => Route::Tunnel(proxy),
            },
            _ => Route::Direct,
        }
    }

    /// Returns the proxies, one for each scheme that has one.
    pub fn iter(&self) -> impl Iterator<Item = &Proxy> {
        self.http.iter().chain(&self.https)
    }
}

impl<'a> Route<'a> {
    /// Returns the proxy.
    pub fn proxy(self) -> Option<&'a Proxy> {
        match self {
            Self::Direct => None,
            Self::Forward(proxy) | Self::Tunnel(proxy) | Self::Socks(proxy) => Some(proxy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables = &'static [(&'static str, &'static str)];

    fn read(variables: Variables) -> Result<(Proxies, Option<Notice>), BuildError> {
        Proxies::from_vars(|name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn given(variables: Variables) -> Proxies {
        read(variables).unwrap().0
    }

    fn unusable(variables: Variables) -> Option<String> {
        match read(variables) {
            Err(BuildError::ProxyVariable(name)) => Some(name),
            _ => None,
        }
    }

    /// The proxy for `http` URLs, and the one for `https` URLs.
    fn both(proxies: &Proxies) -> [Option<String>; 2] {
        ["http://registry.test/", "https://registry.test/"]
            .map(|url| proxies.route(&url.parse().unwrap()).proxy().map(|proxy| proxy.uri().to_string()))
    }

    fn some(http: &str, https: &str) -> [Option<String>; 2] {
        [http, https].map(|url| (!url.is_empty()).then(|| url.to_owned()))
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
    fn the_invalid_entries_of_no_proxy_are_named_if_there_is_a_proxy() {
        let variables: Variables =
            &[("ALL_PROXY", "a:1"), ("no_proxy", "127.*,b.test,http://me:secret@c.test <local>")];
        let (proxies, notice) = read(variables).unwrap();
        assert_eq!(
            notice.unwrap().to_string(),
            "no_proxy has entries that are ignored: \"127.*\", \"c.test\", \"<local>\"; an entry is *, a host \
             name, a domain, an address, or a network such as 192.0.2.0/24"
        );
        assert!(matches!(proxies.route(&"http://b.test/".parse().unwrap()), Route::Direct));
        assert_eq!(read(&[("NO_PROXY", "127.*")]).unwrap().1, None);
        assert_eq!(read(&[("ALL_PROXY", "a:1"), ("NO_PROXY", "b.test")]).unwrap().1, None);
    }

    #[test]
    fn each_scheme_has_a_variable_and_all_proxy_is_the_fallback() {
        let proxies = given(&[("HTTPS_PROXY", "http://secure:1"), ("all_proxy", "socks5://any:2")]);
        assert_eq!(both(&proxies), some("socks5://any:2/", "http://secure:1/"));
        let proxies = given(&[("http_proxy", "plain:1"), ("no_proxy", "a, b")]);
        assert_eq!(both(&proxies), some("http://plain:1/", ""));
        for (url, is_direct) in [("http://b/", true), ("http://c/", false), ("http://localhost/", true)] {
            assert_eq!(proxies.route(&url.parse().unwrap()).proxy().is_none(), is_direct, "{url}");
        }
    }

    #[test]
    fn empty_variables_are_unset_and_http_proxy_is_ignored_in_a_cgi_program() {
        for (variables, proxies) in [
            (&[("ALL_PROXY", "")][..], some("", "")),
            (&[("HTTP_PROXY", ""), ("http_proxy", "http://masked:1")], some("", "")),
            (&[("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")], some("", "")),
            (
                &[("HTTP_PROXY", "http://evil:1"), ("http_proxy", "a:1"), ("REQUEST_METHOD", "GET")],
                some(if cfg!(windows) { "" } else { "http://a:1/" }, ""),
            ),
            (
                &[("HTTP_PROXY", "http://evil:1"), ("ALL_PROXY", "a:1"), ("REQUEST_METHOD", "GET")],
                some("http://a:1/", "http://a:1/"),
            ),
        ] {
            assert_eq!(both(&given(variables)), proxies, "{variables:?}");
        }
    }

    #[test]
    fn the_route_depends_on_the_scheme_and_the_protocol() {
        for (proxy, url, expected) in [
            ("http://a", "http://b/", "Forward(Proxy(http://a:80/))"),
            ("https://a", "http://b/", "Forward(Proxy(https://a:443/))"),
            ("http://a", "https://b/", "Tunnel(Proxy(http://a:80/))"),
            ("socks5://a", "http://b/", "Socks(Proxy(socks5://a:1080/))"),
            ("socks5://a", "https://b/", "Socks(Proxy(socks5://a:1080/))"),
            ("http://a", "http://127.0.0.1/", "Direct"),
        ] {
            let proxies = Proxies::all(Some(proxy)).unwrap();
            assert_eq!(format!("{:?}", proxies.route(&url.parse().unwrap())), expected, "{proxy} {url}");
        }
        assert_eq!(both(&Proxies::all(None).unwrap()), some("", ""));
    }

    #[test]
    fn an_invalid_proxy_url_is_not_shown() {
        for url in
            ["", "ftp://user:secret@host", "http://", "socks4://host:1080", "user:secret@host with spaces"]
        {
            let message = Proxies::all(Some(url)).expect_err(url).to_string();
            assert!(
                message.contains("the proxy is not a URL") && !message.contains("secret"),
                "{url}: {message}"
            );
        }
    }
}
