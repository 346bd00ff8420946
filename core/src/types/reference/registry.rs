//! Registries: the host and port in a reference.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

use crate::types::reference::error::{InvalidReference, MAX_NAME_LEN, Problem};

/// A registry: a host, and a port unless it is the scheme's default.
///
/// The host is a domain name, an IPv4 address, or an IPv6 address in brackets. It is stored in lower
/// case, an address in its canonical form, and a port without leading zeros. A name without a dot
/// requires a port, unless it is `localhost`; otherwise a reference would parse it as part of the
/// repository. `index.docker.io` and `registry-1.docker.io` are aliases of `docker.io`.
///
/// Source: RFC 1123, section 2.1 (names); RFC 3986, section 3.2 (addresses and ports).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(Box<str>);

impl Registry {
    /// Returns Docker Hub, the default registry.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// Returns the canonical name that users write (`docker.io`).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the authority that requests are sent to: host and optional port (`registry-1.docker.io`).
    pub fn api_authority(&self) -> Authority {
        self.api_str().parse().expect("an authority may be any name or address with any port")
    }

    /// Returns the host of the API authority, without brackets or port.
    pub fn api_host(&self) -> &str {
        let text = self.api_str();
        if let Some((address, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return address;
        }
        text.split_once(':').map_or(text, |(host, _)| host)
    }

    /// Returns the key in a credentials file.
    pub fn credentials_key(&self) -> &str {
        if self.is_docker_hub() { "https://index.docker.io/v1/" } else { &self.0 }
    }

    /// Returns whether this is Docker Hub, which has a separate API host and the default namespace
    /// `library`.
    pub fn is_docker_hub(&self) -> bool {
        *self.0 == *DOCKER_HUB
    }

    /// Returns whether the host is a loopback host (see [`is_loopback`]).
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.api_host())
    }

    fn api_str(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.0 }
    }
}

/// Returns whether a URL's host is a loopback host: `localhost` or a subdomain of it, an address in
/// 127.0.0.0/8, or `::1` with or without brackets.
///
/// Requests to a loopback host may use plain HTTP and must not go through a proxy.
///
/// Source: RFC 6761, section 6.3.
pub fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns whether a host is an IPv4 address, or may be taken for one. Resolvers also accept `127.1` and `0x7f000001`.
pub(crate) fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
        || last.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for Registry {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        parse(text).map_err(|problem| InvalidReference::new("a registry", text, problem))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

const DOCKER_HUB: &str = "docker.io";

fn parse(text: &str) -> Result<Registry, Problem> {
    if text.len() > MAX_NAME_LEN {
        return Err(Problem::NameTooLong);
    }
    if text.contains("://") {
        return Err(Problem::Scheme);
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(Problem::Ipv6)?;
        let address: Ipv6Addr = address.parse().map_err(|_| Problem::Ipv6)?;
        let port = match after.strip_prefix(':') {
            None if !after.is_empty() => return Err(Problem::Port),
            port => port,
        };
        (format!("[{address}]"), port)
    } else {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(Problem::Ipv6);
        }
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port)),
        };
        (host_name(host, port.is_some())?, port)
    };
    let name = match port {
        Some(port) => format!("{host}:{}", port_number(port)?),
        None if host == "index.docker.io" || host == "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        None => host,
    };
    Ok(Registry(name.into()))
}

fn host_name(text: &str, has_port: bool) -> Result<String, Problem> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(Problem::HostGrammar);
    }
    let host = text.to_ascii_lowercase();
    if ends_in_number(&host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(Problem::Ipv4);
    }
    if !has_port && host != "localhost" && !host.contains('.') {
        return Err(Problem::BareHost);
    }
    Ok(host)
}

fn port_number(text: &str) -> Result<u16, Problem> {
    // `u16::from_str` also accepts a plus sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(Problem::Port),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(text: &str) -> Registry {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn docker_hub_has_three_names_and_one_api_host() {
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"] {
            let hub = registry(name);
            assert_eq!(hub, Registry::docker_hub(), "{name}");
            assert_eq!(hub.as_str(), "docker.io");
            assert_eq!(hub.api_authority(), "registry-1.docker.io");
            assert_eq!(hub.api_host(), "registry-1.docker.io");
            assert_eq!(hub.credentials_key(), "https://index.docker.io/v1/");
        }
        assert_eq!(registry("docker.io:443").credentials_key(), "docker.io:443");
    }

    #[test]
    fn hosts_and_ports_are_canonicalized() {
        for (text, name, host, port) in [
            ("GHCR.io", "ghcr.io", "ghcr.io", None),
            ("registry:0080", "registry:80", "registry", Some(80)),
            ("localhost", "localhost", "localhost", None),
            ("192.0.2.1:65535", "192.0.2.1:65535", "192.0.2.1", Some(65535)),
            ("[2001:DB8:0:0::1]:5000", "[2001:db8::1]:5000", "2001:db8::1", Some(5000)),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", "::ffff:192.0.2.1", None),
        ] {
            let registry = registry(text);
            assert_eq!(registry.as_str(), name);
            assert_eq!(registry.api_host(), host);
            assert_eq!(registry.api_authority().port_u16(), port);
            assert_eq!(registry.credentials_key(), name);
        }
    }

    #[test]
    fn name_length_is_bounded_with_and_without_a_port() {
        let host = format!("{}.", "a".repeat(61)).repeat(4);
        assert_eq!(registry(&format!("{host}b:65535")).as_str().len(), 255);
        let error = format!("{host}bb:65535").parse::<Registry>().unwrap_err().to_string();
        assert!(error.contains("longer than 255 bytes"), "{error}");
        let host = format!("{}.", "a".repeat(62)).repeat(4);
        assert_eq!(registry(&format!("{host}b")).as_str().len(), 253);
        let error = format!("{host}bb").parse::<Registry>().unwrap_err().to_string();
        assert!(error.contains("longer than 253 characters"), "{error}");
    }

    #[test]
    fn loopback_is_recognised_by_name_and_by_address() {
        for text in [
            "localhost",
            "localhost:5000",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:5000",
            "LocalHost:1",
        ] {
            assert!(registry(text).is_loopback(), "{text}");
        }
        for text in [
            "docker.io",
            "localhost.example",
            "notlocalhost:1",
            "128.0.0.1",
            "[::2]:5000",
            "127.0.0.1.example",
        ] {
            assert!(!registry(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn rejects_anything_but_host_and_port() {
        let label = format!("{}.io", "a".repeat(64));
        let long = ["a".repeat(60).as_str(); 5].join(".");
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b.c",
            "a/b",
            "a.b/",
            "host",
            "a.b:",
            "a.b:0",
            "a.b:65536",
            "a.b:+80",
            "a.b:80:80",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "256.1.1.1",
            "1.2.3",
            "010.0.0.1",
            "a.0x7f",
            "123:80",
            "\u{e9}.example",
            "user@a.b",
            "https://a.b",
            &label,
            &long,
        ] {
            assert!(text.parse::<Registry>().is_err(), "{text:?} was accepted");
        }
    }
}
