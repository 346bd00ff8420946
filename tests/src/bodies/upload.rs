//! The body of the fuzz target `upload`.

use bytes::Bytes;
use http::header::{LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use oci_proto::{
    Algorithm, Answer, Config, Descriptor, Digest, Event, Fault, FaultKind, MediaType, Output, Payload,
    Question, Session, Time,
};

use crate::transcript::describe::describe;

const CONTENT: &[u8] = b"01234567890123456789";

/// An upload ends in a bounded number of requests, whatever the headers of the responses: each is sent over https, to
/// a URL of bounded length, and has a part of the content. No event shows the query of a URL.
///
/// The first byte of the input selects the upload. The responses follow, separated by NUL: a status, a Location, a
/// Range and an OCI-Chunk-Min-Length, each on a line of its own. Without a status, the connection breaks. After the
/// last response there are no uploads.
///
/// # Panics
/// The upload does not end, or violates its limits.
pub fn upload(data: &[u8]) {
    let Some((selected, data)) = data.split_first() else { return };
    let mut config = Config::default();
    config.limits.chunk_bytes = 1 + u64::from(selected >> 1 & 15);
    let mut session = Session::new(config, 1);
    let name = "registry.example/a:1".parse().expect("a reference");
    if selected & 1 == 0 {
        let digest = Digest::of(Algorithm::Sha256, CONTENT);
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest, CONTENT.len() as u64);
        session.upload(&name, &descriptor, None);
    } else {
        session.upload_stream(&name, Algorithm::Sha256);
    }
    let mut responses = data.split(|byte| *byte == 0);
    let (mut now, mut requests, mut answered, mut ends) = (Time::ZERO, 0, 0, 0);
    loop {
        match session.poll_output(now) {
            Output::Send(exchange) => {
                requests += 1;
                let (request, sending, awaiting) = exchange.split();
                let (head, payload) = request.into_parts();
                assert_eq!(head.uri.scheme_str(), Some("https"), "{}", head.uri);
                assert!(head.uri.path_and_query().is_some_and(|path| path.as_str().len() < 17 << 10));
                let bytes = match payload {
                    Payload::Empty => Bytes::new(),
                    Payload::Bytes(bytes) => bytes,
                    Payload::Source(source) => {
                        let place = |at: u64| usize::try_from(at).expect("it fits in memory");
                        let range = source.read_range();
                        Bytes::from_static(&CONTENT[place(range.start)..place(range.end)])
                    }
                };
                if let Some(mut sending) = sending {
                    sending.push(&bytes).expect("the content is right");
                    sending.finish().expect("the content is complete");
                }
                let response =
                    if head.method == Method::DELETE { Some(&b"404"[..]) } else { responses.next() };
                answered += usize::from(response.is_some());
                let mut lines = response.unwrap_or(b"404").split(|byte| *byte == b'\n');
                let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
                let completion = match status {
                    None => awaiting.fail(Fault::new(FaultKind::Reset, "from the input")),
                    Some(status) => {
                        let names = [LOCATION, RANGE, HeaderName::from_static("oci-chunk-min-length")];
                        let values = lines.map(|line| HeaderValue::from_bytes(line).ok());
                        let headers: HeaderMap = names
                            .into_iter()
                            .zip(values)
                            .filter_map(|(name, value)| Some((name, value?)))
                            .collect();
                        awaiting.head(status, headers).finish()
                    }
                };
                session.complete(now, completion);
            }
            Output::Ask(query, Question::Read { max, .. }) => {
                let bytes = Bytes::from_static(&CONTENT[..max.min(CONTENT.len())]);
                session.answer(now, query, Answer::Read { bytes, is_last: max > CONTENT.len() });
            }
            Output::Ask(query, _) => session.answer(now, query, Answer::Credentials(None)),
            Output::Event(_, event) => {
                let said = describe(&event);
                let url = said.split_once("://").and_then(|(_, url)| url.split(' ').next());
                let (_, shown) = url.and_then(|url| url.split_once('?')).unwrap_or_default();
                // The name of a parameter is shown.
                let values =
                    shown.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
                assert!(values.into_iter().all(|value| !value.contains("s3cret")), "{said}");
                ends += usize::from(matches!(event, Event::Done | Event::Failed(_)));
            }
            Output::Wait(Some(until)) => now = until,
            Output::Wait(None) => break,
            Output::Abort(_) => {}
        }
        assert!(requests <= 60 + 2 * answered, "{requests} requests after {answered} responses");
    }
    assert!(ends == 1 && session.is_idle(), "{ends} ends");
}
