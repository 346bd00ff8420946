//! Connections: accepted, limited, and closed at the end.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use oci_proto::server::{Body, Server};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::server::body::ResponseBody;
use crate::server::options::Options;
use crate::server::pace::Paced;
use crate::server::places::Places;

/// The time that open connections have to finish after the shutdown signal.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The maximum size of a head, and of the parts of a response that hyper collects, in bytes.
const BUFFER: usize = 16 << 10;
/// The maximum number of bytes in a socket that are not sent yet.
const UNSENT: u32 = 64 << 10;

/// Serves connections with `respond` until `shutdown` is ready. Requests in progress then have the time `grace` to
/// finish.
///
/// # Errors
/// Returns an error if the listener fails permanently.
pub(super) async fn listen<R, F>(
    options: &Options,
    listener: TcpListener,
    shutdown: impl Future,
    grace: Duration,
    respond: R,
) -> io::Result<()>
where
    R: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let per_address = options.connections_per_address.unwrap_or(options.connections / 2);
    let places = Places::new(options.connections, per_address);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(options.timeout).max_buf_size(BUFFER);
    // A client may close its side after its last request.
    http.half_close(true);
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
        let respond = respond.clone();
        let service = service_fn(move |request| {
            let response = respond(peer, request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let stream = Paced::new(stream, options.timeout);
        let (identity, timeout) = (options.identity.clone(), options.timeout);
        let (http, watcher) = (http.clone(), graceful.watcher());
        connections.spawn(async move {
            // The client sees the error.
            let _ = match identity {
                None => watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await,
                Some(identity) => match identity.accept(stream, timeout).await {
                    Ok(stream) => watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await,
                    Err(_) => Ok(()),
                },
            };
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Connections that are still open then are dropped with their tasks.
    let _ = timeout(grace, graceful.shutdown()).await;
    Ok(())
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
