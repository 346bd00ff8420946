//! Uploads over loopback, whose payload is read from a source.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{Algorithm, Config, Descriptor, Digest, Error, FaultKind, Hasher, MediaType};
use oci_proto_common::{BlobSource, Settings, UploadOptions};
use oci_proto_credentials::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::call::Call;
use crate::client::Client;

const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// Settings without retries and without credentials.
fn once() -> Settings {
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    Settings::default().config(config).credentials(Store::none())
}

/// Uploads some content.
async fn put(
    client: &Client,
    to: SocketAddr,
    digest: &Digest,
    size: u64,
    source: impl BlobSource + 'static,
) -> Result<(), Error> {
    let repository = format!("{to}/demo").parse().unwrap();
    let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), size);
    let sending = client.upload(&repository, &descriptor, source, UploadOptions::default());
    timeout(Duration::from_secs(30), sending).await.expect("the upload hangs").map(drop)
}

/// A source of zeros, which counts the bytes that are read.
#[derive(Clone)]
struct Zeros {
    size: u64,
    read: Arc<AtomicU64>,
}

impl Zeros {
    /// Returns the digest of `size` zeros, and their source.
    fn new(size: u64) -> (Digest, Self) {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for _ in 0..size >> 20 {
            hasher.update(&vec![0; 1 << 20]);
        }
        (hasher.finish(), Self { size, read: Arc::default() })
    }

    fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }
}

impl BlobSource for Zeros {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        struct Counted(Zeros, io::Take<io::Repeat>);
        impl Read for Counted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let read = self.1.read(buffer)?;
                self.0.read.fetch_add(read as u64, Relaxed);
                Ok(read)
            }
        }
        let left = range.end.min(self.size).saturating_sub(range.start);
        Ok(Box::new(Counted(self.clone(), io::repeat(0).take(left))))
    }
}

/// Starts a server that calls `treat` after the head of the request with the payload.
async fn server<R>(
    treat: impl FnOnce(TcpStream, String) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R::Output>)
where
    R: Future<Output: Send + 'static> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let start = match head.split(' ').next() {
                Some("head") => "404 Not Found\r\n",
                Some("post") => "202 Accepted\r\nLocation: /v2/demo/blobs/uploads/1?state=x\r\n",
                _ => return treat(stream, head).await,
            };
            let answer = format!("HTTP/1.1 {start}Content-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, task)
}

/// Reads until the connection is closed or reset.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async { while matches!(stream.read_buf(&mut body).await, Ok(1..)) {} };
    timeout(Duration::from_secs(10), reading).await.expect("the connection stays open");
    body
}

fn kind(error: &Error) -> Option<FaultKind> {
    error.fault().map(oci_proto::Fault::kind)
}

#[tokio::test]
async fn content_is_streamed_with_its_length() {
    const CONTENT: &[u8] = b"ten bytes!";
    let (address, served) = server(|mut stream, head| async move {
        let mut body = [0; 10];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(CREATED).await.unwrap();
        (head, body)
    })
    .await;
    let client = Client::with_settings(once()).unwrap();
    put(&client, address, &Digest::of(Algorithm::Sha256, CONTENT), 10, CONTENT).await.unwrap();
    let (head, body) = served.await.unwrap();
    assert!(head.starts_with("put /v2/demo/blobs/uploads/1?state=x&digest=sha256:"), "{head}");
    assert_eq!(head.matches("content-length: 10\r\n").count(), 1, "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, CONTENT);
}

#[tokio::test]
async fn an_upload_with_wrong_content_is_never_completed() {
    let digest = Digest::of(Algorithm::Sha256, b"0123456789");
    for content in ["012345678x", "x123456789", "01234", "", "0123456789a", "0123456789abc"] {
        let (address, served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
        let client = Client::with_settings(once()).unwrap();
        let error = put(&client, address, &digest, 10, content.as_bytes()).await.unwrap_err();
        assert_eq!(kind(&error), Some(FaultKind::Storage), "{content}: {error}");
        let body = served.await.unwrap();
        assert!(body.len() < 10, "{content}: the server got {body:?}");
    }
}

#[tokio::test]
async fn an_early_response_ends_the_upload_and_is_read() {
    for (status, says) in [("403 Forbidden", "DENIED"), ("401 Unauthorized", "UNAUTHORIZED")] {
        let (address, served) = server(move |mut stream, _| async move {
            let body = format!(r#"{{"errors":[{{"code":"{says}","message":"no"}}]}}"#);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // The body of the response arrives later.
            sleep(Duration::from_millis(100)).await;
            stream.write_all(body.as_bytes()).await.unwrap();
            // The body of the request was not read so far.
            until_closed(&mut stream).await.len() as u64
        })
        .await;
        let (digest, zeros) = Zeros::new(256 << 20);
        let client = Client::with_settings(once()).unwrap();
        let error = put(&client, address, &digest, 256 << 20, zeros.clone()).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let sent = served.await.unwrap();
        assert!(sent < 16 << 20, "{sent} bytes were sent");
        let read = zeros.read();
        assert!(read < sent + (2 << 20), "{read} bytes were read, and {sent} sent");
    }
}

#[tokio::test]
async fn an_early_response_is_read_although_the_server_closes_the_connection() {
    for size in [1 << 20, 64 << 20] {
        let (address, served) = server(|mut stream, _| async move {
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let (digest, zeros) = Zeros::new(size);
        let client = Client::with_settings(once()).unwrap();
        let error = put(&client, address, &digest, size, zeros).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{size}: {error}");
        served.await.unwrap();
    }
}

#[tokio::test]
async fn a_large_payload_is_streamed_in_little_memory() {
    const SIZE: u64 = 64 << 20;
    let (digest, zeros) = Zeros::new(SIZE);
    let counter = zeros.clone();
    let (address, served) = server(move |mut stream, _| async move {
        let (mut received, mut most) = (0, 0);
        let mut buffer = vec![0; 256 << 10];
        while received < SIZE {
            received += stream.read(&mut buffer).await.unwrap() as u64;
            most = most.max(counter.read().saturating_sub(received));
        }
        stream.write_all(CREATED).await.unwrap();
        most
    })
    .await;
    put(&Client::with_settings(once()).unwrap(), address, &digest, SIZE, zeros.clone()).await.unwrap();
    assert_eq!(zeros.read(), SIZE);
    let most = served.await.unwrap();
    // Most of these bytes are in the buffers of the sockets.
    assert!(most < 12 << 20, "{most} bytes were buffered");
}

/// Reads a payload of this size in longer than the idle timeout of the test.
async fn slowly(mut stream: TcpStream, size: u64) {
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        sleep(Duration::from_millis(50)).await;
        stream.read_exact(&mut buffer).await.unwrap();
    }
    stream.write_all(CREATED).await.unwrap();
}

#[tokio::test]
async fn only_an_upload_without_progress_times_out() {
    const SIZE: u64 = 48 << 20;
    let (digest, zeros) = Zeros::new(SIZE);
    let client = Client::with_settings(once().idle_timeout(Duration::from_millis(1500))).unwrap();
    let (address, served) = server(|stream, _| slowly(stream, SIZE)).await;
    put(&client, address, &digest, SIZE, zeros.clone()).await.unwrap();
    served.await.unwrap();

    let (address, _served) = server(|stream, _| async move {
        sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let error = put(&client, address, &digest, SIZE, zeros).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Timeout), "{error}");
}

/// The chunks of a stream are in memory.
#[tokio::test]
async fn a_slow_upload_of_a_large_chunk_does_not_time_out() {
    const SIZE: u64 = 48 << 20;
    let mut config = Config::default();
    (config.limits.chunk_bytes, config.limits.max_attempts) = (SIZE, 1);
    let settings = once().config(config).idle_timeout(Duration::from_millis(1500));
    let client = Client::with_settings(settings).unwrap();
    let (address, served) = server(|stream, _| slowly(stream, SIZE)).await;
    let repository = format!("{address}/demo").parse().unwrap();
    let options = oci_proto_common::StreamOptions::default();
    let found = client.upload_stream(&repository, tokio::io::repeat(0).take(SIZE), options).await.unwrap();
    assert_eq!((found.digest, found.size), (Zeros::new(SIZE).0, SIZE));
    served.await.unwrap();
}

#[tokio::test]
async fn a_payload_without_a_source_is_an_error() {
    let (address, _served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let client = Client::with_settings(once()).unwrap();
    let repository = format!("{address}/demo").parse().unwrap();
    let descriptor = Descriptor::new(MediaType::OCTET_STREAM, Digest::of(Algorithm::Sha256, b"x"), 1);
    let mut call = Call::start(client.shared.clone(), "upload", |session| {
        session.upload(&repository, &descriptor, None)
    });
    let error = call.event().await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Unsupported), "{error}");
    // Those before the payload.
    assert_eq!(client.metrics().requests, 2);
}

/// A source that panics.
struct Panicking;

impl BlobSource for Panicking {
    fn open(&self, _: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        panic!("the source panics")
    }
}

#[tokio::test]
async fn a_panic_of_a_source_reaches_the_caller() {
    let (address, _served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let client = Client::with_settings(once()).unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let running = client.clone();
    let ended = tokio::spawn(async move { put(&running, address, &digest, 1, Panicking).await }).await;
    let panic = ended.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the source panics"));
    // The client is usable.
    let error = client.resolve(&"127.0.0.1:1/demo".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Connect), "{error}");
}

/// The server takes the first chunk and does not answer.
#[tokio::test]
async fn a_writer_holds_at_most_two_chunks() {
    let (address, _served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let mut config = Config::default();
    config.limits.chunk_bytes = 1 << 20;
    let client = Client::with_settings(once().config(config)).unwrap();
    let repository = format!("{address}/demo").parse().unwrap();
    let mut writer = client.blob_writer(&repository, oci_proto_common::StreamOptions::default());
    let (part, mut written) = (vec![0; 30_000], 0);
    while let Ok(write) = timeout(Duration::from_secs(1), writer.write(&part)).await {
        written += write.unwrap();
    }
    assert_eq!(
        written,
        (2 << 20) + 1,
        "one chunk in flight, the next one, and the byte that shows it is full"
    );
}

/// A source that takes longer than the idle timeout for each part.
struct Slow(Bytes);

impl BlobSource for Slow {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        struct Slowly(Box<dyn Read + Send>);
        impl Read for Slowly {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                std::thread::sleep(Duration::from_millis(400));
                let part = buffer.len().min(100_000);
                self.0.read(&mut buffer[..part])
            }
        }
        Ok(Box::new(Slowly(self.0.open(range)?)))
    }
}

#[tokio::test]
async fn a_slow_source_does_not_time_out() {
    let content = Bytes::from(vec![7; 300_000]);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let (address, served) = server(|mut stream, _| async move {
        let mut body = vec![0; 300_000];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(CREATED).await.unwrap();
    })
    .await;
    let client = Client::with_settings(once().idle_timeout(Duration::from_millis(200))).unwrap();
    put(&client, address, &digest, 300_000, Slow(content)).await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn a_writer_that_is_shut_down_has_a_descriptor_and_takes_no_more() {
    let (address, _served) = server(|mut stream, _| async move {
        stream.read_exact(&mut [0; 10]).await.unwrap();
        stream.write_all(CREATED).await.unwrap();
    })
    .await;
    let client = Client::with_settings(once()).unwrap();
    let repository = format!("{address}/demo").parse().unwrap();
    let mut writer = client.blob_writer(&repository, oci_proto_common::StreamOptions::default());
    tokio::io::copy(&mut &b"0123456789"[..], &mut writer).await.unwrap();
    assert_eq!(writer.descriptor(), None);
    for _ in 0..2 {
        writer.shutdown().await.unwrap();
        let descriptor = writer.descriptor().expect("it is stored");
        assert_eq!(descriptor.digest, Digest::of(Algorithm::Sha256, b"0123456789"));
    }
    assert_eq!(writer.write(b"x").await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(writer.finish().await.unwrap().size, 10);
}

#[tokio::test]
async fn a_writer_repeats_its_error() {
    let (address, _served) = server(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        until_closed(&mut stream).await
    })
    .await;
    let mut config = Config::default();
    (config.limits.chunk_bytes, config.limits.max_attempts) = (1000, 1);
    let client = Client::with_settings(once().config(config)).unwrap();
    let repository = format!("{address}/demo").parse().unwrap();
    let mut writer = client.blob_writer(&repository, oci_proto_common::StreamOptions::default());
    for _ in 0..2 {
        let error = writer.write_all(&[0; 10_000]).await.unwrap_err();
        let error = error.downcast::<Error>().expect("an error of the session");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{error}");
    }
    assert!(writer.finish().await.is_err());
}
