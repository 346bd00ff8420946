//! The download of a large blob yields to other tasks of its runtime.

mod common;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use oci_proto_tokio::{Body, BoxError, Client, Settings};
use tokio::io::AsyncWrite;

/// A transport whose body is ready at once, in one chunk.
#[derive(Clone)]
struct AtOnce(Bytes);

impl tower_service::Service<Request<Body>> for AtOnce {
    type Response = Response<Whole>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Whole>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(Response::new(Whole(Some(self.0.clone())))))
    }
}

struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A writer that counts its bytes.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl AsyncWrite for Count {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.fetch_add(buf.len() as u64, Relaxed);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts wakes.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn a_poll_processes_a_bounded_part_of_a_blob_and_wakes_its_task() {
    const SIZE: u64 = 8 << 20;
    let content = vec![7; 8 << 20];
    let blob = common::blob_of(SocketAddr::from(([127, 0, 0, 1], 1)), &content);
    let client = Client::with_transport(Settings::default(), AtOnce(content.into()), |_| None).unwrap();
    let writer = Count::default();
    let mut call = Box::pin(client.blob_to(&blob, Some(SIZE), writer.clone()));
    let counter = Arc::new(Wakes::default());
    let waker = Waker::from(counter.clone());
    let mut written = 0;
    loop {
        let woken = counter.0.load(Relaxed);
        let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
        let now = writer.0.load(Relaxed);
        assert!(now - written <= 1 << 20, "{} bytes in one poll", now - written);
        written = now;
        match polled {
            Poll::Ready(size) => break assert_eq!(size.unwrap(), SIZE),
            Poll::Pending => assert!(counter.0.load(Relaxed) > woken, "the task was not woken"),
        }
    }
}

/// Prints the longest poll of a blob of 512 MB from a server that sends as fast as it can:
/// `cargo test --release -p oci-proto-tokio --test turns -- --ignored --nocapture`
#[test]
#[ignore = "a measurement for release builds"]
#[expect(clippy::print_stderr, reason = "a measurement prints its result")]
fn the_longest_poll_of_a_large_blob() {
    const SIZE: usize = 512 << 20;
    let content = vec![7; SIZE];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let blob = common::blob_of(listener.local_addr().unwrap(), &content);
    thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nContent-Type: a/b\r\n\r\n").unwrap();
            stream.write_all(&content).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for _ in 0..3 {
        let blob = blob.clone();
        let measured = runtime.spawn(async move {
            let client = Client::new().unwrap();
            let mut call = Box::pin(client.blob_to(&blob, Some(SIZE as u64), tokio::io::sink()));
            let (begun, mut longest, mut polls) = (Instant::now(), Duration::ZERO, 0);
            poll_fn(|cx| {
                let begun = Instant::now();
                let polled = call.as_mut().poll(cx);
                longest = longest.max(begun.elapsed());
                polls += 1;
                polled
            })
            .await
            .unwrap();
            (longest, polls, begun.elapsed())
        });
        let (longest, polls, all) = runtime.block_on(measured).unwrap();
        eprintln!("longest poll {longest:?} of {polls}, {all:?} in all");
    }
}
