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

/// Connections at a time; more wait to be accepted. Each costs a few dozen kilobytes.
const CONNECTIONS: usize = 512;
/// How long a client may take to send a request's head, counted from the connection's last response.
const HEAD: Duration = Duration::from_secs(30);
/// How long open connections may go on once the server is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves a registry until `shutdown` is ready, then lets requests under way finish for ten seconds.
///
/// Serves at most 512 connections at a time. A connection over which no request begins for 30 seconds is
/// closed.
///
/// # Errors
/// The listener failed for good. A connection that fails, or one that could not be accepted, is no error.
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // Never closed, so there is always a place in the end.
            let place = places.clone().acquire_owned().await;
            (accept(&listener).await, place)
        };
        let (stream, place) = tokio::select! {
            biased;
            _ = &mut shutdown => break,
            (stream, place) = next => (stream?, place),
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
            // Whatever ends a connection concerns its client, which sees it.
            let _ = connection.await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Those that are still open then are dropped with their tasks.
    let _ = timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Answers one request, for those who have a listener, or a recorder, of their own.
///
/// # Cancel safety
/// Dropping the future drops the answer, and nothing else.
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
                // Responses are small, or written in large pieces.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::Interrupted => {}
                io::ErrorKind::InvalidInput => return Err(error),
                // Out of file descriptors, most likely: others give some back.
                _ => sleep(Duration::from_millis(100)).await,
            },
        }
    }
}
