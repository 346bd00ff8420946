//! Endless bodies, and wrong lengths.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use oci_proto::{Config, Limits, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Pieces, Seen, drive};

const PIECE: usize = 16 << 10;

/// The outcome of an operation that receives responses with this status and length, and an endless body.
fn endless(operation: &str, status: u16, length: Option<&str>) -> Seen {
    let mut session = Session::new(Config::default(), 1);
    let op = Start::parse(operation).expect("an operation").begin(&mut session);
    drive(&mut session, op, |_| {
        let head = Response::builder().status(status);
        let head = length.into_iter().fold(head, |head, length| head.header(CONTENT_LENGTH, length));
        let pieces = std::iter::repeat_with(|| Bytes::from(vec![b' '; PIECE]));
        head.body(Box::new(pieces) as Pieces).expect("a response")
    })
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).expect("the size fits in memory")
}

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn an_endless_manifest_is_cut_off_at_its_limit() {
    let most = bytes(Limits::default().manifest_bytes);
    for operation in
        ["manifest registry.example/a/b:1".to_owned(), format!("walk registry.example/a/b@{DIGEST}")]
    {
        for length in [None, Some("18446744073709551616"), Some("-1"), Some("many")] {
            let seen = endless(&operation, 200, length);
            assert!(seen.end.contains("/manifests/"), "{}", seen.end);
            assert!(seen.end.ends_with("the manifest exceeds the limit of 8388608 bytes"), "{}", seen.end);
            assert!(seen.taken <= most + PIECE, "{} bytes were read", seen.taken);
            assert_eq!(seen.requests, 1);
        }
    }
}

#[test]
fn a_length_over_the_limit_fails_before_the_body() {
    for length in ["8388609", "9223372036854775807", "18446744073709551615"] {
        let seen = endless("manifest registry.example/a/b:1", 200, Some(length));
        assert!(seen.end.contains("exceeds the limit of 8388608 bytes"), "{}", seen.end);
        assert_eq!((seen.taken, seen.requests), (0, 1));
    }
    let seen = endless(&format!("blob registry.example/a/b@{DIGEST}"), 200, Some("9223372036854775807"));
    assert!(seen.end.contains("the blob exceeds the limit of 274877906944 bytes"), "{}", seen.end);
    assert_eq!((seen.taken, seen.requests), (0, 1));
}

#[test]
fn a_body_longer_than_its_length_is_cut_off() {
    for (operation, length) in [
        ("manifest registry.example/a/b:1".to_owned(), Some("100")),
        (format!("blob registry.example/a/b@{DIGEST}"), Some("100")),
        (format!("blob registry.example/a/b@{DIGEST} size=100"), None),
    ] {
        let seen = endless(&operation, 200, length);
        assert!(seen.end.ends_with("the content is longer than 100 bytes"), "{}", seen.end);
        assert_eq!((seen.taken, seen.requests), (PIECE, 1), "one chunk must be read");
    }
}

#[test]
fn an_endless_error_body_is_read_up_to_its_limit() {
    let most = bytes(Limits::default().error_bytes);
    for status in [400, 404, 410] {
        let seen = endless("manifest registry.example/a/b:1", status, None);
        assert!(seen.end.contains(&format!("the registry answered {status}")), "{}", seen.end);
        assert!(seen.taken <= most + PIECE, "{} bytes were read", seen.taken);
    }
}
