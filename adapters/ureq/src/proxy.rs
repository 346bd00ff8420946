//! Which proxy, if any, a request goes through.
//!
//! ureq reads the environment too, but takes the first variable that is set for every URL, and knows neither
//! networks nor subdomains in `NO_PROXY`.

use std::env;
use std::net::IpAddr;

use http::{Uri, uri};
use oci_proto::{is_loopback, is_proxy_url};
use ureq::Proxy;

/// What leads through the proxy for either scheme, and the hosts that are reached without.
#[derive(Clone, Debug)]
pub(crate) struct Proxies<P = Proxy> {
    http: Option<P>,
    https: Option<P>,
    without: Vec<Host>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Host {
    Any,
    /// A domain, and all below it.
    Domain(String),
    /// The addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
}

impl Proxies {
    /// What the environment says.
    pub(crate) fn from_env() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// One proxy for everything, or none.
    pub(crate) fn all(proxy: Option<Proxy>) -> Self {
        Self { http: proxy.clone(), https: proxy, without: Vec::new() }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        // To a CGI program, HTTP_PROXY is what the client says in its header Proxy.
        if variable("REQUEST_METHOD").is_some() {
            return Self::all(None);
        }
        let value = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
        let named = |name| value(name).and_then(|url| read(&url));
        let all = named("ALL_PROXY");
        let without = value("NO_PROXY").unwrap_or_default();
        Self {
            http: named("HTTP_PROXY").or_else(|| all.clone()),
            https: named("HTTPS_PROXY").or(all),
            without: without.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(host).collect(),
        }
    }
}

impl<P> Proxies<P> {
    /// Makes something else of each proxy.
    pub(crate) fn map<Q>(self, make: impl Fn(P) -> Q) -> Proxies<Q> {
        Proxies { http: self.http.map(&make), https: self.https.map(&make), without: self.without }
    }

    /// What leads to a URL; `None` where it is reached directly. What may be sent in plain text to this machine
    /// must not leave it.
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

/// Reads a proxy, which [`is_proxy_url`] describes.
pub(crate) fn proxy(url: &str) -> Option<Proxy> {
    if is_proxy_url(url) { read(url) } else { None }
}

/// Names are the proxy's to resolve, and not to be asked for here as well. To ureq, as to curl, `socks5` means
/// otherwise.
fn read(url: &str) -> Option<Proxy> {
    let url = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("socks5") => format!("socks5h://{rest}"),
        _ => url.to_owned(),
    };
    Proxy::new(&url).ok()
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

    fn given(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn leads(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_variable_and_one_serves_both() {
        let proxies = given(&[("HTTPS_PROXY", "http://secure:1"), ("all_proxy", "socks5://any:2")]);
        assert_eq!(leads(&proxies, "https://registry.test/").as_deref(), Some("secure"));
        assert_eq!(leads(&proxies, "http://registry.test/").as_deref(), Some("any"));
        let proxies = given(&[("http_proxy", "plain:1")]);
        assert_eq!(leads(&proxies, "http://registry.test/").as_deref(), Some("plain"));
        assert_eq!(leads(&proxies, "https://registry.test/"), None);
    }

    #[test]
    fn an_empty_variable_and_that_of_a_cgi_program_count_as_none() {
        assert_eq!(leads(&given(&[("ALL_PROXY", "")]), "https://registry.test/"), None);
        let cgi = given(&[("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(leads(&cgi, "http://registry.test/"), None);
    }

    #[test]
    fn this_machine_and_what_no_proxy_names_are_reached_directly() {
        let without = "internal.test, .dotted.test,10.0.0.0/8,192.0.2.1,2001:db8::/32";
        let proxies = given(&[("ALL_PROXY", "http://proxy.test:3128"), ("NO_PROXY", without)]);
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
            assert_eq!(leads(&proxies, direct), None, "{direct}");
        }
        for proxied in [
            "https://registry.test/",
            "https://notinternal.test/",
            "https://localhost.test/",
            "http://11.1.2.3/",
            "http://192.0.2.2/",
            "https://[2001:db9::1]/",
        ] {
            assert_eq!(leads(&proxies, proxied).as_deref(), Some("proxy.test"), "{proxied}");
        }
        let none = given(&[("ALL_PROXY", "http://proxy.test:3128"), ("NO_PROXY", "*")]);
        assert_eq!(leads(&none, "https://registry.test/"), None);
    }

    #[test]
    fn names_are_left_to_the_proxy() {
        for url in ["socks5://any:2", "SOCKS5://any:2", "socks5h://any:2", "http://any:2"] {
            let given = given(&[("ALL_PROXY", url)]);
            let found = given.of(&"https://registry.test/".parse().unwrap()).unwrap();
            assert!(!found.resolve_target() && !proxy(url).unwrap().resolve_target(), "{url}");
        }
    }
}
