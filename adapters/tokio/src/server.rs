//! Serves the core's read-only registry, [`Server`], over HTTP/1.1.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use oci_proto_tokio::oci_proto::server::{Memory, Server};
//!
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! let stop = std::future::pending::<()>();
//! oci_proto_tokio::server::serve(listener, Arc::new(server), memory, stop).await?;
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use oci_proto::Digest;
use oci_proto::server::{Body, Server, Unavailable};
use oci_proto_common::LONGEST_TIMEOUT;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

mod blobs;
mod body;
#[cfg(feature = "layout")]
mod layout;
mod pace;
mod places;

use pace::Paced;
use places::Places;

pub use blobs::{BlobError, Blobs, Source};
pub use body::ResponseBody;

/// The default maximum number of connections.
const CONNECTIONS: usize = 512;
/// The default timeout of a connection.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The time that open connections have to finish after the shutdown signal.
const GRACE: Duration = Duration::from_secs(10);
/// The maximum size of a head, and of the parts of a response that hyper collects, in bytes.
const BUFFER: usize = 16 << 10;
/// The maximum number of bytes in a socket that are not sent yet.
const UNSENT: u32 = 64 << 10;
type Hook = Arc<dyn Fn(&BlobError) + Send + Sync>;

/// Serves a registry with the default [`Options`] until `shutdown` is ready. Requests in progress then have ten
/// seconds to finish.
///
/// # Errors
/// Returns an error if the listener fails permanently. A connection that fails or cannot be accepted is not
/// an error.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    blobs: impl Blobs,
    shutdown: impl Future,
) -> io::Result<()> {
    Options::default().serve(listener, server, blobs, shutdown).await
}

/// The options of a server.
///
/// A connection occupies about 100 KiB, also if the client sends or reads nothing.
#[derive(Clone)]
pub struct Options {
    connections: usize,
    connections_per_address: Option<usize>,
    timeout: Duration,
    on_blob_error: Option<Hook>,
}

impl Options {
    /// Sets the maximum number of connections; further ones wait to be accepted. The default is 512.
    #[must_use]
    pub fn connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Sets the maximum number of connections from one address; further ones are closed with status 429. The
    /// default is half of [`connections`](Self::connections). All IPv6 addresses with the same first 64 bits
    /// count as one.
    ///
    /// Behind a reverse proxy all connections have the address of the proxy: set both to the same number.
    #[must_use]
    pub fn connections_per_address(self, connections: usize) -> Self {
        Self { connections_per_address: Some(connections), ..self }
    }

    /// Sets the time after which a client is disconnected that has sent no complete head of a request, or has
    /// taken less than 16 KiB of a response that waits for it. The default is 30 seconds, the maximum a year.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(LONGEST_TIMEOUT), ..self }
    }

    /// Sets a hook for blobs that cannot be read, for a log. It should return quickly.
    #[must_use]
    pub fn on_blob_error(self, hook: impl Fn(&BlobError) + Send + Sync + 'static) -> Self {
        Self { on_blob_error: Some(Arc::new(hook)), ..self }
    }

    /// Serves a registry like [`serve`].
    ///
    /// # Errors
    /// Those of [`serve`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every connection at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        server: Arc<Server>,
        blobs: impl Blobs,
        shutdown: impl Future,
    ) -> io::Result<()> {
        let per_address = self.connections_per_address.unwrap_or(self.connections / 2);
        let places = Places::new(self.connections, per_address);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.timeout).max_buf_size(BUFFER);
        // A client may close its side after its last request.
        http.half_close(true);
        let shared = Arc::new((self, server, blobs));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let next = async {
                let reserved = places.reserve().await;
                (listener.accept().await, reserved)
            };
            let (accepted, reserved) = tokio::select! {
                biased;
                _ = &mut shutdown => break,
                next = next => next,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    after_failed_accept(error).await?;
                    continue;
                }
            };
            let Some(place) = places.take(reserved, peer.ip()) else {
                refuse(stream);
                continue;
            };
            configure(&stream);
            let for_service = shared.clone();
            let service = service_fn(move |request: Request<_>| {
                let shared = for_service.clone();
                async move {
                    let (options, server, blobs) = &*shared;
                    Ok::<_, Infallible>(options.respond(server, blobs, request).await)
                }
            });
            let stream = TokioIo::new(Paced::new(stream, shared.0.timeout));
            let connection = graceful.watch(http.serve_connection(stream, service));
            connections.spawn(async move {
                // The client sees the error.
                let _ = connection.await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        // Connections that are still open then are dropped with their tasks.
        let _ = timeout(GRACE, graceful.shutdown()).await;
        Ok(())
    }

    /// Answers one request. Use this with your own listener, whose connections you limit.
    ///
    /// # Cancel safety
    /// Dropping the future drops only the response.
    pub async fn respond<B>(
        &self,
        server: &Server,
        blobs: &(impl Blobs + ?Sized),
        request: Request<B>,
    ) -> Response<ResponseBody> {
        let (request, _) = request.into_parts();
        let (head, body) = server.respond(&request).into_parts();
        let (digest, range) = match body {
            Body::Empty => return Response::from_parts(head, ResponseBody::bytes(Bytes::new())),
            Body::Bytes(bytes) => return Response::from_parts(head, ResponseBody::bytes(bytes)),
            Body::Blob { digest, range } => (digest, range),
        };
        let size = range.end.saturating_sub(range.start);
        let begun = match blobs.open(&digest, range).await {
            Ok(source) => ResponseBody::begin(source, size).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(body) => {
                let options = self.clone();
                let report = Box::new(move |error| options.report(digest, error));
                Response::from_parts(head, body.on_error(report))
            }
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => Unavailable::Missing,
                    _ => Unavailable::Unreadable,
                };
                let response = Server::respond_without(&request, &digest, reason);
                self.report(digest, error);
                response.map(|body| match body {
                    Body::Bytes(bytes) => ResponseBody::bytes(bytes),
                    Body::Empty | Body::Blob { .. } => ResponseBody::bytes(Bytes::new()),
                })
            }
        }
    }

    fn report(&self, digest: Digest, error: io::Error) {
        if let Some(hook) = &self.on_blob_error {
            hook(&BlobError::new(digest, error));
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: None,
            timeout: TIMEOUT,
            on_blob_error: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connections", &self.connections)
            .field("connections_per_address", &self.connections_per_address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Returns an error that is permanent; waits if the next attempt would fail as well.
async fn after_failed_accept(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::Interrupted => {}
        io::ErrorKind::InvalidInput => return Err(error),
        // Most likely no file descriptor is free. Wait until a connection is closed.
        _ => sleep(Duration::from_millis(100)).await,
    }
    Ok(())
}

/// Sets the options of a socket. Without them it still works.
fn configure(stream: &TcpStream) {
    // Responses are small, or written in large chunks.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    // Unlike a small buffer, this does not limit the bytes in flight, and so the speed over long distances.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = socket.set_send_buffer_size(4 * UNSENT as usize);
}

/// Closes a connection with an error response.
fn refuse(stream: TcpStream) {
    let (head, body) = Server::too_many_connections().into_parts();
    let mut response = format!("HTTP/1.1 {}\r\nconnection: close\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            response.extend_from_slice(part);
        }
    }
    response.extend_from_slice(b"\r\n");
    if let Body::Bytes(body) = body {
        response.extend_from_slice(&body);
    }
    // The buffer of a new socket has room for it. A client that has sent a request may only see that the connection
    // is closed.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&response);
    }
}
