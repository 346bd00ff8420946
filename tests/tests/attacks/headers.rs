//! Response heads that could exhaust resources.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use oci_proto::{Config, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Seen, drive, on_a_small_stack, with_body};
use super::measure::turn;

const MEBIBYTE: usize = 1 << 20;

fn manifest(status: u16, headers: &HeaderMap) -> Seen {
    on_a_small_stack(|| {
        let mut session = Session::new(Config::default(), 1);
        let op = Start::parse("manifest registry.example/a/b:1").expect("an operation").begin(&mut session);
        drive(&mut session, op, |_| {
            let mut response = with_body(Response::builder().status(status), Bytes::from_static(b"{}"));
            *response.headers_mut() = headers.clone();
            response
        })
    })
}

fn value(text: &str) -> HeaderValue {
    text.parse().expect("a value")
}

#[test]
fn headers_of_1_mib() {
    let turn = turn();
    for (name, status, text) in [
        ("content-type", 200, format!("application/{}", "x".repeat(MEBIBYTE))),
        ("docker-content-digest", 200, format!("sha256:{}", "0".repeat(MEBIBYTE))),
        ("content-encoding", 200, "identity,".repeat(MEBIBYTE / 9)),
        ("warning", 200, "299 - \"w\",".repeat(MEBIBYTE / 10)),
        ("retry-after", 429, "9".repeat(MEBIBYTE)),
        ("location", 307, format!("https://elsewhere.example/{}", "../".repeat(MEBIBYTE / 3))),
        ("www-authenticate", 401, format!("Bearer realm=\"https://auth.example/{}\"", "r".repeat(MEBIBYTE))),
        (
            "www-authenticate",
            401,
            format!("Bearer realm=\"https://auth.example/\",scope=\"{}\"", "s ".repeat(MEBIBYTE / 2)),
        ),
    ] {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value(&text))]);
        drop(text);
        let seen = turn.within(8, &format!("a `{name}` of 1 MiB"), || manifest(status, &headers));
        assert!(seen.end.starts_with("failed ") && seen.end.len() < 2000, "{}", seen.end);
        assert!(seen.requests <= 5 && seen.steps <= 40, "{seen:?}");
    }
}

#[test]
fn a_mebibyte_of_header_lines() {
    let turn = turn();
    for name in ["x-any", "warning", "www-authenticate", "content-encoding"] {
        let mut headers = HeaderMap::new();
        for _ in 0..20_000 {
            headers.append(HeaderName::from_static(name), value("Basic realm=x"));
        }
        for status in [200, 401] {
            let name = format!("20,000 lines of `{name}`, with {status}");
            let seen = turn.within(16, &name, || manifest(status, &headers));
            assert!(seen.end.starts_with("failed ") && seen.end.len() < 2000, "{}", seen.end);
            assert!(seen.requests <= 2 && seen.steps <= 12, "{seen:?}");
        }
    }
}

#[test]
fn ten_thousand_challenges() {
    let turn = turn();
    let mut lines = HeaderMap::new();
    for _ in 0..10_000 {
        lines.append("www-authenticate", value("Basic realm=x"));
    }
    let one = HeaderMap::from_iter([(
        HeaderName::from_static("www-authenticate"),
        value(&"Basic realm=x, ".repeat(10_000)),
    )]);
    for (what, headers) in [("in one header", one), ("in a header each", lines)] {
        let seen = turn.within(4, &format!("10,000 challenges {what}"), || manifest(401, &headers));
        assert!(seen.end.ends_with("too many challenges"), "{}", seen.end);
        assert!(seen.requests == 1 && seen.steps <= 6, "{seen:?}");
    }
}
