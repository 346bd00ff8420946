//! Trees that are too deep or too wide.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use oci_proto::{Algorithm, Config, Digest, Limits, MediaType, Session, WalkOptions};

use super::drive::{Seen, drive, on_a_small_stack, with_body};

/// Indexes by digest, and the digest of the root.
struct Forest {
    indexes: BTreeMap<String, Bytes>,
    root: Digest,
}

fn entry(index: &Bytes) -> String {
    let digest = Digest::of(Algorithm::Sha256, index);
    format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{}}}"#, MediaType::OCI_INDEX, index.len())
}

fn index(entries: &str) -> Bytes {
    format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#).into()
}

/// An index nested in indexes, `levels` levels below the root.
fn chain(levels: usize) -> Forest {
    let mut indexes = BTreeMap::new();
    let mut last = index("");
    for _ in 0..levels {
        let above = index(&entry(&last));
        indexes.insert(Digest::of(Algorithm::Sha256, &last).to_string(), last);
        last = above;
    }
    let root = Digest::of(Algorithm::Sha256, &last);
    indexes.insert(root.to_string(), last);
    Forest { indexes, root }
}

/// An index with `times` entries for one empty index.
fn repeating(times: usize) -> Forest {
    let child = index("");
    let root = index(&vec![entry(&child); times].join(","));
    let digest = |index: &Bytes| Digest::of(Algorithm::Sha256, index);
    Forest {
        root: digest(&root),
        indexes: [child, root].into_iter().map(|index| (digest(&index).to_string(), index)).collect(),
    }
}

fn walk(forest: &Forest, set: impl Fn(&mut Limits) + Send) -> Seen {
    let reference = format!("registry.example/a/b@{}", forest.root).parse().expect("a reference");
    on_a_small_stack(move || {
        let mut config = Config::default();
        set(&mut config.limits);
        let mut session = Session::new(config, 1);
        let op = session.walk(&reference, WalkOptions::default());
        drive(&mut session, op, |head| {
            let name = head.uri.path().rsplit('/').next().expect("a path");
            with_body(Response::builder(), forest.indexes[name].clone())
        })
    })
}

#[test]
fn a_chain_of_1000_indexes_ends_at_the_depth_limit() {
    let seen = walk(&chain(1000), |_| {});
    assert!(seen.end.starts_with("failed sha256:"), "{}", seen.end);
    assert!(seen.end.ends_with("its depth exceeds the limit of 32 levels"), "{}", seen.end);
    assert_eq!((seen.nodes, seen.requests), (33, 33));
}

#[test]
fn a_chain_of_1000_indexes_is_walked_if_the_limit_allows() {
    let seen = walk(&chain(1000), |limits| limits.walk_depth = 1000);
    assert_eq!((seen.end.as_str(), seen.nodes, seen.requests), ("done", 1001, 1001));
}

#[test]
fn a_deep_walk_can_be_dropped() {
    let forest = chain(1000);
    let reference = format!("registry.example/a/b@{}", forest.root).parse().expect("a reference");
    on_a_small_stack(|| {
        let mut config = Config::default();
        config.limits.walk_depth = 1000;
        config.limits.walk_nodes = 900;
        let mut session = Session::new(config, 1);
        let op = session.walk(&reference, WalkOptions::default());
        let seen = drive(&mut session, op, |head| {
            let name = head.uri.path().rsplit('/').next().expect("a path");
            with_body(Response::builder(), forest.indexes[name].clone())
        });
        assert!(seen.end.contains("the tree exceeds the limit of 900 nodes"), "{}", seen.end);
        // The next walk is dropped with its session.
        session.walk(&reference, WalkOptions::default());
    });
}

#[test]
fn a_child_repeated_100_000_times_exceeds_the_limits() {
    let forest = repeating(100_000);
    let seen = walk(&forest, |_| {});
    assert!(seen.end.ends_with("the manifest exceeds the limit of 8388608 bytes"), "{}", seen.end);
    assert_eq!((seen.nodes, seen.requests), (0, 1));

    let seen = walk(&forest, |limits| limits.manifest_bytes = 32 << 20);
    assert!(seen.end.contains(": the tree exceeds the limit of 50000 nodes"), "{}", seen.end);
    assert_eq!((seen.nodes, seen.requests), (50_000, 2));
}

#[test]
fn a_child_repeated_100_000_times_is_requested_once() {
    let seen = walk(&repeating(100_000), |limits| {
        limits.manifest_bytes = 32 << 20;
        limits.walk_nodes = 200_000;
    });
    assert_eq!((seen.end.as_str(), seen.nodes, seen.requests), ("done", 100_001, 2));
}

#[test]
fn a_child_whose_size_exceeds_the_limit_is_not_requested() {
    for size in ["8388609", "9223372036854775807"] {
        let child = Digest::of(Algorithm::Sha256, b"child");
        let root =
            index(&format!(r#"{{"mediaType":"{}","digest":"{child}","size":{size}}}"#, MediaType::OCI_INDEX));
        let digest = Digest::of(Algorithm::Sha256, &root);
        let seen = walk(&Forest { indexes: [(digest.to_string(), root)].into(), root: digest }, |_| {});
        assert_eq!(seen.end, format!("failed {child}: the manifest exceeds the limit of 8388608 bytes"));
        assert_eq!((seen.nodes, seen.requests), (1, 1));
    }
}
