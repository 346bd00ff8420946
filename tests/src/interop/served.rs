//! This project's registry, for other clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use oci_proto::server::Server;
use oci_proto_tokio::server::{Blobs, serve};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

/// The core's registry on a loopback port. Dropping it stops the server.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves `server`, whose content is in `blobs`.
    ///
    /// # Panics
    /// No port or no thread is available.
    pub fn start(server: Server, blobs: impl Blobs) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port is free on loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime.block_on(serve(listener, Arc::new(server), blobs, stopped)).expect("the registry serves");
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic message is on stderr already.
            let _ = thread.join();
        }
    }
}
