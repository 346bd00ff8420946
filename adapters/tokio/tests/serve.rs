//! The server over loopback.

mod common;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::read_head;
use oci_proto::server::{Content, Flavour, Memory, Server};
use oci_proto::{Algorithm, Digest, FaultKind};
use oci_proto_tokio::Client;
use oci_proto_tokio::server::{Blobs, Options, Source, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Blobs that are read from a reader, some of them truncated.
struct Files {
    memory: Memory,
    missing: u64,
}

impl Blobs for Files {
    async fn open(&self, digest: &Digest, range: Range<u64>) -> io::Result<Source> {
        let bytes = self.memory.bytes(digest).ok_or(io::ErrorKind::NotFound)?;
        let end = bytes.len() - usize::try_from(self.missing).unwrap();
        let bytes = bytes.slice(usize::try_from(range.start).unwrap()..end);
        Ok(Source::Reader(Box::pin(io::Cursor::new(bytes))))
    }
}

async fn start(memory: &Memory, root: &oci_proto::Descriptor, blobs: impl Blobs) -> std::net::SocketAddr {
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), Some(&"latest".parse().unwrap()), root, memory).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::new(server), blobs, std::future::pending::<()>()));
    address
}

fn image(layer: &[u8]) -> (Memory, oci_proto::Descriptor, Digest) {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[layer]);
    (memory, root, Digest::of(Algorithm::Sha256, layer))
}

#[tokio::test]
async fn blobs_from_a_reader_arrive_complete() {
    let layer = vec![7; 1_000_000];
    let (memory, root, _) = image(&layer);
    let address = start(&memory, &root, Files { memory: memory.clone(), missing: 0 }).await;
    let bytes = Client::new().unwrap().blob_bytes(&common::blob_of(address, &layer), None, 1_000_000).await;
    assert!(bytes.unwrap() == layer);
}

#[tokio::test]
async fn a_range_of_a_blob_is_served() {
    let (memory, root, digest) = image(b"0123456789");
    for (address, kind) in [
        (start(&memory, &root, memory.clone()).await, "in memory"),
        (start(&memory, &root, Files { memory: memory.clone(), missing: 0 }).await, "read"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes=3-5\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 206"), "{kind}: {answer}");
        assert!(answer.ends_with("\r\n\r\n345"), "{kind}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_half_closes_after_its_request_is_answered() {
    let layer = vec![b'7'; 1_000_000];
    let (memory, root, digest) = image(&layer);
    let address = start(&memory, &root, Files { memory: memory.clone(), missing: 0 }).await;
    for (path, size) in [(format!("blobs/{digest}"), layer.len()), ("tags/list".to_owned(), 1)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /v2/demo/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.len() > size, "{path}: {} bytes", answer.len());
    }
}

#[tokio::test]
async fn a_truncated_blob_closes_the_connection() {
    let layer = vec![7; 200_000];
    let (memory, root, _) = image(&layer);
    let address = start(&memory, &root, Files { memory: memory.clone(), missing: 1 }).await;
    let client = Client::new().unwrap();
    let error = client.blob_bytes(&common::blob_of(address, &layer), None, 200_000).await.unwrap_err();
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Reset), "{error}");
}

/// Blobs that end after some bytes.
struct Short(usize);

impl Blobs for Short {
    async fn open(&self, _: &Digest, _: Range<u64>) -> io::Result<Source> {
        Ok(Source::Reader(Box::pin(io::Cursor::new(vec![7; self.0]))))
    }
}

#[tokio::test]
async fn an_error_of_the_first_read_is_500_and_a_later_one_is_reported_too() {
    let layer = vec![7; 200_000];
    let (memory, root, digest) = image(&layer);
    for (good, status) in [(0, 500), (100_000, 200)] {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let shared = reports.clone();
        let options =
            Options::default().on_blob_error(move |error| shared.lock().unwrap().push(error.to_string()));
        let mut server = Server::new();
        server.add(&"demo".parse().unwrap(), None, &root, &memory).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(options.serve(listener, Arc::new(server), Short(good), std::future::pending::<()>()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status == 200 {
            common::closed(&mut stream).await;
        }
        let expected = format!("could not serve {digest}: unexpected end of file");
        assert_eq!(*reports.lock().unwrap(), [expected], "{good}");
    }
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so() {
    let (memory, root, _) = image(b"layer");
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), None, &root, &memory).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::default().connections(4);
    tokio::spawn(options.serve(listener, Arc::new(server), memory, std::future::pending::<()>()));
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    let mut answer = String::new();
    TcpStream::connect(address).await.unwrap().read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(head.ends_with(&format!("\r\ncontent-length: {}", body.len())), "{head}");
    assert!(body.contains(r#"{"code":"TOOMANYREQUESTS","message":"#), "{body}");

    // A place that is given back can be taken again; when the server notices is up to it.
    drop(streams.pop());
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sent = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = read_head(&mut stream).await.unwrap_or_default();
        if sent.is_ok() && head.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn the_timeout_can_be_the_longest_duration() {
    let layer = vec![7; 20_000_000];
    let (memory, root, digest) = image(&layer);
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), None, &root, &memory).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::default().timeout(Duration::MAX);
    tokio::spawn(options.serve(listener, Arc::new(server), memory, std::future::pending::<()>()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // The server has to wait for the client.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&layer), "{} bytes", answer.len());
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_ends_the_server() {
    let (memory, root, _) = image(b"layer");
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), Some(&"latest".parse().unwrap()), &root, &memory).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, Arc::new(server), memory, stopped));

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));

    let begun = Instant::now();
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    common::closed(&mut stream).await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is still open");
}
