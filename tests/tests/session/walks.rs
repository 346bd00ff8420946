//! Walks of generated trees, with arbitrary drivers.

use std::collections::BTreeSet;

use oci_proto::server::Content as _;
use oci_proto::{Config, Limits, WalkOptions};
use oci_proto_tests::simulation::model::{self, Said};
use oci_proto_tests::simulation::{Behaviour, Choices, Content, PLATFORMS, Registry, Simulation};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::plan::{content, limits, options};

fn reference() -> oci_proto::Reference {
    format!("registry.example/{}:{}", Registry::REPOSITORY, Registry::TAG).parse().expect("a reference")
}

/// Walks a tree; returns the events and the requests.
fn walk(
    content: &Content,
    options: &WalkOptions,
    limits: &Limits,
    behaviour: Behaviour,
    choices: &[u8],
) -> (Vec<String>, Vec<String>) {
    let registry = content.registry();
    let mut config = Config::default();
    config.limits = limits.clone();
    let mut simulation = Simulation::new(config, &registry, behaviour, Choices::new(choices));
    let op = simulation.session.walk(&reference(), options.clone());
    simulation.watch(op);
    let (mut seen, requests) = simulation.run();
    (seen.remove(&op).expect("the operation that was watched").events, requests)
}

fn same(said: &[String], model: &Said) -> Result<(), TestCaseError> {
    let expected = &model.events;
    match model.failure {
        None => prop_assert_eq!(said, expected),
        Some(why) => {
            let (last, before) = said.split_last().expect("at least an end");
            prop_assert_eq!(before, expected);
            prop_assert!(last.starts_with("failed ") && last.contains(why), "{last}, not for {why}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_agrees_with_a_recursion_whatever_the_driver_does(
        content in content(), options in options(), limits in limits(), choices in vec(any::<u8>(), 0..400),
    ) {
        let (said, _) = walk(&content, &options, &limits, Behaviour::INTERRUPTING, &choices);
        same(&said, &model::walk(&content, &options, &limits))?;
    }

    #[test]
    fn a_walk_requests_nothing_twice(
        content in content(), options in options(), limits in limits(), choices in vec(any::<u8>(), 0..400),
    ) {
        let (_, requests) = walk(&content, &options, &limits, Behaviour::ORDERLY, &choices);
        let distinct: BTreeSet<&String> = requests.iter().collect();
        prop_assert_eq!(distinct.len(), requests.len(), "{:?}", requests);
    }

    #[test]
    fn platform_selection_agrees_with_a_recursion(
        content in content(), platform in select(&PLATFORMS[..]), choices in vec(any::<u8>(), 0..300),
    ) {
        let platform = platform.parse().expect("a platform");
        let registry = content.registry();
        let mut simulation = Simulation::new(Config::default(), &registry, Behaviour::INTERRUPTING, Choices::new(&choices));
        let op = simulation.session.resolve(&reference(), Some(&platform));
        simulation.watch(op);
        let (seen, _) = simulation.run();
        let events = &seen[&op].events;
        match model::choose(&content, &platform) {
            Ok(Some(digest)) => prop_assert!(events[0].contains(&digest), "{:?}, not {}", events, digest),
            Ok(None) => prop_assert!(events[0].starts_with("failed no image for platform"), "{:?}", events),
            Err(why) => prop_assert!(events[0].starts_with("failed ") && events[0].contains(why), "{:?}, not {}", events, why),
        }
    }

    #[test]
    fn concurrent_operations_emit_the_same_events_as_alone(
        content in content(), options in options(), limits in limits(), choices in vec(any::<u8>(), 0..600),
        blobs in vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let registry = content.registry();
        let mut config = Config::default();
        config.limits = limits.clone();
        let mut simulation = Simulation::new(config, &registry, Behaviour::INTERRUPTING, Choices::new(&choices));
        let walks = [options.clone(), WalkOptions::default()];
        let walks = walks.map(|options| (simulation.session.walk(&reference(), options.clone()), options));
        let blobs: Vec<_> = blobs.iter().filter(|_| !content.built.is_empty()).map(|index| {
            let descriptor = &content.built[index.index(content.built.len())];
            let at = reference().at(descriptor.digest.clone());
            (simulation.session.manifest(&at, None), descriptor)
        }).collect();
        for op in walks.iter().map(|(op, _)| *op).chain(blobs.iter().map(|(op, _)| *op)) {
            simulation.watch(op);
        }
        let (seen, _) = simulation.run();
        for (op, options) in &walks {
            same(&seen[op].events, &model::walk(&content, options, &limits))?;
        }
        for (op, descriptor) in &blobs {
            let last = seen[op].events.last().expect("an end");
            let there = content.serves(&descriptor.digest);
            let right = there == content.memory.bytes(&descriptor.digest);
            prop_assert_eq!(last == "done", right, "{} {:?}", last, descriptor);
        }
    }
}
