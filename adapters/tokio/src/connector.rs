//! How the default transport makes connections: directly or through a proxy, with TLS where asked for.

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
use oci_proto::{FaultKind, is_loopback};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::BoxError;
use crate::fault::WithKind;

#[cfg(test)]
mod tests;

type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// Makes connections, TLS included, within a time.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<Proxying>,
    timeout: Duration,
    /// Why no server can be trusted, if none can.
    distrust: Option<Arc<str>>,
}

impl Connector {
    pub(crate) fn new(
        tls: ClientConfig,
        proxies: Arc<Matcher>,
        timeout: Duration,
        distrust: Option<Arc<str>>,
    ) -> Self {
        let tls = Arc::new(tls);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Requests are small, and each is waited for.
        tcp.set_nodelay(true);
        // Shared among the addresses of a name, so that a dead one leaves time for the next.
        tcp.set_connect_timeout(Some(timeout));
        let to_proxy = HttpsConnector::from((tcp.clone(), tls.clone()));
        Self { inner: HttpsConnector::from((Proxying { tcp, to_proxy, proxies }, tls)), timeout, distrust }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Wire>;
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
                let message = format!("no connection within {limit:?}");
                Err(WithKind { kind: FaultKind::Timeout, message }.into())
            })
        })
    }
}

/// The proxy, if any, through which `to` is reached.
pub(crate) fn proxy_for(proxies: &Matcher, to: &Uri) -> Option<Intercept> {
    if is_loopback(to.host()?) { None } else { proxies.intercept(to) }
}

/// Connects directly, or to the proxy that the destination is reached through.
#[derive(Clone)]
struct Proxying {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Proxying {
    type Response = Wire;
    type Error = BoxError;
    type Future = Connecting<Wire>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.to_proxy.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Connecting<Wire> {
        let Some(proxy) = proxy_for(&self.proxies, &to) else {
            let connecting = self.tcp.call(to);
            return Box::pin(async move {
                Ok(Wire { stream: MaybeHttpsStream::Http(connecting.await?), forwards: false })
            });
        };
        let through = Through::of(&proxy);
        match proxy.uri().scheme_str() {
            Some("http" | "https") if to.scheme() == Some(&uri::Scheme::HTTP) => {
                let connecting = self.to_proxy.call(proxy.uri().clone());
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| through.failed(error))?;
                    Ok(Wire { stream, forwards: true })
                })
            }
            Some("http" | "https") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                let connecting = tunnel.call(to);
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| through.failed(error.into()))?;
                    Ok(Wire { stream, forwards: false })
                })
            }
            Some("socks5" | "socks5h") => {
                let mut socks = SocksV5::new(proxy.uri().clone(), self.tcp.clone());
                if let Some((user, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(user.into(), password.into());
                }
                let connecting = socks.call(to);
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| through.failed(error.into()))?;
                    Ok(Wire { stream: MaybeHttpsStream::Http(stream), forwards: false })
                })
            }
            _ => fail(
                FaultKind::Connect,
                "the proxy's scheme is not supported: use http, https or socks5".into(),
            ),
        }
    }
}

/// A proxy, without its user and password.
struct Through(String);

impl Through {
    fn of(proxy: &Intercept) -> Self {
        let host = proxy.uri().host().unwrap_or_default();
        Self(proxy.uri().port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }

    fn failed(self, source: BoxError) -> BoxError {
        NotThrough { proxy: self.0, source }.into()
    }
}

/// A connection that failed on its way through a proxy, or to it.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct NotThrough {
    proxy: String,
    source: BoxError,
}

fn fail<S: Send + 'static>(kind: FaultKind, message: String) -> Connecting<S> {
    Box::pin(std::future::ready(Err(WithKind { kind, message }.into())))
}

/// A connection to a server, or to a proxy.
pub(crate) struct Wire {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// A proxy that takes requests with an absolute target (RFC 9112, 3.2.2).
    forwards: bool,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwards)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
