//! The faults of connections, transports and writers.

mod common;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use common::{blob_of, closed, send_part, server, tag};
use http::{Request, Response};
use oci_proto::{Cause, Config, Descriptor, Error, FaultKind, LimitExceeded, MediaType, PlainHttp, Reach};
use oci_proto_tokio::{Body, Client, Settings};
use tokio::io::{AsyncWrite, AsyncWriteExt};

fn kind(error: &Error) -> Option<FaultKind> {
    error.fault().map(oci_proto::Fault::kind)
}

/// Settings without retries.
fn once() -> Settings {
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    Settings::default().config(config)
}

fn impatient() -> Client {
    Client::with_settings(once().idle_timeout(Duration::from_secs(1))).unwrap()
}

#[tokio::test]
async fn a_blob_that_stalls_times_out() {
    let address = server(|mut stream, _| async move {
        send_part(&mut stream, 10, b"abc").await;
        closed(&mut stream).await;
    })
    .await;
    let mut written = Vec::new();
    let blob = blob_of(address, b"abcdefghij");
    let error = impatient().blob_to(&blob, Some(10), &mut written).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Timeout), "{error}");
    assert!(written.starts_with(b"abc"));
}

#[tokio::test]
async fn a_slow_blob_does_not_time_out() {
    let address = server(|mut stream, _| async move {
        send_part(&mut stream, 10, b"").await;
        for byte in b'a'..=b'j' {
            tokio::time::sleep(Duration::from_millis(150)).await;
            stream.write_all(&[byte]).await.unwrap();
        }
    })
    .await;
    let bytes = impatient().blob_bytes(&blob_of(address, b"abcdefghij"), None, 10).await.unwrap();
    assert_eq!(bytes, "abcdefghij");
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_blob_is_a_reset() {
    let address = server(|mut stream, _| async move { send_part(&mut stream, 10, b"abc").await }).await;
    let client = Client::with_settings(once()).unwrap();
    let error =
        client.blob_to(&blob_of(address, b"abcdefghij"), Some(10), &mut Vec::new()).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Reset), "{error}");
}

#[tokio::test]
async fn an_operation_ends_at_its_deadline() {
    let address = server(|mut stream, _| async move { closed(&mut stream).await }).await;
    let client = Client::with_settings(Settings::default().timeout(Duration::from_millis(200))).unwrap();
    let begun = Instant::now();
    let error = client.resolve(&tag(address), None).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Limit(LimitExceeded::Deadline)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A writer that takes this many bytes and then fails or blocks.
struct Narrow {
    room: usize,
    then: fn() -> Poll<io::Result<usize>>,
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.room);
        self.room -= taken;
        if taken == 0 { (self.then)() } else { Poll::Ready(Ok(taken)) }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn ten_bytes() -> oci_proto::Reference {
    let address = server(|mut stream, _| async move {
        send_part(&mut stream, 10, b"abcdefghij").await;
        closed(&mut stream).await;
    })
    .await;
    blob_of(address, b"abcdefghij")
}

#[tokio::test]
async fn a_deadline_ends_a_call_whose_writer_blocks() {
    let client = Client::with_settings(Settings::default().timeout(Duration::from_millis(200))).unwrap();
    let writer = Narrow { room: 4, then: || Poll::Pending };
    let error = client.blob_to(&ten_bytes().await, Some(10), writer).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Limit(LimitExceeded::Deadline)), "{error}");
}

/// A transport that records its requests and fails.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

#[derive(Debug, thiserror::Error)]
#[error("cannot reach https://user:secret@cdn.example/path?signature=secret")]
struct Unreachable;

impl tower_service::Service<Request<Body>> for Asked {
    type Response = Response<Body>;
    type Error = Unreachable;
    type Future = std::future::Ready<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.lock().unwrap().push(request.uri().to_string());
        std::future::ready(Err(Unreachable))
    }
}

#[tokio::test]
async fn plain_http_is_used_for_loopback_only_by_default() {
    for (plain_http, name, scheme) in [
        (PlainHttp::Loopback, "registry.example", "https://"),
        (PlainHttp::Loopback, "127.0.0.1:5000", "http://"),
        (PlainHttp::Never, "127.0.0.1:5000", "https://"),
        (PlainHttp::Always, "registry.example", "http://"),
    ] {
        let mut config = Config::default();
        config.plain_http = plain_http;
        config.limits.max_attempts = 1;
        let transport = Asked::default();
        let client =
            Client::with_transport(Settings::default().config(config), transport.clone(), |_| None).unwrap();
        client.resolve(&format!("{name}/app:1").parse().unwrap(), None).await.unwrap_err();
        let asked = transport.0.lock().unwrap();
        assert!(!asked.is_empty() && asked.iter().all(|uri| uri.starts_with(scheme)), "{name}: {asked:?}");
    }
}

/// A transport to a registry that redirects every request to another server, which has nothing. It records hosts and
/// reaches.
#[derive(Clone, Default)]
struct Redirecting(Arc<Mutex<Vec<String>>>);

impl tower_service::Service<Request<Body>> for Redirecting {
    type Response = Response<Body>;
    type Error = Unreachable;
    type Future = std::future::Ready<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let response = match &host[..] {
            "cdn.example" => Response::builder().status(404),
            _ => Response::builder().status(307).header("location", "https://cdn.example/x"),
        };
        self.0.lock().unwrap().push(format!("{host}: {:?}", request.extensions().get::<Reach>()));
        std::future::ready(Ok(response.body(Body::default()).unwrap()))
    }
}

#[tokio::test]
async fn a_transport_knows_the_addresses_that_a_request_may_reach() {
    for (registry, elsewhere) in [("registry.example", Reach::Public), ("10.0.0.1", Reach::Anywhere)] {
        let transport = Redirecting::default();
        let client = Client::with_transport(once(), transport.clone(), |_| None).unwrap();
        client.manifest(&format!("{registry}/app:1").parse().unwrap(), None).await.unwrap_err();
        let told = transport.0.lock().unwrap();
        let expected = [format!("{registry}: Some(Anywhere)"), format!("cdn.example: Some({elsewhere:?})")];
        assert_eq!(*told, expected);
    }
}

#[tokio::test]
async fn errors_of_a_custom_transport_are_classified_and_redacted() {
    let classify =
        |error: &(dyn std::error::Error + 'static)| error.is::<Unreachable>().then_some(FaultKind::Connect);
    let client = Client::with_transport(once(), Asked::default(), classify).unwrap();
    let error = client.resolve(&"registry.example/app:1".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Connect), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(error.to_string().contains("cdn.example/path"), "{error}");
}

/// A writer whose writes and flushes fail.
struct Broken;

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::other("the disk is full")))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("the disk is full")))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_failing_writer_ends_the_call_with_fetched_and_embedded_content() {
    let client = Client::with_settings(once()).unwrap();
    let blob = ten_bytes().await;
    let mut described = Descriptor::new(MediaType::OCTET_STREAM, blob.digest().unwrap().clone(), 10);
    for data in [None, Some("abcdefghij".into())] {
        described.data = data;
        let call = client.described_blob_to(&blob, &described, Broken);
        let error =
            tokio::time::timeout(Duration::from_secs(5), call).await.expect("the call hangs").unwrap_err();
        assert_eq!(kind(&error), Some(FaultKind::Storage), "{error}");
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
