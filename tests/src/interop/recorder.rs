//! Writes down the requests that reach a registry.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, client, server};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;

type Requests = Arc<Mutex<Vec<String>>>;

/// A server on loopback that passes every request on to another one, and the answer back, and writes the
/// request down before that. Headers, the Host among them, pass unchanged.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    requests: Requests,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens on a port of its own, in front of `target`.
    ///
    /// # Panics
    /// There is no port, or no thread, to be had.
    pub fn before(target: SocketAddr) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("a runtime starts");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("there is a free port on loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let requests = Requests::default();
        let recorded = requests.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, target, recorded) => {}
                }
            });
        });
        Self { address, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests since the last call, in the order in which they came: `GET /v2/`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What it panicked of is on stderr already.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, requests: Requests) {
    loop {
        let (stream, _) = listener.accept().await.expect("a listener on loopback goes on");
        let requests = requests.clone();
        tokio::spawn(async move {
            // The client sees a closed connection, as it would without the recorder.
            let _ = relay(stream, target, requests).await;
        });
    }
}

/// One connection to the target for each connection of a client, so that both end together.
async fn relay(stream: TcpStream, target: SocketAddr, requests: Requests) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let upstream = TcpStream::connect(target).await?;
    upstream.set_nodelay(true)?;
    let (sender, connection) = client::conn::http1::handshake::<_, Incoming>(TokioIo::new(upstream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let sender = Arc::new(tokio::sync::Mutex::new(sender));
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = format!("{} {}", request.method(), request.uri());
        requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        let sender = sender.clone();
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await
        }
    });
    server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}
