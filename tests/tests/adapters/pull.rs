//! Pulls of whole trees, on both adapters, into layouts without findings.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use oci_proto::layout::Root;
use oci_proto::server::{Content as _, Server};
use oci_proto::{Descriptor, PullOptions, Reference};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{Sample, Served};
use oci_proto_tokio::layout::{Layout, LayoutDestination, LayoutWriter, Progress, PullError, check};
use tempfile::TempDir;

struct World {
    sample: Sample,
    registry: Served,
}

impl World {
    fn new() -> Self {
        let sample = Sample::nested();
        let mut server = Server::new();
        let (repository, tag) = ("team/app".parse().unwrap(), "1.0".parse().unwrap());
        server.add(&repository, Some(&tag), &sample.root, &sample.memory).unwrap();
        let registry = Served::start(server, sample.memory.clone());
        Self { sample, registry }
    }

    fn reference(&self) -> Reference {
        format!("{}/team/app:1.0", self.registry.address()).parse().unwrap()
    }

    /// Pulls, and returns the number of requests.
    fn pull(&self, adapter: &dyn Adapter, mirror: LayoutDestination) -> (Result<Descriptor, PullError>, u64) {
        let before = adapter.requests();
        let pulled = adapter.pull(&self.reference(), mirror, PullOptions::default());
        (pulled, adapter.requests() - before)
    }
}

fn mirror(folder: &Path) -> LayoutDestination {
    LayoutDestination::new(LayoutWriter::open(folder).unwrap())
}

/// The files of a layout with their bytes.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for algorithm in fs::read_dir(folder.join("blobs")).unwrap() {
        for file in fs::read_dir(algorithm.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            files.push((path.strip_prefix(folder).unwrap().display().to_string(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[track_caller]
fn assert_right(folder: &Path) {
    let findings: Vec<_> = check(folder, None).unwrap().collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn both_adapters_pull_a_tree_to_the_same_layout() {
    let world = World::new();
    let contents = adapters().map(|adapter| {
        let home = TempDir::new().unwrap();
        let (root, requests) = world.pull(&*adapter, mirror(home.path()));
        let root = root.unwrap_or_else(|error| panic!("{}: {error}", adapter.name()));
        assert_eq!(root.digest, world.sample.root.digest);
        assert_right(home.path());
        let layout = Layout::open(home.path()).unwrap();
        let found = layout.resolve(&Root::Named("1.0".parse().unwrap()), None).unwrap();
        assert_eq!(found.digest, world.sample.root.digest);
        let content = content(home.path());
        for (name, bytes) in &content {
            let digest = name.trim_start_matches("blobs/").replace('/', ":").parse().unwrap();
            assert_eq!(world.sample.memory.bytes(&digest).as_deref(), Some(&bytes[..]), "{name}");
        }
        // Empty and embedded content needs no request; the root is requested by its tag.
        assert!(requests <= content.len() as u64, "{requests} requests for {} contents", content.len());
        content
    });
    assert_eq!(contents[0], contents[1]);
    assert!(contents[0].len() > 20, "{}", contents[0].len());
}

#[test]
fn held_content_is_not_fetched_again() {
    let world = World::new();
    for adapter in adapters() {
        let home = TempDir::new().unwrap();
        world.pull(&*adapter, mirror(home.path())).0.unwrap();
        let (again, requests) = world.pull(&*adapter, mirror(home.path()));
        again.unwrap();
        assert_eq!(requests, 1, "{}: only the root is requested, by its tag", adapter.name());
    }
}

#[test]
fn corrupt_content_is_fetched_again_if_verification_is_enabled() {
    let world = World::new();
    let large = world.sample.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    for adapter in adapters() {
        let home = TempDir::new().unwrap();
        world.pull(&*adapter, mirror(home.path())).0.unwrap();
        let path = home.path().join(oci_proto::layout::blob_path(&large.digest));
        let mut bytes = fs::read(&path).unwrap();
        bytes[1_000_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (again, requests) = world.pull(&*adapter, mirror(home.path()));
        again.unwrap();
        assert_eq!(requests, 1, "{}: the size is right", adapter.name());
        world.pull(&*adapter, mirror(home.path()).verifying()).0.unwrap();
        assert_right(home.path());
    }
}

#[test]
fn a_partial_blob_is_resumed_and_a_corrupt_one_discarded() {
    let world = World::new();
    let large = world.sample.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    let right = world.sample.memory.bytes(&large.digest).unwrap();
    for adapter in adapters() {
        for wrong in [false, true] {
            let home = TempDir::new().unwrap();
            let writer = LayoutWriter::open(home.path()).unwrap();
            let mut begun = right[..1_500_000].to_vec();
            begun[7] ^= u8::from(wrong);
            let mut blob = writer.begin(large).unwrap();
            blob.append(0, &begun).unwrap();
            drop((blob, writer));

            let came = Arc::new(AtomicU64::new(0));
            let (counted, digest) = (came.clone(), large.digest.clone());
            let mirror = mirror(home.path()).on_progress(move |progress| {
                if let Progress::Received(of, bytes) = progress
                    && *of == digest
                {
                    counted.fetch_add(bytes, Ordering::Relaxed);
                }
            });
            world.pull(&*adapter, mirror).0.unwrap();
            assert_right(home.path());
            let rest = large.size - 1_500_000;
            let expected = if wrong { rest + large.size } else { rest };
            assert_eq!(came.load(Ordering::Relaxed), expected, "{}, wrong: {wrong}", adapter.name());
        }
    }
}

#[test]
fn progress_adds_up_to_the_total() {
    let world = World::new();
    for adapter in adapters() {
        let home = TempDir::new().unwrap();
        let told = Arc::new(Mutex::new((0_u64, 0_u64)));
        let tell = told.clone();
        let mirror = mirror(home.path()).on_progress(move |progress| {
            let mut told = tell.lock().unwrap_or_else(PoisonError::into_inner);
            match progress {
                Progress::Wanted(descriptor) if descriptor.media_type.kind() == oci_proto::Kind::Other => {
                    told.0 += descriptor.size;
                }
                Progress::Received(_, bytes) | Progress::Present(_, bytes) => told.1 += bytes,
                _ => {}
            }
        });
        world.pull(&*adapter, mirror).0.unwrap();
        let (wanted, came) = *told.lock().unwrap();
        assert_eq!(wanted, came, "{}", adapter.name());
        assert!(came > 3_000_000, "{came}");
    }
}

#[test]
fn a_pull_without_a_blob_leaves_a_layout_without_the_root() {
    let sample = Sample::nested();
    let mut server = Server::new();
    let (repository, tag) = ("team/app".parse().unwrap(), "1.0".parse().unwrap());
    server.add(&repository, Some(&tag), &sample.root, &sample.memory).unwrap();
    // The registry knows of the blob, but its storage lacks it.
    let large = sample.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    let mut memory = sample.memory.clone();
    memory.remove(&large.digest);
    let registry = Served::start(server, memory);
    let reference = format!("{}/team/app:1.0", registry.address()).parse().unwrap();
    for adapter in adapters() {
        let home = TempDir::new().unwrap();
        let pulled = adapter.pull(&reference, mirror(home.path()), PullOptions::default());
        let error = pulled.unwrap_err().to_string();
        assert!(error.contains(&large.digest.to_string()), "{}: {error}", adapter.name());
        assert_right(home.path());
        assert!(Layout::open(home.path()).unwrap().roots().is_empty());
    }
}
