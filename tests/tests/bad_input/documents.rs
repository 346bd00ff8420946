//! Documents that could exhaust resources, or inflate an error.

use bytes::Bytes;
use http::Response;
use oci_proto::{Config, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, on_a_small_stack, with_body};

fn manifest(status: u16, content_type: &str, document: String) -> Seen {
    let document = Bytes::from(document);
    on_a_small_stack(|| {
        let mut session = Session::new(Config::default(), 1);
        let op = Start::parse("manifest registry.example/a/b:1").expect("an operation").begin(&mut session);
        drive(&mut session, op, |_| {
            let head = Response::builder().status(status).header("content-type", content_type);
            with_body(head, document.clone())
        })
    })
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DEEP: usize = 100_000;

#[test]
fn json_nested_100_000_deep_is_refused() {
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    for document in [
        open.clone(),
        format!("{open}{close}"),
        r#"{"manifests":"#.repeat(DEEP),
        format!(r#"{{"schemaVersion":2,"manifests":{open}{close}}}"#),
        format!(r#"{{"schemaVersion":2,"config":{}"#, r#"{"a":"#.repeat(DEEP)),
        format!(r#"{{"schemaVersion":2,"manifests":[{{"urls":{open}{close}}}]}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{{"annotations":{{"a":{open}{close}}}}}]}}"#),
        format!(r#"{{"mediaType":{open}{close}}}"#),
    ] {
        let end = manifest(200, INDEX, document).end;
        let told = end.starts_with("failed GET https://registry.example/v2/a/b/manifests/1: the document ");
        assert!(told && end.len() < 1000, "{end}");
    }
}

#[test]
fn ignored_values_may_be_nested_100_000_deep() {
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let seen = manifest(200, INDEX, format!(r#"{{"schemaVersion":2,"x":{open}{close},"manifests":[]}}"#));
    assert_eq!(seen.end, "done");
}

#[test]
fn a_deeply_nested_error_body_is_not_shown() {
    let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
    for body in [format!(r#"{{"errors":{open}{close}}}"#), format!("{open}{close}")] {
        let seen = manifest(400, "application/json", body);
        let end = seen.end;
        assert_eq!(
            end,
            "failed GET https://registry.example/v2/a/b/manifests/1: the registry answered 400 Bad Request"
        );
    }
}

#[test]
fn a_string_of_a_megabyte_does_not_inflate_the_error() {
    let long = "\u{e9}\"".repeat(400_000).replace('"', "\\\"");
    let digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    for document in [
        format!(r#"{{"schemaVersion":2,"mediaType":"{long}","manifests":[]}}"#),
        format!(r#"{{"schemaVersion":2,"{long}":1,"{long}":2,"manifests":[]}}"#),
        format!(r#"{{"schemaVersion":"{long}","manifests":[]}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":"{long}"}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{long}","size":1}}]}}"#),
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{digest}","size":"{long}"}}]}}"#
        ),
        format!(r#"{{"schemaVersion":2,"manifests":[{{"artifactType":"{long}"}}]}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{{"platform":"{long}"}}]}}"#),
        format!("\"{long}\""),
        long.clone(),
    ] {
        let end = manifest(200, INDEX, document).end;
        let told = end.starts_with("failed GET https://registry.example/v2/a/b/manifests/1: the document ");
        assert!(
            told && end.len() < 2000,
            "{} bytes: {}",
            end.len(),
            end.chars().take(300).collect::<String>()
        );
    }
}

#[test]
fn a_message_of_a_megabyte_does_not_inflate_the_error() {
    let long = "no! ".repeat(250_000);
    for body in [
        long.clone(),
        format!(r#"{{"errors":[{{"code":"{}","message":"{}"}}]}}"#, &long[..20_000], &long[..20_000]),
        format!(r#"{{"errors":[{}{{}}]}}"#, r#"{"code":"A"},"#.repeat(4000)),
    ] {
        let end = manifest(400, "application/json", body).end;
        assert!(end.starts_with("failed GET ") && end.len() < 2000, "{} bytes: {end}", end.len());
    }
}
