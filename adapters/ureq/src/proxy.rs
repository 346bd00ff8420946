//! The choice of a proxy for a request.
//!
//! ureq reads the environment too, but uses the first variable that is set for all URLs, and supports neither
//! networks nor subdomains in `NO_PROXY`.

use http::{Uri, uri};
use oci_proto_common::{BuildError, NoProxy, Proxies};
use ureq::Proxy;

/// The proxy for each scheme, and the hosts that are reached directly.
#[derive(Debug)]
pub(crate) struct Routes<P> {
    http: Option<P>,
    https: Option<P>,
    no_proxy: NoProxy,
}

impl<P> Routes<P> {
    /// Creates the routes. `make` converts each proxy to a value that can send requests through it.
    pub(crate) fn new(proxies: Proxies, make: impl Fn(Proxy) -> P) -> Result<Self, BuildError> {
        let route = |url: Option<String>| url.as_deref().map(read).transpose();
        Ok(Self {
            http: route(proxies.http)?.map(&make),
            https: route(proxies.https)?.map(&make),
            no_proxy: proxies.no_proxy,
        })
    }

    /// Returns the proxy for a URL, or `None` if it is reached directly.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&P> {
        let proxy = if uri.scheme() == Some(&uri::Scheme::HTTP) { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !self.no_proxy.is_direct(uri))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &P> {
        self.http.iter().chain(&self.https)
    }
}

/// Parses the URL of a proxy. SOCKS proxies resolve names themselves: in ureq, as in curl, `socks5` would
/// make the client resolve them, and `socks5h` does not.
fn read(url: &str) -> Result<Proxy, BuildError> {
    let socks = url.strip_prefix("socks5://").map(|rest| format!("socks5h://{rest}"));
    Proxy::new(socks.as_deref().unwrap_or(url)).map_err(|_| BuildError::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_of(routes: &Routes<Proxy>, url: &str) -> Option<String> {
        routes.of(&url.parse().unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let mut proxies = Proxies::default();
        proxies.https = Some("http://secure:1".to_owned());
        let routes = Routes::new(proxies, |proxy| proxy).unwrap();
        assert_eq!(proxy_of(&routes, "https://registry.test/").as_deref(), Some("secure"));
        assert_eq!(proxy_of(&routes, "http://registry.test/"), None);
    }

    #[test]
    fn an_unsupported_proxy_is_an_error() {
        let proxies = Proxies::all(Some("http://user:%ff@proxy.test")).unwrap();
        assert_eq!(Routes::new(proxies, |proxy| proxy).unwrap_err(), BuildError::Proxy);
    }

    #[test]
    fn the_proxy_resolves_names() {
        for url in ["socks5://any:2", "SOCKS5://any:2", "socks5h://any:2", "http://any:2"] {
            let routes = Routes::new(Proxies::all(Some(url)).unwrap(), |proxy| proxy).unwrap();
            let found = routes.of(&"https://registry.test/".parse().unwrap()).unwrap();
            assert!(!found.resolve_target(), "{url}");
        }
    }
}
