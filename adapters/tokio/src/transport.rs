//! What carries requests: the trait, and the default.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use tower_service::Service;

use crate::connector::Connector;

/// The body of a request: nothing, or some bytes.
pub type Body = Full<Bytes>;

/// Any error of a transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What carries requests to registries.
///
/// Every `tower_service::Service` that takes an `http::Request<Body>`, answers with an `http::Response`
/// whose body yields [`Bytes`], and can be cloned and sent between threads is one.
///
/// The request's URI is absolute. A transport follows no redirect, repeats no request that may have
/// reached a server, decompresses nothing, and returns every status as a response.
pub trait Transport: Clone + Send + 'static {
    /// The body of a response.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Sends a request once the transport is ready for it; ends with the head of the response.
    ///
    /// # Errors
    /// The transport's own. Their kind is found as [`Builder::classify`](crate::Builder::classify) says.
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

/// The default transport: HTTP/1.1 by hyper, TLS by rustls, with a pool of connections.
///
/// Proxies come from the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the same in
/// lower case, read when the client is built; the schemes `http`, `https`, `socks5` and `socks5h` (the
/// proxy resolves names with either). This machine's own addresses are never reached through a proxy.
///
/// A request that was queued on a pooled connection and never written before that connection closed moves to
/// another connection. Nothing else is repeated.
#[derive(Clone)]
pub struct HyperTransport {
    client: legacy::Client<Connector, Body>,
    proxies: Arc<Matcher>,
}

impl HyperTransport {
    pub(crate) fn new(client: legacy::Client<Connector, Body>, proxies: Arc<Matcher>) -> Self {
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
        // A proxy that forwards plain requests is told who asks in each of them; one that is a tunnel was
        // told when the connection was made.
        if request.uri().scheme() == Some(&uri::Scheme::HTTP)
            && let Some(proxy) = crate::connector::proxy_for(&self.proxies, request.uri())
            && let Some(credentials) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        Responding(self.client.request(request))
    }
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport").finish_non_exhaustive()
    }
}

/// The response of [`HyperTransport`], on its way.
#[derive(Debug)]
#[must_use = "a request is sent by polling its response"]
pub struct Responding(legacy::ResponseFuture);

impl Future for Responding {
    type Output = Result<Response<hyper::body::Incoming>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(Into::into)
    }
}
