//! Documents with subjects, at registries that list referrers and at those that do not.

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Descriptor, Evidence, Manifest, MediaType, PushOptions};
use oci_proto_tests::writable::Habits;
use proptest::collection::vec;
use proptest::prelude::*;

use super::reference;
use super::world::{Whims, World};

const SUBJECT: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// An artifact with a subject, whose content is embedded nowhere and refers to nothing.
fn artifact(number: usize) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],
            "artifactType":"application/vnd.example.n{number}","annotations":{{"n":"{number}"}},
            "subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{SUBJECT}","size":7}}}}"#
    );
    Manifest::read(text.into(), Evidence::default()).expect("a valid index")
}

fn world(data: &[u8], whims: Whims, habits: Habits) -> World<'_> {
    let mut world = World::new(data, Memory::new(), whims);
    world.registries.get_mut("b.example").expect("a registry").habits = habits;
    world
}

fn old_registry() -> Habits {
    let mut habits = Habits::default();
    habits.without_referrers = true;
    habits
}

fn listed(world: &World<'_>) -> Vec<String> {
    let registry = &world.registries["b.example"];
    let tag = SUBJECT.replace(':', "-");
    let Some(digest) = registry.tagged("team/app", &tag) else { return Vec::new() };
    let (_, index) = &registry.manifests[&("team/app".to_owned(), digest.clone())];
    let index: serde_json::Value = serde_json::from_slice(index).expect("JSON");
    let entries = index["manifests"].as_array().expect("an array").iter();
    entries.map(|entry| entry["annotations"]["n"].as_str().expect("text").to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_that_are_attached_at_the_same_time_are_all_listed(
        data in vec(any::<u8>(), 0..200), faults in 0..4_usize, count in 1..5_usize,
    ) {
        let mut habits = old_registry();
        habits.etags = true;
        let mut world = world(&data, Whims { faults, actions: 0 }, habits);
        let to = |manifest: &Manifest| {
            let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, manifest.bytes());
            reference("b.example/team/app:1").at(digest)
        };
        let artifacts: Vec<Manifest> = (0..count).map(artifact).collect();
        let ops: Vec<_> = artifacts
            .iter()
            .map(|artifact| world.session.push_manifest(&to(artifact), artifact.clone(), Vec::new()))
            .collect();
        for ended in world.run_all(&ops) {
            prop_assert!(ended.is_ok(), "{ended:?} {:#?}", world.registries["b.example"].requests);
        }
        let mut listed = listed(&world);
        listed.sort();
        let all: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        prop_assert_eq!(listed, all, "{:#?}", world.registries["b.example"].requests);
    }
}

/// A document with a subject, which refers to these documents.
fn referrer(memory: &mut Memory, subject: &Descriptor, entries: &[&Descriptor]) -> Descriptor {
    let described = |descriptor: &Descriptor| {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    let entries: Vec<String> = entries.iter().map(|entry| described(entry)).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}],
            "artifactType":"application/vnd.example.signature","subject":{}}}"#,
        entries.join(","),
        described(subject)
    );
    memory.add_document(MediaType::OCI_INDEX, text)
}

#[test]
fn a_copy_with_referrers_stores_them_before_the_root() {
    for [source, target] in [[false, false], [false, true], [true, false], [true, true]] {
        let mut world = world(&[], Whims::default(), if target { old_registry() } else { Habits::default() });
        if source {
            world.registries.get_mut("a.example").expect("a registry").habits = old_registry();
        }
        let (mut memory, root) = Memory::sample();
        let child = memory.add_image(Flavour::OCI, None, &[b"evidence"]);
        let of_root = referrer(&mut memory, &root, &[&child]);
        let of_child = referrer(&mut memory, &child, &[]);
        let of_referrer = referrer(&mut memory, &of_root, &[&child]);
        let around = referrer(&mut memory, &of_referrer, &[&root]);
        let all = [&root, &of_root, &of_child, &of_referrer, &around];
        world.memory = memory.clone();
        for (number, pushed) in all.iter().enumerate() {
            let to = reference(&format!("a.example/team/app:{number}"));
            let op = world.session.push(pushed, &to, PushOptions::default());
            world.run(op).expect("it is stored");
        }
        world.memory = Memory::new();
        let mut options = PushOptions::default();
        options.referrers = true;
        for again in [false, true] {
            let before = world.registries["b.example"].requests.len();
            let to = reference("b.example/team/copy:1");
            let op = world.session.copy(&reference("a.example/team/app:0"), &to, options.clone());
            let ended = world.run(op);
            let registry = &world.registries["b.example"];
            assert!(ended.is_ok(), "{ended:?} {:#?}", registry.requests);
            for document in all {
                let key = ("team/copy".to_owned(), document.digest.clone());
                assert!(registry.manifests.contains_key(&key), "{document:?} {:#?}", registry.requests);
            }
            let requests = &registry.requests[before..];
            let place = |name: &str| requests.iter().position(|r| r.starts_with("PUT") && r.ends_with(name));
            if again {
                assert!(!requests.iter().any(|request| request.starts_with("PUT")), "{requests:#?}");
            } else {
                let tag = place("/manifests/1").expect("the tag is set");
                for document in [&of_root, &of_child, &of_referrer] {
                    assert!(
                        place(&document.digest.to_string()).expect("it is stored") < tag,
                        "{requests:#?}"
                    );
                }
                assert!(place(&around.digest.to_string()).expect("it is stored") > tag, "{requests:#?}");
            }
        }
    }
}

#[test]
fn a_document_that_was_stored_without_an_entry_gets_one() {
    let mut world = world(&[], Whims::default(), old_registry());
    let artifact = artifact(1);
    let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, artifact.bytes());
    let to = reference("b.example/team/app:1").at(digest.clone());
    let registry = world.registries.get_mut("b.example").expect("a registry");
    let stored = (artifact.media_type().as_str().to_owned(), artifact.bytes().clone());
    registry.manifests.insert(("team/app".to_owned(), digest), stored);
    for _ in 0..2 {
        let op = world.session.push_manifest(&to, artifact.clone(), Vec::new());
        world.run(op).expect("it is attached");
        assert_eq!(listed(&world), ["1"]);
    }
    let requests = &world.registries["b.example"].requests;
    let puts = requests.iter().filter(|request| request.starts_with("PUT"));
    assert_eq!(puts.count(), 1, "{requests:#?}");
}

#[test]
fn a_registry_that_lists_referrers_gets_no_index() {
    for without_subject_header in [false, true] {
        let mut habits = Habits::default();
        habits.without_subject_header = without_subject_header;
        let mut world = world(&[], Whims::default(), habits);
        let artifact = artifact(1);
        let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, artifact.bytes());
        let to = reference("b.example/team/app:1").at(digest);
        let op = world.session.push_manifest(&to, artifact, Vec::new());
        world.run(op).expect("it is attached");
        assert!(listed(&world).is_empty());
    }
}

#[test]
fn another_document_under_the_tag_of_the_index_is_not_replaced() {
    let foreign = [
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"DIGEST","size":7},"layers":[]}"#,
            "application/vnd.oci.image.manifest.v1+json",
            "not an index",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#,
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "the type of the document under the fallback tag is application/vnd.docker",
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"subject":{"mediaType":"a/b","digest":"DIGEST","size":7}}"#,
            "application/vnd.oci.image.index.v1+json",
            "it is itself a referrer",
        ),
    ];
    for (text, media_type, problem) in foreign {
        let text = text.replace("DIGEST", SUBJECT);
        let mut world = world(&[], Whims::default(), old_registry());
        let registry = world.registries.get_mut("b.example").expect("a registry");
        let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, text.as_bytes());
        let key = ("team/app".to_owned(), digest.clone());
        registry.manifests.insert(key.clone(), (media_type.to_owned(), text.clone().into()));
        registry.tags.push(("team/app".to_owned(), SUBJECT.replace(':', "-"), digest));
        world.incomplete = Some("b.example");
        let artifact = artifact(1);
        let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, artifact.bytes());
        let to = reference("b.example/team/app:1").at(digest);
        let op = world.session.push_manifest(&to, artifact, Vec::new());
        let error = world.run(op).expect_err("it cannot be listed").to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(world.registries["b.example"].tags.len(), 1);
    }
}
