//! Panics in the user's code and in the transport: no call hangs.

mod registry;

use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread;
use std::time::Duration;

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Error, Fault, FaultKind, WalkOptions};
use oci_proto_ureq::credentials::Store;
use oci_proto_ureq::{Client, Settings};
use registry::{Play, Registry};

/// Returns the result of a call, and fails if the call hangs.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> thread::Result<T> {
    let (done, over) = mpsc::channel();
    let calling = thread::spawn(move || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(call));
        done.send(()).unwrap();
        outcome
    });
    over.recv_timeout(Duration::from_secs(10)).expect("the call hangs");
    calling.join().unwrap()
}

fn image(layer: &[u8]) -> (Memory, Descriptor, Digest) {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[layer]);
    (memory, image, Digest::of(Algorithm::Sha256, layer))
}

/// Panics after this many bytes have been written.
struct Panicking(usize);

impl Write for Panicking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "the writer panics");
        self.0 = self.0.saturating_sub(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("the writer panics as it is flushed")
    }
}

/// A registry that requires a token for everything, with a slow token server.
fn with_tokens(memory: Memory, image: &Descriptor) -> (Registry, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let tokens = asked.clone();
    let registry = Registry::start(memory, &[("demo:latest", image)], move |head| {
        if head.uri.path() == "/token" {
            tokens.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(300));
            let body = r#"{"token":"t","expires_in":300}"#;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            return Play::Raw([head.as_bytes(), body.as_bytes()].concat());
        }
        if head.headers.contains_key("authorization") {
            return Play::Serve;
        }
        let host = head.headers["host"].to_str().unwrap();
        let challenge = format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"demo\"\r\n\
             Content-Length: 0\r\n\r\n"
        );
        Play::Raw(challenge.into_bytes())
    });
    (registry, asked)
}

#[test]
fn a_panicking_writer_does_not_block_calls_that_wait_for_the_same_token() {
    for bytes in [1, usize::MAX] {
        let (memory, root, layer) = image(&vec![7; 200_000]);
        let (registry, tokens) = with_tokens(memory, &root);
        let settings = Settings::default().credentials(Store::none());
        let client = Client::with_settings(settings).unwrap();
        let (blob, tag) = (registry.at("demo", &layer), registry.named("demo:latest"));
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (client, tag) = (client.clone(), tag.clone());
                thread::spawn(move || in_time(move || client.resolve(&tag, None).unwrap().digest))
            })
            .collect();
        let writing = client.clone();
        in_time(move || writing.blob_to(&blob, None, Panicking(bytes))).unwrap_err();
        for other in others {
            assert_eq!(other.join().unwrap().unwrap(), root.digest);
        }
        assert_eq!(in_time(move || client.resolve(&tag, None).unwrap().digest).unwrap(), root.digest);
        assert_eq!(tokens.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_panicking_hook_ends_only_its_call() {
    let (memory, root, layer) = image(&vec![7; 200_000]);
    let failures = AtomicUsize::new(0);
    let registry = Registry::start(memory, &[("demo:latest", &root)], move |head| {
        let fails = head.uri.path().contains("/blobs/") && failures.fetch_add(1, Ordering::SeqCst) == 0;
        if fails { Play::CutAfter(1000) } else { Play::Serve }
    });
    let settings = Settings::default().on_retry(|_| panic!("the hook panics"));
    let client = Client::with_settings(settings).unwrap();
    let mut reader = client.blob(&registry.at("demo", &layer), None);
    let read = in_time(move || {
        let mut all = Vec::new();
        let first = panic::catch_unwind(AssertUnwindSafe(|| reader.read_to_end(&mut all)));
        (first.is_err(), reader.read(&mut [0; 10]))
    });
    let (panicked, again) = read.unwrap();
    assert!(panicked, "the panic of the hook propagates from the read");
    assert!(again.unwrap_err().to_string().contains("panicked"));

    let (tag, waiting) = (registry.named("demo:latest"), client.clone());
    assert_eq!(in_time(move || waiting.walk(&tag, WalkOptions::default()).count()).unwrap(), 1);
    let blob = registry.at("demo", &layer);
    assert_eq!(in_time(move || client.blob_bytes(&blob, None, 200_000).unwrap().len()).unwrap(), 200_000);
}

/// Panics inside ureq, for requests whose URLs contain one of these.
struct Trap(Mutex<Vec<String>>);

static TRAP: Trap = Trap(Mutex::new(Vec::new()));

impl Trap {
    fn set(url: impl Into<String>) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&TRAP).unwrap();
            // Only this level logs complete URLs.
            log::set_max_level(log::LevelFilter::Trace);
        });
        TRAP.0.lock().unwrap().push(url.into());
    }

    fn unset() {
        TRAP.0.lock().unwrap().clear();
    }
}

impl log::Log for Trap {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "ureq::run" {
            let text = record.args().to_string();
            let traps = self.0.lock().unwrap().clone();
            assert!(!traps.iter().any(|url| text.contains(url)), "the transport panics");
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_panic_in_the_transport_ends_the_calls_that_wait() {
    let mut memory = Memory::new();
    let images: Vec<_> = (0..20_u8).map(|n| memory.add_image(Flavour::OCI, None, &[&[n]])).collect();
    let root = memory.add_index(Flavour::OCI, &images);
    let registry = Registry::start(memory.clone(), &[("demo:latest", &root)], |_| Play::Serve);
    let client = Client::new().unwrap();
    let tag = registry.named("demo:latest");
    let is_trapped = |error: &Error| {
        assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Unsupported), "{error}");
    };

    // On each thread of the pool, one after another.
    for image in &images {
        Trap::set(format!("/manifests/{}", image.digest));
    }
    for _ in 0..3 {
        let (walking, tag) = (client.clone(), tag.clone());
        let nodes: Vec<_> =
            in_time(move || walking.walk(&tag, WalkOptions::default()).collect::<Vec<_>>()).unwrap();
        is_trapped(nodes.last().unwrap().as_ref().unwrap_err());
    }
    Trap::unset();
    let (walking, walked) = (client.clone(), tag.clone());
    assert_eq!(in_time(move || walking.walk(&walked, WalkOptions::default()).count()).unwrap(), 21);

    // On the thread of a call, while other calls wait for the same token.
    let (registry, tokens) = with_tokens(memory, &root);
    let settings = Settings::default().credentials(Store::none());
    let client = Client::with_settings(settings).unwrap();
    Trap::set(format!("{}/token", registry.address()));
    let tag = registry.named("demo:latest");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (client, tag) = (client.clone(), tag.clone());
            thread::spawn(move || in_time(move || client.resolve(&tag, None)))
        })
        .collect();
    for call in calls {
        is_trapped(&call.join().unwrap().unwrap().unwrap_err());
    }
    assert_eq!(tokens.load(Ordering::SeqCst), 0);
    Trap::unset();
    assert_eq!(in_time(move || client.resolve(&tag, None)).unwrap().unwrap().digest, root.digest);
}
