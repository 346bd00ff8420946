//! Transports: the trait and the default implementation.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, StatusCode};
use oci_proto_common::{BuildError, Monitor, Network, Proxies, Proxy, Route};
use tower_service::Service;

use crate::connector::Connector;
use crate::fault::{BoxError, WithKind};
use crate::payload::Body;
use crate::pool::{Pool, PooledBody};

/// Sends requests to registries.
///
/// The trait is implemented for every `tower_service::Service` that takes an `http::Request<Body>`, returns
/// an `http::Response` whose body yields [`Bytes`], and is `Clone` and `Send`.
///
/// The URI of a request is absolute. A transport must not follow redirects, must not retry a request that may
/// have reached a server, must not decompress, and must return every status as a response. If the body of a
/// request ends with an error, the transport must close the connection, or reset the stream of HTTP/2.
///
/// The extensions of a request contain an [`oci_proto::Reach`], the addresses that the transport may connect to for it.
/// Connections for different reaches must not be mixed. A transport should put hyper-util's `HttpInfo` into the extensions
/// of the responses of direct connections, and remove it from those of connections to a proxy. A registry without it
/// counts as public, and with it, the response of an address out of reach is discarded even if the transport ignores the
/// reach.
///
/// A response may arrive before the whole request body is sent. The body then pends until the response has
/// been read, and ends with an error.
pub trait Transport: Clone + Send + 'static {
    /// The body of a response.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Sends a request once the transport is ready for it. Resolves with the head of the response.
    ///
    /// # Errors
    /// Returns an error of the transport. [`Client::with_transport`](crate::Client::with_transport) describes
    /// how its kind is determined.
    ///
    /// # Cancel safety
    /// Dropping the future drops the request, which may have reached the server.
    fn send(
        self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send + 'static;
}

impl<S, B> Transport for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = B;

    async fn send(mut self, request: Request<Body>) -> Result<Response<B>, BoxError> {
        poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
        self.call(request).await.map_err(Into::into)
    }
}

/// The default transport: hyper with HTTP/1.1 and, where a server offers it over TLS, HTTP/2; rustls, and a connection
/// pool.
///
/// With HTTP/1.1, an origin has at most as many connections as it has requests in flight. With HTTP/2, it has one. A
/// server that offers HTTP/2 and then fails at it, or demands HTTP/1.1, gets HTTP/1.1 from the next request on.
///
/// A request is sent again only if its pooled connection was closed before any of it was written.
#[derive(Clone)]
pub struct HyperTransport {
    pool: Pool,
    proxies: Arc<Proxies>,
}

impl HyperTransport {
    pub(crate) fn open(network: Network, monitor: Arc<Monitor>) -> Result<Self, BuildError> {
        // Explicit, since a program with two providers has no default one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = Arc::new(network.trust.into_tls(provider)?);
        let proxies = Arc::new(network.proxies);
        let connector = Connector::new(tls, proxies.clone(), network.connect_timeout);
        Ok(Self { pool: Pool::new(connector, monitor), proxies })
    }
}

impl Service<Request<Body>> for HyperTransport {
    type Response = Response<PooledBody>;
    type Error = BoxError;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Responding {
        let forwarder = match self.proxies.route(request.uri()) {
            Route::Forward(proxy) => Some(proxy.clone()),
            // A tunnel and a SOCKS proxy receive the login when the connection is established.
            Route::Direct | Route::Tunnel(_) | Route::Socks(_) => None,
        };
        if let Some(login) = forwarder.as_ref().and_then(Proxy::authorization) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let sending = self.pool.clone().send(request);
        Responding(Box::pin(async move {
            let response = sending.await?;
            match forwarder {
                Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    Err(WithKind::from(proxy.login_refused()).into())
                }
                _ => Ok(response),
            }
        }))
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport").finish_non_exhaustive()
    }
}

/// The response future of [`HyperTransport`].
#[must_use = "a request is sent by polling its response"]
pub struct Responding(Pin<Box<dyn Future<Output = Result<Response<PooledBody>, BoxError>> + Send>>);

impl Future for Responding {
    type Output = Result<Response<PooledBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Responding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responding").finish_non_exhaustive()
    }
}
