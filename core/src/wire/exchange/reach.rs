//! The addresses that a driver may connect to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Uri, uri};

use crate::error::fault::{Fault, FaultKind};
use crate::types::reference::registry::{ends_in_number, is_loopback};

/// The addresses that a driver may connect to for an exchange.
///
/// The manual has a table of [permitted addresses](crate#permitted-addresses).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a driver cannot enforce an unknown restriction")]
pub enum Reach {
    /// Any address.
    #[default]
    Anywhere,
    /// Public addresses only: no loopback, link-local, private, shared, unspecified, multicast, broadcast or other
    /// addresses for special purposes (RFC 6890), including IPv4 addresses embedded in IPv6 addresses.
    Public,
    /// Loopback addresses only: plain HTTP to a loopback host (see [`is_loopback`]) must not leave the machine,
    /// whatever its name resolves to.
    ThisMachine,
}

impl Reach {
    /// Returns the reach of a request to a URL that may be at any address.
    pub(crate) fn of(uri: &Uri) -> Self {
        let is_plain = uri.scheme() == Some(&uri::Scheme::HTTP);
        if is_plain && uri.host().is_some_and(is_loopback) { Self::ThisMachine } else { Self::Anywhere }
    }

    /// Returns whether the host of a URL may be public, as far as that is known without a resolver. Names below
    /// `localhost` are not, nor are hosts such as `127.1`, which only some resolvers take for an address.
    pub(crate) fn may_be_public(host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().is_ok_and(|address| Self::Public.admits(address.into()));
        }
        match host.parse::<Ipv4Addr>() {
            Ok(address) => Self::Public.admits(address.into()),
            Err(_) => !is_loopback(host) && !ends_in_number(host),
        }
    }

    /// Returns the addresses, in their order, that the driver may connect to.
    ///
    /// # Errors
    /// Returns a fault if there is none.
    pub fn within(self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
        let Some(first) = addresses.first().map(SocketAddr::ip) else { return Ok(addresses) };
        let within: Vec<_> = addresses.into_iter().filter(|address| self.admits(address.ip())).collect();
        if within.is_empty() { Err(self.refuse(first)) } else { Ok(within) }
    }

    /// Checks that the driver may connect to this address.
    ///
    /// # Errors
    /// Returns a fault if it must not.
    pub fn check(self, address: IpAddr) -> Result<(), Fault> {
        if self.admits(address) { Ok(()) } else { Err(self.refuse(address)) }
    }

    fn refuse(self, address: IpAddr) -> Fault {
        let why = match self {
            Self::Public => "only a private registry may lead to, unless `allow_private_addresses` is set",
            Self::Anywhere | Self::ThisMachine => "is not a loopback address",
        };
        Fault::new(FaultKind::OutOfReach, format_args!("the host has the address {address}, which {why}"))
    }

    /// Returns whether the driver may connect to this address.
    pub fn admits(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Anywhere, _) => true,
            (Self::ThisMachine, address) => address.is_loopback(),
            (Self::Public, IpAddr::V4(address)) => is_public_v4(address),
            (Self::Public, IpAddr::V6(address)) => is_public_v6(address),
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // This network, reserved addresses and broadcasts, shared addresses, protocol assignments, benchmarks.
    let is_special = matches!(
        address.octets(),
        [0 | 240..=255, ..] | [100, 64..128, ..] | [192, 0, 0, _] | [198, 18 | 19, ..]
    );
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || is_special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    // NAT64 (RFC 6052), 6to4 (RFC 3056), ISATAP (RFC 5214) and Teredo (RFC 4380) addresses reach the IPv4 address
    // that they contain, and so do the deprecated IPv4-compatible and IPv4-translated ones (RFC 4291, RFC 2765).
    let embedded = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
        | [0, 0, 0, 0, 0 | 0xffff, 0, high, low] => v4(high, low),
        [0x2001, 0, .., high, low] => v4(!high, !low),
        _ => None,
    };
    // NAT64 of one network (RFC 8215), discarded packets (RFC 6666), and the deprecated site-local addresses.
    let is_special =
        matches!(address.segments(), [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0xfec0..0xff00, ..]);
    embedded.is_none_or(is_public_v4)
        && !is_special
        && !(address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_unique_local()
            || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_admitted() {
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "2001:4860::8888",
            "64:ff9b::808:808",
            "64:ff9b:2::1",
            "2001::f7f7:f7f7",
            "2400::5efe:808:808",
        ] {
            assert!(Reach::Public.admits(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "64:ff9b:1::808:808",
            "::ffff:0:a00:1",
            "2001::f5ff:fffe",
            "2400::5efe:a00:1",
            "2400::200:5efe:a00:1",
            "100::1",
            "fec0::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ] {
            let address = address.parse().unwrap();
            assert!(!Reach::Public.admits(address), "{address}");
            assert!(Reach::Anywhere.admits(address), "{address}");
        }
    }

    #[test]
    fn hosts_are_judged_without_a_resolver() {
        for host in ["registry.example", "8.8.8.8", "8.8.8.8.", "[2001:4860::8888]", "10.example", "0xg"] {
            assert!(Reach::may_be_public(host), "{host}");
        }
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1.",
            "10.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "0x7f.0.0.0x1",
            "0177.0.0.1",
            "010.0.0.1",
            "999.1.1.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[fe80::1%25eth0]",
            "[v1.a]",
        ] {
            assert!(!Reach::may_be_public(host), "{host}");
        }
    }

    #[test]
    fn plain_http_to_a_loopback_host_stays_on_this_machine() {
        for (uri, reach) in [
            ("http://localhost:5000/v2/", Reach::ThisMachine),
            ("http://a.localhost/", Reach::ThisMachine),
            ("http://[::1]/", Reach::ThisMachine),
            ("https://localhost/", Reach::Anywhere),
            ("http://localhost.test/", Reach::Anywhere),
        ] {
            assert_eq!(Reach::of(&uri.parse().unwrap()), reach, "{uri}");
        }
        for (address, is_admitted) in [
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("::", false),
        ] {
            assert_eq!(Reach::ThisMachine.admits(address.parse().unwrap()), is_admitted, "{address}");
        }
    }
}
