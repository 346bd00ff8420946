//! Documents that are costly to parse.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use oci_proto::{Config, MediaType, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, on_a_small_stack, with_body};
use super::measure::turn;

/// The limit for manifests.
const MOST: usize = 8 << 20;
const DEEP: usize = 100_000;
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Walks a tree of one document, served with this status. Other requests get 404.
fn walk(status: u16, document: &Bytes) -> Seen {
    on_a_small_stack(|| {
        let mut session = Session::new(Config::default(), 1);
        let op = Start::parse("walk registry.example/a/b:1").expect("an operation").begin(&mut session);
        drive(&mut session, op, |head| {
            if head.uri.path().ends_with("/1") {
                let head = Response::builder().status(status);
                return with_body(
                    head.header("content-type", MediaType::OCI_INDEX.as_str()),
                    document.clone(),
                );
            }
            with_body(Response::builder().status(404), Bytes::new())
        })
    })
}

/// An index with these members in its only descriptor.
fn one_descriptor(members: &str) -> Bytes {
    let document = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{DIGEST}","size":2{members}}}]}}"#,
        MediaType::OCI_INDEX
    );
    assert!((MOST - 200..=MOST).contains(&document.len()), "{} bytes", document.len());
    document.into()
}

/// As many of these, separated by commas, as one descriptor can hold.
fn filled(one: &str) -> String {
    vec![one; (MOST - 300) / (one.len() + 1)].join(",")
}

#[test]
fn json_nested_100_000_deep() {
    let turn = turn();
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    for (place, document, expected) in [
        ("where descriptors stand", format!(r#"{{"schemaVersion":2,"manifests":{open}{close}}}"#), "failed "),
        ("never closed", r#"{"manifests":"#.repeat(DEEP), "failed "),
        ("where nobody reads", format!(r#"{{"schemaVersion":2,"x":{open}{close},"manifests":[]}}"#), "done"),
    ] {
        let document = Bytes::from(document);
        let seen = turn.within(8, &format!("JSON nested 100,000 deep, {place}"), || walk(200, &document));
        assert!(seen.end.starts_with(expected) && seen.end.len() < 1000, "{}", seen.end);
        assert!(seen.requests == 1 && seen.steps <= 6, "{seen:?}");
    }
}

#[test]
fn an_error_body_that_fans_out() {
    let turn = turn();
    let body = Bytes::from(format!(r#"{{"errors":[{}[]]}}"#, "[],".repeat(21_000)));
    let seen = turn.within(8, "an error body of 21,000 lists", || walk(400, &body));
    assert!(seen.end.ends_with("the registry answered 400 Bad Request"), "{}", seen.end);
    assert!(seen.requests == 1 && seen.steps <= 6, "{seen:?}");
}

#[test]
fn eight_mebibytes_of_one_descriptor() {
    let turn = turn();
    let text = "x".repeat(MOST - 300);
    let escaped = r"\u00e9".repeat((MOST - 300) / 6);
    let mut names = String::new();
    for number in 0.. {
        if names.len() + 20 > MOST - 250 {
            break;
        }
        write!(names, r#","a{number:07}":"""#).expect("writing to a string succeeds");
    }
    for (what, members) in [
        ("one text", format!(r#","annotations":{{"a":"{text}"}}"#)),
        ("one name, with escapes", format!(r#","annotations":{{"{escaped}":""}}"#)),
        (
            "a text that is kept, with escapes",
            format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{escaped}"}}"#),
        ),
        ("annotations", format!(r#","annotations":{{{}}}"#, &names[1..])),
        ("members", names.clone()),
        ("URLs", format!(r#","urls":[{}]"#, filled("\"\""))),
        ("embedded content", format!(r#","data":"{}""#, "A".repeat((MOST - 300) / 4 * 4))),
    ] {
        let document = one_descriptor(&members);
        drop(members);
        let seen = turn.within(120, &format!("8 MiB of one descriptor: {what}"), || walk(200, &document));
        assert!(seen.end.len() < 1000, "{}", seen.end);
        assert!(seen.requests <= 2 && seen.steps <= 12 && seen.nodes <= 2, "{seen:?}");
    }
}

#[test]
fn eight_mebibytes_of_descriptors_as_short_as_can_be() {
    let turn = turn();
    let entries = filled(r#"{"mediaType":"a/b","digest":"a:b","size":0}"#);
    let document = Bytes::from(format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#));
    let seen = turn.within(80, "8 MiB of descriptors as short as can be", || walk(200, &document));
    assert!(seen.end.contains("the tree exceeds the limit of 50000 nodes"), "{}", seen.end);
    assert!(seen.requests == 1 && seen.nodes == 50_000 && seen.steps <= 50_010, "{:?}", seen.steps);
}
