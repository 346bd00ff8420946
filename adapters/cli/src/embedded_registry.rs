//! A registry inside this process.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use oci_proto::server::{Memory, MemoryStorage, Policy, Server};
use oci_proto_tokio::server::{Options, SharedRegistry, SharedStorage};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::output::Failure;

/// A registry in memory that a thread serves on the loopback interface until the process exits. It takes pushes.
pub(crate) struct EmbeddedRegistry {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<io::Result<()>>,
}

impl EmbeddedRegistry {
    /// Serves nothing yet, on a free port.
    pub(crate) fn empty() -> Result<Self, Failure> {
        SharedRegistry::in_memory(Policy::open()).and_then(Self::serve).map_err(|error| no_registry(&error))
    }

    /// Serves the sample as `demo:latest`, on a free port.
    pub(crate) fn sample() -> Result<Self, Failure> {
        let (memory, root) = Memory::sample();
        let mut server = Server::with_policy(Policy::open(), RandomState::new().hash_one(0));
        let repository = "demo".parse().map_err(Failure::failed)?;
        let tag = "latest".parse().map_err(Failure::failed)?;
        server.add(&repository, Some(&tag), &root, &memory).map_err(Failure::failed)?;
        let mut storage = MemoryStorage::new();
        for (digest, content) in memory.contents() {
            storage.add_blob(repository.clone(), digest.clone(), content.clone());
        }
        let registry = SharedRegistry::new(server, SharedStorage::new(storage));
        registry.and_then(Self::serve).map_err(|error| no_registry(&error))
    }

    fn serve(registry: SharedRegistry<SharedStorage<MemoryStorage>>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let thread = thread::spawn(move || {
            let never = std::future::pending::<()>();
            runtime.block_on(registry.serve(listener, Options::default().local_hosts_only(), never))
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

fn no_registry(error: &io::Error) -> Failure {
    Failure::failed(format_args!("could not start a registry on 127.0.0.1: {error}"))
}
