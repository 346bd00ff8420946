//! Both adapters, and `ocip` on each, read from docker-registry.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Cause, Descriptor, Error, Found, Misbehaviour, Reference, WalkOptions};
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{
    DockerRegistry, Program, Proxy, Pusher, Sample, Settings, line, listing, ocip,
};
use serde_json::{Value, json};

use crate::support::{REPOSITORY, filled, root};

/// A registry with [`Sample::nested`], behind a proxy that records requests.
struct Filled {
    sample: Sample,
    proxy: Proxy,
    registry: DockerRegistry,
}

impl Filled {
    /// Returns `None` if docker-registry is not installed.
    fn start() -> Option<Self> {
        let sample = Sample::nested();
        let registry = filled(&sample)?;
        let proxy = Proxy::before(registry.address());
        Some(Self { sample, proxy, registry })
    }

    /// The root by its tag, through the proxy.
    fn root(&self) -> Reference {
        root(self.proxy.address())
    }

    /// The expected nodes of a walk of the root.
    fn listing(&self) -> Vec<Value> {
        listing(&self.sample.memory, &self.sample.root)
    }

    /// One GET for each distinct manifest: the root by its tag, the others by their digests.
    fn manifests(&self) -> Vec<String> {
        let distinct: BTreeSet<String> = self
            .listing()
            .iter()
            .skip(1)
            .map(|line| get("manifests", line["digest"].as_str().unwrap()))
            .collect();
        [get("manifests", "latest")].into_iter().chain(distinct).collect()
    }

    /// The requests since the last call, sorted except for the first.
    fn requests(&self) -> Vec<String> {
        let mut requests = self.proxy.take().asked;
        if let [_, rest @ ..] = &mut requests[..] {
            rest.sort();
        }
        requests
    }
}

fn empty() -> Option<DockerRegistry> {
    let program = Program::find("docker-registry", "docker-registry")?;
    Some(DockerRegistry::start(&program, &Settings::new()))
}

fn get(what: &str, name: &str) -> String {
    format!("GET /v2/{REPOSITORY}/{what}/{name}")
}

fn essence(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
    })
}

#[test]
fn resolve_is_one_head() {
    let Some(filled) = Filled::start() else { return };
    for adapter in adapters() {
        let descriptor = adapter.resolve(&filled.root(), None).unwrap();
        assert_eq!(descriptor, filled.sample.root, "{}", adapter.name());
        let requests = filled.requests();
        assert_eq!(requests, [format!("HEAD /v2/{REPOSITORY}/manifests/latest")], "{}", adapter.name());
        assert_eq!(adapter.requests(), 1, "{}: its own count", adapter.name());
    }
}

#[test]
fn resolve_for_a_platform_reads_every_index_and_no_image() {
    let Some(filled) = Filled::start() else { return };
    let deepest = &filled.sample.deepest;
    let indexes: BTreeSet<String> = filled
        .listing()
        .iter()
        .skip(1)
        .filter(|line| line["kind"] == "index")
        .map(|line| get("manifests", line["digest"].as_str().unwrap()))
        .collect();
    let expected: Vec<String> = [get("manifests", "latest")].into_iter().chain(indexes).collect();
    for adapter in adapters() {
        let found = adapter.resolve(&filled.root(), deepest.platform.as_ref()).unwrap();
        assert_eq!(found, *deepest, "{}", adapter.name());
        assert_eq!(filled.requests(), expected, "{}", adapter.name());
    }
}

#[test]
fn a_manifest_is_one_get_and_has_the_bytes_that_were_pushed() {
    let Some(filled) = Filled::start() else { return };
    let root = &filled.sample.root;
    for adapter in adapters() {
        for (reference, name) in [
            (filled.root(), "latest".to_owned()),
            (filled.root().at(root.digest.clone()), root.digest.to_string()),
        ] {
            let (descriptor, manifest) = adapter.manifest(&reference, None).unwrap();
            assert_eq!(descriptor, *root, "{}", adapter.name());
            assert_eq!(Some(manifest.bytes()), filled.sample.memory.bytes(&root.digest).as_ref());
            assert_eq!(filled.requests(), [get("manifests", &name)], "{}", adapter.name());
        }
    }
}

#[test]
fn a_walk_reports_nodes_in_document_order_with_one_request_per_distinct_manifest() {
    let Some(filled) = Filled::start() else { return };
    let (listing, manifests) = (filled.listing(), filled.manifests());
    assert_eq!((listing.len(), manifests.len()), (14, 12), "the sample must have repeated manifests");
    for adapter in adapters() {
        let nodes = adapter.walk(&filled.root(), WalkOptions::default()).unwrap();
        assert_eq!(nodes.iter().map(line).collect::<Vec<_>>(), listing, "{}", adapter.name());
        assert_eq!(filled.requests(), manifests, "{}", adapter.name());
        assert_eq!(adapter.requests(), 12, "{}: its own count", adapter.name());
        for node in &nodes {
            if let Found::Manifest(manifest) = &node.found {
                let pushed = filled.sample.memory.bytes(&node.descriptor.digest);
                assert_eq!(Some(manifest.bytes()), pushed.as_ref(), "{}", adapter.name());
            }
        }
    }
}

#[test]
fn a_blob_is_one_get_and_verified() {
    let Some(filled) = Filled::start() else { return };
    for adapter in adapters() {
        for blob in &filled.sample.blobs {
            let reference = filled.root().at(blob.digest.clone());
            // For a blob with a sha512 digest, docker-registry sends a Docker-Content-Digest with sha256.
            for size in [Some(blob.size), None] {
                let bytes = adapter.blob(&reference, size).unwrap();
                let held = filled.sample.memory.bytes(&blob.digest).unwrap();
                assert!(bytes == held, "{}: {} has other bytes", adapter.name(), blob.digest);
            }
            // An empty blob needs no request.
            let times = if blob.size == 0 { 0 } else { 2 };
            let expected = vec![get("blobs", &blob.digest.to_string()); times];
            assert_eq!(filled.requests(), expected, "{}", adapter.name());
        }
    }
}

#[test]
fn corrupt_content_is_refused() {
    let Some(filled) = Filled::start() else { return };
    let [_, small, ..] = &filled.sample.blobs[..] else { panic!("the sample has blobs") };
    let deepest = &filled.sample.deepest;
    filled.registry.damage(&small.digest, "small", "smell");
    filled.registry.damage(&deepest.digest, "layer.v1.tar", "layer.v1.tor");

    let refused = |error: &Error, digest| match error.cause() {
        Cause::Misbehaved(Misbehaviour::WrongDigest { expected, .. }) => expected == digest,
        _ => false,
    };
    for adapter in adapters() {
        let root = filled.root();
        let error = adapter.blob(&root.at(small.digest.clone()), Some(small.size)).unwrap_err();
        assert!(refused(&error, &small.digest), "{}: {error}", adapter.name());
        assert_eq!(filled.requests().len(), 1, "{}: no retries", adapter.name());
        let error = adapter.walk(&root, WalkOptions::default()).unwrap_err();
        assert!(refused(&error, &deepest.digest), "{}: {error}", adapter.name());
        filled.requests();
    }
}

#[test]
fn missing_content_is_not_found() {
    let Some(filled) = Filled::start() else { return };
    let host = filled.proxy.address();
    for adapter in adapters() {
        for name in [format!("{host}/{REPOSITORY}:none"), format!("{host}/team/none:latest")] {
            let error = adapter.resolve(&name.parse().unwrap(), None).unwrap_err();
            assert!(error.is_not_found(), "{}: {error}", adapter.name());
            // docker-registry's body has details, but a HEAD response has no body.
            let error = adapter.manifest(&name.parse().unwrap(), None).unwrap_err();
            assert!(error.to_string().contains("MANIFEST_UNKNOWN"), "{}: {error}", adapter.name());
        }
    }
}

#[test]
fn ocip_prints_pushed_content_on_either_adapter() {
    let Some(filled) = Filled::start() else { return };
    let root = &filled.sample.root;
    let [.., by_sha512] = &filled.sample.blobs[..] else { panic!("the sample has blobs") };
    let (reference, held) =
        (filled.root().to_string(), |d: &Descriptor| filled.sample.memory.bytes(&d.digest));
    for adapter in ["tokio", "ureq"] {
        let run = |arguments: &[&str]| {
            let output = ocip().args(["--quiet", "--adapter", adapter]).args(arguments).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ocip --adapter {adapter} {arguments:?}: {stderr}");
            output.stdout
        };
        let lines = |output: &[u8]| -> Vec<Value> {
            output.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
        };
        assert_eq!(lines(&run(&["resolve", "--json", &reference])), [essence(root)]);
        assert_eq!(lines(&run(&["tree", "--json", &reference])), filled.listing());
        assert_eq!(run(&["manifest", &reference]), held(root).unwrap());
        let blob = filled.root().at(by_sha512.digest.clone()).to_string();
        assert_eq!(run(&["blob", &blob]), held(by_sha512).unwrap());

        let platform = ["--platform", "linux/arm/v7", "--json"];
        let resolved = run(&[&["resolve"], &platform[..], &[&reference]].concat());
        assert_eq!(lines(&resolved), [essence(&filled.sample.deepest)]);
    }
}

/// Limitations of docker-registry 2.8, which is why the tests above use sha512 for blobs only, and no entries
/// of unknown types. Once it accepts them, [`Sample::nested`] can have them.
#[test]
fn docker_registry_refuses_sha512_manifests_and_unknown_manifest_types() {
    let Some(registry) = empty() else { return };
    let mut memory = Memory::new();
    let by_sha512 = memory.add_image(Flavour::OCI.by(Algorithm::Sha512), None, &[b"a layer"]);
    let refusal =
        Pusher::new(registry.address(), REPOSITORY, &memory).push("latest", &by_sha512).unwrap_err();
    assert!(refusal.contains("400") && refusal.contains("DIGEST_INVALID"), "{refusal}");

    let unknown = memory.add_document("application/vnd.example.note.v1+json".parse().unwrap(), "{}");
    let index = memory.add_index(Flavour::OCI, [&unknown]);
    let mut pusher = Pusher::new(registry.address(), REPOSITORY, &memory);
    let refusal = pusher.push("latest", &index).unwrap_err();
    assert!(refusal.contains("400") && refusal.contains("MANIFEST_INVALID"), "{refusal}");
    pusher.put_blob(&unknown.digest.to_string()).unwrap();
    let (digest, media_type) = (index.digest.to_string(), index.media_type.as_str());
    let refusal = pusher.put_manifest("latest", &digest, media_type).unwrap_err();
    assert!(refusal.contains("400") && refusal.contains("MANIFEST_BLOB_UNKNOWN"), "{refusal}");
}

/// Figures of a walk by a new client, without a proxy. Shown with `--nocapture`.
#[test]
#[expect(clippy::print_stdout, reason = "prints the figures")]
fn figures_of_a_walk() {
    const WALKS: usize = 20;
    let Some(filled) = Filled::start() else { return };
    let reference = root(filled.registry.address());
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..WALKS {
        for (adapter, times) in adapters().iter().zip(&mut times) {
            let start = Instant::now();
            let nodes = adapter.walk(&reference, WalkOptions::default()).unwrap();
            times.push(start.elapsed());
            assert_eq!((nodes.len(), adapter.requests()), (14, 12), "{}", adapter.name());
        }
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    for (adapter, times) in adapters().iter().zip(&mut times) {
        times.sort();
        println!(
            "walk of the three-level index in docker-registry, {}, {build}: 14 nodes, 12 requests, \
             median {:.1?}, least {:.1?} of {WALKS}",
            adapter.name(),
            times[WALKS / 2],
            times[0],
        );
    }
}
