//! What the client does when the network, the registry or the writer fails.

mod registry;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Config, Descriptor, Digest, Error, FaultKind, MediaType, WalkOptions};
use oci_proto_ureq::Client;
use registry::{Play, Registry};

const SIZE: usize = 500_000;

fn blob() -> (Memory, Descriptor, Descriptor) {
    let mut memory = Memory::new();
    let bytes = vec![7; SIZE];
    let image = memory.add_image(Flavour::OCI, None, &[&bytes]);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (memory, image, Descriptor::new(MediaType::OCI_EMPTY, digest, SIZE as u64))
}

/// Waits for nothing long, and tries nothing twice.
fn impatient() -> Client {
    let mut config = Config::default();
    config.limits.tries = 1;
    Client::builder().config(config).idle_timeout(Duration::from_millis(300)).build().unwrap()
}

fn kind(error: &Error) -> Option<FaultKind> {
    error.fault().map(oci_proto::Fault::kind)
}

#[test]
fn nobody_there_is_a_connect_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let reference = format!("{address}/demo:latest").parse().unwrap();
    let error = Client::new().unwrap().resolve(&reference, None).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Connect), "{error}");
}

#[test]
fn a_head_that_does_not_come_is_a_timeout() {
    let (memory, root) = Memory::sample();
    let registry = Registry::start(memory, &[("demo:latest", &root)], |_| Play::Stall);
    let began = Instant::now();
    let error = impatient().resolve(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Timeout), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn a_body_that_rests_is_a_timeout() {
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::StallAfter(1000));
    let began = Instant::now();
    let mut got = Vec::new();
    let error = impatient().blob(&registry.at("demo", &blob.digest), None).read_to_end(&mut got).unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(kind(error), Some(FaultKind::Timeout), "{error}");
    assert_eq!(got, [7; 1000]);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn a_slow_reader_is_not_an_idle_server() {
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let mut reader = impatient().blob(&registry.at("demo", &blob.digest), None);
    let mut got = vec![0; 10];
    reader.read_exact(&mut got).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), SIZE);
}

#[test]
fn a_body_cut_short_is_a_broken_connection() {
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::CutAfter(1000));
    let error =
        Client::new().unwrap().blob_to(&registry.at("demo", &blob.digest), None, io::sink()).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Reset), "{error}");
}

#[test]
fn what_is_not_http_is_a_broken_connection() {
    let (memory, root) = Memory::sample();
    let registry =
        Registry::start(memory, &[("demo:latest", &root)], |_| Play::Raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"));
    let error = Client::new().unwrap().resolve(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Reset), "{error}");
}

#[test]
fn a_head_without_end_is_refused() {
    let (memory, root) = Memory::sample();
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let head: &'static [u8] = Box::leak(head.into_boxed_str()).as_bytes();
    let registry = Registry::start(memory, &[("demo:latest", &root)], move |_| Play::Raw(head));
    let error = Client::new().unwrap().resolve(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Reset), "{error}");
}

#[test]
fn wrong_content_never_ends_well() {
    let (mut memory, image, blob) = blob();
    assert!(memory.corrupt(&blob.digest, vec![8; SIZE]));
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let client = Client::new().unwrap();
    let reference = registry.at("demo", &blob.digest);
    let error = client.blob_to(&reference, Some(blob.size), io::sink()).unwrap_err();
    assert!(error.to_string().contains("wrong content"), "{error}");

    let mut reader = client.blob(&reference, None);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.get_ref().unwrap().is::<Error>());
    let again = reader.read(&mut [0]).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
}

#[test]
fn a_writer_that_fails_says_so() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            if self.0 == 0 { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
        }
    }
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let client = Client::new().unwrap();
    let reference = registry.at("demo", &blob.digest);
    for (room, reason) in [(SIZE / 2, "no storage space"), (SIZE, "quota exceeded")] {
        let error = client.blob_to(&reference, None, Full(room)).unwrap_err();
        assert_eq!(kind(&error), Some(FaultKind::Sink), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(client.blob_to(&reference, None, Full(SIZE + 1)).unwrap(), blob.size);
}

#[test]
fn an_operation_ends_at_its_deadline_whatever_it_waits_for() {
    let (memory, image, blob) = blob();
    let index = {
        let mut memory = memory.clone();
        memory.add_index(Flavour::OCI, [&image]);
        memory
    };
    let registry = Registry::start(index, &[("demo:latest", &image)], |head| {
        if head.uri.path().contains("/blobs/") { Play::StallAfter(1000) } else { Play::Stall }
    });
    let client = Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let reference = registry.named("demo:latest");
    let blob = registry.at("demo", &blob.digest);
    let attempts: [(&str, &dyn Fn() -> Error); 4] = [
        ("resolve", &|| client.resolve(&reference, None).unwrap_err()),
        ("walk", &|| client.walk(&reference, WalkOptions::default()).next().unwrap().unwrap_err()),
        ("blob_to", &|| client.blob_to(&blob, None, io::sink()).unwrap_err()),
        ("blob", &|| {
            let error = client.blob(&blob, None).read_to_end(&mut Vec::new()).unwrap_err();
            error.into_inner().unwrap().downcast_ref::<Error>().unwrap().clone()
        }),
    ];
    for (name, attempt) in attempts {
        let began = Instant::now();
        let error = attempt();
        let took = began.elapsed();
        assert!(error.to_string().contains("deadline"), "{name}: {error}");
        assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&took), "{name}: {took:?}");
    }
}
