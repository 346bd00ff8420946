//! Pulls into layouts on disk.

#![cfg(feature = "pull")]
mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::request::Parts;
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Config, Descriptor, Digest, PlainHttp, PullOptions};
use oci_proto_ureq::layout::{LayoutDestination, LayoutWriter, Progress, PullError};
use oci_proto_ureq::{Client, Settings};
use registry::{Play, Registry};

fn layers(count: u8, size: usize) -> (Memory, Descriptor, Vec<Digest>) {
    let mut memory = Memory::new();
    let layers: Vec<Vec<u8>> = (0..count).map(|number| vec![number; size]).collect();
    let digests = layers.iter().map(|layer| Digest::of(Algorithm::Sha256, layer)).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let image = memory.add_image(Flavour::OCI, None, &layers);
    (memory, image, digests)
}

fn destination(folder: &Path) -> LayoutDestination {
    LayoutDestination::new(LayoutWriter::open(folder).unwrap())
}

/// The names and contents of all files under a directory.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn is_blob(head: &Parts, digest: &Digest) -> bool {
    head.uri.path().ends_with(&format!("/blobs/{digest}"))
}

/// The head of a redirect whose body has this length.
fn redirect(head: &Parts, length: usize) -> Vec<u8> {
    let location = format!("{}?signed=1", head.uri.path());
    format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

#[test]
fn redirects_with_bodies_keep_their_connections_alive() {
    let (memory, image, _) = layers(60, 1000);
    let registry = Registry::start(memory, &[("demo:latest", &image)], |head| {
        let path = head.uri.path();
        if path.contains("/blobs/") && head.uri.query().is_none() {
            // The body of the redirect arrives in a separate segment.
            Play::Redirect(format!("{path}?signed=1"), 300)
        } else {
            Play::Serve
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new().unwrap();
    client.pull(&registry.named("demo:latest"), destination(folder.path()), PullOptions::default()).unwrap();
    let redirected = registry.requests().iter().filter(|request| request.contains("signed")).count();
    assert_eq!(redirected, 61, "60 layers and a configuration");
    assert!(registry.connections() <= 8, "{} connections", registry.connections());
}

#[test]
fn a_body_too_long_to_drain_closes_its_connection_at_once() {
    let (memory, image, digests) = layers(1, 1000);
    let layer = digests[0].clone();
    let registry = Registry::start(memory, &[("demo:latest", &image)], move |head| {
        if is_blob(head, &layer) && head.uri.query().is_none() {
            // Longer than the limit for draining, and never sent.
            Play::Raw(redirect(head, 10_000_000))
        } else {
            Play::Serve
        }
    });
    let client = Client::new().unwrap();
    let began = Instant::now();
    let layer = client.blob_bytes(&registry.at("demo", &digests[0]), None, 1000).unwrap();
    assert_eq!(layer.len(), 1000);
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    assert_eq!(registry.connections(), 2);
}

#[test]
fn a_slow_body_is_drained_for_a_limited_time() {
    let (memory, image, digests) = layers(1, 1000);
    let layer = digests[0].clone();
    let registry = Registry::start(memory, &[("demo:latest", &image)], move |head| {
        if is_blob(head, &layer) && head.uri.query().is_none() {
            Play::Trickle(redirect(head, 100), 100)
        } else {
            Play::Serve
        }
    });
    let began = Instant::now();
    Client::new().unwrap().blob_bytes(&registry.at("demo", &digests[0]), None, 1000).unwrap();
    // The whole body takes 20 s.
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

/// A SOCKS proxy that connects every request for a connection to `address`.
fn socks(address: SocketAddr) -> SocketAddr {
    fn greet(stream: &mut TcpStream) -> io::Result<()> {
        // The version, the number of methods, and one method.
        stream.read_exact(&mut [0; 3])?;
        stream.write_all(&[5, 0])?;
        // The length of the name is the last byte of the head, and a port follows the name.
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        stream.read_exact(&mut vec![0; usize::from(head[4]) + 2])?;
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = stream.unwrap();
            greet(&mut client).unwrap();
            let mut server = TcpStream::connect(address).unwrap();
            let (mut requests, mut target) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut requests, &mut target));
            thread::spawn(move || io::copy(&mut server, &mut client));
        }
    });
    proxy
}

#[test]
fn an_unwanted_body_that_never_arrives_delays_nothing() {
    let (memory, image, digests) = layers(1, 1000);
    let layer = digests[0].clone();
    let registry = Registry::start(memory, &[("demo:latest", &image)], move |head| {
        if is_blob(head, &layer) && head.uri.query().is_none() {
            Play::Raw(redirect(head, 9))
        } else {
            Play::Serve
        }
    });
    let mut config = Config::default();
    config.plain_http = PlainHttp::Always;
    let proxy = format!("socks5://{}", socks(registry.address()));
    let proxied = Settings::default().config(config).proxy(Some(&proxy)).unwrap();
    let behind = format!("registry.test/demo@{}", digests[0]).parse().unwrap();
    for (settings, blob) in [(Settings::default(), registry.at("demo", &digests[0])), (proxied, behind)] {
        let before = registry.connections();
        let began = Instant::now();
        Client::with_settings(settings).unwrap().blob_bytes(&blob, None, 1000).unwrap();
        // The idle timeout is 30 s.
        assert!(began.elapsed() < Duration::from_secs(10), "{blob} took {:?}", began.elapsed());
        assert_eq!(registry.connections() - before, 2, "{blob}");
    }
}

/// A registry that sends a third of the first layer, and the rest once `rest` is set. It answers the request
/// for the second layer later, with `second`.
fn half_a_pull(
    memory: Memory,
    image: &Descriptor,
    digests: &[Digest],
    rest: &Arc<AtomicBool>,
    second: impl Fn() -> Play + Send + Sync + 'static,
) -> Registry {
    let (slow, other, rest) = (digests[0].clone(), digests[1].clone(), rest.clone());
    let begun = AtomicBool::new(false);
    Registry::start(memory, &[("demo:latest", image)], move |head| {
        if is_blob(head, &slow) {
            begun.store(true, Ordering::SeqCst);
            return Play::RestOnce(100_000, rest.clone());
        }
        if is_blob(head, &other) {
            while !begun.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_millis(100));
            return second();
        }
        Play::Serve
    })
}

fn not_found() -> Play {
    Play::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())
}

#[test]
fn nothing_is_written_once_a_pull_has_failed() {
    let (memory, image, digests) = layers(2, 300_000);
    let rest = Arc::new(AtomicBool::new(true));
    let failing = Arc::new(AtomicBool::new(false));
    let failed = failing.clone();
    let registry = half_a_pull(memory, &image, &digests, &rest, move || {
        failed.store(true, Ordering::SeqCst);
        not_found()
    });
    let folder = tempfile::tempdir().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let (slow, received) = (digests[0].clone(), written.clone());
    let destination = destination(folder.path()).on_progress(move |progress| {
        if let Progress::Received(digest, bytes) = progress
            && *digest == slow
            && received.fetch_add(bytes, Ordering::SeqCst) == 0
        {
            // The pull fails meanwhile, and the rest of the layer arrives.
            while !failing.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_secs(1));
        }
    });
    let client = Client::new().unwrap();
    client.pull(&registry.named("demo:latest"), destination, PullOptions::default()).unwrap_err();
    let partial = folder.path().join(format!(".oci-proto-partial/sha256-{}", digests[0].encoded()));
    let written = written.load(Ordering::SeqCst);
    assert!((1..300_000).contains(&written), "{written} bytes were written");
    assert_eq!(fs::metadata(partial).unwrap().len(), written);
}

#[test]
fn a_pull_that_has_ended_does_not_write_to_the_layout() {
    let (memory, image, digests) = layers(2, 300_000);
    let rest = Arc::new(AtomicBool::new(false));
    let registry = half_a_pull(memory.clone(), &image, &digests, &rest, not_found);
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new().unwrap();
    let reference = registry.named("demo:latest");
    let began = Instant::now();
    let pulled = client.pull(&reference, destination(folder.path()), PullOptions::default());
    let Err(PullError::Registry(error)) = pulled else { panic!("{pulled:?}") };
    assert!(error.is_not_found(), "{error}");
    // The idle timeout is 30 s, and the other request never ends.
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());

    // Another writer uses the layout now, and the rest of the first pull's response is sent.
    let other = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let second = Client::new().unwrap();
    second.pull(&other.named("demo:latest"), destination(folder.path()), PullOptions::default()).unwrap();
    let before = files(folder.path());
    rest.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(300));
    assert!(files(folder.path()) == before, "something was written");
    for (number, digest) in digests.iter().enumerate() {
        let name = format!("blobs/sha256/{}", digest.encoded());
        let layer = fs::read(folder.path().join(name)).unwrap();
        assert!(layer == vec![u8::try_from(number).unwrap(); 300_000], "layer {number}");
    }
}

#[test]
fn a_panic_in_a_progress_hook_does_not_wait_for_other_requests() {
    let (memory, image, digests) = layers(2, 300_000);
    let rest = Arc::new(AtomicBool::new(false));
    let registry = half_a_pull(memory, &image, &digests, &rest, || Play::Serve);
    let folder = tempfile::tempdir().unwrap();
    let second = digests[1].clone();
    // On the thread of the call.
    let destination = destination(folder.path()).on_progress(move |progress| {
        assert!(!matches!(progress, Progress::Complete(digest) if *digest == second), "the hook panics");
    });
    let reference = registry.named("demo:latest");
    let began = Instant::now();
    let pulling =
        thread::spawn(move || Client::new().unwrap().pull(&reference, destination, PullOptions::default()));
    pulling.join().unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

#[test]
fn a_layout_that_cannot_be_written_is_reported_with_its_own_error() {
    let (memory, image, _) = layers(3, 1000);
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let folder = tempfile::tempdir().unwrap();
    let destination = destination(folder.path());
    // In place of the directory of blobs.
    let blobs = folder.path().join("blobs");
    fs::remove_dir(&blobs).unwrap();
    fs::write(&blobs, "").unwrap();
    let client = Client::new().unwrap();
    let pulled = client.pull(&registry.named("demo:latest"), destination, PullOptions::default());
    let Err(PullError::Layout(error)) = pulled else { panic!("{pulled:?}") };
    assert_eq!(error.path(), blobs);
}

#[test]
fn a_panic_in_a_progress_hook_ends_the_pull() {
    let (memory, image, _) = layers(4, 300_000);
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 2;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    for hook in [
        (|progress| assert!(!matches!(progress, Progress::Received(..)), "on a thread of the pull"))
            as fn(Progress<'_>),
        |progress| assert!(!matches!(progress, Progress::Wanted(_)), "on the thread of the call"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let destination = destination(folder.path()).on_progress(hook);
        let pull = client.clone();
        let reference = registry.named("demo:latest");
        let pulling = thread::spawn(move || pull.pull(&reference, destination, PullOptions::default()));
        let began = Instant::now();
        while !pulling.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(10), "the pull waits for the exchange");
            thread::sleep(Duration::from_millis(5));
        }
        pulling.join().unwrap_err();
        // The client and its connections still work.
        client.resolve(&registry.named("demo:latest"), None).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    client.pull(&registry.named("demo:latest"), destination(folder.path()), PullOptions::default()).unwrap();
}
