//! Transports: the trait and the default implementation.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use oci_proto::Limits;
use oci_proto_common::{BuildError, IDLE_CONNECTION, Network, Proxies, Proxy, Route};
use tower_service::Service;

use crate::connector::Connector;
use crate::fault::{BoxError, WithKind};
use crate::payload::Body;

/// Sends requests to registries.
///
/// The trait is implemented for every `tower_service::Service` that takes an `http::Request<Body>`, returns
/// an `http::Response` whose body yields [`Bytes`], and is `Clone` and `Send`.
///
/// The URI of a request is absolute. A transport must not follow redirects, must not retry a request that may
/// have reached a server, must not decompress, and must return every status as a response. If the body of a
/// request ends with an error, the transport must close the connection.
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

/// The default transport: hyper with HTTP/1.1, rustls, and a connection pool.
///
/// A request is sent again only if its pooled connection was closed before any of it was written.
#[derive(Clone)]
pub struct HyperTransport {
    client: legacy::Client<Connector, Body>,
    proxies: Arc<Proxies>,
}

impl HyperTransport {
    pub(crate) fn open(network: Network, limits: &Limits) -> Result<Self, BuildError> {
        // Explicit, since a program with two providers has no default one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = Arc::new(network.trust.into_tls(provider)?);
        let proxies = Arc::new(network.proxies);
        let connector = Connector::new(tls, proxies.clone(), network.connect_timeout);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            // The session never uses more.
            .pool_max_idle_per_host(limits.in_flight_per_origin)
            .build(connector);
        Ok(Self::new(client, proxies))
    }

    pub(crate) fn new(client: legacy::Client<Connector, Body>, proxies: Arc<Proxies>) -> Self {
        Self { client, proxies }
    }
}

impl Service<Request<Body>> for HyperTransport {
    type Response = Response<hyper::body::Incoming>;
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
        Responding { response: self.client.request(request), forwarder }
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport").finish_non_exhaustive()
    }
}

/// The response future of [`HyperTransport`].
#[derive(Debug)]
#[must_use = "a request is sent by polling its response"]
pub struct Responding {
    response: legacy::ResponseFuture,
    /// The proxy that receives the request.
    forwarder: Option<Proxy>,
}

impl Future for Responding {
    type Output = Result<Response<hyper::body::Incoming>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.response).poll(cx))?;
        Poll::Ready(match &self.forwarder {
            Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(WithKind::from(proxy.login_refused()).into())
            }
            _ => Ok(response),
        })
    }
}
