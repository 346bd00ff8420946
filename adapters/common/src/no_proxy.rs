//! The hosts that are reached without a proxy.

use std::net::{IpAddr, Ipv6Addr};

use http::{Uri, uri};
use ipnet::IpNet;
use oci_proto::is_loopback;

/// The entries of a `NO_PROXY` variable, separated by commas or spaces.
///
/// | entry | hosts |
/// | --- | --- |
/// | `*` | all |
/// | `example.com`, `.example.com`, `*.example.com` | the domain and its subdomains |
/// | `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]` | the address, if the URL has it as its host |
/// | `192.0.2.0/24`, `2001:db8::/32` | the addresses of the network, likewise |
///
/// All but networks may be followed by `:PORT`; an IPv6 address is in brackets then. No name is resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    host: Host,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Host {
    Any,
    /// A domain and its subdomains, in lower case.
    Domain(String),
    Network(IpNet),
}

impl NoProxy {
    /// Parses the value of the variable. Also returns the invalid entries, each once.
    pub(crate) fn parse(text: &str) -> (Self, Vec<String>) {
        let mut parsed = Self::default();
        let mut invalid = Vec::new();
        for text in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|text| !text.is_empty()) {
            // A URL that is here by mistake may contain a password.
            let shown = || text.rsplit('@').next().unwrap_or_default().to_owned();
            match entry(text) {
                Some(entry) => parsed.0.push(entry),
                None if !invalid.contains(&shown()) => invalid.push(shown()),
                None => {}
            }
        }
        (parsed, invalid)
    }

    /// Returns whether a URL is requested without a proxy. Loopback hosts always are.
    pub(crate) fn is_direct(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default();
        let default = if uri.scheme() == Some(&uri::Scheme::HTTP) { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        is_loopback(host) || self.0.iter().any(|entry| entry.names(host, port))
    }
}

impl Entry {
    fn names(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
            && match &self.host {
                Host::Any => true,
                Host::Domain(domain) => {
                    let host = host.trim_end_matches('.').to_ascii_lowercase();
                    let before = host.strip_suffix(domain.as_str());
                    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
                }
                Host::Network(network) => {
                    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
                    // An IPv4-mapped address reaches the same host as the IPv4 address.
                    address
                        .is_ok_and(|host| network.contains(&host) || network.contains(&host.to_canonical()))
                }
            }
    }
}

fn entry(text: &str) -> Option<Entry> {
    if let Ok(network) = text.parse() {
        return Some(Entry { host: Host::Network(network), port: None });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Entry { host: Host::Network(address.into()), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    Some(Entry { host: self::host(host)?, port })
}

fn host(text: &str) -> Option<Host> {
    if text == "*" {
        return Some(Host::Any);
    }
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Network(IpAddr::from(address).into()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Host::Network(address.into()));
    }
    let domain = text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text);
    let domain = domain.strip_prefix('.').unwrap_or(domain).trim_end_matches('.');
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    domain.split('.').all(is_label).then(|| Host::Domain(domain.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_hosts() {
        for (no_proxy, direct, proxied) in [
            ("", "", "http://a.test https://10.1.2.3"),
            ("*", "http://a.test https://10.1.2.3 https://[fd12::1]:5000", ""),
            ("*:5000", "http://a.test:5000 https://[fd12::1]:5000", "http://a.test"),
            ("a.test", "http://a.test https://A.Test:5000 http://x.a.test http://a.test.", "http://ba.test"),
            (".a.test", "http://a.test http://x.a.test", "http://ba.test http://a.test.b"),
            ("*.A.test.", "http://a.test http://x.y.a.test", "http://ba.test"),
            ("b.test, a.test\tc.test", "http://a.test http://b.test http://c.test", "http://d.test"),
            ("a.test:443", "https://a.test http://x.a.test:443", "http://a.test https://a.test:5000"),
            ("192.0.2.1", "http://192.0.2.1:5000 https://[::ffff:192.0.2.1]", "http://192.0.2.10"),
            ("192.0.2.1:80", "http://192.0.2.1", "https://192.0.2.1"),
            ("10.1.2.3/8", "https://10.255.0.1:5000", "https://11.0.0.1 http://a.10.1.2.3.test"),
            ("0.0.0.0/0", "http://192.0.2.1", "http://a.test https://[fd12::1]"),
            ("fd12::1", "http://[fd12::1] http://[fd12:0::1]:5000", "http://[fd12::2]"),
            ("[fd12::1]", "http://[fd12::1] http://[fd12::1]:5000", "http://[fd12::2]"),
            ("[fd12::1]:5000", "http://[fd12::1]:5000", "http://[fd12::1]"),
            ("2001:db8::/32", "https://[2001:db8:1::1]", "https://[2001:db9::1] https://32.1.13.184"),
            ("a.test", "http://localhost:5000 http://x.localhost http://127.8.9.1 https://[::1]", ""),
            ("", "http://localhost:5000 https://[::1]", "https://localhost.test"),
        ] {
            let (entries, invalid) = NoProxy::parse(no_proxy);
            assert!(invalid.is_empty(), "{no_proxy:?}");
            for (urls, is_direct) in [(direct, true), (proxied, false)] {
                for url in urls.split_whitespace() {
                    assert_eq!(entries.is_direct(&url.parse().unwrap()), is_direct, "{no_proxy:?}: {url}");
                }
            }
        }
    }

    #[test]
    fn invalid_entries_are_found_once_and_the_others_count() {
        let invalid = [
            "10.0.0.0/33",
            "10.0.0.0/x",
            "fd12::/129",
            "a.test/8",
            "[fd12::1",
            "[a.test]",
            "[10.0.0.1]",
            "a.test:port",
            "a.test:70000",
            "http://a.test",
            "127.*",
            "a.*.test",
            "*a.test",
            "<local>",
            "a..test",
            ".",
            "..a.test",
        ];
        let (entries, found) = NoProxy::parse(&format!("{0}, b.test {0}", invalid.join(",")));
        assert_eq!(found, invalid);
        assert!(entries.is_direct(&"http://b.test".parse().unwrap()));
        assert!(!entries.is_direct(&"http://a.test".parse().unwrap()));
    }
}
