//! Registries and token servers that never stop: with tokens, challenges, redirects, broken connections.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use oci_proto::{Config, Fault, FaultKind, Limits, Session};
use oci_proto_tests::simulation::{Answers, Asked, Behaviour, Choices, Simulation, Watched};
use oci_proto_tests::transcript::{Answer, Start};

use super::drive::{Pieces, drive, with_body};

const PIECE: usize = 16 << 10;
const CHALLENGE: &str = r#"Bearer realm="https://auth.example/token""#;

/// The outcome of a manifest whose registry requires a token, given the token server's response.
fn with_token(answer: impl Fn() -> Pieces) -> super::drive::Seen {
    let mut session = Session::new(Config::default(), 1);
    let op = Start::parse("manifest registry.example/a/b:1").expect("an operation").begin(&mut session);
    drive(&mut session, op, |head| {
        if head.uri.host() == Some("auth.example") {
            return Response::new(answer());
        }
        let status = if head.headers.contains_key("authorization") { 404 } else { 401 };
        with_body(Response::builder().status(status).header("www-authenticate", CHALLENGE), Bytes::new())
    })
}

#[test]
fn a_token_response_of_100_megabytes_is_read_up_to_its_limit() {
    let most = usize::try_from(Limits::default().token_bytes).expect("the size fits in memory");
    let seen = with_token(|| {
        let start = std::iter::once(Bytes::from_static(br#"{"token":""#));
        Box::new(start.chain((0..(100 << 20) / PIECE).map(|_| Bytes::from(vec![b'x'; PIECE]))))
    });
    assert!(seen.end.ends_with("exceeds the limit of 1048576 bytes"), "{}", seen.end);
    assert!(seen.taken <= most + PIECE, "{} bytes were read", seen.taken);
    assert_eq!(seen.requests, 2);
}

#[test]
fn unknown_members_of_a_token_response_are_ignored() {
    let entries = |count: usize| {
        let tags = vec![r#"{"a":0}"#; count].join(",");
        let nested = "[".repeat(count) + &"]".repeat(count);
        [format!(r#"{{"tags":[{tags}],"token":"t"}}"#), format!(r#"{{"tags":{nested},"token":"t"}}"#)]
    };
    let answered = |body: String| with_token(|| Box::new(std::iter::once(Bytes::from(body.clone()))));
    for body in entries(100_000) {
        let seen = answered(body);
        assert!(seen.end.contains("the registry answered 404"), "{}", seen.end);
        assert_eq!(seen.requests, 3);
    }
    for body in entries(1_000_000) {
        let seen = answered(body);
        assert!(seen.end.ends_with("exceeds the limit of 1048576 bytes"), "{}", seen.end);
    }
}

#[test]
fn a_token_longer_than_a_header_may_be_is_refused() {
    let body = format!(r#"{{"token":"{}"}}"#, "x".repeat(100_000));
    let seen = with_token(|| Box::new(std::iter::once(Bytes::from(body.clone()))));
    assert!(seen.end.ends_with("its token is longer than 64 KiB"), "{}", seen.end);
}

/// Gives each request the same kind of response.
struct Always<F>(F);

impl<F: FnMut(&request::Parts) -> Answer> Answers for Always<F> {
    fn answer(&mut self, asked: &Asked<'_>, _: &mut Choices<'_>) -> Result<Answer, Fault> {
        Ok(self.0(asked.head))
    }
}

/// The outcome of an operation, and the number of requests to each server.
fn always(operation: &str, answer: impl FnMut(&request::Parts) -> Answer) -> (Watched, Vec<String>) {
    let mut simulation =
        Simulation::new(Config::default(), Always(answer), Behaviour::ORDERLY, Choices::new(&[]));
    let op = Start::parse(operation).expect("an operation").begin(&mut simulation.session);
    simulation.watch(op);
    let (mut seen, requests) = simulation.run();
    (seen.remove(&op).expect("the operation is watched"), requests)
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value")))
        .collect();
    Answer::new(status.try_into().expect("a status"), headers.into_iter().collect(), body.into())
}

fn failure(watched: &Watched) -> &str {
    watched.events.last().expect("an end")
}

#[test]
fn ten_thousand_challenges_are_too_many() {
    let mut lines = HeaderMap::new();
    for _ in 0..10_000 {
        lines.append("www-authenticate", HeaderValue::from_static("Basic realm=x"));
    }
    let one_line = "Basic realm=x, ".repeat(10_000);
    for headers in [lines, answer(401, &[("www-authenticate", &one_line)], "").headers] {
        let (watched, requests) = always("manifest registry.example/a/b:1", |_| {
            Answer::new(http::StatusCode::UNAUTHORIZED, headers.clone(), Bytes::new())
        });
        let end = failure(&watched);
        assert!(end.ends_with("too many challenges"), "{end}");
        assert_eq!(requests.len(), 1);
    }
}

#[test]
fn endless_401s_end_whatever_their_challenge() {
    let mut count = 0;
    let (watched, requests) = always("manifest registry.example/a/b:1", |head| {
        count += 1;
        if head.uri.path() == "/token" {
            return answer(200, &[], format!(r#"{{"token":"t{count}"}}"#));
        }
        // A different token server each time, so that no cached token applies.
        let challenge = format!(r#"Bearer realm="https://auth{count}.example/token",scope="s{count}""#);
        answer(401, &[("www-authenticate", &challenge)], "")
    });
    assert!(failure(&watched).ends_with("the registry answered 401 Unauthorized"), "{watched:?}");
    assert_eq!(requests.len(), 3, "{requests:?}");
}

#[test]
fn endless_redirects_end() {
    let mut count = 0;
    let (watched, requests) = always("manifest registry.example/a/b:1", |_| {
        count += 1;
        answer(307, &[("location", &format!("https://host{count}.example/"))], "")
    });
    assert!(failure(&watched).ends_with("redirected more than 10 times"), "{watched:?}");
    assert_eq!(requests.len(), 11, "{requests:?}");
}

#[test]
fn a_server_that_sends_a_byte_and_disconnects_is_tried_a_bounded_number_of_times() {
    let digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    for (operation, most) in [
        ("manifest registry.example/a/b:1".to_owned(), 5),
        // The last request is for the whole blob.
        (format!("blob registry.example/a/b@{digest}"), 6),
        (format!("blob registry.example/a/b@{digest} size=1000000"), 6),
        // Half of the remaining bytes count as progress: 4, 2 and 1 at the end.
        (format!("blob registry.example/a/b@{digest} size=8"), 40),
    ] {
        let (watched, requests) = always(&operation, |head| {
            let range = head.headers.get("range").and_then(|value| value.to_str().ok());
            let mut answer = match range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')) {
                None => answer(200, &[], "x"),
                Some(at) => {
                    let at: u64 = at.parse().expect("the offset is a number");
                    let range = format!("bytes {at}-{at}/*");
                    answer(206, &[("content-range", &range)], "x")
                }
            };
            answer.cut = Some((1, Fault::new(FaultKind::Reset, "gone")));
            answer
        });
        assert!(failure(&watched).starts_with("failed "), "{watched:?}");
        assert!(requests.len() <= most, "{operation}: {} requests: {watched:?}", requests.len());
    }
}
