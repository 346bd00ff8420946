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
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use oci_proto::server::{Body, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

mod blobs;
mod body;
#[cfg(feature = "layout")]
mod layout;

pub use blobs::{Blobs, Source};
pub use body::ResponseBody;

/// The maximum number of connections. Further ones wait to be accepted. Each costs a few dozen kilobytes.
const CONNECTIONS: usize = 512;
/// The timeout for the head of a request, counted from the last response on the connection.
const HEAD: Duration = Duration::from_secs(30);
/// The time that open connections have to finish after the shutdown signal.
const GRACE: Duration = Duration::from_secs(10);

/// Serves a registry until `shutdown` is ready. Requests in progress then have ten seconds to finish.
///
/// The server accepts at most 512 connections at a time. It closes a connection after 30 seconds without a
/// new request.
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
    let blobs = Arc::new(blobs);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed, so this always succeeds.
            let permit = permits.clone().acquire_owned().await;
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            biased;
            _ = &mut shutdown => break,
            (stream, permit) = next => (stream?, permit),
        };
        let (server, blobs) = (server.clone(), blobs.clone());
        let service = service_fn(move |request: Request<_>| {
            let (server, blobs) = (server.clone(), blobs.clone());
            async move { Ok::<_, Infallible>(respond(&server, &*blobs, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // The client sees the error.
            let _ = connection.await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Connections that are still open then are dropped with their tasks.
    let _ = timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Answers one request. Use this with your own listener.
///
/// # Cancel safety
/// Dropping the future drops only the response.
pub async fn respond<B>(
    server: &Server,
    blobs: &(impl Blobs + ?Sized),
    request: Request<B>,
) -> Response<ResponseBody> {
    let (head, _) = request.into_parts();
    let (head, body) = server.respond(&head).into_parts();
    let body = match body {
        Body::Empty => ResponseBody::empty(),
        Body::Bytes(bytes) => ResponseBody::bytes(bytes),
        Body::Blob { digest, range } => {
            let size = range.end.saturating_sub(range.start);
            match blobs.open(&digest, range).await {
                Ok(source) => ResponseBody::new(source, size),
                Err(error) => ResponseBody::failed(error, size),
            }
        }
    };
    Response::from_parts(head, body)
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Responses are small, or written in large chunks.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::Interrupted => {}
                io::ErrorKind::InvalidInput => return Err(error),
                // Most likely no file descriptor is free. Wait until a connection is closed.
                _ => sleep(Duration::from_millis(100)).await,
            },
        }
    }
}
