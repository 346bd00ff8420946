//! The choice of a proxy for a request.
//!
//! ureq reads the environment too, but uses the first variable that is set for all URLs, and supports neither
//! networks nor subdomains in `NO_PROXY`.

use std::net::IpAddr;

use http::{Uri, uri};
use oci_proto::is_loopback;
use oci_proto_common::{BuildError, Proxies};
use ureq::Proxy;

/// The proxy for each scheme, and the hosts that are reached directly.
#[derive(Debug)]
pub(crate) struct Routes<P> {
    http: Option<P>,
    https: Option<P>,
    without: Vec<Host>,
}

/// An entry of `NO_PROXY`.
#[derive(Debug)]
enum Host {
    Any,
    /// A domain and its subdomains.
    Domain(String),
    /// The addresses with the same prefix, of this many bits.
    Network(IpAddr, u32),
}

impl<P> Routes<P> {
    /// Creates the routes. `make` converts each proxy to a value that can send requests through it.
    pub(crate) fn new(proxies: &Proxies, make: impl Fn(Proxy) -> P) -> Result<Self, BuildError> {
        let route = |url: &Option<String>| url.as_deref().map(read).transpose();
        let entries = proxies.no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self {
            http: route(&proxies.http)?.map(&make),
            https: route(&proxies.https)?.map(&make),
            without: entries.map(host).collect(),
        })
    }

    /// Returns the proxy for a URL, or `None` if it is reached directly. Loopback is always reached directly,
    /// since plain HTTP to it must not leave the machine.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&P> {
        let host = uri.host().unwrap_or_default();
        let direct = is_loopback(host) || self.without.iter().any(|entry| entry.names(host));
        let proxy = if uri.scheme() == Some(&uri::Scheme::HTTP) { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !direct)
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

fn host(entry: &str) -> Host {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()),
        None => (entry, Some(u32::MAX)),
    };
    match (address.parse(), bits) {
        (Ok(address), Some(bits)) => Host::Network(address, bits),
        _ if entry == "*" => Host::Any,
        _ => Host::Domain(entry.trim_start_matches('.').to_ascii_lowercase()),
    }
}

impl Host {
    fn names(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Domain(domain) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Network(network, bits) => {
                let address = host.trim_start_matches('[').trim_end_matches(']').parse();
                match (network, address) {
                    (IpAddr::V4(network), Ok(IpAddr::V4(address))) => {
                        let differing = network.to_bits() ^ address.to_bits();
                        differing.leading_zeros() >= (*bits).min(32)
                    }
                    (IpAddr::V6(network), Ok(IpAddr::V6(address))) => {
                        let differing = network.to_bits() ^ address.to_bits();
                        differing.leading_zeros() >= (*bits).min(128)
                    }
                    _ => false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(url: &str, no_proxy: &str) -> Routes<Proxy> {
        let mut proxies = Proxies::all(Some(url)).unwrap();
        no_proxy.clone_into(&mut proxies.no_proxy);
        Routes::new(&proxies, |proxy| proxy).unwrap()
    }

    fn proxy_of(routes: &Routes<Proxy>, url: &str) -> Option<String> {
        routes.of(&url.parse().unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let mut proxies = Proxies::default();
        proxies.https = Some("http://secure:1".to_owned());
        let routes = Routes::new(&proxies, |proxy| proxy).unwrap();
        assert_eq!(proxy_of(&routes, "https://registry.test/").as_deref(), Some("secure"));
        assert_eq!(proxy_of(&routes, "http://registry.test/"), None);
    }

    #[test]
    fn an_unsupported_proxy_is_an_error() {
        let proxies = Proxies::all(Some("http://user:%ff@proxy.test")).unwrap();
        assert_eq!(Routes::new(&proxies, |proxy| proxy).unwrap_err(), BuildError::Proxy);
    }

    #[test]
    fn loopback_and_no_proxy_hosts_are_reached_directly() {
        let without = "internal.test, .dotted.test,10.0.0.0/8,192.0.2.1,2001:db8::/32";
        let proxies = given("http://proxy.test:3128", without);
        for direct in [
            "http://localhost:5000/",
            "http://a.localhost/",
            "http://127.8.9.1/",
            "https://[::1]/",
            "https://internal.test/",
            "https://A.Internal.test/",
            "https://a.dotted.test/",
            "https://dotted.test/",
            "http://10.1.2.3/",
            "http://192.0.2.1/",
            "https://[2001:db8:1::1]/",
        ] {
            assert_eq!(proxy_of(&proxies, direct), None, "{direct}");
        }
        for proxied in [
            "https://registry.test/",
            "https://notinternal.test/",
            "https://localhost.test/",
            "http://11.1.2.3/",
            "http://192.0.2.2/",
            "https://[2001:db9::1]/",
        ] {
            assert_eq!(proxy_of(&proxies, proxied).as_deref(), Some("proxy.test"), "{proxied}");
        }
        let none = given("http://proxy.test:3128", "*");
        assert_eq!(proxy_of(&none, "https://registry.test/"), None);
    }

    #[test]
    fn the_proxy_resolves_names() {
        for url in ["socks5://any:2", "SOCKS5://any:2", "socks5h://any:2", "http://any:2"] {
            let routes = given(url, "");
            let found = routes.of(&"https://registry.test/".parse().unwrap()).unwrap();
            assert!(!found.resolve_target(), "{url}");
        }
    }
}
