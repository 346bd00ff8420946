//! Token responses that could exhaust resources.

use bytes::Bytes;
use http::Response;
use oci_proto::{Config, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, on_a_small_stack, with_body};
use super::measure::turn;

/// Reads a manifest that requires a token; with a token, the response is 404.
fn with_token(answer: &Bytes) -> Seen {
    on_a_small_stack(|| {
        let mut session = Session::new(Config::default(), 1);
        let op = Start::parse("manifest registry.example/a/b:1").expect("an operation").begin(&mut session);
        drive(&mut session, op, |head| {
            if head.uri.host() == Some("auth.example") {
                return with_body(Response::builder(), answer.clone());
            }
            let status = if head.headers.contains_key("authorization") { 404 } else { 401 };
            let challenge = r#"Bearer realm="https://auth.example/token""#;
            with_body(Response::builder().status(status).header("www-authenticate", challenge), Bytes::new())
        })
    })
}

#[test]
fn a_token_answer_of_a_million_entries() {
    const MILLION: usize = 1_000_000;
    let turn = turn();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for (what, answer, is_read) in [
        ("of a million entries", format!(r#"{{"tags":[{}0],"token":"t"}}"#, "{},".repeat(MILLION)), false),
        ("of 300,000 entries", format!(r#"{{"tags":[{}0],"token":"t"}}"#, "{},".repeat(300_000)), true),
        ("of 130,000 names", format!(r#"{{{}"token":"t"}}"#, r#""a":[],"#.repeat(130_000)), true),
        ("nested 100,000 deep", format!(r#"{{"tags":{deep},"token":"t"}}"#), true),
    ] {
        let answer = Bytes::from(answer);
        let seen = turn.within(5, &format!("a token answer {what}"), || with_token(&answer));
        let expected =
            if is_read { "the registry answered 404" } else { "exceeds the limit of 1048576 bytes" };
        assert!(seen.end.contains(expected), "{}", seen.end);
        assert!(seen.requests <= 3 && seen.steps <= 12, "{seen:?}");
        assert!(seen.taken <= (1 << 20) + (16 << 10), "{seen:?}");
    }
}
