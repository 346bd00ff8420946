//! Registries that refuse, forget, or answer as no specification says.

use oci_proto::server::Memory;
use oci_proto::{Event, PushOptions};
use oci_proto_tests::writable::{Forgets, Habits};

use super::world::{Whims, World};
use super::{image_of, reference};

fn world(habits: Habits) -> World<'static> {
    let (memory, _) = Memory::sample();
    let mut world = World::new(&[], memory, Whims::default());
    world.registries.get_mut("b.example").expect("a registry").habits = habits;
    world
}

#[test]
fn a_registry_that_forgets_what_it_stored_is_found_out() {
    for (forgets, verify, is_found) in [
        (Forgets::Blobs, true, true),
        (Forgets::Manifests, true, true),
        (Forgets::Tags, true, true),
        (Forgets::Blobs, false, false),
        (Forgets::Manifests, false, false),
        (Forgets::Tags, false, false),
    ] {
        let mut habits = Habits::default();
        habits.forgets = Some(forgets);
        let mut world = world(habits);
        world.incomplete = Some("b.example");
        let (_, root) = Memory::sample();
        let mut options = PushOptions::default();
        options.verify = verify;
        let op = world.session.push(&root, &reference("b.example/team/app:1"), options);
        let ended = world.run(op);
        let registry = &world.registries["b.example"];
        assert_eq!(ended.is_err(), is_found, "{forgets:?} {ended:?} {:#?}", registry.requests);
        if let Err(error) = ended {
            assert!(error.to_string().contains("although it reported success"), "{error}");
            assert!(registry.tags.is_empty());
        }
    }
}

#[test]
fn a_push_that_is_verified_asks_once_for_what_it_sent() {
    let mut world = world(Habits::default());
    let (_, root) = Memory::sample();
    let mut options = PushOptions::default();
    options.verify = true;
    for looks in [2, 1] {
        let before = world.registries["b.example"].requests.len();
        let op = world.session.push(&root, &reference("b.example/team/app:1"), options.clone());
        world.run(op).expect("it is stored");
        let mut heads: Vec<_> = world.registries["b.example"].requests[before..]
            .iter()
            .filter(|r| r.starts_with("HEAD"))
            .collect();
        let all = heads.len();
        heads.sort();
        heads.dedup();
        assert_eq!(all, heads.len() * looks, "{heads:#?}");
    }
}

#[test]
fn a_layer_with_a_url_that_the_registry_refuses_is_tried_once() {
    let mut habits = Habits::default();
    habits.refuses_urls = true;
    let mut world = world(habits);
    let mut memory = Memory::new();
    let config = memory.add_blob("a/b".parse().expect("a media type"), &b"{}"[..]);
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"a/b","digest":"{0}","size":2}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar",
                "digest":"{0}","size":2,"urls":["https://layers.example/"]}}]}}"#,
        config.digest
    );
    let root =
        memory.add_document("application/vnd.oci.image.manifest.v1+json".parse().expect("a type"), image);
    world.memory = memory;
    let op = world.session.push(&root, &reference("b.example/team/app:1"), PushOptions::default());
    let error = world.run(op).expect_err("the registry refuses it").to_string();
    assert!(error.contains("invalid URL on layer"), "{error}");
    assert!(!world.events.iter().any(|event| matches!(event, Event::Retry(_))));
}

#[test]
fn the_put_of_a_manifest_decides_if_head_fails() {
    for status in [400, 401, 403, 405, 500, 501, 503] {
        let mut habits = Habits::default();
        habits.head = Some(status);
        let mut world = world(habits);
        let (_, root) = Memory::sample();
        let op = world.session.push(&root, &reference("b.example/team/app:1"), PushOptions::default());
        let ended = world.run(op);
        assert!(ended.is_ok(), "{status}: {ended:?}");
        assert_eq!(world.registries["b.example"].tagged("team/app", "1"), Some(&root.digest));
    }
}

#[test]
fn a_digest_of_another_algorithm_names_the_same_document() {
    // The registry sets tags by their own PUT, and says which digest it has computed.
    for tag_parameters in [false, true] {
        let mut habits = Habits::default();
        habits.tag_parameters = tag_parameters;
        let mut world = world(habits);
        let mut memory = Memory::new();
        let config = memory.add_blob("a/b".parse().expect("a media type"), &b"{}"[..]);
        let image = image_of(&mut memory, &config, &[]);
        let bytes = oci_proto::server::Content::bytes(&memory, &image.digest).expect("it is there");
        let digest = oci_proto::Digest::of(oci_proto::Algorithm::Sha512, &bytes);
        let media_type = image.media_type.clone();
        let root = memory.add_with(oci_proto::Algorithm::Sha512, media_type, bytes);
        assert_eq!(root.digest, digest);
        world.memory = memory;
        for again in [false, true] {
            let before = world.registries["b.example"].requests.len();
            let op = world.session.push(&root, &reference("b.example/team/app:1"), PushOptions::default());
            world.run(op).expect("it is stored");
            let requests = &world.registries["b.example"].requests[before..];
            let puts = requests.iter().filter(|request| request.starts_with("PUT")).count();
            assert_eq!(puts > 0, !again, "{requests:#?}");
        }
    }
}
