//! Transports that panic, and runtimes on which the default transport panics. Every call ends with an error.

mod common;

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{Registry, blob_of, runtime};
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::Frame;
use oci_proto::{Error, FaultKind, PullOptions, Reference, WalkOptions};
use oci_proto_layout::{LayoutDestination, LayoutWriter, PullError};
use oci_proto_tokio::{Body, BoxError, Client, Settings};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

const CONTENT: &[u8] = b"0123456789";

/// The point at which a transport panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PanicIn {
    Clone,
    Call,
    Future,
    Body,
}

#[derive(Debug)]
struct Transport(PanicIn);

impl Clone for Transport {
    fn clone(&self) -> Self {
        assert_ne!(self.0, PanicIn::Clone, "intended panic");
        Self(self.0)
    }
}

impl tower_service::Service<Request<Body>> for Transport {
    type Response = Response<Chunks>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Chunks>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let panics = self.0;
        assert_ne!(panics, PanicIn::Call, "intended panic");
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert_ne!(panics, PanicIn::Future, "intended panic");
            assert_ne!(request.method(), http::Method::HEAD, "intended panic");
            let answer =
                Response::builder().header("content-type", "application/vnd.oci.image.manifest.v1+json");
            Ok(answer.body(Chunks(vec![Bytes::from_static(&CONTENT[..4])])).unwrap())
        })
    }
}

/// A body of some chunks that then panics.
struct Chunks(Vec<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.pop().expect("intended panic")))))
    }
}

/// Returns the error of each method of the client.
async fn ends(client: &Client, tag: &Reference, blob: &Reference) -> Vec<(&'static str, Error)> {
    let home = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    let mut ends = Vec::new();
    macro_rules! ends {
        ($verb:literal, $call:expr) => {{
            // Without a timeout, since the runtime may have no timer.
            let error = $call.expect_err($verb);
            ends.push(($verb, error));
        }};
    }
    ends!("resolve", client.resolve(tag, None).await);
    ends!("manifest", client.manifest(tag, None).await);
    ends!("walk", client.walk(tag, WalkOptions::default()).next().await.expect("the error is an item"));
    ends!("check", client.check(tag, None, |_| ()).await);
    ends!("blob_to", client.blob_to(blob, Some(10), &mut written).await);
    assert!(CONTENT.starts_with(&written), "{written:?}");
    ends!("blob_bytes", client.blob_bytes(blob, None, 100).await);
    let mut reader = client.blob(blob, None);
    ends!(
        "blob",
        match reader.read_to_end(&mut Vec::new()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.get_ref().unwrap().downcast_ref::<Error>().unwrap().clone()),
        }
    );
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    ends!(
        "pull",
        match client.pull(tag, layout, PullOptions::default()).await {
            Err(PullError::Registry(error)) => Err::<(), _>(error),
            other => panic!("{other:?}"),
        }
    );
    ends
}

#[tokio::test]
async fn a_transport_that_panics_ends_every_call_with_an_error() {
    let (tag, blob) = ("localhost:1/demo:1".parse().unwrap(), blob_of(([127, 0, 0, 1], 1).into(), CONTENT));
    for panics in [PanicIn::Clone, PanicIn::Call, PanicIn::Future, PanicIn::Body] {
        let client = Client::with_transport(Settings::default(), Transport(panics), |_| None).unwrap();
        let ends = timeout(Duration::from_secs(10), ends(&client, &tag, &blob)).await.expect("a call hangs");
        for (verb, error) in ends {
            assert!(error.to_string().contains("intended panic"), "{panics:?}, {verb}: {error}");
        }
    }
}

#[test]
fn a_runtime_without_io_or_time_ends_every_call_with_an_error() {
    let servers = runtime();
    let registry = servers.block_on(Registry::sample());
    let (tag, blob) = (registry.latest(), registry.of(&registry.root.digest));
    for (has_io, has_time, deadline) in
        [(false, false, None), (true, false, None), (false, true, None), (false, false, Some(60))]
    {
        let (tell, told) = mpsc::channel();
        let (tag, blob) = (tag.clone(), blob.clone());
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            if has_io {
                runtime.enable_io();
            }
            if has_time {
                runtime.enable_time();
            }
            let mut settings = Settings::default();
            if let Some(seconds) = deadline {
                settings = settings.timeout(Duration::from_secs(seconds));
            }
            let client = Client::with_settings(settings).unwrap();
            tell.send(runtime.build().unwrap().block_on(ends(&client, &tag, &blob))).unwrap();
        });
        let ends = told.recv_timeout(Duration::from_secs(20)).expect("a call hangs, or panics");
        for (verb, error) in ends {
            let kind = error.fault().map(oci_proto::Fault::kind);
            assert_eq!(kind, Some(FaultKind::Unsupported), "{has_io} {has_time} {verb}: {error}");
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_progress_hook_propagates_from_the_pull() {
    let registry = Registry::sample().await;
    let home = tempfile::tempdir().unwrap();
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    let layout = layout.on_progress(|progress| {
        assert!(!matches!(progress, oci_proto_layout::Progress::Received(..)), "intended panic");
    });
    let client = Client::new().unwrap();
    let tag = registry.latest();
    let pull = tokio::spawn(async move { client.pull(&tag, layout, PullOptions::default()).await });
    let ended = timeout(Duration::from_secs(10), pull).await.expect("the pull hangs");
    assert!(ended.unwrap_err().is_panic());
}

/// A transport that never responds, on any runtime.
#[derive(Clone)]
struct Silent;

impl tower_service::Service<Request<Body>> for Silent {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        Box::pin(pending())
    }
}

/// The runtime of the request shuts down, and the call is polled on another one.
#[test]
fn a_request_whose_task_is_dropped_ends_its_call_with_an_error() {
    let mut config = oci_proto::Config::default();
    config.limits.max_attempts = 1;
    let client = Client::with_transport(Settings::default().config(config), Silent, |_| None).unwrap();
    let tag = "localhost:1/demo:1".parse().unwrap();
    let mut call = Box::pin(client.resolve(&tag, None));
    let first = runtime();
    first.block_on(async {
        poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    });
    drop(first);
    let ended = runtime().block_on(async { timeout(Duration::from_secs(10), call).await });
    let error = ended.expect("the call hangs").unwrap_err();
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Reset), "{error}");
}
