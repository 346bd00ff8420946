//! A registry inside this process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use oci_proto::server::{Memory, Server};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::output::Failure;

/// A registry that a thread serves on the loopback interface until the process exits.
pub(crate) struct EmbeddedRegistry {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<io::Result<()>>,
}

impl EmbeddedRegistry {
    /// Serves the sample as `demo:latest` on a free port.
    pub(crate) fn sample() -> Result<Self, Failure> {
        let (memory, root) = Memory::sample();
        let mut server = Server::new();
        let repository = "demo".parse().map_err(Failure::failed)?;
        let tag = "latest".parse().map_err(Failure::failed)?;
        server.add(&repository, Some(&tag), &root, &memory).map_err(Failure::failed)?;

        let no_registry = |error: io::Error| {
            Failure::failed(format_args!("could not start a registry on 127.0.0.1: {error}"))
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_registry)?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(no_registry)?;
        let address = listener.local_addr().map_err(no_registry)?;
        let thread = thread::spawn(move || {
            let never = std::future::pending::<()>();
            runtime.block_on(oci_proto_tokio::server::serve(listener, Arc::new(server), memory, never))
        });
        Ok(Self { address, thread })
    }

    /// Waits until the registry stops, which is always a failure.
    pub(crate) fn wait(self) -> Result<(), Failure> {
        match self.thread.join() {
            Ok(Err(error)) => Err(Failure::failed(format_args!("the registry stopped: {error}"))),
            Ok(Ok(())) | Err(_) => Err(Failure::failed("the registry stopped")),
        }
    }
}
