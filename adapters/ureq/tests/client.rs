//! The client against a registry that works.

mod registry;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Config, Descriptor, Digest, Found, MediaType, PlainHttp, WalkOptions};
use oci_proto_ureq::{BlobReader, Client, Settings, Walk};
use registry::{Play, Registry};

fn serve(_: &http::request::Parts) -> Play {
    Play::Serve
}

fn sample() -> (Registry, Descriptor) {
    let (memory, root) = Memory::sample();
    (Registry::start(memory, &[("demo:latest", &root)], serve), root)
}

fn blob(bytes: &[u8]) -> (Memory, Descriptor, Descriptor) {
    let mut memory = Memory::new();
    let digest = Digest::of(oci_proto::Algorithm::Sha256, bytes);
    let size = bytes.len() as u64;
    let image = memory.add_image(Flavour::OCI, None, &[bytes]);
    (memory, image, Descriptor::new(MediaType::OCI_EMPTY, digest, size))
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
fn types_are_send() {
    fn check<T: Send>() {}
    fn check_shared<T: Send + Sync + Clone>() {}
    check_shared::<Client>();
    check_shared::<Settings>();
    check::<Walk>();
    check::<BlobReader>();
}

#[test]
fn a_tag_resolves_with_one_head_request() {
    let (registry, root) = sample();
    let client = Client::new().unwrap();
    let found = client.resolve(&registry.named("demo:latest"), None).unwrap();
    assert_eq!((&found.digest, found.size, &found.media_type), (&root.digest, root.size, &root.media_type));
    assert_eq!(registry.requests(), ["HEAD /v2/demo/manifests/latest"]);
    assert_eq!(client.metrics().requests, 1);
}

#[test]
fn a_platform_selects_its_manifest() {
    let (registry, _) = sample();
    let client = Client::new().unwrap();
    let platform = "linux/arm64".parse().unwrap();
    let reference = registry.named("demo:latest");
    let (descriptor, manifest) = client.manifest(&reference, Some(&platform)).unwrap();
    assert_eq!(Digest::of(oci_proto::Algorithm::Sha256, manifest.bytes()), descriptor.digest);
    assert_eq!(client.resolve(&reference, Some(&platform)).unwrap().digest, descriptor.digest);
    assert_ne!(client.resolve(&reference, None).unwrap().digest, descriptor.digest);
}

#[test]
fn missing_content_is_not_found() {
    let (registry, _) = sample();
    let error = Client::new().unwrap().manifest(&registry.named("demo:absent"), None).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_walk_reports_the_tree_in_document_order() {
    let (registry, root) = sample();
    let client = Client::new().unwrap();
    let nodes: Vec<_> = client
        .walk(&registry.named("demo:latest"), WalkOptions::default())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(nodes[0].descriptor.digest, root.digest);
    // The root is an index of an index of three, a list of two, an artifact, a repeated image and a leaf.
    let depths: Vec<_> = nodes.iter().map(|node| node.depth).collect();
    assert_eq!(depths, [0, 1, 2, 2, 2, 1, 2, 2, 1, 1, 1]);
    assert!(matches!(nodes[9].found, Found::Repeated), "{:?}", nodes[9]);
    assert!(matches!(nodes[10].found, Found::Leaf), "{:?}", nodes[10]);
}

#[test]
fn a_walk_is_fused() {
    let (registry, _) = sample();
    let mut walk = Client::new().unwrap().walk(&registry.named("demo:absent"), WalkOptions::default());
    assert!(walk.next().unwrap().unwrap_err().is_not_found());
    assert!(walk.next().is_none());
    assert!(walk.next().is_none());
}

fn wide(children: u32) -> (Memory, Descriptor) {
    let mut memory = Memory::new();
    let images: Vec<_> =
        (0..children).map(|n| memory.add_image(Flavour::OCI, None, &[&n.to_be_bytes()])).collect();
    let root = memory.add_index(Flavour::OCI, &images);
    (memory, root)
}

#[test]
fn a_walk_sends_several_requests_at_once_within_the_limit() {
    let (mut memory, root) = wide(24);
    let images = ["one", "two"].map(|text| memory.add_image(Flavour::OCI, None, &[text.as_bytes()]));
    let few = memory.add_index(Flavour::OCI, &images);
    let delay = Duration::from_millis(100);
    let roots = [("demo:latest", &root), ("demo:few", &few)];
    let registry = Registry::start(memory, &roots, move |_| Play::Delay(delay));
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 6;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    // Leaves a few threads idle, fewer than the next walk needs.
    assert_eq!(client.walk(&registry.named("demo:few"), WalkOptions::default()).count(), 3);
    for _ in 0..2 {
        let began = Instant::now();
        let nodes = client.walk(&registry.named("demo:latest"), WalkOptions::default()).count();
        let took = began.elapsed();
        assert_eq!(nodes, 25);
        assert_eq!(registry.most_busy(), 6);
        // The root, and four rounds of six; one after another they would take 2.5 s.
        assert!(took < delay * 10, "took {took:?}");
    }
    assert_eq!(registry.connections(), 6, "connections are reused by the next walk");
}

#[test]
fn a_walk_yields_nodes_while_later_ones_are_slow() {
    let (memory, root) = wide(2);
    let last = Registry::start(memory.clone(), &[("demo:latest", &root)], serve);
    let nodes: Vec<_> = Client::new()
        .unwrap()
        .walk(&last.named("demo:latest"), WalkOptions::default())
        .collect::<Result<_, _>>()
        .unwrap();
    let late = nodes[2].descriptor.digest.to_string();
    let registry = Registry::start(memory, &[("demo:latest", &root)], move |head| {
        if head.uri.path().ends_with(&late) { Play::Delay(Duration::from_millis(700)) } else { Play::Serve }
    });
    let began = Instant::now();
    let mut walk = Client::new().unwrap().walk(&registry.named("demo:latest"), WalkOptions::default());
    assert!(walk.next().unwrap().is_ok());
    assert!(walk.next().unwrap().is_ok());
    assert!(began.elapsed() < Duration::from_millis(500), "the first two waited for the third");
    assert!(walk.next().unwrap().is_ok());
    assert!(walk.next().is_none());
}

#[test]
fn a_walk_that_is_not_read_pauses() {
    let (memory, root) = wide(400);
    let registry = Registry::start(memory, &[("demo:latest", &root)], serve);
    let client = Client::new().unwrap();
    let mut walk = client.walk(&registry.named("demo:latest"), WalkOptions::default());
    walk.next().unwrap().unwrap();
    let mut seen = registry.requests().len();
    // Until no request has arrived for a while.
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = registry.requests().len();
        if now == seen {
            break;
        }
        seen = now;
    }
    assert!(seen < 120, "{seen} requests, and one node taken");
    // Other calls are not blocked.
    client.resolve(&registry.named("demo:latest"), None).unwrap();
    assert_eq!(client.walk(&registry.named("demo:latest"), WalkOptions::default()).count(), 401);
    assert_eq!(registry.requests().len(), seen + 402);
    assert_eq!(walk.map(Result::unwrap).count(), 400);
    assert_eq!(registry.requests().len(), 803);
}

#[test]
fn a_dropped_walk_is_cancelled_and_the_client_still_works() {
    let (memory, root) = wide(100);
    let registry =
        Registry::start(memory, &[("demo:latest", &root)], |_| Play::Delay(Duration::from_millis(30)));
    let client = Client::new().unwrap();
    let mut walk = client.walk(&registry.named("demo:latest"), WalkOptions::default());
    walk.next().unwrap().unwrap();
    walk.next().unwrap().unwrap();
    drop(walk);
    let at_drop = registry.requests().len();
    thread::sleep(Duration::from_millis(200));
    // Requests in flight may still have arrived.
    assert!(registry.requests().len() <= at_drop + 8, "{at_drop}, then {}", registry.requests().len());
    client.resolve(&registry.named("demo:latest"), None).unwrap();
}

#[test]
fn a_dropped_reader_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let digest = Digest::of(oci_proto::Algorithm::Sha256, b"0123456789");
    let blob = format!("{}/demo@{digest}", listener.local_addr().unwrap()).parse().unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut buffer = [0; 1000];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read(&mut buffer)
    });
    let client = Client::new().unwrap();
    let mut reader = client.blob(&blob, None);
    reader.read_exact(&mut [0; 3]).unwrap();
    drop(reader);
    assert_eq!(server.join().unwrap().unwrap(), 0, "the connection is closed");
}

#[test]
fn consecutive_calls_share_a_connection() {
    let (registry, _) = sample();
    let client = Client::new().unwrap();
    for _ in 0..20 {
        client.manifest(&registry.named("demo:latest"), None).unwrap();
        // The body of an error response must be read to its end.
        client.manifest(&registry.named("demo:absent"), None).unwrap_err();
    }
    assert_eq!(registry.connections(), 1);
}

#[test]
fn a_short_unwanted_body_does_not_cost_the_connection() {
    let (memory, image, blob) = blob(b"fourteen bytes");
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    for _ in 0..3 {
        client.blob_to(&registry.at("demo", &blob.digest), Some(15), std::io::sink()).unwrap_err();
    }
    assert_eq!(registry.connections(), 1);
}

#[test]
fn calls_of_one_client_run_concurrently() {
    let (memory, root) = Memory::sample();
    let registry =
        Registry::start(memory, &[("demo:latest", &root)], |_| Play::Delay(Duration::from_millis(50)));
    let client = Client::new().unwrap();
    let reference = registry.named("demo:latest");
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..6 {
            let (client, reference, root) = (client.clone(), &reference, &root);
            scope.spawn(move || {
                for _ in 0..4 {
                    if number % 2 == 0 {
                        assert_eq!(client.resolve(reference, None).unwrap().digest, root.digest);
                    } else {
                        assert_eq!(client.walk(reference, WalkOptions::default()).count(), 11);
                    }
                }
            });
        }
    });
    assert!(registry.most_busy() > 1);
    assert!(registry.most_busy() <= 8, "{}", registry.most_busy());
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
}

#[test]
fn more_calls_than_the_limit_in_flight_all_end() {
    let (memory, root) = Memory::sample();
    let registry =
        Registry::start(memory, &[("demo:latest", &root)], |_| Play::Delay(Duration::from_millis(5)));
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 1;
    config.limits.in_flight = 1;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    let reference = registry.named("demo:latest");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(client.walk(&reference, WalkOptions::default()).count(), 11));
        }
    });
    assert_eq!(registry.most_busy(), 1);
}

#[test]
fn a_blob_is_written_to_a_writer() {
    let bytes = noise(3_000_000);
    let (memory, image, blob) = blob(&bytes);
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    for size in [None, Some(blob.size)] {
        let mut written = Vec::new();
        let count = client.blob_to(&registry.at("demo", &blob.digest), size, &mut written).unwrap();
        assert_eq!(count, blob.size);
        assert_eq!(written, bytes);
    }
    assert_eq!(registry.connections(), 1, "a connection is reused after its body was read to the end");
}

#[test]
fn a_blob_is_read_with_buffers_of_any_size() {
    let bytes = noise(300_000);
    let (memory, image, blob) = blob(&bytes);
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    for size in [1, 1000, 1 << 20] {
        let mut reader = client.blob(&registry.at("demo", &blob.digest), None);
        let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
        loop {
            assert_eq!(reader.read(&mut []).unwrap(), 0);
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
        assert_eq!(all, bytes);
    }
}

#[test]
fn a_reader_does_not_block_other_calls() {
    let (memory, image, blob) = blob(&noise(2_000_000));
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    let mut reader = client.blob(&registry.at("demo", &blob.digest), None);
    let mut buffer = vec![0; 1000];
    reader.read_exact(&mut buffer).unwrap();
    client.resolve(&registry.named("demo:latest"), None).unwrap();
    let mut second = Vec::new();
    client.blob(&registry.at("demo", &blob.digest), None).read_to_end(&mut second).unwrap();
    reader.read_to_end(&mut buffer).unwrap();
    assert_eq!(buffer, second);
}

#[test]
fn nothing_is_sent_before_the_first_read() {
    let (registry, root) = sample();
    let client = Client::new().unwrap();
    drop(client.blob(&registry.at("demo", &root.digest), None));
    drop(client.walk(&registry.named("demo:latest"), WalkOptions::default()));
    assert_eq!(client.metrics().requests, 0);
    assert_eq!(registry.connections(), 0);
}

#[test]
fn the_empty_blob_needs_no_request() {
    let (registry, _) = sample();
    let client = Client::new().unwrap();
    let empty = registry.at("demo", &Digest::of(oci_proto::Algorithm::Sha256, b""));
    assert_eq!(client.blob_to(&empty, None, std::io::sink()).unwrap(), 0);
    assert!(client.blob_bytes(&empty, Some(0), 0).unwrap().is_empty());
    assert_eq!(client.metrics().requests, 0);
}

#[test]
fn blob_bytes_rejects_a_blob_above_the_limit() {
    let (memory, image, blob) = blob(&noise(100_000));
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    let reference = registry.at("demo", &blob.digest);
    assert_eq!(client.blob_bytes(&reference, None, 100_000).unwrap(), noise(100_000));
    let before = client.metrics().requests;
    let error = client.blob_bytes(&reference, None, 99_999).unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    assert_eq!(client.metrics().requests, before + 1);
    let error = client.blob_bytes(&reference, Some(100_000), 99_999).unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    assert_eq!(
        client.metrics().requests,
        before + 1,
        "a blob that is known to be too large is not requested"
    );
}

#[test]
fn loopback_uses_plain_http_unless_it_is_disabled() {
    let (registry, _) = sample();
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    let error = client.resolve(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), oci_proto::FaultKind::Tls, "{error}");
    assert!(registry.requests().is_empty());
}

#[test]
fn every_timeout_can_be_the_longest_duration() {
    let (registry, root) = sample();
    let settings =
        Settings::default().connect_timeout(Duration::MAX).idle_timeout(Duration::MAX).timeout(Duration::MAX);
    let client = Client::with_settings(settings).unwrap();
    assert_eq!(client.resolve(&registry.named("demo:latest"), None).unwrap().digest, root.digest);
}

#[test]
fn requests_have_only_the_headers_of_the_core() {
    let (memory, root) = Memory::sample();
    let registry = Registry::start(memory, &[("demo:latest", &root)], |head| {
        let names: BTreeSet<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, BTreeSet::from(["accept", "accept-encoding", "host", "user-agent"]));
        assert_eq!(head.headers["accept-encoding"], "identity");
        assert_eq!(head.headers["user-agent"], concat!("oci-proto-ureq/", env!("CARGO_PKG_VERSION")));
        Play::Serve
    });
    Client::new().unwrap().resolve(&registry.named("demo:latest"), None).unwrap();
}
