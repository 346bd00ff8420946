//! The addresses that a driver may connect to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Uri, uri};

use crate::error::fault::{Fault, FaultKind};
use crate::types::reference::registry::is_loopback;

/// The addresses that a driver may connect to for an exchange.
///
/// Sessions currently use only [`Anywhere`](Self::Anywhere) and [`ThisMachine`](Self::ThisMachine).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a driver cannot enforce an unknown restriction")]
pub enum Reach {
    /// Any address.
    #[default]
    Anywhere,
    /// Public addresses only: no loopback, link-local, private, shared, unspecified, multicast or broadcast
    /// addresses (RFC 6890), including IPv4 addresses embedded in IPv6 addresses.
    Public,
    /// Loopback addresses only: plain HTTP to a loopback host (see [`is_loopback`]) must not leave the machine,
    /// whatever its name resolves to.
    ThisMachine,
}

impl Reach {
    /// Returns the reach of a request to a URL.
    pub(crate) fn of(uri: &Uri) -> Self {
        let is_plain = uri.scheme() == Some(&uri::Scheme::HTTP);
        if is_plain && uri.host().is_some_and(is_loopback) { Self::ThisMachine } else { Self::Anywhere }
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
        let wanted = if self == Self::Public { "public" } else { "a loopback address" };
        Fault::new(FaultKind::Unsupported, format_args!("the host's address {address} is not {wanted}"))
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
    let [a, b, ..] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let reserved = a == 0 || a >= 240 || shared;
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || reserved)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses reach the IPv4 address that they contain, and so do
    // the deprecated IPv4-compatible addresses (RFC 4291).
    let embedded = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    };
    embedded.is_none_or(is_public_v4)
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
        for address in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:4860::8888", "64:ff9b::808:808"] {
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
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
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
