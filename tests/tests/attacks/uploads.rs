//! Registries that accept no upload, and never refuse it for good.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, StatusCode, request};
use oci_proto::{
    Algorithm, Answer, Config, Descriptor, Event, Evidence, Fault, FaultKind, Hasher, Manifest, MediaType,
    OpId, Output, Payload, Question, Reference, Rest, Session, Time,
};
use oci_proto_tests::transcript::describe;

use super::drive::on_a_small_stack;
use super::measure::turn;

const MEBIBYTE: usize = 1 << 20;
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// What a registry does with a request.
enum Reaction {
    /// Reads all of it, and answers.
    Answer(u16, HeaderMap, Bytes),
    /// Answers without reading the content.
    Early(u16, HeaderMap),
    /// Reads all of it, and closes the connection.
    Break,
}

use Reaction::{Break, Early};

fn answer(status: u16) -> Reaction {
    Reaction::Answer(status, HeaderMap::new(), Bytes::new())
}

fn refuse(status: u16, body: &'static str) -> Reaction {
    Reaction::Answer(status, HeaderMap::new(), Bytes::from_static(body.as_bytes()))
}

/// An index, as it is stored now.
fn index(version: usize, bytes: &Bytes) -> Reaction {
    let media_type = MediaType::OCI_INDEX.as_str().parse().expect("a value");
    let etag = format!("\"{version}\"").parse().expect("a value");
    Reaction::Answer(200, HeaderMap::from_iter([(CONTENT_TYPE, media_type), (ETAG, etag)]), bytes.clone())
}

fn with(status: u16, headers: &[(HeaderName, &str)]) -> Reaction {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
    Reaction::Answer(status, headers.collect(), Bytes::new())
}

/// What an attack has cost.
#[derive(Debug, Default)]
struct Seen {
    /// The last event.
    end: String,
    /// The number of requests, without those that cancel uploads.
    requests: usize,
    /// The bytes of content that were sent.
    sent: usize,
    /// The number of polls.
    steps: usize,
    /// The largest number of bytes that a stream was asked for.
    wanted: usize,
    /// The URLs of cancelled uploads.
    cancelled: Vec<String>,
}

/// The content of all blobs and streams.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Drives an operation to its end, and until its uploads are cancelled. A blob consists of zeros, and a stream too,
/// without end.
fn drive(session: &mut Session, op: OpId, mut react: impl FnMut(usize, &request::Parts) -> Reaction) -> Seen {
    let (mut seen, mut now) = (Seen::default(), Time::ZERO);
    loop {
        seen.steps += 1;
        assert!(seen.steps < 20_000, "it does not end: {seen:?}");
        match session.poll_output(now) {
            Output::Send(exchange) => {
                let (request, sending, awaiting) = exchange.split();
                let (head, payload) = request.into_parts();
                let is_cleanup = head.method == Method::DELETE;
                if is_cleanup {
                    seen.cancelled.push(head.uri.to_string());
                }
                seen.requests += usize::from(!is_cleanup);
                let reaction = if is_cleanup { answer(204) } else { react(seen.requests, &head) };
                if let Some(mut sending) = sending.filter(|_| !matches!(reaction, Early(..))) {
                    let mut left = usize::try_from(payload.length()).expect("it fits in memory");
                    if let Payload::Source(source) = &payload {
                        let range = source.read_range();
                        left = usize::try_from(range.end - range.start).expect("it fits in memory");
                    }
                    seen.sent += left;
                    while left > 0 {
                        let bytes = &ZEROS[..left.min(ZEROS.len())];
                        sending.push(bytes).expect("the content is right");
                        left -= bytes.len();
                    }
                    sending.finish().expect("the content is complete");
                }
                let (status, headers, body) = match reaction {
                    Break => {
                        let fault = Fault::new(FaultKind::Reset, "closed");
                        session.complete(now, awaiting.fail(fault));
                        continue;
                    }
                    Reaction::Answer(status, headers, body) => (status, headers, body),
                    Early(status, headers) => (status, headers, Bytes::new()),
                };
                let mut receiving = awaiting.head(StatusCode::from_u16(status).expect("a status"), headers);
                for piece in body.chunks(16 << 10) {
                    if receiving.rest() != Rest::Wanted || receiving.push(piece).is_err() {
                        break;
                    }
                }
                session.complete(now, receiving.finish());
            }
            Output::Ask(query, Question::Read { max, .. }) => {
                seen.wanted = seen.wanted.max(max);
                let bytes = Bytes::from_static(&ZEROS).slice(..max.min(ZEROS.len()));
                session.answer(now, query, Answer::Read { bytes, is_last: false });
            }
            Output::Ask(query, Question::Credentials(_)) => {
                session.answer(now, query, Answer::Credentials(None));
            }
            Output::Event(of, event) => {
                assert_eq!(of, op);
                if matches!(event, Event::Done | Event::Failed(_)) {
                    seen.end = describe(&event);
                }
            }
            Output::Wait(Some(until)) => now = until,
            Output::Wait(None) if session.is_idle() => return seen,
            other => panic!("the session does not end: {other:?}"),
        }
    }
}

fn name() -> Reference {
    "registry.example/a/b:1".parse().expect("a reference")
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.chunk_bytes = 1 << 20;
    config
}

/// Uploads a blob of this size.
fn upload(size: usize, react: impl FnMut(usize, &request::Parts) -> Reaction + Send) -> Seen {
    on_a_small_stack(move || {
        let mut session = Session::new(config(), 1);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for start in (0..size).step_by(ZEROS.len()) {
            hasher.update(&ZEROS[..ZEROS.len().min(size - start)]);
        }
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, hasher.finish(), size as u64);
        let mount = "a/base".parse().expect("a repository");
        let op = session.upload(&name(), &descriptor, Some(&mount));
        drive(&mut session, op, react)
    })
}

fn stream(react: impl FnMut(usize, &request::Parts) -> Reaction + Send) -> Seen {
    on_a_small_stack(move || {
        let mut session = Session::new(config(), 1);
        let op = session.upload_stream(&name(), Algorithm::Sha256);
        drive(&mut session, op, react)
    })
}

/// Answers until an upload is open, at a new URL each time.
fn open(number: usize, head: &request::Parts, headers: &[(HeaderName, &str)]) -> Option<Reaction> {
    let location = format!("/u/{number}?_state=x");
    let headers = [headers, &[(LOCATION, location.as_str())]].concat();
    match head.method {
        Method::HEAD => Some(answer(404)),
        Method::POST => Some(with(202, &headers)),
        _ => None,
    }
}

#[test]
fn a_url_of_an_upload_that_cannot_be_used() {
    let turn = turn();
    let long = format!("/{}", "x".repeat(MEBIBYTE));
    for (location, said) in [
        ("file:///etc/passwd", "invalid Location header at byte 0: the scheme is neither http nor https"),
        ("http://registry.example/u", "is plain http, but the registry uses https"),
        ("https://user:password@registry.example/u", "invalid Location header"),
        ("//user@registry.example/u", "invalid Location header"),
        (&*long, "invalid Location header at byte 0: the URI is longer than 16 KiB"),
    ] {
        let what = format!("the URL of an upload: {}", location.get(..20).unwrap_or(location));
        let react = |_, head: &request::Parts| match head.method {
            Method::HEAD => answer(404),
            _ => with(202, &[(LOCATION, location)]),
        };
        let seen = turn.within(4, &what, || upload(10, react));
        assert!(seen.end.contains(said) && seen.end.len() < 500, "{what}: {}", seen.end);
        assert!(!seen.end.contains("password") && seen.requests <= 3 && seen.sent <= 10, "{seen:?}");
    }
}

#[test]
fn the_url_of_an_upload_grows() {
    let turn = turn();
    let seen = turn.within(8, "the URL of an upload grows with each chunk", || {
        stream(|number, head| match head.method {
            Method::POST => with(202, &[(LOCATION, "/u/")]),
            _ => with(202, &[(LOCATION, &format!("{}/", "x".repeat(100 << number.min(20))))]),
        })
    });
    assert!(seen.end.contains("the URL of the upload is longer than 16 KiB"), "{seen:?}");
    assert!(seen.requests <= 10, "{seen:?}");
}

/// Whether an attack ends in as many requests, with this error.
#[track_caller]
fn check(seen: &Seen, most: usize, said: &str) {
    assert!(seen.end.starts_with("failed ") && seen.end.contains(said), "{}", seen.end);
    assert!(seen.end.len() < 2000 && !seen.end.contains("_state=x"), "{}", seen.end);
    assert!(seen.requests <= most, "{seen:?}");
    assert!(!seen.cancelled.is_empty(), "no upload is cancelled: {seen:?}");
}

#[test]
fn a_stream_whose_chunks_have_a_minimum_of_2_63_bytes() {
    let turn = turn();
    // A chunk of a stream is held in memory, up to 64 MiB.
    let seen = turn.within(160, "a stream whose chunks have a minimum of 2^63 bytes", || {
        stream(|number, head| {
            open(number, head, &[(MIN_LENGTH, "9223372036854775808")]).unwrap_or_else(|| answer(403))
        })
    });
    check(&seen, 3, "403 Forbidden");
    assert_eq!((seen.sent, seen.wanted), (64 * MEBIBYTE, 64 * MEBIBYTE), "{seen:?}");
}

/// The reaction to a request that has this number.
type React = fn(usize, &request::Parts) -> Reaction;

#[test]
fn an_upload_that_is_never_accepted() {
    let turn = turn();
    let attacks: [(&str, usize, &str, React); 15] = [
        ("404", 40, "404 Not Found", |_, _| answer(404)),
        ("413", 20, "413 Payload Too Large", |_, _| answer(413)),
        ("416", 40, "416 Range Not Satisfiable", |_, _| answer(416)),
        ("500", 40, "500 Internal Server Error", |_, _| answer(500)),
        ("400 for its size", 40, "LayerPartTooSmall", |_, _| {
            refuse(400, r#"{"errors":[{"code":"LayerPartTooSmall"}]}"#)
        }),
        ("400 and a minimum of 2^63 bytes", 10, "400 Bad Request", |_, _| {
            with(400, &[(MIN_LENGTH, "9223372036854775808")])
        }),
        ("the range 10^20", 40, "closed", |_, head| match head.method {
            Method::GET => with(204, &[(RANGE, "0-99999999999999999999")]),
            _ => Break,
        }),
        ("no range", 40, "closed", |_, head| match head.method {
            Method::GET => answer(204),
            _ => Break,
        }),
        ("always one byte less", 40, "closed", |_, head| match head.method {
            Method::GET => with(204, &[(RANGE, &format!("0-{}", 3 * MEBIBYTE - 2))]),
            _ => Break,
        }),
        ("one byte more each time", 40, "closed", |number, head| match head.method {
            Method::GET => with(204, &[(RANGE, &format!("0-{number}"))]),
            _ => Break,
        }),
        ("201 without reading", 40, "reported success after 0 of 3145728 bytes", |_, _| {
            Early(201, HeaderMap::new())
        }),
        ("308 to itself", 20, "redirected more than", |_, head| with(308, &[(LOCATION, head.uri.path())])),
        ("308 to another URL each time", 20, "redirected more than", |number, _| {
            with(308, &[(LOCATION, &format!("/r/{number}"))])
        }),
        ("401 with another challenge each time", 40, "401 Unauthorized", |number, _| {
            let value = format!("Bearer realm=\"https://auth.example/token\",scope=\"s:{number}\"");
            with(401, &[(WWW_AUTHENTICATE, &value)])
        }),
        ("another session each time", 40, "closed", |number, head| match head.method {
            Method::GET => with(204, &[(LOCATION, &format!("/s/{number}")), (RANGE, "0-0")]),
            _ => Break,
        }),
    ];
    for (what, most, said, react) in attacks {
        let name = format!("an upload that is answered with {what}");
        let seen = turn.within(1, &name, || {
            upload(3 * MEBIBYTE, |number, head| {
                if head.uri.host() == Some("auth.example") {
                    return refuse(200, r#"{"token":"t"}"#);
                }
                open(number, head, &[]).unwrap_or_else(|| react(number, head))
            })
        });
        check(&seen, most, said);
    }
}

/// Pushes a document with a subject to a registry without a list of referrers.
fn push_referrer(react: impl FnMut(usize, &request::Parts) -> Reaction + Send) -> Seen {
    let subject = format!(r#"{{"mediaType":"a/b","digest":"sha256:{}","size":1}}"#, "1".repeat(64));
    let media_type = MediaType::OCI_INDEX;
    let document =
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"subject":{subject}}}"#);
    on_a_small_stack(move || {
        let mut session = Session::new(config(), 1);
        let document = Manifest::read(document.into(), Evidence::default()).expect("a document");
        let op = session.push_manifest(&name(), document, Vec::new());
        drive(&mut session, op, react)
    })
}

/// Answers until the index of referrers is requested.
fn without_referrers(head: &request::Parts) -> Option<Reaction> {
    match (&head.method, head.uri.path()) {
        (&Method::PUT, _) => Some(answer(201)),
        (&Method::HEAD, _) => Some(answer(404)),
        (_, path) if path.contains("/referrers/") => Some(answer(404)),
        _ => None,
    }
}

#[test]
fn an_index_of_referrers_that_takes_much_memory() {
    let turn = turn();
    let entry = format!(r#"{{"mediaType":"a/b","digest":"sha256:{}","size":1}}"#, "2".repeat(64));
    let of = |member: &str, value: &str, size: usize| {
        let values = vec![value; size / (value.len() + 1)].join(",");
        Bytes::from(format!(r#"{{"schemaVersion":2,"manifests":[],"{member}":[{values}]}}"#))
    };
    let full = 8 * MEBIBYTE - 1000;
    for (what, document, said, most) in [
        (
            "a million entries",
            of("manifests", &entry, 1_000_000 * (entry.len() + 1)),
            "exceeds the limit",
            24,
        ),
        (
            "8 MiB of entries",
            {
                let entries = vec![entry.as_str(); full / (entry.len() + 1)].join(",");
                format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#).into()
            },
            "413",
            64,
        ),
        ("8 MiB of unknown values", of("x", "[0]", full), "413", 64),
    ] {
        let name = format!("an index of referrers with {what}");
        let seen = turn.within(most, &name, || {
            push_referrer(|number, head| {
                let is_index = head.uri.path().contains("sha256-");
                if head.method == Method::PUT && is_index {
                    return answer(413);
                }
                without_referrers(head).unwrap_or_else(|| index(number, &document))
            })
        });
        assert!(seen.end.contains(said) && seen.end.len() < 2000, "{what}: {}", seen.end);
        assert!(seen.end.starts_with("failed ") && seen.requests <= 20, "{what}: {seen:?}");
    }
}

#[test]
fn another_client_always_overwrites_the_index_of_referrers() {
    let turn = turn();
    for status in [201, 412] {
        let name = format!("another client always overwrites the index of referrers, with {status}");
        let document = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        let seen = turn.within(1, &name, || {
            push_referrer(|number, head| {
                let is_index = head.uri.path().contains("sha256-");
                if head.method == Method::PUT && is_index {
                    return answer(status);
                }
                without_referrers(head).unwrap_or_else(|| index(number, &document))
            })
        });
        assert!(seen.end.contains("other clients overwrite the entry"), "{}", seen.end);
        assert!(seen.requests <= 20, "{seen:?}");
    }
}
