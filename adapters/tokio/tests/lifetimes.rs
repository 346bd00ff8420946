//! The lifetimes of calls, walks, clients and runtimes.

mod common;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{Registry, closed, runtime, server, tag};
use futures_util::StreamExt;
use oci_proto::{Config, FaultKind, WalkOptions};
use oci_proto_tokio::{Client, Settings};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// A server that never responds. It reports when a request arrives, and when its connection is closed.
async fn silent() -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let (tell, told) = mpsc::unbounded_channel();
    let address = server(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            tell.send("asked").unwrap();
            closed(&mut stream).await;
            let _ = tell.send("closed");
        }
    })
    .await;
    (address, told)
}

async fn hears(told: &mut mpsc::UnboundedReceiver<&'static str>, word: &str) {
    let heard = timeout(Duration::from_secs(5), told.recv()).await;
    assert_eq!(heard.expect("nothing happens"), Some(word));
}

/// Polls a future, as `select!` would, until the server has its request.
async fn ask(future: impl Future, told: &mut mpsc::UnboundedReceiver<&'static str>) {
    tokio::select! {
        _ = future => panic!("the call ended without a response"),
        () = hears(told, "asked") => {}
    }
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let (address, mut told) = silent().await;
    let client = Client::new().unwrap();
    ask(client.resolve(&tag(address), None), &mut told).await;
    hears(&mut told, "closed").await;
    ask(client.blob_bytes(&common::blob_of(address, b"x"), None, 9), &mut told).await;
    hears(&mut told, "closed").await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(client.metrics().requests, 2, "a dropped call is not retried");
}

#[tokio::test]
async fn dropping_a_walk_or_a_reader_closes_its_connection() {
    let (address, mut told) = silent().await;
    let client = Client::new().unwrap();
    let mut walk = client.walk(&tag(address), WalkOptions::default());
    ask(walk.next(), &mut told).await;
    drop(walk);
    hears(&mut told, "closed").await;
    let mut reader = client.blob(&common::blob_of(address, b"x"), None);
    ask(reader.read_u8(), &mut told).await;
    drop(reader);
    hears(&mut told, "closed").await;
}

#[tokio::test]
async fn a_walk_outlives_its_client() {
    let registry = Registry::sample().await;
    let walk = Client::new().unwrap().walk(&registry.latest(), WalkOptions::default());
    assert_eq!(walk.map(Result::unwrap).count().await, 11);
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_poll() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    drop(client.walk(&registry.latest(), WalkOptions::default()));
    drop(client.blob(&registry.of(&registry.root.digest), None));
    drop(client.resolve(&registry.latest(), None));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(client.metrics().requests, 0);
}

fn one_at_a_time() -> Client {
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 1;
    config.limits.max_attempts = 1;
    Client::with_settings(Settings::default().config(config)).unwrap()
}

async fn poll_once(future: impl Future + Unpin) {
    let mut future = future;
    poll_fn(|cx| {
        assert!(pin!(&mut future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_not_polled_does_not_block_another() {
    let registry = Registry::sample().await;
    let client = one_at_a_time();
    let reference = registry.latest();
    let mut first = pin!(client.manifest(&reference, None));
    poll_once(&mut first).await;
    let second = client.manifest(&reference, None);
    timeout(Duration::from_secs(5), second).await.expect("the second call hangs").unwrap();
    first.await.unwrap();
}

#[test]
fn a_client_survives_the_shutdown_of_a_runtime_with_a_request_in_flight() {
    let client = one_at_a_time();
    let servers = runtime();
    let (address, mut told) = servers.block_on(silent());
    let reference = tag(address);

    // A task of the first runtime runs the call's request. The call itself outlives that runtime.
    let first = runtime();
    let mut call = Box::pin(client.resolve(&reference, None));
    first.block_on(ask(call.as_mut(), &mut told));
    first.shutdown_timeout(Duration::from_secs(5));
    servers.block_on(hears(&mut told, "closed"));

    // Only one request may be in flight, so the second call waits for the end of the first.
    let second = runtime();
    second.block_on(async {
        ask(client.manifest(&reference, None), &mut told).await;
        let ended = timeout(Duration::from_secs(10), call).await.expect("the call hangs");
        assert_eq!(ended.unwrap_err().fault().map(oci_proto::Fault::kind), Some(FaultKind::Reset));
    });
}

/// The call set its timer on the first runtime, for its deadline, and needs it for a retry on the second.
#[test]
fn a_call_with_a_deadline_outlives_its_runtime() {
    let client = Client::with_settings(Settings::default().timeout(Duration::from_secs(60))).unwrap();
    let servers = runtime();
    let (address, mut told) = servers.block_on(silent());
    let reference = tag(address);
    let first = runtime();
    let mut call = Box::pin(client.resolve(&reference, None));
    first.block_on(ask(call.as_mut(), &mut told));
    first.shutdown_timeout(Duration::from_secs(5));
    servers.block_on(hears(&mut told, "closed"));
    runtime().block_on(ask(call.as_mut(), &mut told));
}

/// A call that is cancelled, under the lock of its client, when this is dropped.
struct Owner(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Owner {
    /// Starts a call.
    fn new(client: &Client, address: SocketAddr) -> Self {
        let client = client.clone();
        let mut call: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { _ = client.resolve(&tag(address), None).await });
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Self(Mutex::new(call))
    }
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn wakers_are_dropped_outside_the_lock_of_a_client() {
    let runtime = runtime();
    let (address, told) = runtime.block_on(silent());
    let (tell, ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _entered = runtime.enter();
        let (client, reference, _told) = (Client::new().unwrap(), tag(address), told);
        let mut call = pin!(client.resolve(&reference, None));
        for _ in 0..2 {
            let waker = Arc::new(Owner::new(&client, address)).into();
            assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        tell.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(10)).expect("a waker is dropped under the lock");
}

#[test]
fn runtimes_are_dropped_outside_the_lock_of_a_client() {
    let servers = runtime();
    let (address, told) = servers.block_on(silent());
    let (tell, ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _told = told;
        let client = Client::new().unwrap();
        let owned = servers.block_on(async { Owner::new(&client, address) });
        let first = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || drop(owned.0.lock()))
            .build()
            .unwrap();
        drop(first.block_on(async { Owner::new(&client, address) }));
        drop(first);
        drop(servers.block_on(async { Owner::new(&client, address) }));
        tell.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(10)).expect("a runtime is dropped under the lock");
}

#[test]
fn calls_streams_and_readers_move_between_threads() {
    fn sent<X: Send>(_: X) {}
    fn shared<X: Send + Sync + 'static>(_: X) {}
    fn check(client: &Client, reference: &oci_proto::Reference) {
        sent(client.resolve(reference, None));
        sent(client.manifest(reference, None));
        sent(client.blob_to(reference, None, tokio::io::sink()));
        sent(client.blob_bytes(reference, None, 1));
        sent(client.blob(reference, None));
        sent(client.walk(reference, WalkOptions::default()));
        shared(client.clone());
    }
    check(
        &Client::new().unwrap(),
        &"localhost/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            .parse()
            .unwrap(),
    );
}
