//! The memory that uploads to the registry occupy.
#![cfg(feature = "network")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use oci_proto::server::{Effect, Failure, Policy, Server, Storage, Unavailable, UploadId};
use oci_proto::{Algorithm, Digest, Hasher, Repository};
use oci_proto_tokio::server::{Options, SharedRegistry};
use peak_alloc::PeakAlloc;
use tokio::runtime;
use tokio::sync::oneshot;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The counter serves one test at a time.
static TURN: Mutex<()> = Mutex::new(());

const MEBIBYTE: usize = 1 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A storage that keeps no byte, and lets writes wait while it holds.
#[derive(Clone, Debug, Default)]
struct Discards {
    written: Arc<AtomicU64>,
    holds: Arc<(Mutex<bool>, Condvar)>,
}

impl Discards {
    fn hold(&self, holds: bool) {
        *self.holds.0.lock().unwrap() = holds;
        self.holds.1.notify_all();
    }
}

impl Storage for Discards {
    fn write(&mut self, _: &Repository, _: &UploadId, _: u64, bytes: &[u8]) -> Result<(), Failure> {
        drop(self.holds.1.wait_while(self.holds.0.lock().unwrap(), |holds| *holds).unwrap());
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self, _: &UploadId) -> Result<(), Failure> {
        Ok(())
    }

    fn read_upload(&self, _: &UploadId, _: Range<u64>, _: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        Err(Failure::Storage)
    }

    fn apply(&mut self, _: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        Ok(())
    }

    fn read(&self, _: &Repository, _: &Digest, _: Range<u64>) -> Result<Bytes, Unavailable> {
        Err(Unavailable::Unreadable)
    }
}

/// A registry on a thread.
struct Host {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn start(storage: &Discards, options: Options) -> Self {
        let server = Server::with_policy(Policy::open(), 7);
        let shared = SharedRegistry::new(server, storage.clone()).unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registry = runtime.block_on(shared.listen_with(options)).unwrap();
        let address = registry.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // An error is the end of the test.
            let _ = runtime.block_on(stopped);
            drop(registry);
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Sends `size` zeros as a blob, and returns the status line.
fn push(address: SocketAddr, digest: &Digest, size: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    )
    .unwrap();
    let mut left = size;
    while left > 0 {
        let part = left.min(ZEROS.len());
        stream.write_all(&ZEROS[..part]).unwrap();
        left -= part;
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

fn zeros(size: usize) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for _ in 0..size / ZEROS.len() {
        hasher.update(&ZEROS);
    }
    hasher.finish()
}

#[test]
fn a_large_blob_occupies_little_memory() {
    const SIZE: usize = 200 * MEBIBYTE;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let storage = Discards::default();
    let host = Host::start(&storage, Options::default());
    let digest = zeros(SIZE);
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    assert_eq!(push(host.address, &digest, SIZE), "HTTP/1.1 201");
    assert_eq!(storage.written.load(Ordering::Relaxed), SIZE as u64);
    let peak = HEAP.peak_usage().saturating_sub(before);
    assert!(peak < 2 * MEBIBYTE, "{} KiB", peak >> 10);
}

#[test]
fn many_uploads_to_a_slow_storage_occupy_little_memory_each() {
    const CLIENTS: usize = 100;
    const SIZE: usize = 4 * MEBIBYTE;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let storage = Discards::default();
    let host = Host::start(&storage, Options::default().connections(2 * CLIENTS));
    let digest = zeros(SIZE);
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    storage.hold(true);
    let address = host.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let digest = digest.clone();
            thread::spawn(move || push(address, &digest, SIZE))
        })
        .collect();
    // All buffers are full by then.
    thread::sleep(Duration::from_secs(2));
    let peak = HEAP.peak_usage().saturating_sub(before);
    storage.hold(false);
    for client in clients {
        assert_eq!(client.join().unwrap(), "HTTP/1.1 201");
    }
    let each = (peak / CLIENTS) >> 10;
    assert!(each < 300, "{each} KiB for each");
}
