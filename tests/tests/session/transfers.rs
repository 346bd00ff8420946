//! Pushes and copies between model registries, with the habits and the faults of real ones.

mod registries;
mod subjects;
mod world;

use std::collections::BTreeSet;

use bytes::Bytes;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Descriptor, Digest, MediaType, PushOptions, Reference, Tag};
use oci_proto_tests::simulation::{Choices, Content};
use oci_proto_tests::writable::WritableRegistry;
use proptest::collection::vec;
use proptest::prelude::*;

use world::{Whims, World};

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// The destination has exactly the tree.
fn assert_equal(
    registry: &WritableRegistry,
    repository: &str,
    tags: &[&str],
    memory: &Memory,
    root: &Descriptor,
) {
    registry.assert_whole();
    for tag in tags {
        assert_eq!(registry.tagged(repository, tag), Some(&root.digest), "the tag {tag}");
    }
    // A tag may be set twice if the first response is lost.
    for (of, tag, digest) in &registry.tags {
        assert!(
            of != repository || tags.contains(&tag.as_str()) && *digest == root.digest,
            "{tag} named {digest}"
        );
    }
    for ((of, digest), bytes) in &registry.blobs {
        assert!(of != repository || memory.bytes(digest).as_ref() == Some(bytes), "{digest}");
    }
    for ((of, digest), (_, bytes)) in &registry.manifests {
        assert!(of != repository || memory.bytes(digest).as_ref() == Some(bytes), "{digest}");
    }
}

/// No request that changes the repository follows the one that sets the first tag, but those of other tags.
fn assert_tags_are_last(requests: &[String], repository: &str, tags: &[&str]) {
    let sets_tag = |request: &&String| {
        request.starts_with("PUT ")
            && tags.iter().any(|tag| {
                request.contains(&format!("/{repository}/manifests/{tag}"))
                    || request.contains(&format!("tag={tag}"))
            })
    };
    let Some(first) = requests.iter().position(|request| sets_tag(&request)) else { return };
    for request in &requests[first..] {
        let is_read =
            request.starts_with("GET") || request.starts_with("HEAD") || request.starts_with("DELETE");
        let is_ours = request.contains(&format!("/{repository}/"));
        assert!(is_read || !is_ours || sets_tag(&request), "{request} follows the tag");
    }
}

/// The tags of a push, beside that of its reference.
const TAGS: [&str; 3] = ["1", "latest", "stable"];

fn options(tags: usize) -> PushOptions {
    let mut options = PushOptions::default();
    options.tags = TAGS[1..tags].iter().map(|tag| tag.parse::<Tag>().expect("a tag")).collect();
    options
}

/// Requests that send something. The cancellation of an upload may be late.
fn writes(requests: &[String]) -> Vec<&String> {
    let is_write =
        |request: &&String| !["HEAD", "GET", "DELETE"].iter().any(|read| request.starts_with(read));
    requests.iter().filter(is_write).collect()
}

prop_compose! {
    fn whims()(faults in 0..5_usize, actions in 0..4_usize) -> Whims {
        Whims { faults, actions }
    }
}

/// Images whose layers, and indexes whose entries, are not what one expects.
fn odd_trees() -> Vec<(&'static str, Memory, Descriptor)> {
    let thing: MediaType = "application/vnd.example.thing".parse().expect("a media type");
    let mut trees = Vec::new();
    for document_first in [false, true] {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[b"layer"]);
        let as_blob = Descriptor::new(thing.clone(), image.digest.clone(), image.size);
        let config = memory.add_blob(MediaType::OCI_EMPTY, &b"{}"[..]);
        let artifact = image_of(&mut memory, &config, &[&as_blob]);
        let entries = if document_first { [image, artifact] } else { [artifact, image] };
        let root = memory.add_index(Flavour::OCI, &entries);
        trees.push(("a document is also a layer", memory, root));
    }
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"layer"]);
    let as_entry = Descriptor::new(thing.clone(), image.digest.clone(), image.size);
    let index = memory.add_index(Flavour::OCI, std::slice::from_ref(&as_entry));
    let root = memory.add_index(Flavour::OCI, &[index, image, as_entry]);
    trees.push(("a document is also an entry of another type", memory, root));

    let mut memory = Memory::new();
    let config = memory.add_blob(MediaType::OCI_EMPTY, &b"{}"[..]);
    let mut embedded = config.clone();
    embedded.data = memory.bytes(&config.digest);
    let empty = memory.add_blob(thing, Bytes::new());
    let first = image_of(&mut memory, &embedded, &[&config, &empty]);
    let second = image_of(&mut memory, &config, &[&empty, &empty, &embedded]);
    let root = memory.add_index(Flavour::OCI, &[first, second]);
    trees.push(("content is empty, embedded and repeated", memory, root));
    trees
}

fn image_of(memory: &mut Memory, config: &Descriptor, layers: &[&Descriptor]) -> Descriptor {
    let described = |descriptor: &Descriptor| {
        let mut value = serde_json::json!({
            "mediaType": descriptor.media_type.as_str(), "digest": descriptor.digest.to_string(),
            "size": descriptor.size,
        });
        if descriptor.data.is_some() {
            value["data"] = "e30=".into();
        }
        value
    };
    let media_type = MediaType::OCI_MANIFEST;
    let layers: Vec<_> = layers.iter().map(|layer| described(layer)).collect();
    let image = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type.as_str(), "config": described(config), "layers": layers,
    });
    memory.add_document(media_type, image.to_string())
}

#[test]
fn content_is_stored_as_all_that_it_is() {
    for (what, memory, root) in odd_trees() {
        let mut world = World::new(&[], memory.clone(), Whims::default());
        let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
        let ended = world.run(op);
        assert!(ended.is_ok(), "{what}: {ended:?} {:#?}", world.registries["a.example"].requests);
        assert_equal(&world.registries["a.example"], "team/app", &TAGS[..1], &memory, &root);
        world.memory = Memory::new();
        for to in ["b.example/team/copy:1", "a.example/team/copy:1"] {
            let to = reference(to);
            let op = world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default());
            let ended = world.run(op);
            let registry = &world.registries[to.registry().as_str()];
            assert!(ended.is_ok(), "{what}: {ended:?} {:#?}", registry.requests);
            assert_equal(registry, "team/copy", &TAGS[..1], &memory, &root);
        }
    }
}

#[test]
fn a_push_of_content_with_an_unknown_digest_algorithm_fails() {
    let mut memory = Memory::new();
    let config = memory.add_blob(MediaType::OCI_EMPTY, &b"{}"[..]);
    let digest = "blake3:0123456789abcdef0123456789abcdef".parse().expect("a digest");
    let layer = Descriptor::new(MediaType::OCTET_STREAM, digest, 5);
    let root = image_of(&mut memory, &config, &[&layer]);
    let mut world = World::new(&[], memory, Whims::default());
    let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
    let error = world.run(op).expect_err("it cannot be verified").to_string();
    assert!(error.contains("blake3"), "{error}");
    assert_eq!(world.registries["a.example"].tags, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_push_stores_the_tree_and_a_second_one_sends_nothing(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), whims in whims(), tags in 1..4_usize,
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), whims);
        let to = reference("b.example/team/app:1");
        for again in [false, true] {
            let before = world.registries["b.example"].requests.len();
            let op = world.session.push(&root, &to, options(tags));
            let ended = world.run(op);
            let registry = &world.registries["b.example"];
            prop_assert!(ended.is_ok(), "{ended:?} {:#?}", registry.requests);
            assert_equal(registry, "team/app", &TAGS[..tags], &memory, &root);
            let requests = &registry.requests[before..];
            assert_tags_are_last(requests, "team/app", &TAGS[..tags]);
            let refused = requests.iter().filter(|request| request.ends_with("challenged") || request.ends_with("limited"));
            prop_assert!(!again || refused.count() > 0 || writes(requests).is_empty(), "{requests:#?}");
        }
    }

    #[test]
    fn a_copy_between_registries_is_equal(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), whims in whims(), same in any::<bool>(),
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), Whims::default());
        let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
        prop_assert!(world.run(op).is_ok());
        world.memory = Memory::new();
        world.whims = whims;
        let host = if same { "a.example" } else { "b.example" };
        let before = world.registries[host].requests.len();
        let to = reference(&format!("{host}/team/copy:1"));
        let op = world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default());
        let ended = world.run(op);
        let registry = &world.registries[host];
        prop_assert!(ended.is_ok(), "{ended:?} {:#?}", registry.requests);
        assert_equal(registry, "team/copy", &TAGS[..1], &memory, &root);
        assert_tags_are_last(&registry.requests[before..], "team/copy", &TAGS[..1]);
    }

    #[test]
    fn a_transfer_that_was_killed_is_completed_by_another_session(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), steps in 0..400_usize, whims in whims(),
        is_copy in any::<bool>(),
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), Whims::default());
        if is_copy {
            let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
            prop_assert!(world.run(op).is_ok());
            world.memory = Memory::new();
        }
        world.whims = whims;
        let start = |world: &mut World<'_>| {
            let to = reference("b.example/team/copy:1");
            if is_copy {
                world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default())
            } else {
                world.session.push(&root, &to, PushOptions::default())
            }
        };
        let op = start(&mut world);
        if !world.run_for(&[op], steps) {
            world.restart();
            let op = start(&mut world);
            let ended = world.run(op);
            prop_assert!(ended.is_ok(), "{ended:?} {:#?}", world.registries["b.example"].requests);
            assert_equal(&world.registries["b.example"], "team/copy", &TAGS[..1], &memory, &root);
        }
    }

    #[test]
    fn a_transfer_that_is_cancelled_cancels_its_uploads(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), steps in 0..400_usize, is_copy in any::<bool>(),
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let root = content.root.clone();
        let mut world = World::new(&data, content.memory.clone(), Whims::default());
        let mut op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
        if is_copy {
            prop_assert!(world.run(op).is_ok());
            world.memory = Memory::new();
            let to = reference("b.example/team/copy:1");
            op = world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default());
        }
        if !world.run_for(&[op], steps) {
            world.session.cancel(op);
            world.run_out();
            for registry in world.registries.values() {
                prop_assert!(registry.uploads.is_empty(), "{:#?}", registry.requests);
                registry.assert_whole();
            }
        }
    }

    #[test]
    fn a_copy_of_a_tree_with_a_hole_leaves_nothing_that_refers_to_it(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), hole in any::<proptest::sample::Index>(),
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), Whims::default());
        let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
        prop_assert!(world.run(op).is_ok());
        world.memory = Memory::new();
        let source = world.registries.get_mut("a.example").expect("a registry");
        world.incomplete = Some("a.example");
        let keys: BTreeSet<Digest> = source.blobs.keys().map(|(_, digest)| digest.clone()).collect();
        prop_assume!(!keys.is_empty());
        let missing = keys.into_iter().nth(hole.index(source.blobs.len())).expect("the index is below the length");
        source.blobs.retain(|(_, digest), _| *digest != missing);
        let to = reference("b.example/team/copy:1");
        let op = world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default());
        let ended = world.run(op);
        let registry = &world.registries["b.example"];
        registry.assert_whole();
        // Content that is embedded, or empty, has no hole.
        if ended.is_err() {
            prop_assert!(registry.tags.is_empty(), "{:?}", registry.tags);
        } else {
            assert_equal(registry, "team/copy", &TAGS[..1], &memory, &root);
        }
    }
}
