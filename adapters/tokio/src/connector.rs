//! The connections of the default transport: direct or through a proxy, with TLS for https.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Uri, uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use oci_proto::FaultKind;
use oci_proto_common::{Awaited, NoProxy, Proxies};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::fault::{BoxError, WithKind};

#[cfg(test)]
mod tests;

type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// Establishes connections, including TLS, within a timeout.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<ProxyConnector>,
    timeout: Duration,
    /// The reason why no server can be trusted, if there is one.
    distrust: Option<Arc<str>>,
}

impl Connector {
    pub(crate) fn new(
        tls: ClientConfig,
        routes: Arc<Routes>,
        timeout: Duration,
        distrust: Option<Arc<str>>,
    ) -> Self {
        let tls = Arc::new(tls);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Requests are small and latency matters.
        tcp.set_nodelay(true);
        // hyper divides this among the addresses of a name, so that an unreachable one leaves time for the
        // next.
        tcp.set_connect_timeout(Some(timeout));
        let to_proxy = HttpsConnector::from((tcp.clone(), tls.clone()));
        Self {
            inner: HttpsConnector::from((ProxyConnector { tcp, to_proxy, routes }, tls)),
            timeout,
            distrust,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if let Some(why) = self.distrust.as_deref().filter(|_| to.scheme() == Some(&uri::Scheme::HTTPS)) {
            return fail(FaultKind::Tls, why.into());
        }
        let limit = self.timeout;
        let connecting = self.inner.call(to);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
                let fault = Awaited::Connection.timed_out(limit);
                Err(WithKind { kind: fault.kind(), message: fault.message().to_owned() }.into())
            })
        })
    }
}

/// The proxy for each scheme, and the hosts that are reached directly.
pub(crate) struct Routes {
    proxies: Matcher,
    no_proxy: NoProxy,
}

impl Routes {
    pub(crate) fn new(proxies: Proxies) -> Self {
        let Proxies { http, https, no_proxy, .. } = proxies;
        let proxies =
            Matcher::builder().http(http.unwrap_or_default()).https(https.unwrap_or_default()).build();
        Self { proxies, no_proxy }
    }

    /// Returns the proxy for a URL, or `None` if it is reached directly.
    pub(crate) fn of(&self, to: &Uri) -> Option<Intercept> {
        if self.no_proxy.is_direct(to) { None } else { self.proxies.intercept(to) }
    }
}

/// Connects directly, or through the proxy for the destination.
#[derive(Clone)]
struct ProxyConnector {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    routes: Arc<Routes>,
}

impl Service<Uri> for ProxyConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.to_proxy.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Connecting<Stream> {
        let Some(proxy) = self.routes.of(&to) else {
            let connecting = self.tcp.call(to);
            return Box::pin(async move {
                let stream = MaybeHttpsStream::Http(connecting.await?);
                Ok(Stream { is_direct: true, ..Stream::new(stream) })
            });
        };
        let name = ProxyName::of(&proxy);
        match proxy.uri().scheme_str() {
            Some("http" | "https") if to.scheme() == Some(&uri::Scheme::HTTP) => {
                let connecting = self.to_proxy.call(proxy.uri().clone());
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| name.failed(error))?;
                    Ok(Stream { forwards: true, ..Stream::new(stream) })
                })
            }
            Some("http" | "https") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                let connecting = tunnel.call(to);
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| name.failed(error.into()))?;
                    Ok(Stream::new(stream))
                })
            }
            Some("socks5" | "socks5h") => {
                let mut socks = SocksV5::new(proxy.uri().clone(), self.tcp.clone());
                if let Some((user, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(user.into(), password.into());
                }
                let connecting = socks.call(to);
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| name.failed(error.into()))?;
                    Ok(Stream::new(MaybeHttpsStream::Http(stream)))
                })
            }
            _ => fail(
                FaultKind::Connect,
                "the proxy's scheme is not supported: use http, https or socks5".into(),
            ),
        }
    }
}

/// The host and port of a proxy, without its credentials.
struct ProxyName(String);

impl ProxyName {
    fn of(proxy: &Intercept) -> Self {
        let host = proxy.uri().host().unwrap_or_default();
        Self(proxy.uri().port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }

    fn failed(self, source: BoxError) -> BoxError {
        ProxyError { proxy: self.0, source }.into()
    }
}

/// A failure to connect to a proxy, or through it.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct ProxyError {
    proxy: String,
    source: BoxError,
}

fn fail<S: Send + 'static>(kind: FaultKind, message: String) -> Connecting<S> {
    Box::pin(std::future::ready(Err(WithKind { kind, message }.into())))
}

/// A connection to a server, or to a proxy.
pub(crate) struct Stream {
    inner: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// Whether the peer is the server, not a proxy.
    is_direct: bool,
    /// Whether the peer is a proxy that takes requests in absolute-form (RFC 9112, section 3.2.2).
    forwards: bool,
    /// Whether a write has failed because the peer closed its side. Its response may still be readable: a
    /// server may reject a request before the whole request is sent.
    hung_up: bool,
}

impl Stream {
    fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self { inner: stream, is_direct: false, forwards: false, hung_up: false }
    }

    /// Reports a write as successful if the peer has closed its side. The next read shows the response or
    /// the error.
    fn written(&mut self, polled: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Err(error)) if is_hang_up(&error) => {
                self.hung_up = true;
                Poll::Ready(Ok(all))
            }
            polled => polled,
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = if self.is_direct { self.inner.connected() } else { Connected::new() };
        connected.proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(polled, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hung_up { Poll::Ready(Ok(())) } else { Pin::new(&mut self.inner).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.hung_up {
            return Poll::Ready(Ok(all));
        }
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(polled, all)
    }
}
