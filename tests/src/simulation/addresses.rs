//! The addresses of servers, and the requests that may reach them.

use std::net::{IpAddr, Ipv4Addr};

use http::{Request, Uri};
use oci_proto::{OpId, Payload, Reach, is_loopback};

use crate::simulation::world::{REGISTRIES, World};

/// The address of all servers that are not private: one that is reserved for documentation.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

impl World<'_> {
    /// The address of the server of a URL.
    pub(super) fn address_of(&self, uri: &Uri) -> IpAddr {
        if is_loopback(uri.host().unwrap_or_default()) {
            return Ipv4Addr::LOCALHOST.into();
        }
        let is_private = |registry| self.secrets.is_at_home(registry, uri) && self.is_private(registry);
        if (0..REGISTRIES.len()).any(is_private) { PRIVATE } else { PUBLIC }
    }

    /// A public registry leads to public addresses only.
    pub(super) fn check_reach(&self, op: Option<OpId>, request: &Request<Payload>, reach: Reach) {
        let uri = request.uri();
        let registry = self.secrets.registry(op, uri);
        if !self.secrets.is_at_home(registry, uri) && !self.is_private(registry) {
            assert_eq!(reach, Reach::Public, "a public registry leads anywhere: {uri}");
            assert!(!is_loopback(uri.host().unwrap_or_default()), "a public registry leads to {uri}");
        }
    }

    /// Whether a registry is private: on this machine, or with a token server or a storage on it.
    fn is_private(&self, registry: usize) -> bool {
        (0..REGISTRIES.len()).filter(|other| self.secrets.is_asked_for(registry, *other)).any(|registry| {
            let setup = &self.setups[registry];
            let uris = [Some(&self.secrets.base(registry)[..]), Some(&setup.realm[..]), setup.storage];
            let hosts = uris.into_iter().flatten().filter_map(|uri| uri.parse::<Uri>().ok());
            hosts.into_iter().any(|uri| is_loopback(uri.host().unwrap_or_default()))
        })
    }
}
