//! Registries and broken servers on loopback.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;

use oci_proto::server::{Memory, Server};
use oci_proto::{Descriptor, Reference};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime with one worker. Its shutdown drops the tasks that it runs.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A registry with a repository `demo`, whose tag `latest` refers to `root`.
pub struct Registry {
    pub address: SocketAddr,
    pub memory: Memory,
    pub root: Descriptor,
    task: JoinHandle<()>,
}

impl Registry {
    pub async fn new(memory: Memory, root: Descriptor) -> Self {
        Self::serving(memory.clone(), memory, root).await
    }

    pub async fn sample() -> Self {
        let (memory, root) = Memory::sample();
        Self::new(memory, root).await
    }

    /// Serves `blobs` in place of the blobs in `memory`.
    pub async fn serving(memory: Memory, blobs: Memory, root: Descriptor) -> Self {
        let mut server = Server::new();
        server.add(&"demo".parse().unwrap(), Some(&"latest".parse().unwrap()), &root, &memory).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = std::future::pending::<()>();
        let task = tokio::spawn(async move {
            oci_proto_tokio::server::serve(listener, Arc::new(server), blobs, stop).await.unwrap();
        });
        Self { address, memory, root, task }
    }

    pub fn latest(&self) -> Reference {
        format!("{}/demo:latest", self.address).parse().unwrap()
    }

    pub fn of(&self, digest: &oci_proto::Digest) -> Reference {
        format!("{}/demo@{digest}", self.address).parse().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on loopback, and calls `treat` for each connection after the head of its first request.
pub async fn server<F, R>(treat: F) -> SocketAddr
where
    F: Fn(TcpStream, String) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let treat = Arc::new(treat);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let treat = treat.clone();
            tokio::spawn(async move {
                if let Some(head) = read_head(&mut stream).await {
                    treat(stream, head).await;
                }
            });
        }
    });
    address
}

/// Reads the head of a request. Returns `None` if the connection ends early.
pub async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Waits until the peer closes the connection.
pub async fn closed(stream: &mut TcpStream) {
    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
}

/// Sends the head of a response with a blob, and a part of its body.
pub async fn send_part(stream: &mut TcpStream, size: usize, part: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(part).await.unwrap();
    stream.flush().await.unwrap();
}

pub fn tag(address: SocketAddr) -> Reference {
    format!("{address}/demo:latest").parse().unwrap()
}

/// A reference to the blob of these bytes.
pub fn blob_of(address: SocketAddr, bytes: &[u8]) -> Reference {
    let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, bytes);
    format!("{address}/demo@{digest}").parse().unwrap()
}
