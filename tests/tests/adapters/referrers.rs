//! Referrers come along in the pushes and the pulls of both adapters.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::server::{Flavour, Memory};
use oci_proto::{
    Descriptor, Digest, Evidence, Fault, FaultKind, Manifest, PullOptions, PushOptions, Reference, Referrer,
};
use oci_proto_common::{BlobSource, TreeSource};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::adapters;
use oci_proto_tokio::layout::{Layout, LayoutDestination, LayoutWriter, check};

use crate::registry::Host;

/// A sample with referrers: of the root, of a referrer, and an index of the root and one of these.
struct Signed {
    memory: Arc<Memory>,
    root: Descriptor,
    signature: Descriptor,
    countersigned: Descriptor,
    bundle: Descriptor,
}

impl Signed {
    fn new() -> Self {
        let (mut memory, root) = Memory::sample();
        let mut sign = |subject: &Descriptor, text: &[u8]| {
            let artifact_type = "application/vnd.example.signature".parse().unwrap();
            memory.add_artifact(Flavour::OCI, artifact_type, &[text], Some(subject))
        };
        let signature = sign(&root, b"signed");
        let countersigned = sign(&signature, b"countersigned");
        let [subject, listed] = [&root, &signature].map(|Descriptor { media_type, digest, size, .. }| {
            serde_json::json!({"mediaType": media_type.as_str(), "digest": digest.to_string(), "size": size})
        });
        let media_type = "application/vnd.oci.image.index.v1+json";
        let bundle = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "manifests": [subject, listed], "subject": subject,
        });
        let bundle = memory.add_document(media_type.parse().unwrap(), bundle.to_string());
        Self { memory: Arc::new(memory), root, signature, countersigned, bundle }
    }

    /// The referrers of the root, and those of the signature.
    fn expected(&self) -> [BTreeSet<Digest>; 2] {
        let digests = |of: &[&Descriptor]| of.iter().map(|of| of.digest.clone()).collect();
        [digests(&[&self.signature, &self.bundle]), digests(&[&self.countersigned])]
    }

    /// All documents, or only those with a subject.
    fn documents(&self, with_subject: bool) -> BTreeSet<Digest> {
        let is_one = |(digest, bytes): (&Digest, &Bytes)| {
            let manifest = Manifest::read(bytes.clone(), Evidence::default()).ok()?;
            (manifest.subject().is_some() || !with_subject).then(|| digest.clone())
        };
        self.memory.contents().filter_map(is_one).collect()
    }

    /// Both lists at a registry.
    fn listed(&self, adapter: &dyn Adapter, reference: &Reference) -> [BTreeSet<Digest>; 2] {
        [&self.root, &self.signature].map(|subject| {
            let mut found = BTreeSet::new();
            let mut take = |referrer: Referrer| _ = found.insert(referrer.descriptor.digest);
            adapter.referrers(&reference.at(subject.digest.clone()), None, &mut take).unwrap();
            found
        })
    }
}

fn push_options(referrers: bool) -> PushOptions {
    let mut options = PushOptions::default();
    options.referrers = referrers;
    options
}

#[test]
fn a_push_includes_referrers_if_they_are_requested() {
    let signed = Signed::new();
    for adapter in adapters() {
        let name = adapter.name();
        let host = Host::open();
        let reference = host.reference("team/app:1");
        let push = |referrers| {
            adapter.push(&signed.root, &reference, signed.memory.clone(), push_options(referrers).into())
        };
        push(false).unwrap();
        assert_eq!(signed.listed(&*adapter, &reference), [BTreeSet::new(), BTreeSet::new()], "{name}");
        push(true).unwrap();
        assert_eq!(signed.listed(&*adapter, &reference), signed.expected(), "{name}");
        let mut findings = Vec::new();
        for root in [&signed.root, &signed.countersigned, &signed.bundle] {
            let of = reference.at(root.digest.clone());
            adapter.check(&of, None, &mut |finding| findings.push(finding)).unwrap();
        }
        assert!(findings.is_empty(), "{name}: {findings:?}");
    }
}

#[test]
fn a_pull_includes_referrers_if_they_are_requested() {
    let signed = Signed::new();
    let host = Host::open();
    let reference = host.reference("team/app:1");
    adapters()[0].push(&signed.root, &reference, signed.memory.clone(), push_options(true).into()).unwrap();
    for adapter in adapters() {
        let name = adapter.name();
        let home = tempfile::tempdir().unwrap();
        let pull = |referrers| {
            let mut options = PullOptions::default();
            options.referrers = referrers;
            let destination = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
            let before = adapter.requests();
            assert_eq!(adapter.pull(&reference, destination, options).unwrap(), signed.root, "{name}");
            adapter.requests() - before
        };
        let roots = || {
            let layout = Layout::open(home.path()).unwrap();
            let named = layout
                .roots()
                .iter()
                .map(|root| (root.descriptor().digest.clone(), root.ref_name().map(ToString::to_string)));
            named.collect::<BTreeSet<_>>()
        };
        pull(false);
        let root = (signed.root.digest.clone(), Some("1".to_owned()));
        assert_eq!(roots(), [root.clone()].into(), "{name}");
        pull(true);
        let referrers = signed.documents(true).into_iter().map(|referrer| (referrer, None));
        assert_eq!(roots(), referrers.chain([root]).collect(), "{name}");
        let findings: Vec<_> = check(home.path(), None).unwrap().collect();
        assert!(findings.is_empty(), "{name}: {findings:?}");
        let lists = signed.documents(false).len() as u64;
        assert_eq!(pull(true), 1 + lists, "{name}: only the root, by its tag, and the lists are requested");
    }
}

/// A tree whose referrers cannot be listed.
struct Unlisted(Memory);

impl TreeSource for Unlisted {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        self.0.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        self.0.blob(descriptor)
    }

    fn referrers(&self, _: &Descriptor) -> io::Result<Vec<Descriptor>> {
        Err(io::Error::other("the disk is broken"))
    }
}

#[test]
fn a_push_fails_if_referrers_cannot_be_listed() {
    for adapter in adapters() {
        let (memory, root) = Memory::sample();
        let host = Host::open();
        let reference = host.reference("team/app:1");
        let push = |referrers| {
            let tree = Arc::new(Unlisted(memory.clone()));
            adapter.push(&root, &reference, tree, push_options(referrers).into())
        };
        let error = push(true).unwrap_err();
        assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Storage), "{}", adapter.name());
        let said = error.to_string();
        assert!(said.contains("the disk is broken") && said.contains("sha256:"), "{said}");
        assert!(!adapter.exists(&reference, false).unwrap(), "{}", adapter.name());
        push(false).unwrap();
    }
}
