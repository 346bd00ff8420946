//! Failures of the network, the registry and the writer.

mod registry;

use std::io::{self, Read};
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Config, Descriptor, Digest, Error, FaultKind, MediaType, WalkOptions};
use oci_proto_ureq::{Client, Settings};
use registry::{Play, Registry};

const SIZE: usize = 500_000;

fn blob() -> (Memory, Descriptor, Descriptor) {
    let mut memory = Memory::new();
    let bytes = vec![7; SIZE];
    let image = memory.add_image(Flavour::OCI, None, &[&bytes]);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (memory, image, Descriptor::new(MediaType::OCI_EMPTY, digest, SIZE as u64))
}

/// A client with short timeouts and without retries.
fn impatient() -> Client {
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    Client::with_settings(Settings::default().config(config).idle_timeout(Duration::from_secs(1))).unwrap()
}

fn kind(error: &Error) -> Option<FaultKind> {
    error.fault().map(oci_proto::Fault::kind)
}

#[test]
fn a_body_that_stalls_times_out() {
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
fn a_slow_reader_does_not_time_out() {
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let mut reader = impatient().blob(&registry.at("demo", &blob.digest), None);
    let mut got = vec![0; 10];
    reader.read_exact(&mut got).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), SIZE);
}

#[test]
fn a_truncated_body_is_a_broken_connection() {
    let (memory, image, blob) = blob();
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::CutAfter(1000));
    let error =
        Client::new().unwrap().blob_to(&registry.at("demo", &blob.digest), None, io::sink()).unwrap_err();
    assert_eq!(kind(&error), Some(FaultKind::Reset), "{error}");
}

#[test]
fn wrong_content_is_an_error() {
    let (mut memory, image, blob) = blob();
    assert!(memory.corrupt(&blob.digest, vec![8; SIZE]));
    let registry = Registry::start(memory, &[("demo:latest", &image)], |_| Play::Serve);
    let client = Client::new().unwrap();
    let reference = registry.at("demo", &blob.digest);
    let error = client.blob_to(&reference, Some(blob.size), io::sink()).unwrap_err();
    assert!(error.to_string().contains("digest mismatch"), "{error}");

    let mut reader = client.blob(&reference, None);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.get_ref().unwrap().is::<Error>());
    let again = reader.read(&mut [0]).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
}

#[test]
fn an_operation_ends_at_its_deadline() {
    let (memory, image, blob) = blob();
    let index = {
        let mut memory = memory.clone();
        memory.add_index(Flavour::OCI, [&image]);
        memory
    };
    let registry = Registry::start(index, &[("demo:latest", &image)], |head| {
        if head.uri.path().contains("/blobs/") { Play::StallAfter(1000) } else { Play::Stall }
    });
    let client = Client::with_settings(Settings::default().timeout(Duration::from_millis(300))).unwrap();
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
