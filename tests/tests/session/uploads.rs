//! Uploads to a model of a registry that fails in arbitrary ways.

use std::collections::{BTreeMap, BTreeSet};

use http::header::{AUTHORIZATION, CONTENT_RANGE, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci_proto::{
    Algorithm, Answer, Awaiting, Config, Credentials, Descriptor, Digest, Event, Exchange, Fault, FaultKind,
    OpId, Output, Payload, Question, Reference, Session, Time,
};
use oci_proto_tests::simulation::Choices;
use proptest::collection::vec;
use proptest::prelude::*;

/// More requests than any upload may need.
const MAX_REQUESTS: usize = 400;
/// The number of abandoned sessions that an upload cancels.
const MAX_CANCELLED: usize = 8;

/// A registry with the open sessions of one repository. Its blobs are addressed by content.
#[derive(Default)]
struct Registry {
    blobs: BTreeMap<String, Vec<u8>>,
    sessions: BTreeMap<usize, Vec<u8>>,
    begun: usize,
    /// The sessions whose URL the client knows.
    known: BTreeSet<usize>,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It does not leave the driver.
    NotSent,
    /// The connection breaks before the response, after some of the payload arrived.
    Reset,
    /// The request is carried out, and its response is lost.
    ResponseLost,
    /// The driver loses the exchange.
    Lost,
    /// It is refused, and some of the payload was stored all the same.
    Refused(u16),
    /// It seems to succeed, although not all of the payload was sent.
    Early,
    /// A status request has a wrong position, or none.
    Lie,
}

impl Failure {
    const ALL: [Self; 17] = [
        Self::NotSent,
        Self::Reset,
        Self::Reset,
        Self::ResponseLost,
        Self::ResponseLost,
        Self::Lost,
        Self::Early,
        Self::Lie,
        Self::Refused(401),
        Self::Refused(404),
        Self::Refused(405),
        Self::Refused(413),
        Self::Refused(416),
        Self::Refused(429),
        Self::Refused(500),
        Self::Refused(503),
        Self::Refused(400),
    ];
}

struct World<'c> {
    session: Session,
    choices: Choices<'c>,
    registry: Registry,
    content: Vec<u8>,
    /// The number of bytes of the stream that were read.
    read: usize,
    now: Time,
    requests: usize,
    op: OpId,
    is_cancelled: bool,
    outcome: Option<Event>,
}

impl<'c> World<'c> {
    fn new(data: &'c [u8]) -> Self {
        let mut choices = Choices::new(data);
        let mut config = Config::default();
        config.limits.chunk_bytes = 1 + choices.below(100) as u64;
        config.limits.max_attempts = 3 + u32::try_from(choices.below(3)).expect("a small number");
        let mut session = Session::new(config, 1);
        let size = choices.below(250);
        let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
        let algorithm = choices.pick(&[Algorithm::Sha256, Algorithm::Sha512]);
        let digest = Digest::of(algorithm, &content);
        let name: Reference = "registry.example/team/app:1".parse().expect("a reference");
        let media_type = "application/octet-stream".parse().expect("a media type");
        let op = if choices.once_in(3) {
            session.upload_stream(&name, algorithm)
        } else {
            let mount = choices.flip().then(|| "team/base".parse().expect("a repository"));
            session.upload(&name, &Descriptor::new(media_type, digest, size as u64), mount.as_ref())
        };
        let registry = Registry::default();
        Self {
            session,
            choices,
            registry,
            content,
            read: 0,
            now: Time::ZERO,
            requests: 0,
            op,
            is_cancelled: false,
            outcome: None,
        }
    }

    fn run(mut self) {
        loop {
            match self.session.poll_output(self.now) {
                Output::Send(exchange) => self.answer(exchange),
                Output::Ask(query, Question::Credentials(_)) => {
                    let login = Credentials::login("user", "password").expect("the name has no colon");
                    self.session.answer(self.now, query, Answer::Credentials(Some(login)));
                }
                Output::Ask(query, Question::Read { max, .. }) => {
                    let end = self.content.len().min(self.read + (1 + self.choices.below(100)).min(max));
                    let bytes = self.content[self.read..end].to_vec().into();
                    self.read = end;
                    let is_last = end == self.content.len();
                    self.session.answer(self.now, query, Answer::Read { bytes, is_last });
                }
                Output::Event(_, event @ (Event::Done | Event::Failed(_))) => self.outcome = Some(event),
                Output::Event(..) | Output::Abort(_) => {}
                Output::Wait(Some(until)) => self.now = until,
                Output::Wait(None) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(self.session.is_idle(), "{:?}", self.session);
        if let Some(Event::Done) = self.outcome {
            let stored = self.registry.blobs.values().next().expect("it is stored");
            assert_eq!(*stored, self.content);
        }
        assert!(self.outcome.is_some() || self.is_cancelled, "it does not end");
        let Registry { known, sessions, .. } = &self.registry;
        let open: Vec<&usize> = known.iter().filter(|session| sessions.contains_key(session)).collect();
        let is_excused = known.len() > MAX_CANCELLED;
        assert!(open.is_empty() || is_excused, "sessions {open:?} are left open: {:?}", self.outcome);
    }

    fn answer(&mut self, exchange: Exchange) {
        self.requests += 1;
        assert!(self.requests < MAX_REQUESTS, "it does not end");
        let id = exchange.id();
        let (request, sending, awaiting) = exchange.split();
        let host = request.uri().host().expect("a host").to_owned();
        let is_authorized = request.headers().contains_key(AUTHORIZATION);
        assert!(host == "registry.example" || !is_authorized, "{host} receives a login");
        let (head, payload) = request.into_parts();
        let bytes = match &payload {
            Payload::Empty => Vec::new(),
            Payload::Bytes(bytes) => bytes.to_vec(),
            Payload::Source(source) => {
                let range = source.read_range();
                let at = |position: u64| usize::try_from(position).expect("a small number");
                self.content[at(range.start)..at(range.end)].to_vec()
            }
        };
        let skipped = match &payload {
            Payload::Source(source) => usize::try_from(source.range.start - source.start).expect("small"),
            _ => 0,
        };
        let is_delete = head.method == Method::DELETE;
        let is_ignored = !is_delete && self.outcome.is_none() && self.choices.once_in(40);
        if is_ignored {
            if self.choices.flip() {
                self.session.abandon_in_flight(self.now);
            } else {
                self.session.cancel(self.op);
                self.is_cancelled = true;
            }
        }
        let failure = (!is_delete && self.choices.below(4) == 3).then(|| self.choices.pick(&Failure::ALL));
        let is_partial = failure.is_some_and(|failure| failure != Failure::ResponseLost);
        let sent =
            if is_partial { self.choices.below(bytes.len() + 1 - skipped) } else { bytes.len() - skipped };
        let sent = if failure == Some(Failure::NotSent) { 0 } else { sent };
        if let Some(mut sending) = sending {
            let range = sending.push(&bytes[..skipped + sent]).expect("the content is right");
            assert_eq!(range, skipped..skipped + sent);
            if skipped + sent == bytes.len() {
                sending.finish().expect("the content is complete");
            }
        }
        let arrived = &bytes[skipped..skipped + sent];
        let is_complete = skipped + sent == bytes.len();
        let session = number(head.uri.path());
        match failure {
            Some(Failure::NotSent | Failure::Lost | Failure::Reset) => {
                let kind =
                    if failure == Some(Failure::NotSent) { FaultKind::NotSent } else { FaultKind::Reset };
                if kind == FaultKind::Reset {
                    self.registry.append(session, arrived);
                }
                let fault = Fault::new(kind, "failed");
                if failure == Some(Failure::Lost) {
                    return self.session.lost(self.now, id, fault);
                }
                self.session.complete(self.now, awaiting.fail(fault));
            }
            Some(Failure::ResponseLost) => {
                let _ = self.registry.carry_out(&head, arrived, &mut self.choices);
                let fault = Fault::new(FaultKind::Reset, "lost");
                self.session.complete(self.now, awaiting.fail(fault));
            }
            Some(Failure::Refused(status)) => {
                if !matches!(status, 404 | 401 | 400 | 405) {
                    self.registry.append(session, arrived);
                }
                if status == 404 {
                    self.registry.forget(session);
                }
                self.refuse(awaiting, status);
            }
            Some(Failure::Early) if !is_complete && head.method != Method::POST => {
                if head.method == Method::PUT {
                    self.registry.forget(session);
                } else {
                    self.registry.append(session, arrived);
                }
                self.reply(awaiting, 201, HeaderMap::new());
            }
            Some(Failure::Lie) if head.method == Method::GET => {
                let range =
                    self.choices.pick(&["", "0-0", "0-9999", "0--1", "5-9", "0-18446744073709551615"]);
                let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
                self.reply(awaiting, 204, headers);
            }
            // Not every failure fits every request.
            _ if host == "registry.example" && !is_authorized => self.refuse(awaiting, 401),
            _ if !is_complete => self.refuse(awaiting, 500),
            _ => {
                let (status, headers) = self.registry.carry_out(&head, arrived, &mut self.choices);
                if let Some(location) = headers.get(LOCATION).filter(|_| !is_ignored) {
                    self.registry.known.extend(number(location.to_str().expect("text")));
                }
                self.reply(awaiting, status, headers);
            }
        }
    }

    fn refuse(&mut self, awaiting: Awaiting, status: u16) {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=r"))]);
        self.reply(awaiting, status, headers);
    }

    fn reply(&mut self, awaiting: Awaiting, status: u16, headers: HeaderMap) {
        let receiving = awaiting.head(StatusCode::from_u16(status).expect("a status"), headers);
        self.session.complete(self.now, receiving.finish());
    }
}

impl Registry {
    fn append(&mut self, session: Option<usize>, bytes: &[u8]) {
        if let Some(had) = session.and_then(|session| self.sessions.get_mut(&session)) {
            had.extend_from_slice(bytes);
        }
    }

    fn forget(&mut self, session: Option<usize>) {
        session.and_then(|session| self.sessions.remove(&session));
    }

    fn carry_out(
        &mut self,
        head: &http::request::Parts,
        bytes: &[u8],
        choices: &mut Choices<'_>,
    ) -> (u16, HeaderMap) {
        let none = HeaderMap::new();
        let session = number(head.uri.path());
        if head.method == Method::HEAD {
            let digest = head.uri.path().rsplit('/').next().expect("a path");
            return (if self.blobs.contains_key(digest) { 200 } else { 404 }, none);
        }
        if head.method == Method::POST {
            self.begun += 1;
            self.sessions.insert(self.begun, Vec::new());
            return (202, located(self.begun, choices));
        }
        let Some((session, stored)) =
            session.and_then(|session| Some((session, self.sessions.get_mut(&session)?)))
        else {
            return (404, none);
        };
        let reported =
            |stored: &[u8]| format!("0-{}", stored.len().saturating_sub(1)).parse().expect("a value");
        let range = head.headers.get(CONTENT_RANGE).map(|value| value.to_str().expect("text").to_owned());
        if let Some((first, last)) = range.as_deref().and_then(|range| range.split_once('-')) {
            let (first, last): (usize, usize) =
                (first.parse().expect("a number"), last.parse().expect("a number"));
            assert_eq!(last + 1 - first, bytes.len());
            if first != stored.len() {
                let mut headers = located(session, choices);
                headers.insert(RANGE, reported(stored));
                return (416, headers);
            }
        }
        match head.method {
            Method::GET => {
                let mut headers = located(session, choices);
                headers.insert(RANGE, reported(stored));
                (204, headers)
            }
            Method::PATCH => {
                stored.extend_from_slice(bytes);
                (202, if choices.flip() { none } else { located(session, choices) })
            }
            Method::DELETE => {
                self.sessions.remove(&session);
                (204, none)
            }
            _ => {
                stored.extend_from_slice(bytes);
                let content = stored.clone();
                let wanted = head.uri.query().and_then(|query| query.rsplit_once("digest="));
                let (_, wanted) = wanted.expect("a digest");
                let digest: Digest = wanted.parse().expect("a digest");
                if Digest::of(digest.algorithm().expect("a known one"), &content) != digest {
                    self.sessions.remove(&session);
                    return (400, none);
                }
                self.sessions.remove(&session);
                self.blobs.insert(wanted.to_owned(), content);
                (201, none)
            }
        }
    }
}

/// The URL of a session, on the registry or elsewhere.
fn located(session: usize, choices: &mut Choices<'_>) -> HeaderMap {
    let host = choices.pick(&["registry.example", "registry.example", "storage.example"]);
    let query = choices.pick(&["", "?_state=a", "?x=/&y="]);
    let location = format!("https://{host}/v2/team/app/blobs/uploads/{session}{query}");
    HeaderMap::from_iter([(LOCATION, location.parse().expect("a value"))])
}

/// The number of the session in a URL.
fn number(url: &str) -> Option<usize> {
    let (_, session) = url.split_once("/blobs/uploads/")?;
    session.split('?').next()?.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn uploads_end_with_the_content_or_an_error(data in vec(any::<u8>(), 0..300)) {
        World::new(&data).run();
    }
}
