//! The body of the fuzz target `list`.

use std::collections::BTreeSet;

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue, StatusCode};
use oci_proto::{Config, Event, Output, Rest, Session, Time};

use crate::transcript::describe::describe;
use crate::transcript::start::Start;

const PAGES: u32 = 6;
const ENTRIES: u64 = 40;
const SUBJECT: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// A list ends, whatever its pages: within its limits, at its own origin, and with each entry once.
///
/// The first byte of the input selects the list. The pages follow, separated by NUL: a Link header, a media type and
/// a body, each but the last on a line of its own.
///
/// # Panics
/// The list does not end, or exceeds its limits.
pub fn list(data: &[u8]) {
    let Some((selected, data)) = data.split_first() else { return };
    let start = match selected % 4 {
        0 => "tags registry.example/team/app".to_owned(),
        1 => "repositories registry.example/team/app n=3".to_owned(),
        2 => format!("referrers registry.example/team/app@{SUBJECT}"),
        _ => format!("referrers registry.example/team/app@{SUBJECT} artifact-type=a/b"),
    };
    let mut config = Config::default();
    (config.limits.list_pages, config.limits.list_entries) = (PAGES, ENTRIES);
    let mut session = Session::new(config, 1);
    Start::parse(&start).expect("an operation").begin(&mut session);
    let mut pages = data.split(|byte| *byte == 0);
    let (mut requests, mut seen) = (0, BTreeSet::new());
    loop {
        let entries = match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => {
                requests += 1;
                let (request, _, awaiting) = exchange.split();
                assert_eq!(request.uri().host(), Some("registry.example"));
                assert_eq!(request.uri().scheme_str(), Some("https"));
                let mut lines = pages.next().unwrap_or_default().splitn(3, |byte| *byte == b'\n');
                let mut headers = HeaderMap::new();
                for name in [LINK, CONTENT_TYPE] {
                    let value = HeaderValue::from_bytes(lines.next().unwrap_or_default());
                    headers.extend(value.ok().map(|value| (name, value)));
                }
                let body = lines.next();
                let status = if body.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
                let mut receiving = awaiting.head(status, headers);
                if receiving.rest() == Rest::Wanted {
                    let _ = receiving.push(body.unwrap_or_default());
                }
                session.complete(Time::ZERO, receiving.finish());
                continue;
            }
            Output::Event(_, event @ (Event::Tags(_) | Event::Repositories(_) | Event::Referrers(_))) => {
                let text = describe(&event);
                text.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>()
            }
            Output::Event(_, Event::LeftOut(count)) => {
                assert!((1..=ENTRIES).contains(&count));
                continue;
            }
            Output::Event(_, Event::Done | Event::Failed(_)) => break,
            other => panic!("a list does not end: {other:?}"),
        };
        assert!(!entries.is_empty(), "an event without entries");
        for entry in entries {
            assert!(seen.insert(entry.clone()), "{entry} is reported twice");
        }
    }
    // The fallback tag is one more.
    assert!(requests <= PAGES + 1, "{requests} requests");
    assert!(seen.len() as u64 <= ENTRIES, "{} entries", seen.len());
    assert!(session.is_idle());
}
