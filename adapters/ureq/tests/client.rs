//! What the client does against a registry that behaves.

mod registry;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Config, Descriptor, Digest, Found, MediaType, PlainHttp, WalkOptions};
use oci_proto_ureq::{BlobReader, Builder, Client, Walk};
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
fn types_cross_threads() {
    fn check<T: Send>() {}
    fn check_shared<T: Send + Sync + Clone>() {}
    check_shared::<Client>();
    check::<Builder>();
    check::<Walk>();
    check::<BlobReader>();
}

#[test]
fn a_tag_resolves_by_one_request_without_a_body() {
    let (registry, root) = sample();
    let client = Client::new().unwrap();
    let found = client.resolve(&registry.named("demo:latest"), None).unwrap();
    assert_eq!((&found.digest, found.size, &found.media_type), (&root.digest, root.size, &root.media_type));
    assert_eq!(registry.requests(), ["HEAD /v2/demo/manifests/latest"]);
    assert_eq!(client.requests(), 1);
}

#[test]
fn a_platform_leads_to_its_manifest() {
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
fn what_is_not_there_is_not_found() {
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
fn an_ended_walk_stays_ended() {
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
fn a_walk_asks_for_several_at_once_and_no_more_than_allowed() {
    let (mut memory, root) = wide(24);
    let images = ["one", "two"].map(|text| memory.add_image(Flavour::OCI, None, &[text.as_bytes()]));
    let few = memory.add_index(Flavour::OCI, &images);
    let delay = Duration::from_millis(100);
    let roots = [("demo:latest", &root), ("demo:few", &few)];
    let registry = Registry::start(memory, &roots, move |_| Play::Delay(delay));
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 6;
    let client = Client::builder().config(config).build().unwrap();
    // Leaves a few threads idle, which do not suffice for what follows.
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
    assert_eq!(registry.connections(), 6, "connections are kept from one walk to the next");
}

#[test]
fn a_walk_delivers_what_is_there_while_the_rest_is_late() {
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
fn a_walk_that_nobody_takes_from_rests() {
    let (memory, root) = wide(400);
    let registry = Registry::start(memory, &[("demo:latest", &root)], serve);
    let client = Client::new().unwrap();
    let mut walk = client.walk(&registry.named("demo:latest"), WalkOptions::default());
    walk.next().unwrap().unwrap();
    let mut seen = registry.requests().len();
    // Until nothing has been asked for a while.
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = registry.requests().len();
        if now == seen {
            break;
        }
        seen = now;
    }
    assert!(seen < 120, "{seen} requests, and one node taken");
    // Others are not held up.
    client.resolve(&registry.named("demo:latest"), None).unwrap();
    assert_eq!(client.walk(&registry.named("demo:latest"), WalkOptions::default()).count(), 401);
    assert_eq!(registry.requests().len(), seen + 402);
    assert_eq!(walk.map(Result::unwrap).count(), 400);
    assert_eq!(registry.requests().len(), 803);
}

#[test]
fn a_dropped_walk_is_cancelled_and_the_client_goes_on() {
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
    // What was on its way may still have arrived.
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
fn calls_one_after_another_share_a_connection() {
    let (registry, _) = sample();
    let client = Client::new().unwrap();
    for _ in 0..20 {
        client.manifest(&registry.named("demo:latest"), None).unwrap();
        // A refusal has a body of its own, which must be read to its end.
        client.manifest(&registry.named("demo:absent"), None).unwrap_err();
    }
    assert_eq!(registry.connections(), 1);
}

#[test]
fn a_short_body_that_nobody_wants_costs_no_connection() {
    let (memory, image, blob) = blob(b"fourteen bytes");
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    for _ in 0..3 {
        client.blob_to(&registry.at("demo", &blob.digest), Some(15), std::io::sink()).unwrap_err();
    }
    assert_eq!(registry.connections(), 1);
}

#[test]
fn calls_run_at_once_on_one_client() {
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
fn more_calls_than_may_be_in_flight_all_end() {
    let (memory, root) = Memory::sample();
    let registry =
        Registry::start(memory, &[("demo:latest", &root)], |_| Play::Delay(Duration::from_millis(5)));
    let mut config = Config::default();
    config.limits.in_flight_per_origin = 1;
    config.limits.in_flight = 1;
    let client = Client::builder().config(config).build().unwrap();
    let reference = registry.named("demo:latest");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(client.walk(&reference, WalkOptions::default()).count(), 11));
        }
    });
    assert_eq!(registry.most_busy(), 1);
}

#[test]
fn a_blob_goes_to_a_writer() {
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
    assert_eq!(registry.connections(), 1, "a body that is read to its end gives its connection back");
}

#[test]
fn a_blob_is_read_whatever_the_buffer() {
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
fn a_blob_that_is_read_lets_other_calls_run() {
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
fn nothing_is_sent_for_what_is_not_used() {
    let (registry, root) = sample();
    let client = Client::new().unwrap();
    drop(client.blob(&registry.at("demo", &root.digest), None));
    drop(client.walk(&registry.named("demo:latest"), WalkOptions::default()));
    assert_eq!(client.requests(), 0);
    assert_eq!(registry.connections(), 0);
}

#[test]
fn the_empty_blob_needs_no_request() {
    let (registry, _) = sample();
    let client = Client::new().unwrap();
    let empty = registry.at("demo", &Digest::of(oci_proto::Algorithm::Sha256, b""));
    assert_eq!(client.blob_to(&empty, None, std::io::sink()).unwrap(), 0);
    assert!(client.blob_bytes(&empty, Some(0), 0).unwrap().is_empty());
    assert_eq!(client.requests(), 0);
}

#[test]
fn a_blob_in_memory_is_bounded() {
    let (memory, image, blob) = blob(&noise(100_000));
    let registry = Registry::start(memory, &[("demo:latest", &image)], serve);
    let client = Client::new().unwrap();
    let reference = registry.at("demo", &blob.digest);
    assert_eq!(client.blob_bytes(&reference, None, 100_000).unwrap(), noise(100_000));
    let before = client.requests();
    let error = client.blob_bytes(&reference, None, 99_999).unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    assert_eq!(client.requests(), before + 1);
    let error = client.blob_bytes(&reference, Some(100_000), 99_999).unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    assert_eq!(client.requests(), before + 1, "what is known to be too large is not asked for");
}

#[test]
fn a_loopback_registry_needs_no_leave_to_be_plain_but_obeys_a_ban() {
    let (registry, _) = sample();
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    let client = Client::builder().config(config).build().unwrap();
    let error = client.resolve(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), oci_proto::FaultKind::Tls, "{error}");
    assert!(registry.requests().is_empty());
}

#[test]
fn every_request_is_the_core_s_own() {
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
