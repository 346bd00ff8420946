//! The threads of the client. This is a separate test binary, since it counts the threads of its process.

#![cfg(target_os = "linux")]
mod registry;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::WalkOptions;
use oci_proto::server::{Flavour, Memory};
use oci_proto_ureq::Client;
use registry::{Play, Registry};

/// Counts the threads of clients in this process, by name.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("oci-proto-")).count()
}

#[test]
fn threads_are_started_when_needed_and_end_with_the_client() {
    let mut memory = Memory::new();
    let images: Vec<_> = (0..30_u8).map(|n| memory.add_image(Flavour::OCI, None, &[&[n]])).collect();
    let root = memory.add_index(Flavour::OCI, &images);
    let few = memory.add_index(Flavour::OCI, &images[..3]);
    let small = memory.clone();
    // The calls below need some of the first twenty responses. There are no others.
    let asked = AtomicUsize::new(0);
    let registry = Registry::start(memory, &[("demo:latest", &root)], move |_| {
        match asked.fetch_add(1, Ordering::SeqCst) {
            ..20 => Play::Delay(Duration::from_millis(20)),
            _ => Play::Stall,
        }
    });
    let client = Client::new().unwrap();
    let reference = registry.named("demo:latest");

    client.resolve(&reference, None).unwrap();
    client.manifest(&reference, None).unwrap();
    assert_eq!(threads(), 0, "a call with one request at a time sends it on its own thread");

    let mut walk = client.walk(&reference, WalkOptions::default());
    for _ in 0..10 {
        walk.next().unwrap().unwrap();
    }
    assert_eq!(threads(), 8, "one per request in flight to a registry");

    drop(client);
    assert_eq!(threads(), 8, "the walk still needs them");
    while registry.requests().len() < 24 {
        thread::sleep(Duration::from_millis(5));
    }
    // The threads wait for the registry. The drop does not wait for them.
    drop(walk);
    all_end();

    let registry = Registry::start(small, &[("demo:latest", &few)], |_| Play::Serve);
    let client = Client::new().unwrap();
    assert_eq!(client.walk(&registry.named("demo:latest"), WalkOptions::default()).count(), 4);
    assert!(threads() > 0);
    drop(client);
    all_end();
}

fn all_end() {
    let began = Instant::now();
    while threads() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "{} threads are left", threads());
        thread::sleep(Duration::from_millis(5));
    }
}
