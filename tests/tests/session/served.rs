//! Clients against the server of `oci-proto`, without a socket: with disks that fail, and restarts at any moment.

mod disk;
mod host;
mod world;

use oci_proto::server::Memory;
use oci_proto::{PushOptions, Reference};
use oci_proto_tests::simulation::{Choices, Content};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use host::{Seen, Troubles};
use world::World;

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// Everything of a tree is at the registry.
fn assert_stored(world: &World<'_>, tree: &Memory) {
    let repository = "team/app".parse().expect("a repository");
    for (digest, _) in tree.contents() {
        assert!(world.host.disk.has(&repository, digest), "{digest} is not there: {:#?}", world.host.log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_every_failure_and_crash(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), failures in 0..5_usize, crashes in 0..4_usize,
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, &[&memory], Troubles { failures, crashes });
        let op = world.clients[0].push(&root, &reference("registry.example/team/app:1"), PushOptions::default());
        let ended = world.run(&[op]);
        prop_assert!(ended.iter().all(Result::is_ok), "{ended:?} {:#?}", world.host.log);
        assert_stored(&world, &memory);
        prop_assert_eq!(world.host.tag("team/app", "1"), Some(root.digest.clone()));
        // Another run sends nothing, and what is read is what was pushed.
        let before = world.host.disk.writes;
        let op = world.clients[0].push(&root, &reference("registry.example/team/app:1"), PushOptions::default());
        prop_assert!(world.run(&[op]).iter().all(Result::is_ok));
        prop_assert_eq!(world.host.disk.writes, before, "{:#?}", world.host.log);
        let op = world.clients[0].check(&reference("registry.example/team/app:1"), None);
        prop_assert!(world.run(&[op]).iter().all(Result::is_ok));
        prop_assert!(world.findings.is_empty(), "{:?}", world.findings);
    }

    #[test]
    fn two_clients_at_once_leave_one_of_both_results(
        trees in [vec(any::<u8>(), 0..60), vec(any::<u8>(), 0..60)], data in vec(any::<u8>(), 0..600),
        failures in 0..4_usize, crashes in 0..3_usize,
    ) {
        let contents = trees.map(|tree| Content::draw(&mut Choices::new(&tree)));
        let [first, second] = &contents;
        let mut world = World::new(&data, &[&first.memory, &second.memory], Troubles { failures, crashes });
        let to = reference("registry.example/team/app:1");
        let ops = [
            world.clients[0].push(&first.root, &to, PushOptions::default()),
            world.clients[1].push(&second.root, &to, PushOptions::default()),
        ];
        let ended = world.run(&ops);
        prop_assert!(ended.iter().all(Result::is_ok), "{ended:?} {:#?}", world.host.log);
        for content in &contents {
            assert_stored(&world, &content.memory);
        }
        let tagged = world.host.tag("team/app", "1");
        prop_assert!(contents.iter().any(|content| Some(&content.root.digest) == tagged.as_ref()), "{tagged:?}");
    }

    #[test]
    fn a_repository_is_copied_by_mounts(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..600), failures in 0..4_usize, crashes in 0..3_usize,
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, &[&memory], Troubles::default());
        let from = reference("registry.example/team/app:1");
        let op = world.clients[0].push(&root, &from, PushOptions::default());
        prop_assert!(world.run(&[op]).iter().all(Result::is_ok));
        world.host.log.clear();
        world.host.troubles = Troubles { failures, crashes };
        let op = world.clients[0].copy(&from, &reference("registry.example/team/copy:1"), PushOptions::default());
        let ended = world.run(&[op]);
        prop_assert!(ended.iter().all(Result::is_ok), "{ended:?} {:#?}", world.host.log);
        prop_assert_eq!(world.host.tag("team/copy", "1"), Some(root.digest.clone()));
        // After a failed mount, the blob is sent; and clients mount no other digests than these.
        let is_sent = |line: &&String| line.starts_with('P') && line.contains("/uploads/") && line.contains("?digest=sha256:");
        let sent: Vec<_> = world.host.log.iter().filter(is_sent).collect();
        prop_assert!(failures > 0 || sent.is_empty(), "{sent:#?}");
    }
}

#[test]
fn the_troubles_occur() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |most| vec(any::<u8>(), most).new_tree(&mut runner).expect("bytes").current();
    let mut seen = Vec::new();
    for _ in 0..60 {
        let (tree, data) = (draw(80), draw(600));
        let content = Content::draw(&mut Choices::new(&tree));
        let mut world = World::new(&data, &[&content.memory], Troubles { failures: 4, crashes: 3 });
        let to = reference("registry.example/team/app:1");
        let op = world.clients[0].push(&content.root, &to, PushOptions::default());
        assert!(world.run(&[op]).iter().all(Result::is_ok), "{:#?}", world.host.log);
        seen.append(&mut world.host.seen);
    }
    for trouble in Seen::ALL {
        let count = seen.iter().filter(|seen| **seen == trouble).count();
        assert!(count >= 5, "{trouble:?} occurs {count} times");
    }
}
