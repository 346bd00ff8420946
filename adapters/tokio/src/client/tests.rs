//! Uploads over loopback, whose payload is read from a source. A session's script sends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{Algorithm, Config, Digest, Error, Event, FaultKind, Hasher, ScriptStep, Source};
use oci_proto_common::Settings;
use oci_proto_credentials::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::call::Call;
use crate::client::Client;
use crate::mailbox::Message;
use crate::transfer::Progress;

const CHUNK: usize = 64 << 10;
const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// Settings without retries and without credentials.
fn once() -> Settings {
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    Settings::default().config(config).credentials(Store::none())
}

/// Uploads some content. `open` returns its chunks for each exchange.
async fn put<I: Iterator<Item = Bytes>>(
    client: &Client,
    to: SocketAddr,
    digest: &Digest,
    size: u64,
    mut open: impl FnMut(&Source) -> I,
) -> Result<(), Error> {
    let repository = format!("{to}/demo").parse().unwrap();
    let steps = vec![ScriptStep::Put { digest: digest.clone(), size }];
    let mut call =
        Call::start(client.shared.clone(), |session| session.script(&repository, &repository, steps));
    let mut carried = None;
    let sending = std::future::poll_fn(|cx| {
        loop {
            match call.poll_message(cx) {
                Poll::Ready(Message::Event(Event::Done)) => return Poll::Ready(Ok(())),
                Poll::Ready(Message::Event(Event::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Message::Exchange(transfer)) => {
                    let source = open(transfer.source().expect("a script's exchange has a source"));
                    let guard = call.shared().guard(transfer.id());
                    carried = Some((transfer, source, guard));
                }
                Poll::Ready(message) => call.ignore(message),
                Poll::Pending => {
                    let Some((transfer, source, guard)) = &mut carried else { return Poll::Pending };
                    match std::task::ready!(transfer.poll(cx)) {
                        Progress::NeedsData => match source.next() {
                            Some(chunk) => transfer.supply(&chunk),
                            None => transfer.end(),
                        },
                        Progress::Chunk(_) => panic!("a PUT has no sink"),
                        Progress::Ended => {
                            guard.settle(transfer.settle());
                            carried = None;
                        }
                    }
                }
            }
        }
    });
    timeout(Duration::from_secs(30), sending).await.expect("the upload hangs")
}

/// Returns the digest of `size` zeros, a counter of the bytes that were read, and a source of them.
fn zeros(size: u64) -> (Digest, Arc<AtomicU64>, impl FnMut(&Source) -> Box<dyn Iterator<Item = Bytes>>) {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let (chunk, count) = (Bytes::from(vec![0; CHUNK]), size / CHUNK as u64);
    for _ in 0..count {
        hasher.update(&chunk);
    }
    let read = Arc::new(AtomicU64::new(0));
    let counter = read.clone();
    let open = move |_: &Source| {
        let (counter, chunk) = (counter.clone(), chunk.clone());
        let chunks = (0..count).map(move |_| {
            counter.fetch_add(chunk.len() as u64, Relaxed);
            chunk.clone()
        });
        Box::new(chunks) as Box<dyn Iterator<Item = Bytes>>
    };
    (hasher.finish(), read, open)
}

/// Starts a server for one connection, which calls `treat` after the head of a request.
async fn server<R>(
    treat: impl FnOnce(TcpStream, String) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R::Output>)
where
    R: Future<Output: Send + 'static> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        treat(stream, String::from_utf8(head).unwrap().to_ascii_lowercase()).await
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
    let chunks = |source: &Source| {
        assert_eq!((source.size, source.range.clone()), (10, 0..10));
        CONTENT.chunks(3).map(Bytes::from_static)
    };
    put(&client, address, &Digest::of(Algorithm::Sha256, CONTENT), 10, chunks).await.unwrap();
    let (head, body) = served.await.unwrap();
    assert!(head.starts_with("put /v2/demo/blobs/uploads/?digest=sha256"), "{head}");
    assert_eq!(head.matches("content-length: 10\r\n").count(), 1, "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, CONTENT);
}

#[tokio::test]
async fn an_upload_with_wrong_content_is_never_completed() {
    let digest = Digest::of(Algorithm::Sha256, b"0123456789");
    for chunks in [
        vec!["01234", "5678x"],
        vec!["0123456789a"],
        // Too long by a separate chunk.
        vec!["01234", "56789", "a"],
        vec!["01234"],
        vec![],
    ] {
        let (address, served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
        let client = Client::with_settings(once()).unwrap();
        let source = |_: &Source| chunks.clone().into_iter().map(Bytes::from);
        let error = put(&client, address, &digest, 10, source).await.unwrap_err();
        assert_eq!(kind(&error), Some(FaultKind::Storage), "{chunks:?}: {error}");
        let body = served.await.unwrap();
        assert!(body.len() < 10, "{chunks:?}: the server got {body:?}");
        assert_eq!(client.requests(), 1, "{chunks:?}: the request was retried");
    }
}

#[tokio::test]
async fn an_early_response_ends_the_upload_and_is_read() {
    for (status, says) in [("413 Content Too Large", "SIZE_INVALID"), ("401 Unauthorized", "UNAUTHORIZED")] {
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
        let (digest, read, open) = zeros(256 << 20);
        let client = Client::with_settings(once()).unwrap();
        let error = put(&client, address, &digest, 256 << 20, open).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let sent = served.await.unwrap();
        assert!(sent < 16 << 20, "{sent} bytes were sent");
        let read = read.load(Relaxed);
        assert!(read < sent + (2 << 20), "{read} bytes were read, and {sent} sent");
    }
}

#[tokio::test]
async fn an_early_response_is_read_although_the_server_closes_the_connection() {
    for size in [1 << 20, 64 << 20] {
        let (address, served) = server(|mut stream, _| async move {
            let answer =
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let (digest, _, open) = zeros(size);
        let error =
            put(&Client::with_settings(once()).unwrap(), address, &digest, size, open).await.unwrap_err();
        assert!(error.to_string().contains("413"), "{size}: {error}");
        served.await.unwrap();
    }
}

#[tokio::test]
async fn a_large_payload_is_streamed_in_little_memory() {
    const SIZE: u64 = 64 << 20;
    let (digest, read, open) = zeros(SIZE);
    let counter = read.clone();
    let (address, served) = server(move |mut stream, _| async move {
        let (mut received, mut most) = (0, 0);
        let mut buffer = vec![0; 256 << 10];
        while received < SIZE {
            received += stream.read(&mut buffer).await.unwrap() as u64;
            most = most.max(counter.load(Relaxed).saturating_sub(received));
        }
        stream.write_all(CREATED).await.unwrap();
        most
    })
    .await;
    put(&Client::with_settings(once()).unwrap(), address, &digest, SIZE, open).await.unwrap();
    assert_eq!(read.load(Relaxed), SIZE);
    let most = served.await.unwrap();
    // Most of these bytes are in the buffers of the sockets.
    assert!(most < 12 << 20, "{most} bytes were buffered");
}

#[tokio::test]
async fn only_an_upload_without_progress_times_out() {
    const SIZE: u64 = 48 << 20;
    let (digest, _, mut open) = zeros(SIZE);
    let client = Client::with_settings(once().idle_timeout(Duration::from_millis(1500))).unwrap();
    let (address, served) = server(|mut stream, _| async move {
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..SIZE >> 20 {
            sleep(Duration::from_millis(50)).await;
            stream.read_exact(&mut buffer).await.unwrap();
        }
        stream.write_all(CREATED).await.unwrap();
    })
    .await;
    put(&client, address, &digest, SIZE, &mut open).await.unwrap();
    served.await.unwrap();

    let (address, _served) = server(|stream, _| async move {
        sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let error = put(&client, address, &digest, SIZE, &mut open).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Timeout), "{error}");
}

#[tokio::test]
async fn a_payload_without_a_source_is_an_error() {
    let (address, _served) = server(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let client = Client::with_settings(once()).unwrap();
    let repository = format!("{address}/demo").parse().unwrap();
    let steps = vec![ScriptStep::Put { digest: Digest::of(Algorithm::Sha256, b"x"), size: 1 }];
    let mut call =
        Call::start(client.shared.clone(), |session| session.script(&repository, &repository, steps));
    let error = call.event().await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Unsupported), "{error}");
    assert_eq!(client.requests(), 0);
}
