//! Name resolution that returns only addresses within an exchange's reach.
//!
//! Each reach has its own agent, which resolves names only to addresses within the reach and shares no connections
//! with other agents. A proxy resolves names itself, so the proxy decides which hosts are reachable through it.

use std::net::SocketAddr;

use http::{Uri, uri};
use oci_proto::Reach;
use oci_proto_common::loopback_addresses;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::connecting::connect_error;

/// Resolves names to the addresses within a reach: those of this machine itself, and others with `R`.
#[derive(Debug)]
pub(crate) struct ReachResolver<R = DefaultResolver> {
    reach: Reach,
    resolver: R,
}

impl ReachResolver {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, resolver: DefaultResolver::default() }
    }
}

impl<R: Resolver> Resolver for ReachResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        match loopback_addresses(uri.host().unwrap_or_default()) {
            Some(addresses) => {
                let default = if uri.scheme() == Some(&uri::Scheme::HTTPS) { 443 } else { 80 };
                let port = uri.port_u16().unwrap_or(default);
                for address in addresses {
                    found.push(SocketAddr::new(address, port));
                }
            }
            None => found = self.resolver.resolve(uri, config, timeout).map_err(connect_error)?,
        }
        let mut within = self.empty();
        let admitted = self.reach.within(found.to_vec()).map_err(|fault| Error::Other(Box::new(fault)))?;
        for address in admitted {
            within.push(address);
        }
        Ok(within)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;

    use super::*;

    /// Says that every name has these addresses.
    #[derive(Debug)]
    struct Liar(&'static [&'static str]);

    impl Resolver for Liar {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            let mut addresses = self.empty();
            for address in self.0 {
                addresses.push(address.parse().unwrap());
            }
            Ok(addresses)
        }
    }

    #[test]
    fn a_resolver_cannot_lead_a_name_of_this_machine_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = ["localhost", "a.b.localhost", "LOCALHOST"];
        let serving = thread::spawn(move || {
            for _ in hosts {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1000]).unwrap();
                stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            }
        });
        let resolver = ReachResolver { reach: Reach::Anywhere, resolver: Liar(&["192.0.2.1:80"]) };
        let config = Agent::config_builder().proxy(None).build();
        let agent = Agent::with_parts(config, DefaultConnector::new(), resolver);
        for host in hosts {
            let response = agent.get(format!("http://{host}:{port}/")).call().unwrap();
            assert_eq!(response.status(), 204, "{host}");
        }
        serving.join().unwrap();
    }
    #[test]
    fn a_name_leads_only_to_addresses_within_reach() {
        let of = |reach, addresses, uri: &'static str| {
            let resolver = ReachResolver { reach, resolver: Liar(addresses) };
            let timeout = NextTimeout {
                after: ureq::unversioned::transport::time::Duration::NotHappening,
                reason: ureq::Timeout::Resolve,
                per_read: None,
                per_write: None,
            };
            resolver.resolve(&Uri::from_static(uri), Agent::new_with_defaults().config(), timeout)
        };
        let (name, mixed) = ("https://registry.test/", &["10.0.0.1:1", "198.51.100.1:1", "127.0.0.1:1"]);
        assert_eq!(of(Reach::Public, mixed, name).unwrap()[..], ["198.51.100.1:1".parse().unwrap()]);
        assert_eq!(of(Reach::Anywhere, mixed, name).unwrap().len(), 3);
        let refused = of(Reach::Public, &["10.0.0.1:1"], name).unwrap_err().to_string();
        assert!(refused.contains("10.0.0.1") && refused.contains("allow_private_addresses"), "{refused}");
        assert!(of(Reach::ThisMachine, &["198.51.100.1:1"], name).is_err());
        assert!(of(Reach::Public, mixed, "https://localhost/").is_err());
    }
}
