//! Lists of a million entries.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use http::header::LINK;
use oci_proto::{Config, Limits, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, with_body};
use super::measure::turn;

const ENTRIES: usize = 1_000_000;
const SUBJECT: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn tags(numbers: std::ops::Range<usize>) -> Bytes {
    let mut entries = String::with_capacity(132 * numbers.len());
    for n in numbers {
        write!(entries, ",\"{n:0128}\"").expect("writing to a string succeeds");
    }
    format!(r#"{{"tags":[{}]}}"#, &entries[1..]).into()
}

fn referrers() -> Bytes {
    let mut entries = String::with_capacity(160 * ENTRIES);
    for n in 0..ENTRIES {
        let annotations = r#","annotations":{"":""}"#;
        write!(entries, r#",{{"mediaType":"a/b","digest":"sha256:{n:064x}","size":1{annotations}}}"#)
            .expect("writing to a string succeeds");
    }
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, &entries[1..]).into()
}

fn list(operation: &str, set: impl FnOnce(&mut Limits), mut page: impl FnMut(usize) -> Bytes) -> Seen {
    let mut config = Config::default();
    set(&mut config.limits);
    let mut session = Session::new(config, 1);
    let op = Start::parse(operation).expect("an operation").begin(&mut session);
    let mut asked = 0;
    drive(&mut session, op, |_| {
        asked += 1;
        let head = Response::builder().header(LINK, format!("<?p={asked}>; rel=\"next\""));
        with_body(head, page(asked - 1))
    })
}

#[test]
fn a_list_of_a_million_long_tags() {
    let turn = turn();
    let pages: Vec<Bytes> = (0..=20).map(|n| tags(n * 50_000..(n + 1) * 50_000)).collect();
    let name = "a list of a million tags of 128 characters, on pages of 6 MiB";
    let seen = turn.within(56, name, || list("tags registry.example/a", |_| {}, |n| pages[n].clone()));
    assert!(seen.end.ends_with("the list exceeds the limit of 1000000 entries"), "{}", seen.end);
    assert_eq!((seen.entries, seen.requests), (ENTRIES, 21));
}

#[test]
fn an_index_of_a_million_referrers() {
    let turn = turn();
    let document = referrers();
    let operation = format!("referrers registry.example/a@{SUBJECT}");
    let name = "an index of a million referrers";
    let seen = turn.within(24, name, || list(&operation, |_| {}, |_| document.clone()));
    assert!(seen.end.ends_with("a page of the list exceeds the limit of 8388608 bytes"), "{}", seen.end);
    assert_eq!((seen.entries, seen.requests), (0, 1));
}
