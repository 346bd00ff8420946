//! Both adapters follow the rules of a `registries.conf`: mirrors, other locations, plain HTTP, blocked registries.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use oci_proto::server::{Flavour, Memory};
use oci_proto::{
    Algorithm, Config, Descriptor, Digest, Fault, FaultKind, MirrorReport, PullOptions, Reference,
};
use oci_proto_common::{BuildError, Settings, TransferOptions};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{MAKERS, adapters, settings};
use oci_proto_tokio::layout::{LayoutDestination, LayoutWriter};
use tempfile::TempDir;

use crate::registry::Host;

const LAYER: &[u8] = b"a layer";

fn tree() -> (Arc<Memory>, Descriptor) {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[LAYER]);
    (Arc::new(memory), root)
}

/// Stores the tree, without any rules.
fn push(to: &Reference) {
    let (memory, root) = tree();
    let [client, _] = adapters();
    client.push(&root, to, memory, TransferOptions::default()).unwrap();
}

/// Writes a `registries.conf`.
fn configured(text: &str) -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registries.conf");
    fs::write(&path, text).unwrap();
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    (folder, settings().config(config).registries_conf([path]))
}

/// Runs a test with each adapter, and passes what its mirrors did: their authority, and the error if they failed.
fn with_each(
    settings: &Settings,
    test: impl Fn(&dyn Adapter, &dyn Fn() -> Vec<(String, Option<FaultKind>)>),
) {
    for (_, make) in MAKERS {
        let reports: Arc<Mutex<Vec<MirrorReport>>> = Arc::default();
        let seen = reports.clone();
        let client = make(&settings.clone().on_mirror(move |report| {
            seen.lock().unwrap().push(MirrorReport::clone(report));
        }));
        test(&*client, &|| {
            let kind = |report: &MirrorReport| report.error.as_ref()?.fault().map(Fault::kind);
            let reports = std::mem::take(&mut *reports.lock().unwrap());
            reports.iter().map(|report| (report.registry.to_string(), kind(report))).collect()
        });
    }
}

fn pull(client: &dyn Adapter, reference: &Reference) {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutDestination::new(LayoutWriter::open(folder.path()).unwrap());
    client.pull(reference, layout, PullOptions::default()).unwrap();
}

#[test]
fn content_comes_from_a_mirror_and_goes_to_the_registry() {
    let (primary, mirror) = (Host::open(), Host::open());
    push(&mirror.reference("copies/team/app:1"));
    push(&primary.reference("team/app:2"));
    let (primary_at, mirror_at) = (primary.address, mirror.address);
    let (_folder, settings) = configured(&format!(
        "[[registry]]\nprefix = 'registry.test'\nlocation = '{primary_at}'\n\
         [[registry.mirror]]\nlocation = '{mirror_at}/copies'\n"
    ));
    let named = |name: &str| -> Reference { format!("registry.test/{name}").parse().unwrap() };
    with_each(&settings, |client, reports| {
        let label = client.name();
        // The registry itself has no such tag.
        pull(client, &named("team/app:1"));
        assert_eq!(reports(), [(mirror_at.to_string(), None)], "{label}");
        let blob = named("team/app").at(Digest::of(Algorithm::Sha256, LAYER));
        assert_eq!(client.blob(&blob, None).unwrap(), LAYER, "{label}");
        assert_eq!(reports(), [(mirror_at.to_string(), None)], "{label}");

        // The mirror lacks the tag, but has the content.
        let (_, root) = tree();
        assert_eq!(client.resolve(&named("team/app:2"), None).unwrap().digest, root.digest, "{label}");
        // Once for HEAD. A mirror that only lacks content has not failed.
        assert_eq!(reports(), [(mirror_at.to_string(), None)], "{label}");

        let (memory, root) = tree();
        let pushed = format!("pushed/{label}:1");
        client.push(&root, &named(&pushed), memory, TransferOptions::default()).unwrap();
        let [direct, _] = adapters();
        assert!(direct.exists(&primary.reference(&pushed), false).unwrap(), "{label}");
        assert!(!direct.exists(&mirror.reference(&format!("copies/{pushed}")), false).unwrap(), "{label}");
    });
}

#[test]
fn a_copy_reads_from_a_mirror() {
    let (source, mirror, destination) = (Host::open(), Host::open(), Host::open());
    push(&mirror.reference("team/app:1"));
    let (_folder, settings) = configured(&format!(
        "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n",
        source.address, mirror.address
    ));
    with_each(&settings, |client, reports| {
        let copied = destination.reference(&format!("copied/{}:1", client.name()));
        client.copy(&source.reference("team/app:1"), &copied, TransferOptions::default()).unwrap();
        assert_eq!(reports(), [(mirror.address.to_string(), None)]);
        let mut findings = Vec::new();
        client.check(&copied, None, &mut |finding| findings.push(finding)).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    });
}

#[test]
fn a_mirror_that_cannot_be_reached_is_asked_once() {
    let primary = Host::open();
    push(&primary.reference("team/app:1"));
    // Nobody listens on it any more.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (_folder, settings) = configured(&format!(
        "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{gone}'\n",
        primary.address
    ));
    with_each(&settings, |client, reports| {
        pull(client, &primary.reference("team/app:1"));
        assert_eq!(reports(), [(gone.to_string(), Some(FaultKind::Connect))]);
        pull(client, &primary.reference("team/app:1"));
        assert_eq!(reports(), []);
    });
}

/// The address 0.0.0.0 reaches this machine but is not a loopback address, so that plain HTTP is not implied.
#[test]
fn an_insecure_registry_is_accessed_over_plain_http() {
    let primary = Host::open();
    push(&primary.reference("team/app:1"));
    let at = format!("0.0.0.0:{}", primary.address.port());
    let secure = format!("{at}/team/app:1").parse().unwrap();
    let (_folder, settings) =
        configured(&format!("[[registry]]\nprefix = 'insecure.test'\nlocation = '{at}'\ninsecure = true\n"));
    with_each(&settings, |client, _| {
        let (_, root) = tree();
        let insecure = "insecure.test/team/app:1".parse().unwrap();
        assert_eq!(client.resolve(&insecure, None).unwrap().digest, root.digest);
        let error = client.resolve(&secure, None).unwrap_err();
        assert!(error.to_string().starts_with("HEAD https://0.0.0.0"), "{error}");
    });
}

#[test]
fn a_blocked_registry_is_refused() {
    let (_folder, settings) = configured("[[registry]]\nprefix = '*.test'\nblocked = true\n");
    with_each(&settings, |client, _| {
        let error = client.resolve(&"registry.test/app:1".parse().unwrap(), None).unwrap_err();
        let said = "registry.test/app is blocked: the configuration of registries has an entry for `*.test` that is blocked";
        assert_eq!(error.to_string(), said);
    });
}

#[test]
fn a_file_that_is_not_usable_prevents_a_client() {
    let (_folder, invalid) = configured("[[registry]]\n");
    for settings in [invalid, settings().registries_conf([PathBuf::from("/missing/registries.conf")])] {
        let errors = [
            oci_proto_tokio::Client::with_settings(settings.clone()).map(drop),
            oci_proto_ureq::Client::with_settings(settings.clone()).map(drop),
            settings.registries().map(drop),
        ];
        for error in errors {
            assert!(matches!(error, Err(BuildError::Registries { .. })), "{error:?}");
        }
    }
}
