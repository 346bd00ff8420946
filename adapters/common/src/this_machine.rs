//! The names of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oci_proto::is_loopback;

/// Returns the addresses of a host that is a name of this machine, `localhost` or a name below it, or `None` for any
/// other host. No resolver is asked for such a name: its answer could lead elsewhere.
///
/// Source: RFC 6761, section 6.3.
pub fn loopback_addresses(host: &str) -> Option<[IpAddr; 2]> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    // IPv4 first: many programs listen on that alone.
    (is_loopback(host) && !is_address).then_some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_names_below_it_are_names_of_this_machine() {
        for host in ["localhost", "LocalHost", "a.localhost", "x.y.localhost"] {
            let addresses = loopback_addresses(host).unwrap();
            assert!(addresses.iter().all(IpAddr::is_loopback), "{host}");
        }
        for host in ["", "127.0.0.1", "::1", "[::1]", "localhost.test", "notlocalhost", "local", "a.test"] {
            assert_eq!(loopback_addresses(host), None, "{host}");
        }
    }
}
