//! The connections of the default transport: direct or through a proxy, with TLS for https.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Uri, uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use oci_proto::Reach;
use oci_proto_common::{Awaited, Proxies, Proxy, Route, ServerTls};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tower_service::Service;

use crate::fault::{BoxError, WithKind};
use crate::resolver::Resolver;

#[cfg(test)]
mod tests;

type Tcp = HttpConnector<Resolver<GaiResolver>>;
type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// Establishes connections, including TLS, within a timeout.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Arc<ServerTls>,
    proxies: Arc<Proxies>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(tls: Arc<ServerTls>, proxies: Arc<Proxies>, timeout: Duration) -> Self {
        Self { tls, proxies, timeout }
    }

    /// Connects to the server of a URL: directly if one of its addresses is within reach, or through a proxy, which
    /// resolves names itself. With `allow_http2`, HTTP/2 is offered over TLS.
    pub(crate) fn connect(
        &self,
        to: &Uri,
        reach: Reach,
        allow_http2: bool,
    ) -> Connecting<MaybeHttpsStream<Stream>> {
        let offer: &[&[u8]] =
            if cfg!(feature = "http2") && allow_http2 { &[b"h2", b"http/1.1"] } else { &[] };
        let to_proxy = Secured { inner: self.tcp(Reach::Anywhere), tls: self.tls.clone(), offer: &[] };
        let proxies = self.proxies.clone();
        let inner = ProxyConnector { direct: self.tcp(reach), reach, to_proxy, proxies };
        let mut secured = Secured { inner, tls: self.tls.clone(), offer };
        let (to, limit, timed_out) = (to.clone(), self.timeout, self.timed_out());
        Box::pin(async move {
            let connecting = async {
                poll_fn(|cx| secured.poll_ready(cx)).await?;
                secured.call(to).await
            };
            tokio::time::timeout(limit, connecting).await.unwrap_or(Err(timed_out))
        })
    }

    /// Returns the time within which a connection must be established.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the error of a connection that was not established within that time.
    pub(crate) fn timed_out(&self) -> BoxError {
        WithKind::from(Awaited::Connection.timed_out(self.timeout)).into()
    }

    fn tcp(&self, reach: Reach) -> Tcp {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { reach, resolver: GaiResolver::new() });
        tcp.enforce_http(false);
        // Requests are small and latency matters.
        tcp.set_nodelay(true);
        // hyper divides this among the addresses of a name, so that an unreachable one leaves time for the
        // next.
        tcp.set_connect_timeout(Some(self.timeout));
        tcp
    }
}

/// Adds TLS to connections for https, with the certificates for their server.
#[derive(Clone)]
struct Secured<C> {
    inner: C,
    tls: Arc<ServerTls>,
    /// The protocols that are offered (RFC 7301).
    offer: &'static [&'static [u8]],
}

impl<C> Service<Uri> for Secured<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = MaybeHttpsStream<C::Response>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        // The one that is ready.
        let waiting = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, waiting);
        if to.scheme() != Some(&uri::Scheme::HTTPS) {
            let connecting = inner.call(to);
            return Box::pin(
                async move { Ok(MaybeHttpsStream::Http(connecting.await.map_err(Into::into)?)) },
            );
        }
        let (tls, server, offer) = (self.tls.clone(), to.clone(), self.offer);
        Box::pin(async move {
            // It may read files.
            let mut config = spawn_blocking(move || tls.of(&server)).await?.map_err(WithKind::from)?;
            if !offer.is_empty() {
                let offered = offer.iter().map(|protocol| protocol.to_vec()).collect();
                Arc::make_mut(&mut config).alpn_protocols = offered;
            }
            HttpsConnector::from((inner, config)).call(to).await
        })
    }
}

/// Connects directly, or through the proxy for the destination.
#[derive(Clone)]
struct ProxyConnector {
    direct: Tcp,
    reach: Reach,
    to_proxy: Secured<Tcp>,
    proxies: Arc<Proxies>,
}

impl Service<Uri> for ProxyConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.to_proxy.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Connecting<Stream> {
        match self.proxies.route(&to) {
            Route::Direct => {
                // The resolver sees names only.
                let literal = to.host().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
                let admitted = literal.map_or(Ok(()), |literal| self.reach.check(literal));
                let connecting = self.direct.call(to);
                Box::pin(async move {
                    admitted.map_err(WithKind::from)?;
                    let stream = MaybeHttpsStream::Http(connecting.await?);
                    Ok(Stream { is_direct: true, ..Stream::new(stream) })
                })
            }
            Route::Forward(proxy) => {
                let connecting = self.to_proxy.call(proxy.uri().clone());
                let proxy = proxy.clone();
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| failed(&proxy, error))?;
                    Ok(Stream { forwards: true, ..Stream::new(stream) })
                })
            }
            Route::Tunnel(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
                if let Some(login) = proxy.authorization() {
                    tunnel = tunnel.with_auth(login);
                }
                let connecting = tunnel.call(to);
                let proxy = proxy.clone();
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| failed(&proxy, error.into()))?;
                    Ok(Stream::new(stream))
                })
            }
            Route::Socks(proxy) => {
                let mut socks = SocksV5::new(proxy.uri().clone(), self.to_proxy.inner.clone());
                if let Some(login) = proxy.login() {
                    socks = socks.with_auth(login.username.clone(), login.password.reveal().to_owned());
                }
                let connecting = socks.call(with_port(to));
                let proxy = proxy.clone();
                Box::pin(async move {
                    let stream = connecting.await.map_err(|error| failed(&proxy, error.into()))?;
                    Ok(Stream::new(MaybeHttpsStream::Http(stream)))
                })
            }
        }
    }
}

/// Adds the port of a plain URL without one, for which `SocksV5` would connect to 443.
fn with_port(to: Uri) -> Uri {
    match to.host() {
        Some(host) if to.scheme() == Some(&uri::Scheme::HTTP) && to.port().is_none() => {
            Uri::try_from(format!("http://{host}:80/")).unwrap_or(to)
        }
        _ => to,
    }
}

/// Converts a failure to connect to a proxy, or through it.
fn failed(proxy: &Proxy, source: BoxError) -> BoxError {
    // The type of the error is not public.
    if source.to_string().contains("proxy authorization required") {
        return WithKind::from(proxy.login_refused()).into();
    }
    ProxyError { proxy: proxy.to_string(), source }.into()
}

/// A failure to connect to a proxy, or through it.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct ProxyError {
    proxy: String,
    source: BoxError,
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
