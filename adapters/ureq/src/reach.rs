//! Name resolution that returns only addresses within an exchange's reach.
//!
//! ureq does not report the address that it connects to, so
//! [`Awaiting::connected`](oci_proto::Awaiting::connected) cannot be called. Instead, each reach has its own
//! agent, which resolves names only to addresses within the reach and shares no connections with other
//! agents. A proxy resolves names itself, so the proxy decides which hosts are reachable through it.

use http::Uri;
use oci_proto::{Fault, FaultKind, Reach};
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::connecting::connect_error;

/// Resolves names to the addresses within a reach.
#[derive(Debug)]
pub(crate) struct ReachResolver {
    reach: Reach,
    resolver: DefaultResolver,
}

impl ReachResolver {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, resolver: DefaultResolver::default() }
    }
}

impl Resolver for ReachResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.resolver.resolve(uri, config, timeout).map_err(connect_error)?;
        let mut within = self.empty();
        for address in found.iter().filter(|address| self.reach.admits(address.ip())) {
            within.push(*address);
        }
        if within.is_empty() {
            let message = "the host has no public address";
            return Err(Error::Other(Box::new(Fault::new(FaultKind::Unsupported, message))));
        }
        Ok(within)
    }
}
