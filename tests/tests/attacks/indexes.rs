//! Indexes of 100,000 children.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use oci_proto::{Config, Limits, MediaType, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, on_a_small_stack, with_body};
use super::measure::turn;

const CHILDREN: usize = 100_000;

/// An index of 100,000 indexes, `distinct` of them distinct. None of them exists.
fn index(distinct: usize) -> Bytes {
    let media_type = MediaType::OCI_INDEX;
    let mut entries = String::new();
    for n in 0..CHILDREN {
        let child = n % distinct;
        write!(entries, r#",{{"mediaType":"{media_type}","digest":"sha256:{child:064x}","size":2}}"#)
            .expect("writing to a string succeeds");
    }
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, &entries[1..]).into()
}

fn walk(document: &Bytes, set: impl FnOnce(&mut Limits) + Send) -> Seen {
    on_a_small_stack(|| {
        let mut config = Config::default();
        set(&mut config.limits);
        let mut session = Session::new(config, 1);
        let op = Start::parse("walk registry.example/a/b:1").expect("an operation").begin(&mut session);
        drive(&mut session, op, |head| {
            if head.uri.path().ends_with("/1") {
                return with_body(Response::builder(), document.clone());
            }
            with_body(Response::builder().status(404), Bytes::new())
        })
    })
}

#[test]
fn an_index_of_100_000_children() {
    let turn = turn();
    for (what, distinct) in [("distinct", CHILDREN), ("one again and again", 1)] {
        let document = index(distinct);
        let name = format!("an index of 100,000 children, {what}");

        let seen = turn.within(20, &name, || walk(&document, |_| {}));
        assert!(seen.end.ends_with("the manifest exceeds the limit of 8388608 bytes"), "{seen:?}");
        assert!(seen.requests == 1 && seen.steps <= 6, "{seen:?}");

        let read = |limits: &mut Limits| limits.manifest_bytes = 32 << 20;
        let seen = turn.within(64, &format!("{name}, where 32 MiB are read"), || walk(&document, read));
        assert!(seen.end.contains("the tree exceeds the limit of 50000 nodes"), "{}", seen.end);
        assert_eq!(seen.nodes, 50_000);
        assert!(seen.requests <= distinct.min(50_000) + 20, "{} requests", seen.requests);
        assert!(seen.steps <= 4 * 50_100, "{} steps", seen.steps);

        let all = |limits: &mut Limits| {
            limits.manifest_bytes = 32 << 20;
            limits.walk_nodes = 200_000;
        };
        let name = format!("{name}, where 32 MiB and 200,000 nodes are allowed");
        let seen = turn.within(80, &name, || walk(&document, all));
        assert_eq!((seen.end.as_str(), seen.nodes), ("done", CHILDREN + 1));
        assert_eq!(seen.requests, 1 + distinct);
    }
}
