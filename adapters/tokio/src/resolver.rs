//! Name resolution.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use oci_proto::Reach;
use oci_proto_common::loopback_addresses;
use tower_service::Service;

use crate::fault::{BoxError, WithKind};

/// Resolves names to the addresses within a reach: those of this machine itself, and others with `R`.
#[derive(Clone, Debug)]
pub(crate) struct Resolver<R> {
    pub(crate) reach: Reach,
    pub(crate) resolver: R,
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.resolver.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        let within = move |found| Ok(reach.within(found).map_err(WithKind::from)?.into_iter());
        if let Some(addresses) = loopback_addresses(name.as_str()) {
            // The connector sets the port.
            let addresses = addresses.map(|address| SocketAddr::new(address, 0));
            return Box::pin(async move { within(addresses.to_vec()) });
        }
        let resolving = self.resolver.call(name);
        Box::pin(async move { within(resolving.await.map_err(Into::into)?.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::io;

    use http::Uri;
    use hyper_util::client::legacy::connect::HttpConnector;
    use tokio::net::TcpListener;

    use super::*;

    /// Says that every name has these addresses.
    #[derive(Clone)]
    struct Liar(&'static [&'static str]);

    impl Service<Name> for Liar {
        type Response = vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            let addresses: Vec<_> = self.0.iter().map(|address| address.parse().unwrap()).collect();
            ready(Ok(addresses.into_iter()))
        }
    }

    #[tokio::test]
    async fn a_resolver_cannot_lead_a_name_of_this_machine_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolver = Resolver { reach: Reach::Anywhere, resolver: Liar(&["192.0.2.1:0"]) };
        let mut connector = HttpConnector::new_with_resolver(resolver.clone());
        for host in ["localhost", "a.b.localhost", "LOCALHOST"] {
            let to: Uri = format!("http://{host}:{port}/").parse().unwrap();
            let (connected, _) = tokio::join!(connector.call(to), listener.accept());
            let peer = connected.unwrap().into_inner().peer_addr().unwrap();
            assert_eq!(peer, listener.local_addr().unwrap(), "{host}");
        }
        let other = resolver.clone().call("registry.test".parse().unwrap()).await.unwrap();
        assert_eq!(other.collect::<Vec<_>>(), ["192.0.2.1:0".parse().unwrap()]);
    }
    #[tokio::test]
    async fn a_name_leads_only_to_addresses_within_reach() {
        let of = |reach, addresses| {
            let mut resolver = Resolver { reach, resolver: Liar(addresses) };
            resolver.call("registry.test".parse().unwrap())
        };
        let mixed = &["10.0.0.1:0", "198.51.100.1:0", "[::ffff:127.0.0.1]:0", "127.0.0.1:0"];
        let public: Vec<_> = of(Reach::Public, mixed).await.unwrap().collect();
        assert_eq!(public, ["198.51.100.1:0".parse().unwrap()]);
        assert_eq!(of(Reach::Anywhere, mixed).await.unwrap().len(), 4);
        let refused = of(Reach::Public, &["10.0.0.1:0"]).await.unwrap_err().to_string();
        assert!(refused.contains("10.0.0.1") && refused.contains("allow_private_addresses"), "{refused}");
        assert!(of(Reach::ThisMachine, &["198.51.100.1:0"]).await.is_err());
        let mut local = Resolver { reach: Reach::Public, resolver: Liar(mixed) };
        assert!(local.call("localhost".parse().unwrap()).await.is_err());
    }
}
