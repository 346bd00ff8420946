//! Both adapters push to docker-registry, and copy between two of them.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci_proto::layout::Root;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{
    Config, Descriptor, Digest, FaultKind, MediaType, PullOptions, PushOptions, Reference, Referrer, Stored,
};
use oci_proto_common::{BlobSource, TransferOptions, TreeSource, UploadProgress};
use oci_proto_layout::{Durability, Layout, LayoutDestination};
use oci_proto_tests::adapter::{Adapter, Make};
use oci_proto_tests::clients::{MAKERS, adapters, settings};
use oci_proto_tests::interop::{Disruption, DockerRegistry, Program, Proxy, Rules, Sample, Seen, Settings};
use serde_json::json;

use crate::support::{downloads, walks};

fn registry() -> Option<DockerRegistry> {
    let program = Program::find("docker-registry", "docker-registry")?;
    // Otherwise the URLs of uploads lead around a proxy.
    let settings = Settings::new().with(&["http", "relativeurls"], json!(true));
    Some(DockerRegistry::start(&program, &settings))
}

fn reference(address: impl std::fmt::Display, name: &str) -> Reference {
    format!("{address}/{name}").parse().expect("a reference")
}

/// A tree with a blob that does not fit into any buffer on the way.
fn tree() -> (Memory, Descriptor) {
    let mut sample = Sample::nested();
    let large: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = sample.memory.add_image(Flavour::OCI, None, &[&large]);
    let root = sample.memory.add_index(Flavour::OCI, [&sample.root, &image]);
    (sample.memory, root)
}

/// Verifies everything under a reference, with each adapter.
#[track_caller]
fn is_whole(label: &str, reference: &Reference) {
    for adapter in adapters() {
        let mut findings = Vec::new();
        adapter.check(reference, None, &mut |finding| findings.push(finding)).unwrap();
        assert!(findings.is_empty(), "{label}: {reference}: {findings:?}");
    }
}

#[test]
fn a_pushed_tree_is_read_back_and_sent_once() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested();
    let memory: Arc<dyn TreeSource> = Arc::new(sample.memory.clone());
    for client in adapters() {
        let label = client.name();
        let proxy = Proxy::before(registry.address());
        let name = format!("pushed/{label}:latest");
        let to = reference(proxy.address(), &name);
        let stored: Arc<Mutex<Vec<(Digest, Stored)>>> = Arc::default();
        let noted = stored.clone();
        let options = TransferOptions::default().on_progress(move |progress| {
            if let UploadProgress::Stored(descriptor, how) = progress {
                noted.lock().unwrap().push((descriptor.digest.clone(), how));
            }
        });
        client.push(&sample.root, &to, memory.clone(), options).unwrap();
        let stored = stored.lock().unwrap();
        assert!(stored.iter().all(|(_, how)| *how == Stored::Sent), "{label}: {stored:?}");
        assert_eq!(stored.last().map(|(digest, _)| digest), Some(&sample.root.digest), "{label}");
        let distinct: BTreeSet<_> = stored.iter().map(|(digest, _)| digest).collect();
        assert_eq!(distinct.len(), stored.len(), "{label}: {stored:?}");

        proxy.take();
        client.push(&sample.root, &to, memory.clone(), TransferOptions::default()).unwrap();
        let again = proxy.take().asked;
        // It is asked for what it has, and whether its lists of referrers are complete.
        let is_read = |request: &String| request.starts_with("HEAD") || request.starts_with("GET");
        assert!(again.iter().all(is_read), "{label}: {again:?}");
        for adapter in adapters() {
            walks(&*adapter, &to, &sample);
            downloads(&*adapter, &to, &sample);
        }
    }
}

/// docker-registry lists no referrers, and ignores conditions: the index of a subject's referrers is written whole for each
/// of them.
#[test]
fn all_referrers_of_a_subject_are_listed() {
    let (Some(registry), Some(other)) = (registry(), registry()) else { return };
    let (mut memory, root) = Memory::sample();
    let artifact_type: MediaType = "application/vnd.example.signature".parse().unwrap();
    let mut sign = |number: u8| {
        memory.add_artifact(Flavour::OCI, artifact_type.clone(), &[&[number]], Some(&root)).digest
    };
    let signatures: BTreeSet<Digest> = (0..20).map(&mut sign).collect();
    let memory: Arc<dyn TreeSource> = Arc::new(memory);
    for client in adapters() {
        let name = format!("signed/{}:latest", client.name());
        let (first, second) = (reference(registry.address(), &name), reference(other.address(), &name));
        let mut options = PushOptions::default();
        options.referrers = true;
        client.push(&root, &first, memory.clone(), options.clone().into()).unwrap();
        client.copy(&first, &second, options.into()).unwrap();
        for at in [&first, &second] {
            let mut listed = BTreeSet::new();
            let mut list = |referrer: Referrer| _ = listed.insert(referrer.descriptor.digest);
            client.referrers(at, None, &mut list).unwrap();
            assert_eq!(listed, signatures, "{} {at}", client.name());
        }
    }
}

/// docker-registry stores such an entry as a blob, and responds with 500 if it is requested as a manifest.
#[test]
fn an_index_entry_of_unknown_type_is_read_back() {
    let (Some(registry), Some(other)) = (registry(), registry()) else { return };
    let mut memory = Memory::new();
    let note = memory.add_blob("application/vnd.example.note.v1+json".parse().unwrap(), "{}");
    let root = memory.add_index(Flavour::OCI, [&note]);
    let memory: Arc<dyn TreeSource> = Arc::new(memory);
    for client in adapters() {
        let name = format!("entries/{}:latest", client.name());
        let (first, second) = (reference(registry.address(), &name), reference(other.address(), &name));
        client.push(&root, &first, memory.clone(), TransferOptions::default()).unwrap();
        is_whole(client.name(), &first);
        client.copy(&first, &second, TransferOptions::default()).unwrap();
        is_whole(client.name(), &second);

        let directory = tempfile::tempdir().unwrap();
        let destination = LayoutDestination::at(directory.path(), Durability::Unsynced).unwrap();
        client.pull(&second, destination, PullOptions::default()).unwrap();
        let layout = Layout::open(directory.path()).unwrap();
        assert!(layout.has(&note), "{}", client.name());
    }
}

#[test]
fn a_layout_is_pushed_as_it_was_pulled() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested_with(100_000);
    let memory: Arc<dyn TreeSource> = Arc::new(sample.memory.clone());
    for client in adapters() {
        let directory = tempfile::tempdir().unwrap();
        let to = |name: &str| reference(registry.address(), &format!("{name}/{}:latest", client.name()));
        client.push(&sample.root, &to("first"), memory.clone(), TransferOptions::default()).unwrap();
        let destination = LayoutDestination::at(directory.path(), Durability::Unsynced).unwrap();
        client.pull(&to("first"), destination, PullOptions::default()).unwrap();

        let layout = Layout::open(directory.path()).unwrap();
        let root = layout.resolve(&Root::Named("latest".parse().unwrap()), None).unwrap();
        client.push(&root, &to("second"), Arc::new(layout), TransferOptions::default()).unwrap();
        walks(&*client, &to("second"), &sample);
        downloads(&*client, &to("second"), &sample);
    }
}

/// A tree that lacks some content.
struct Without(Memory, Digest);

impl Without {
    fn has(&self, descriptor: &Descriptor) -> io::Result<()> {
        if descriptor.digest == self.1 { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }
}

impl TreeSource for Without {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        self.has(descriptor).and_then(|()| self.0.document(descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        self.has(descriptor).and_then(|()| self.0.blob(descriptor))
    }
}

#[test]
fn missing_content_is_named_and_the_tag_is_not_set() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested_with(1000);
    for client in adapters() {
        let to = reference(registry.address(), &format!("holes/{}:latest", client.name()));
        for missing in [&sample.deepest.digest, &sample.blobs[1].digest] {
            let source = Arc::new(Without(sample.memory.clone(), missing.clone()));
            let error = client.push(&sample.root, &to, source, TransferOptions::default()).unwrap_err();
            let label = format!("{}: {error}", client.name());
            assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Storage), "{label}");
            assert!(error.to_string().contains(&missing.to_string()), "{label}");
            assert!(client.resolve(&to, None).is_err_and(|error| error.is_not_found()), "{label}");
        }
    }
}

#[test]
fn a_document_is_pushed_under_several_tags() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested_with(1000);
    let memory: Arc<dyn TreeSource> = Arc::new(sample.memory.clone());
    for client in adapters() {
        let at = |tag: &str| reference(registry.address(), &format!("tags/{}:{tag}", client.name()));
        client.push(&sample.deepest, &at("1.0"), memory.clone(), TransferOptions::default()).unwrap();
        let (descriptor, manifest) = client.manifest(&at("1.0"), None).unwrap();
        assert_eq!(Some(manifest.bytes()), sample.memory.bytes(&descriptor.digest).as_ref());
        client.push_manifest(&at("1.0.1"), &manifest, vec!["1.0.2".parse().unwrap()]).unwrap();
        let tagged = client.tag(&at("1.0"), vec!["latest".parse().unwrap()]).unwrap();
        assert_eq!(tagged.digest, descriptor.digest, "{}", client.name());
        for tag in ["1.0.1", "1.0.2", "latest"] {
            let found = client.resolve(&at(tag), None).unwrap();
            assert_eq!(found.digest, descriptor.digest, "{}: {tag}", client.name());
        }
    }
}

#[test]
fn a_tree_is_copied_between_registries_and_within_one() {
    let (Some(first), Some(second)) = (registry(), registry()) else { return };
    let (memory, root) = tree();
    let from = reference(first.address(), "team/source:1");
    adapters()[0].push(&root, &from, Arc::new(memory), TransferOptions::default()).unwrap();
    thread::scope(|scope| {
        for client in adapters() {
            let (from, first, second, root) = (&from, &first, &second, &root);
            scope.spawn(move || {
                let name = format!("copied/{}:1", client.name());
                for to in [reference(second.address(), &name), reference(first.address(), &name)] {
                    let copied = client.copy(from, &to, TransferOptions::default()).unwrap();
                    assert_eq!(copied.digest, root.digest);
                    is_whole(client.name(), &to);
                }
            });
        }
    });
}

/// Each download ends after half of the rest, and each upload breaks once.
#[test]
fn a_copy_through_unreliable_networks_is_equal() {
    let (Some(first), Some(second)) = (registry(), registry()) else { return };
    let (memory, root) = tree();
    let from = reference(first.address(), "team/source:1");
    adapters()[0].push(&root, &from, Arc::new(memory), TransferOptions::default()).unwrap();
    for (sources, destinations) in [
        (&[Disruption::CutsBlobs][..], &[][..]),
        (&[], &[Disruption::CutsBodies]),
        (&[Disruption::CutsBlobs, Disruption::Redirects], &[Disruption::CutsBodies]),
    ] {
        thread::scope(|scope| {
            for (label, make) in MAKERS {
                let (first, second, root) = (&first, &second, &root);
                scope.spawn(move || {
                    let mut config = Config::default();
                    config.limits.backoff_first = Duration::from_millis(5);
                    let client: Box<dyn Adapter> = make(&settings().config(config));
                    let source = Proxy::with(first.address(), sources, 3, Rules::default());
                    let destination = Proxy::with(second.address(), destinations, 3, Rules::default());
                    let from = reference(source.address(), "team/source:1");
                    let name = format!("unreliable{}{}/{label}:1", sources.len(), destinations.len());
                    let to = reference(destination.address(), &name);
                    let copied = client.copy(&from, &to, TransferOptions::default());
                    let copied = copied.unwrap_or_else(|error| {
                        panic!("{label}: {sources:?}, {destinations:?}: {error}: {:?}", destination.take())
                    });
                    assert_eq!(copied.digest, root.digest);
                    let (read, written) = (source.take(), destination.take());
                    assert_eq!(read.of("cut") > 0, !sources.is_empty(), "{label}: {read:?}");
                    assert_eq!(written.of("cut body") > 0, !destinations.is_empty(), "{label}: {written:?}");
                    is_whole(label, &reference(second.address(), &name));
                });
            }
        });
    }
}

/// A layer of 300 MB. The front of the source fails the first request for each path, redirects to a second origin,
/// throttles, and cuts each download in half; that of the destination cuts the upload instead, once.
#[test]
fn a_large_image_is_pushed_and_copied_through_all_disruptions() {
    let (Some(first), Some(second)) = (registry(), registry()) else { return };
    let layer: Vec<u8> = (0..75_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    drop(layer);
    let memory: Arc<dyn TreeSource> = Arc::new(memory);
    thread::scope(|scope| {
        for maker in MAKERS {
            let (first, second, root, memory) = (&first, &second, &root, &memory);
            scope.spawn(move || pushes_and_copies(maker, [first, second], root, memory));
        }
    });
}

fn pushes_and_copies(
    (label, make): (&str, Make),
    [first, second]: [&DockerRegistry; 2],
    root: &Descriptor,
    memory: &Arc<dyn TreeSource>,
) {
    use Disruption::{CutsBlobs, CutsBodies, FailsFirst, Redirects, Throttles};
    let front = |registry: &DockerRegistry, cut| {
        let disruptions = [FailsFirst, Redirects, Throttles, cut];
        Proxy::with(registry.address(), &disruptions, 3, Rules::default())
    };
    let client = || {
        let mut config = Config::default();
        config.limits.backoff_first = Duration::from_millis(5);
        // Each session that replaces a broken one has a path whose first request fails.
        config.limits.max_attempts = 12;
        make(&settings().config(config))
    };
    let name = format!("large/{label}:1");
    let is_done = |what: &str, client: &dyn Adapter, began: Instant, fronts: &[&Proxy]| {
        let seen: Vec<Seen> = fronts.iter().map(|front| front.take()).collect();
        let requests: u64 = seen.iter().map(Seen::requests).sum();
        let failures: u64 = seen.iter().map(Seen::failures).sum();
        let took = began.elapsed().as_millis();
        let mut stderr = io::stderr().lock();
        writeln!(stderr, "{label}, {what}: {requests} requests, {failures} failed, {took} ms").unwrap();
        assert_eq!(client.requests(), requests, "{label}, {what}: {seen:?}");
        let written = seen.last().expect("there is a front");
        assert_eq!(written.of("cut body"), 1, "{label}, {what}: {seen:?}");
        seen
    };

    let (pushing, began, entrance) = (client(), Instant::now(), front(first, CutsBodies));
    let to = reference(entrance.address(), &name);
    let pushed = pushing.push(root, &to, memory.clone(), TransferOptions::default());
    pushed.unwrap_or_else(|error| panic!("{label}: {error}"));
    is_done("push", &*pushing, began, &[&entrance]);
    is_whole(label, &reference(first.address(), &name));

    let (copying, began) = (client(), Instant::now());
    let (exit, entrance) = (front(first, CutsBlobs), front(second, CutsBodies));
    let (from, to) = (reference(exit.address(), &name), reference(entrance.address(), &name));
    let copied = copying.copy(&from, &to, TransferOptions::default());
    let copied = copied.unwrap_or_else(|error| panic!("{label}: {error}"));
    assert_eq!(copied.digest, root.digest, "{label}");
    let seen = is_done("copy", &*copying, began, &[&exit, &entrance]);
    // Each request delivers half of the rest.
    assert!(seen[0].of("cut") > 28, "{label}: {seen:?}");
    is_whole(label, &reference(second.address(), &name));
}
