//! The connections of pulls, and pulls that are dropped.

mod common;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use common::{Registry, read_head, runtime};
use oci_proto::server::{Content, Flavour, Memory};
use oci_proto::{Algorithm, Config, Digest, PullOptions};
use oci_proto_layout::{Layout, LayoutDestination, LayoutWriter, Progress, PullError};
use oci_proto_tokio::{Client, Settings};
use tokio::io::{AsyncWriteExt, BufStream};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

fn layers(count: u32, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_le_bytes().repeat(size / 4)).collect()
}

/// Each blob is behind a redirect whose body arrives after its head, in a separate segment.
#[tokio::test]
async fn redirects_with_late_bodies_keep_their_connections_alive() {
    let mut memory = Memory::new();
    let layers = layers(60, 2000);
    let root = memory.add_image(Flavour::OCI, None, &layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let (counter, manifest) = (connections.clone(), root.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            counter.fetch_add(1, Relaxed);
            let (memory, manifest) = (memory.clone(), manifest.clone());
            tokio::spawn(async move {
                let mut stream = BufStream::new(stream);
                while let Some(head) = read_head(&mut stream).await {
                    let path = head.split(' ').nth(1).unwrap();
                    let digest = path.rsplit('/').next().unwrap();
                    let content = memory.bytes(&digest.parse().unwrap_or(manifest.digest.clone())).unwrap();
                    let (head, body) = if path.contains("/blobs/") {
                        let head = format!("307 Temporary Redirect\r\nLocation: /elsewhere/{digest}");
                        (head, b"it is elsewhere".as_slice())
                    } else {
                        (format!("200 OK\r\nContent-Type: {}", manifest.media_type), &*content)
                    };
                    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    sleep(Duration::from_millis(5)).await;
                    if stream.write_all(body).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
    });

    let home = tempfile::tempdir().unwrap();
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 8;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    let pulled = client.pull(&common::tag(address), layout, PullOptions::default()).await.unwrap();
    assert_eq!(pulled.digest, root.digest);
    assert!(client.metrics().requests >= 122, "{} requests", client.metrics().requests);
    let connections = connections.load(Relaxed);
    assert!(connections <= 10, "{connections} connections for 8 requests at a time");
}

/// A redirect whose body never arrives is followed.
#[tokio::test]
async fn an_unwanted_body_that_never_arrives_delays_nothing() {
    let address = common::server(|mut stream, head| async move {
        if head.contains("/blobs/") {
            let redirect =
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 9\r\n\r\n";
            stream.write_all(redirect.as_bytes()).await.unwrap();
            common::closed(&mut stream).await;
        } else {
            common::send_part(&mut stream, 3, b"abc").await;
        }
    })
    .await;
    let blob = common::blob_of(address, b"abc");
    let client = Client::new().unwrap();
    let fetched = timeout(Duration::from_secs(5), client.blob_bytes(&blob, None, 3)).await;
    assert_eq!(fetched.expect("the pull waits for the body").unwrap(), "abc");
}

/// A gate that a write must pass.
#[derive(Default)]
struct Gate(Mutex<(bool, bool)>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let _opened = self.1.wait_while(state, |(_, open)| !*open).unwrap();
    }

    fn is_reached(&self) -> bool {
        self.0.lock().unwrap().0
    }

    fn open(&self) {
        self.0.lock().unwrap().1 = true;
        self.1.notify_all();
    }
}

#[tokio::test]
async fn a_write_that_outlives_its_pull_keeps_the_layout_locked() {
    let mut memory = Memory::new();
    let layers = layers(1, 8 << 20);
    let root = memory.add_image(Flavour::OCI, None, &[&layers[0]]);
    let registry = Registry::new(memory, root.clone()).await;
    let home = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let writing = gate.clone();
    let layout =
        LayoutDestination::new(LayoutWriter::open(home.path()).unwrap()).on_progress(move |progress| {
            // A write of the layer, which arrives in many chunks.
            if matches!(progress, Progress::Received(_, 10_000..)) {
                writing.pass();
            }
        });
    let client = Client::new().unwrap();
    {
        let reference = registry.latest();
        let mut pull = std::pin::pin!(client.pull(&reference, layout, PullOptions::default()));
        while !gate.is_reached() {
            assert!(timeout(Duration::from_millis(10), &mut pull).await.is_err());
        }
    }
    sleep(Duration::from_millis(50)).await;
    LayoutWriter::open(home.path()).expect_err("an earlier write is still in progress");
    gate.open();
    let writer = timeout(Duration::from_secs(10), async {
        loop {
            match LayoutWriter::open(home.path()) {
                Ok(writer) => return writer,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let layout = LayoutDestination::new(writer.await.expect("the layout stays locked"));
    client.pull(&registry.latest(), layout, PullOptions::default()).await.unwrap();
    let digest = Digest::of(Algorithm::Sha256, &layers[0]);
    let mut blob = Layout::open(home.path()).unwrap().blob(&digest, None).unwrap();
    std::io::copy(&mut blob, &mut std::io::sink()).expect("the blob is verified as it is read");
}

/// A pull ends while one of its layers is being written: the registry lacks the other layer, or the hook
/// panics. The next writer need not wait.
#[tokio::test]
async fn a_pull_that_has_ended_has_unlocked_the_layout() {
    let mut memory = Memory::new();
    let layers = layers(2, 100_000);
    let root = memory.add_image(Flavour::OCI, None, &[&layers[0], &layers[1]]);
    let [slow, fatal] = [0, 1].map(|layer| Digest::of(Algorithm::Sha256, &layers[layer]));
    for panics in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let (opens, memory, manifest, absent) = (gate.clone(), memory.clone(), root.clone(), fatal.clone());
        let address = common::server(move |mut stream, head| {
            let (gate, memory, manifest, absent) =
                (opens.clone(), memory.clone(), manifest.clone(), absent.clone());
            async move {
                let digest: Option<Digest> = head.split([' ', '/']).find_map(|word| word.parse().ok());
                let is_fatal = digest.as_ref() == Some(&absent);
                while is_fatal && !gate.is_reached() {
                    sleep(Duration::from_millis(5)).await;
                }
                if is_fatal && !panics {
                    let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(refusal).await.unwrap();
                } else {
                    let content = memory.bytes(digest.as_ref().unwrap_or(&manifest.digest)).unwrap();
                    common::send_part(&mut stream, content.len(), &content).await;
                }
                if is_fatal {
                    // Time for the pull to end.
                    sleep(Duration::from_millis(300)).await;
                    gate.open();
                }
            }
        })
        .await;
        let (writing, slow, fatal) = (gate.clone(), slow.clone(), fatal.clone());
        let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
        let layout = layout.on_progress(move |progress| match progress {
            Progress::Received(digest, _) if *digest == slow => writing.pass(),
            Progress::Received(digest, _) => assert_ne!(*digest, fatal, "intended panic"),
            _ => {}
        });
        let client = Client::new().unwrap();
        let pull = async move { client.pull(&common::tag(address), layout, PullOptions::default()).await };
        let ended = timeout(Duration::from_secs(10), tokio::spawn(pull)).await.expect("the pull hangs");
        let again = LayoutWriter::open(home.path());
        gate.open();
        again.expect("no earlier write is in progress");
        assert_eq!(ended.is_err(), panics);
        assert!(ended.is_err() || ended.unwrap().is_err());
    }
}

/// Blobs cannot be written: when one is requested, the directory for its file is removed.
#[tokio::test]
async fn a_blob_that_cannot_be_written_is_reported_as_an_error_of_the_layout() {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[&layers(1, 1000)[0]]);
    let home = tempfile::tempdir().unwrap();
    let (directory, manifest) = (home.path().join(".oci-proto-partial"), root.clone());
    let partials = directory.clone();
    let address = common::server(move |mut stream, head| {
        let (memory, manifest, partials) = (memory.clone(), manifest.clone(), partials.clone());
        async move {
            let digest: Option<Digest> = head.split([' ', '/']).find_map(|word| word.parse().ok());
            if digest.is_some() {
                let _ = std::fs::remove_dir_all(&partials);
            }
            let content = memory.bytes(digest.as_ref().unwrap_or(&manifest.digest)).unwrap();
            common::send_part(&mut stream, content.len(), &content).await;
        }
    })
    .await;
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    let pulled = Client::new().unwrap().pull(&common::tag(address), layout, PullOptions::default()).await;
    let Err(PullError::Layout(error)) = pulled else { panic!("{pulled:?}") };
    assert!(error.path().starts_with(&directory), "{error}");
}

/// Serves an image of one layer. The first response with the layer stalls in the middle.
async fn stalling(memory: Memory, manifest: oci_proto::Descriptor) -> std::net::SocketAddr {
    let stalls = Arc::new(AtomicU64::new(0));
    common::server(move |mut stream, head| {
        let (memory, manifest, stalls) = (memory.clone(), manifest.clone(), stalls.clone());
        async move {
            let name = head.split([' ', '/']).find_map(|word| word.parse().ok());
            let content = memory.bytes(name.as_ref().unwrap_or(&manifest.digest)).unwrap();
            let part = if content.len() > 100_000 && stalls.fetch_add(1, Relaxed) == 0 {
                content.len() / 2
            } else {
                content.len()
            };
            let kind = if head.contains("/manifests/") { &*manifest.media_type.to_string() } else { "a/b" };
            let length = content.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&content[..part]).await.unwrap();
            if part < content.len() {
                common::closed(&mut stream).await;
            }
        }
    })
    .await
}

#[test]
fn a_blob_whose_exchange_is_lost_starts_over_in_its_file() {
    let mut memory = Memory::new();
    let layers = layers(1, 4 << 20);
    let root = memory.add_image(Flavour::OCI, None, &[&layers[0]]);
    let servers = runtime();
    let tag = common::tag(servers.block_on(stalling(memory, root)));
    let home = tempfile::tempdir().unwrap();
    let (came, restarted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counter, restarts) = (came.clone(), restarted.clone());
    let layout =
        LayoutDestination::new(LayoutWriter::open(home.path()).unwrap()).on_progress(move |progress| {
            match progress {
                Progress::Received(_, bytes) => _ = counter.fetch_add(bytes, Relaxed),
                Progress::Restarted(_) => _ = restarts.fetch_add(1, Relaxed),
                _ => {}
            }
        });
    let client = Client::new().unwrap();
    let mut pull = Box::pin(client.pull(&tag, layout, PullOptions::default()));
    // The shutdown of the first runtime drops the task that fetches the layer.
    let first = runtime();
    first.block_on(async {
        while came.load(Relaxed) < 1 << 20 {
            assert!(timeout(Duration::from_millis(10), &mut pull).await.is_err());
        }
    });
    drop(first);
    let pulled = runtime().block_on(async { timeout(Duration::from_secs(20), pull).await });
    pulled.expect("the pull hangs").unwrap();
    assert_eq!(restarted.load(Relaxed), 1);
    let digest = Digest::of(Algorithm::Sha256, &layers[0]);
    let mut blob = Layout::open(home.path()).unwrap().blob(&digest, None).unwrap();
    std::io::copy(&mut blob, &mut std::io::sink()).expect("the blob is verified as it is read");
}

/// A pull is polled on a runtime that has shut down, where no file can be read or written. It continues on
/// another runtime, or ends with an error.
#[test]
fn a_pull_survives_a_runtime_without_blocking_threads() {
    let servers = runtime();
    let registry = servers.block_on(Registry::sample());
    let tag = registry.latest();
    for moves in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
        let client = Client::new().unwrap();
        let mut pull = Box::pin(client.pull(&tag, layout, PullOptions::default()));
        let first = runtime();
        first.block_on(async {
            assert!(poll_fn(|cx| Poll::Ready(pull.as_mut().poll(cx))).await.is_pending());
            // The response arrives, and the pull has a question to answer.
            sleep(Duration::from_millis(500)).await;
        });
        let handle = first.handle().clone();
        drop(first);
        let mut poll_there = || handle.block_on(poll_fn(|cx| Poll::Ready(pull.as_mut().poll(cx))));
        assert!(poll_there().is_pending());
        if moves {
            let pulled = runtime().block_on(async { timeout(Duration::from_secs(10), pull).await });
            assert_eq!(pulled.expect("the pull hangs").unwrap().digest, registry.root.digest);
        } else {
            let ended = std::iter::repeat_with(poll_there).take(10).find(Poll::is_ready);
            let Some(Poll::Ready(Err(error))) = ended else { panic!("{ended:?}") };
            assert!(error.to_string().ends_with("the runtime that polls the pull has shut down"), "{error}");
        }
    }
}
