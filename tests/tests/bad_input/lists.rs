//! Lists that do not end, or that are too large.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use http::{Response, request};
use oci_proto::{Config, Limits, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{Pieces, Seen, drive, with_body};

const PIECE: usize = 16 << 10;
const SUBJECT: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn operations() -> [(String, &'static str); 3] {
    [
        ("tags registry.example/a/b".to_owned(), "tags"),
        ("repositories registry.example/a/b".to_owned(), "repositories"),
        (format!("referrers registry.example/a/b@{SUBJECT}"), "referrers"),
    ]
}

fn list(operation: &str, respond: impl FnMut(&request::Parts) -> Response<Pieces>) -> Seen {
    list_with(Config::default(), operation, respond)
}

fn list_with(
    config: Config,
    operation: &str,
    respond: impl FnMut(&request::Parts) -> Response<Pieces>,
) -> Seen {
    let mut session = Session::new(config, 1);
    let op = Start::parse(operation).expect("an operation").begin(&mut session);
    drive(&mut session, op, respond)
}

/// A page with these entries, by number, and a link to the next one.
fn page(of: &str, entries: std::ops::Range<usize>, next: &str) -> Response<Pieces> {
    let head = Response::builder().header(LINK, format!("<{next}>; rel=\"next\""));
    let body = if of == "referrers" {
        let entries =
            entries.map(|n| format!(r#"{{"mediaType":"a/b","digest":"sha256:{n:064x}","size":1}}"#));
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.collect::<Vec<_>>().join(","))
    } else {
        format!(r#"{{"{of}":[{}]}}"#, entries.map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(","))
    };
    with_body(head.header(CONTENT_TYPE, "application/json"), body.into())
}

#[test]
fn an_endless_page_is_cut_off_at_its_limit() {
    let most = usize::try_from(Limits::default().list_bytes).expect("the size fits in memory");
    for (operation, _) in operations() {
        for (length, taken) in [(None, most + PIECE), (Some("104857600"), 0)] {
            let seen = list(&operation, |_| {
                let head = length
                    .into_iter()
                    .fold(Response::builder(), |head, length: &str| head.header(CONTENT_LENGTH, length));
                let pieces = std::iter::repeat_with(|| Bytes::from(vec![b' '; PIECE]));
                head.body(Box::new(pieces) as Pieces).expect("a response")
            });
            assert!(
                seen.end.ends_with("a page of the list exceeds the limit of 8388608 bytes"),
                "{}",
                seen.end
            );
            assert!(seen.taken <= taken, "{} bytes were read of a page of {length:?}", seen.taken);
            assert_eq!(seen.requests, 1);
        }
    }
}

#[test]
fn an_endless_list_ends_at_its_limits() {
    for (operation, of) in operations() {
        for (per_page, limit, requests) in [(1, "500 pages", 500), (500, "20000 entries", 41)] {
            let mut asked = 0;
            let mut config = Config::default();
            (config.limits.list_pages, config.limits.list_entries) = (500, 20_000);
            let seen = list_with(config, &operation, |_| {
                asked += 1;
                page(of, (asked - 1) * per_page..asked * per_page, &format!("?p={asked}"))
            });
            assert!(seen.end.ends_with(&format!("the list exceeds the limit of {limit}")), "{}", seen.end);
            assert_eq!(seen.requests, requests, "{operation}");
            assert_eq!(seen.entries, (requests * per_page).min(20_000), "{operation}");
            assert!(seen.steps <= 2 * requests + 2, "{} steps", seen.steps);
        }
    }
}

#[test]
fn a_list_that_does_not_advance_ends_at_once() {
    for (operation, of) in operations() {
        // Page 3 links to page 2; page 3 has the entries of page 2; page 2 is on another server.
        for (next, entries, requests, expected) in [
            (["?p=2", "?p=3", "?p=2"], [0..1, 1..2, 2..3], 3, "it links to itself"),
            (["?p=2", "?p=3", "?p=4"], [0..1, 1..2, 1..2], 3, "no new entry"),
            (["?p=2", "?p=3", "?p=4"], [0..1, 1..1, 1..2], 2, "no new entry"),
            (["//evil.example/", "?p=3", "?p=4"], [0..1, 1..2, 2..3], 1, "leads to another server"),
        ] {
            let mut pages = next.iter().zip(entries);
            let seen = list(&operation, |_| {
                let (next, entries) = pages.next().expect("the list has ended");
                page(of, entries, next)
            });
            assert!(seen.end.contains(expected), "{}", seen.end);
            assert_eq!(seen.requests, requests, "{operation}: {}", seen.end);
        }
    }
}
