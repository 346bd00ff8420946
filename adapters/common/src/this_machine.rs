//! This machine: its names, and its platform.

use std::env;
use std::env::consts::{ARCH, OS};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use oci_proto::{Platform, is_loopback};

/// Returns the addresses of a host that is a name of this machine, `localhost` or a name below it, or `None` for any
/// other host. No resolver is asked for such a name: its answer could lead elsewhere.
///
/// Source: RFC 6761, section 6.3.
pub fn loopback_addresses(host: &str) -> Option<[IpAddr; 2]> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    // IPv4 first: many programs listen on that alone.
    (is_loopback(host) && !is_address).then_some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// Returns the platform that this program was compiled for, in Go's names, without a variant and a version. A part that
/// has no name is `unknown`.
///
/// On macOS and Windows, container runtimes often run images for `linux` with the same
/// [architecture](Platform::architecture).
///
/// # Panics
/// Never: the names of the compiler are valid parts.
pub fn host_platform() -> Platform {
    let is_little_endian = cfg!(target_endian = "little");
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if is_little_endian => "ppc64le",
        "powerpc64" => "ppc64",
        "mips64" if is_little_endian => "mips64le",
        "mips" if is_little_endian => "mipsle",
        "loongarch64" => "loong64",
        "wasm32" => "wasm",
        "" => "unknown",
        other => other,
    };
    let os = match OS {
        "macos" => "darwin",
        "" => "unknown",
        other => other,
    };
    Platform::from_parts(os, architecture, None, None).expect("the names of the compiler are valid parts")
}

/// Returns the user's home directory, also in the minimal environment of a service.
pub(crate) fn home_directory() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_a_valid_platform_in_gos_names() {
        let host = host_platform();
        assert_eq!(host.to_string().parse(), Ok(host.clone()));
        assert_eq!((host.variant(), host.os_version()), (None, None));
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert_eq!(host.to_string(), "linux/amd64");
        }
    }

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
