//! Copies, whose downloads and uploads are pairs that depend on each other, under arbitrary limits, challenges,
//! redirects and failures.

use std::collections::{BTreeMap, BTreeSet};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use oci_proto::{
    Algorithm, Answer, Config, Credentials, Digest, Event, Exchange, ExchangeId, Fault, FaultKind, MediaType,
    OpId, Output, Payload, PushOptions, QueryId, Question, Reference, Sending, Session, Time,
};
use oci_proto_tests::simulation::Choices;
use proptest::collection::vec;
use proptest::prelude::*;

/// Sources and destinations of copies.
const ROUTES: [(&str, &str); 5] = [
    ("a.example", "b.example"),
    ("a.example", "b.example"),
    ("b.example", "a.example"),
    ("a.example", "a.example"),
    ("c.example", "d.example"),
];
/// Targets of redirects: a storage server, and registries with their own limits.
const ELSEWHERE: [&str; 3] = ["cdn.example", "a.example", "b.example"];
/// More steps than any copy needs.
const MAX_STEPS: usize = 20_000;
/// The size of a blob in bytes.
const SIZE: usize = 250;
/// The size of a chunk, if a registry refuses whole blobs.
const CHUNK: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Get(OpId, Digest),
    /// A PUT or PATCH of the content that the GET supplies.
    Put(OpId, Digest),
    /// A token request.
    Token,
    /// A request alone, by its method and URL.
    Alone(Option<OpId>, String),
}

impl Name {
    fn of(exchange: &Exchange) -> Self {
        match (exchange.sink(), exchange.source()) {
            (Some(sink), None) => Self::Get(sink.op, sink.digest.clone()),
            (None, Some(source)) => Self::Put(source.op, source.digest.clone()),
            _ if exchange.request().uri().path() == "/token" => Self::Token,
            _ => {
                let request = exchange.request();
                Self::Alone(exchange.op(), format!("{} {}", request.method(), request.uri()))
            }
        }
    }

    fn other(&self) -> Option<Self> {
        match self {
            Self::Get(op, digest) => Some(Self::Put(*op, digest.clone())),
            Self::Put(op, digest) => Some(Self::Get(*op, digest.clone())),
            Self::Token | Self::Alone(..) => None,
        }
    }
}

/// One half of a pair, or a request alone.
#[derive(Debug, Default)]
struct Half {
    was_sent: bool,
    is_over: bool,
    was_challenged: bool,
    failures: usize,
}

struct Driver<'c> {
    session: Session,
    choices: Choices<'c>,
    now: Time,
    all: usize,
    per_origin: usize,
    /// Registries that require a token, with the realm in their challenge.
    realms: BTreeMap<&'static str, String>,
    /// Registries that refuse whole blobs.
    only_chunks: BTreeSet<&'static str>,
    contents: BTreeMap<Digest, Vec<u8>>,
    /// The documents to copy, by their paths.
    manifests: BTreeMap<String, String>,
    /// The bytes in each upload session, by its number.
    uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
    /// The blobs at each destination, and the documents, by their paths.
    stored: BTreeSet<String>,
    halves: BTreeMap<Name, Half>,
    alive: BTreeSet<OpId>,
    paused: BTreeSet<OpId>,
    out: Vec<(Name, Exchange)>,
    questions: Vec<QueryId>,
    /// The GETs whose PUT has failed.
    to_abort: BTreeSet<ExchangeId>,
    /// The remaining arbitrary actions of the driver.
    actions_left: usize,
    tokens: usize,
}

impl<'c> Driver<'c> {
    fn new(data: &'c [u8]) -> Self {
        let mut choices = Choices::new(data);
        let mut config = Config::default();
        let limits = &mut config.limits;
        limits.in_flight = 1 + choices.below(8);
        limits.in_flight_per_origin = 1 + choices.below(8);
        limits.tokens = 1 + choices.below(2);
        (limits.max_attempts, limits.challenges, limits.redirects) = (50, 50, 50);
        limits.chunk_bytes = CHUNK;
        let (all, per_origin) = (limits.in_flight, limits.in_flight_per_origin);
        let (mut realms, mut only_chunks) = (BTreeMap::new(), BTreeSet::new());
        for registry in ["a.example", "b.example", "c.example", "d.example"] {
            let realm = choices.pick(&["", "auth.example", registry, "a.example", "b.example"]);
            if !realm.is_empty() {
                realms.insert(registry, format!("https://{realm}/token"));
            }
            if choices.once_in(4) {
                only_chunks.insert(registry);
            }
        }
        let mut driver = Self {
            session: Session::new(config, 1),
            choices,
            now: Time::ZERO,
            all,
            per_origin,
            realms,
            only_chunks,
            contents: BTreeMap::new(),
            manifests: BTreeMap::new(),
            uploads: BTreeMap::new(),
            begun: 0,
            stored: BTreeSet::new(),
            halves: BTreeMap::new(),
            alive: BTreeSet::new(),
            paused: BTreeSet::new(),
            out: Vec::new(),
            questions: Vec::new(),
            to_abort: BTreeSet::new(),
            actions_left: 6,
            tokens: 0,
        };
        driver.start(8);
        for _ in 0..driver.choices.below(3) {
            driver.start(1);
        }
        driver
    }

    /// Starts a copy of an image with several blobs, perhaps with blob downloads beside it.
    fn start(&mut self, least: usize) {
        let (from, to) = self.choices.pick(&ROUTES);
        let number = self.manifests.len();
        let reference = |host: &str, name: &str| -> Reference {
            format!("{host}/team/{name}{number}:1").parse().expect("a reference")
        };
        let copies: Vec<Digest> = (0..least + self.choices.below(5)).map(|_| self.content()).collect();
        let media_type = MediaType::OCTET_STREAM;
        let blob = |digest| format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{SIZE}}}"#);
        let (config, layers) = copies.split_first().expect("there are several");
        let layers: Vec<String> = layers.iter().map(blob).collect();
        let manifest =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, blob(config), layers.join(","));
        self.manifests.insert(format!("{from}/v2/team/from{number}/manifests/1"), manifest);
        let op = self.session.copy(&reference(from, "from"), &reference(to, "to"), PushOptions::default());
        self.alive.insert(op);
        for digest in copies {
            self.halves.insert(Name::Get(op, digest.clone()), Half::default());
            self.halves.insert(Name::Put(op, digest), Half::default());
        }
        for _ in 0..self.choices.below(3) {
            let digest = self.content();
            let op = self.session.blob(&reference(from, "other").at(digest.clone()), Some(SIZE as u64));
            self.alive.insert(op);
            self.halves.insert(Name::Get(op, digest), Half::default());
        }
    }

    fn content(&mut self) -> Digest {
        let text = format!("content {} ", self.contents.len());
        let content: Vec<u8> = text.bytes().cycle().take(SIZE).collect();
        let digest = Digest::of(Algorithm::Sha256, &content);
        self.contents.insert(digest.clone(), content);
        digest
    }

    /// Drives all operations to completion.
    fn run(mut self) {
        for _ in 0..MAX_STEPS {
            let until = self.poll();
            if self.alive.is_empty() && self.session.is_idle() {
                assert_eq!(self.session.in_flight(), 0, "{:?}", self.session);
                return;
            }
            self.act(until);
        }
        panic!("it does not end: {:?}", self.out);
    }

    fn poll(&mut self) -> Option<Time> {
        let mut first: Vec<Name> = Vec::new();
        for _ in 0..MAX_STEPS {
            match self.session.poll_output(self.now) {
                Output::Send(exchange) => {
                    let name = Name::of(&exchange);
                    self.check_limits(&name, &exchange);
                    if let Some(half) = self.halves.get_mut(&name) {
                        assert!(!half.is_over, "it has ended: {name:?}");
                        if !half.was_sent {
                            half.was_sent = true;
                            first.push(name.clone());
                        }
                    }
                    if let Some(op) = exchange.op() {
                        let continues =
                            name.other().is_some_and(|other| self.out.iter().any(|(name, _)| *name == other));
                        assert!(
                            continues || !self.paused.contains(&op),
                            "a paused operation sends {exchange:?}"
                        );
                    }
                    self.out.push((name, exchange));
                }
                Output::Abort(id) => {
                    let index = self.out.iter().position(|(_, exchange)| exchange.id() == id);
                    let (name, _) = self.out.swap_remove(index.expect("it is in flight"));
                    // A stopped GET may have been the only one to wait for a token.
                    assert!(self.to_abort.remove(&id) || name == Name::Token, "{name:?} is needed");
                }
                Output::Ask(query, Question::Credentials(_)) => self.questions.push(query),
                Output::Event(op, Event::Done) => {
                    self.alive.remove(&op);
                    let missing = self
                        .halves
                        .iter()
                        .find(|(name, half)| matches!(name, Name::Put(of, _) if *of == op) && !half.is_over);
                    assert!(missing.is_none(), "it is done without {missing:?}");
                }
                Output::Event(_, Event::Failed(error)) => panic!("an operation fails: {error}"),
                Output::Event(..) => {}
                Output::Wait(until) => {
                    let other_is_sent = |name: &Name| {
                        let other = name.other().and_then(|other| self.halves.get(&other));
                        other.is_none_or(|other| other.was_sent)
                    };
                    assert!(first.iter().all(other_is_sent), "only half of a pair is sent: {first:?}");
                    assert!(self.to_abort.is_empty(), "a GET without its PUT continues: {:?}", self.to_abort);
                    assert_eq!(self.session.in_flight(), self.out.len());
                    assert_eq!(self.session.unanswered(), self.questions.len());
                    return until;
                }
                other @ Output::Ask(..) => panic!("{other:?}"),
            }
        }
        panic!("the session does not wait");
    }

    /// The limits on requests in flight hold, except that a pair may exceed a limit of one, and so may a
    /// request to an origin at which all requests in flight wait for their other halves.
    fn check_limits(&self, name: &Name, exchange: &Exchange) {
        let pairs =
            self.all == 1 && (self.is_half(name) || self.out.iter().any(|(name, _)| self.is_half(name)));
        assert!(
            self.out.len() < self.all.max(if pairs { 2 } else { 1 }),
            "too many in total: {:?}",
            self.out
        );
        let beside: Vec<&Name> = self
            .out
            .iter()
            .filter(|(_, other)| host(other) == host(exchange))
            .map(|(name, _)| name)
            .collect();
        let is_stuck = |name: &&Name| self.is_half(name) && !self.may_end(name);
        assert!(
            beside.len() < self.per_origin || beside.iter().all(is_stuck),
            "{name:?} exceeds the limit beside {beside:?}"
        );
    }

    fn is_half(&self, name: &Name) -> bool {
        name.other().is_some_and(|other| self.halves.contains_key(&other))
    }

    /// Whether bytes can flow: the other half is in flight, or has ended.
    fn may_end(&self, name: &Name) -> bool {
        let Some(other) = name.other() else { return true };
        let is_over = self.halves.get(&other).is_none_or(|half| half.is_over);
        is_over || self.out.iter().any(|(name, _)| *name == other)
    }

    fn act(&mut self, until: Option<Time>) {
        if self.actions_left > 0 && !self.alive.is_empty() && self.choices.once_in(10) {
            self.actions_left -= 1;
            return self.act_arbitrarily();
        }
        let mut ready: Vec<usize> = (0..self.out.len()).collect();
        ready.retain(|index| self.reply_of(*index) != Reply::None);
        let ways = self.questions.len() + ready.len() + usize::from(until.is_some());
        if ways == 0 {
            // A paused operation does not hold up others, nor its own exchanges in flight.
            let is_paused = !self.alive.is_empty() && self.alive.is_subset(&self.paused);
            assert!(is_paused, "deadlock: {:?}", self.out);
            assert!(self.out.is_empty(), "a paused operation does not continue: {:?}", self.out);
            return self.resume();
        }
        let way = self.choices.below(ways);
        if way < self.questions.len() {
            let query = self.questions.remove(way);
            let login = Credentials::login("user", "password").expect("the name has no colon");
            self.session.answer(self.now, query, Answer::Credentials(Some(login)));
        } else if let Some(index) = ready.get(way - self.questions.len()) {
            let reply = self.reply_of(*index);
            self.advance(*index, reply);
        } else if let Some(until) = until {
            self.now = until;
        }
    }

    /// Arbitrary actions of a driver.
    fn act_arbitrarily(&mut self) {
        match self.choices.below(3) {
            0 => {
                let index = self.choices.below(self.alive.len());
                let op = *self.alive.iter().nth(index).expect("the index is below the length");
                self.paused.insert(op);
                self.session.pause(op);
            }
            1 => self.resume(),
            _ => {
                for (name, _) in std::mem::take(&mut self.out) {
                    self.begin_again(&name);
                }
                self.to_abort.clear();
                self.questions.clear();
                self.session.abandon_in_flight(self.now);
            }
        }
    }

    fn resume(&mut self) {
        for op in std::mem::take(&mut self.paused) {
            self.session.resume(op);
        }
    }

    /// The response to a request, if it does not fail.
    fn reply_of(&self, index: usize) -> Reply {
        let (name, exchange) = &self.out[index];
        let needs_token = self.wants_token(exchange);
        if *name == Name::Token {
            Reply::Token
        } else if needs_token && !exchange.request().headers().contains_key(AUTHORIZATION) {
            Reply::Challenge
        } else if self.may_end(name) {
            Reply::Success
        } else {
            Reply::None
        }
    }

    /// Whether it goes to a registry that requires a token, and to which no redirect leads back.
    fn wants_token(&self, exchange: &Exchange) -> bool {
        self.realms.contains_key(host(exchange)) && exchange.request().uri().path().starts_with("/v2/")
    }

    fn advance(&mut self, index: usize, reply: Reply) {
        let (name, exchange) = self.out.swap_remove(index);
        let half = self.halves.entry(name.clone()).or_default();
        let is_failure = reply == Reply::Success && half.failures < 3 && self.choices.once_in(4);
        half.failures += usize::from(is_failure);
        if is_failure || reply == Reply::Challenge {
            self.begin_again(&name);
        }
        if is_failure {
            return self.failure(&name, exchange);
        }
        match reply {
            Reply::Challenge => self.challenge(&name, exchange),
            Reply::Token => {
                self.tokens += 1;
                let body = format!(r#"{{"token":"t{}"}}"#, self.tokens);
                self.answer(exchange, 200, &[], body.as_bytes());
            }
            Reply::Success => match &name {
                Name::Get(_, digest) => {
                    self.end(&name);
                    self.deliver(exchange, &digest.clone(), SIZE);
                }
                Name::Put(..) => self.receive(&name, exchange),
                Name::Token | Name::Alone(..) => self.answer_alone(exchange),
            },
            Reply::None => unreachable!("it has to wait"),
        }
        if name == Name::Token {
            self.halves.remove(&name);
        }
    }

    /// Sends a blob, or the part of it that was asked for, up to this position.
    fn deliver(&mut self, exchange: Exchange, digest: &Digest, end: usize) {
        let range = exchange.request().headers().get(RANGE).map(|range| {
            let text = range.to_str().expect("text");
            text.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().expect("an open range")
        });
        let start = range.unwrap_or(0);
        let of = format!("bytes {start}-{}/{SIZE}", SIZE - 1);
        let headers: &[(&str, &str)] = if range.is_some() { &[("content-range", &of)] } else { &[] };
        let mut receiving =
            exchange.split().2.head(status(if range.is_some() { 206 } else { 200 }), all(headers));
        let content = self.contents[digest].get(start..end).unwrap_or_default();
        if !content.is_empty() {
            receiving.push(content).expect("the body is wanted");
        }
        let completion = if end == SIZE {
            receiving.finish()
        } else {
            receiving.fail(Fault::new(FaultKind::Reset, "cut off"))
        };
        self.session.complete(self.now, completion);
    }

    /// Takes content, whole or as a chunk.
    fn receive(&mut self, name: &Name, exchange: Exchange) {
        let request = exchange.request();
        if self.refuses(&exchange) {
            self.begin_again(name);
            return self.answer(exchange, 405, &[], b"");
        }
        let is_last = *request.method() == Method::PUT;
        let (path, id) = (request.uri().path().to_owned(), upload_of(&exchange));
        let Name::Put(_, digest) = name else { unreachable!("only a PUT has content") };
        let (request, sending, awaiting) = exchange.split();
        let mut sending = sending.expect("a payload is checked");
        let length = request.headers()[CONTENT_LENGTH].to_str().expect("text").parse::<u64>();
        assert_eq!(length.expect("a number"), sending.length());
        self.take(&id, request.headers(), request.body(), &mut sending, SIZE);
        sending.finish().expect("the content is complete");
        if is_last {
            let upload = self.uploads.remove(&id).expect("the session is open");
            assert_eq!(upload, self.contents[digest], "{path} has other content");
            self.stored.insert(digest.to_string());
            self.end(name);
        } else {
            self.begin_again(name);
        }
        let receiving = awaiting.head(status(if is_last { 201 } else { 202 }), HeaderMap::new());
        self.session.complete(self.now, receiving.finish());
    }

    /// Whether it sends a whole blob to a registry that takes chunks alone.
    fn refuses(&self, exchange: &Exchange) -> bool {
        self.only_chunks.contains(host(exchange)) && !exchange.request().headers().contains_key(CONTENT_RANGE)
    }

    /// Reads the content from its source, and stores it up to this position.
    fn take(&mut self, id: &str, headers: &HeaderMap, payload: &Payload, sending: &mut Sending, end: usize) {
        let Payload::Source(source) = payload else { unreachable!("a pair has a source") };
        let at = |position: u64| usize::try_from(position).expect("it is small");
        let range = source.read_range();
        let content = self.contents[&source.digest][at(range.start)..at(range.end)].to_vec();
        let upload = self.uploads.get_mut(id).expect("the session is open");
        if headers.contains_key(CONTENT_RANGE) {
            assert_eq!(upload.len() as u64, source.range.start, "it is sent from another position");
        } else {
            upload.clear();
        }
        let count = end.saturating_sub(at(range.start)).min(content.len());
        let sent = sending.push(&content[..count]).expect("the content has the right digest");
        upload.extend_from_slice(&content[..count][sent]);
    }

    /// Answers a request that is not one half of a pair.
    fn answer_alone(&mut self, exchange: Exchange) {
        let request = exchange.request();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let at = format!("{}{path}", host(&exchange));
        let is_upload = path.contains("/blobs/uploads/");
        match method.as_str() {
            "GET" if is_upload => match self.uploads.get(&upload_of(&exchange)).map(Vec::len) {
                Some(length) if !self.choices.once_in(3) => {
                    let range = format!("0-{}", length.max(1) - 1);
                    self.answer(exchange, 204, &[("range", &range)], b"");
                }
                _ => {
                    self.uploads.remove(&upload_of(&exchange));
                    self.answer(exchange, 404, &[], b"");
                }
            },
            "GET" => {
                let manifest = self.manifests[&at].clone();
                let media_type = MediaType::OCI_MANIFEST.to_string();
                self.answer(exchange, 200, &[(CONTENT_TYPE.as_str(), &media_type)], manifest.as_bytes());
            }
            "HEAD" => {
                let digest = path.rsplit('/').next().expect("a path");
                let found = self.stored.contains(digest);
                self.answer(exchange, if found { 200 } else { 404 }, &[], b"");
            }
            "POST" if request.uri().query().is_some_and(|query| query.contains("mount=")) => {
                self.answer(exchange, 405, &[], b"");
            }
            "POST" => {
                self.begun += 1;
                self.uploads.insert(self.begun.to_string(), Vec::new());
                let location = format!("{path}{}", self.begun);
                self.answer(exchange, 202, &[("location", &location)], b"");
            }
            "DELETE" => {
                self.uploads.remove(&upload_of(&exchange));
                self.answer(exchange, 204, &[], b"");
            }
            "PUT" => self.answer(exchange, 201, &[], b""),
            other => panic!("{other} {path}"),
        }
    }

    /// After a PUT has ended, its GET is of no use.
    fn end(&mut self, name: &Name) {
        self.halves.get_mut(name).expect("the half is in flight").is_over = true;
        if let (Name::Put(..), Some(get)) = (name, name.other())
            && let Some(half) = self.halves.get_mut(&get)
        {
            half.is_over = true;
            self.expect_abort(&get);
        }
    }

    fn expect_abort(&mut self, get: &Name) {
        self.to_abort.extend(self.out.iter().filter(|(name, _)| name == get).map(|(_, get)| get.id()));
    }

    /// After a PUT has failed, both halves are sent again.
    fn begin_again(&mut self, name: &Name) {
        let (Name::Put(..), Some(get)) = (name, name.other()) else { return };
        self.expect_abort(&get);
        for half in [name, &get] {
            let half = self.halves.get_mut(half).expect("a PUT has a GET");
            (half.was_sent, half.is_over) = (false, false);
        }
    }

    /// A transient failure.
    fn failure(&mut self, name: &Name, exchange: Exchange) {
        let path = exchange.request().uri().path().to_owned();
        let elsewhere = format!("https://{}/elsewhere{path}", self.choices.pick(&ELSEWHERE));
        match (self.choices.below(9), name) {
            (0..3, Name::Get(..) | Name::Put(..)) => {
                self.answer(exchange, 307, &[("location", &elsewhere)], b"");
            }
            (3, _) => self.answer(exchange, 503, &[], b""),
            (4, _) => self.answer(exchange, 429, &[("retry-after", "2")], b""),
            (5, _) if !self.halves[name].was_challenged && self.wants_token(&exchange) => {
                self.challenge(name, exchange);
            }
            (6, _) => self.session.lost(self.now, exchange.id(), Fault::new(FaultKind::NotSent, "lost")),
            // A part is transferred.
            (7, Name::Get(_, digest)) => {
                let end = 10 * self.choices.below(SIZE / 10);
                self.deliver(exchange, digest, end);
            }
            (7, Name::Put(..)) if !self.refuses(&exchange) => {
                let (id, end) = (upload_of(&exchange), 10 * self.choices.below(SIZE / 10));
                let (request, sending, awaiting) = exchange.split();
                let mut sending = sending.expect("a payload is checked");
                self.take(&id, request.headers(), request.body(), &mut sending, end);
                drop(sending);
                self.session.complete(self.now, awaiting.fail(Fault::new(FaultKind::Reset, "cut off")));
            }
            _ => {
                let kind = if matches!(name, Name::Get(..)) { FaultKind::Reset } else { FaultKind::NotSent };
                let completion = exchange.split().2.fail(Fault::new(kind, "failed"));
                self.session.complete(self.now, completion);
            }
        }
    }

    fn challenge(&mut self, name: &Name, exchange: Exchange) {
        self.halves.get_mut(name).expect("the half is in flight").was_challenged = true;
        let realm = self.realms.get(host(&exchange)).cloned().unwrap_or_default();
        let challenge = format!(r#"Bearer realm="{realm}",service="{}""#, host(&exchange));
        self.answer(exchange, 401, &[("www-authenticate", &challenge)], b"");
    }

    /// Responds without reading content from a source.
    fn answer(&mut self, exchange: Exchange, code: u16, headers: &[(&str, &str)], body: &[u8]) {
        let (request, sending, awaiting) = exchange.split();
        if let (Some(mut sending), Payload::Bytes(bytes)) = (sending, request.body()) {
            sending.push(bytes).expect("the payload is not checked");
            sending.finish().expect("the payload is complete");
        }
        let mut receiving = awaiting.head(status(code), all(headers));
        if !body.is_empty() {
            receiving.push(body).expect("the body is wanted");
        }
        self.session.complete(self.now, receiving.finish());
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

fn all(headers: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
    };
    headers.iter().map(header).collect()
}

/// The number of the upload session of a request.
fn upload_of(exchange: &Exchange) -> String {
    exchange.request().uri().path().rsplit('/').next().unwrap_or_default().to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// It waits for its other half.
    None,
    Challenge,
    Token,
    Success,
}

fn host(exchange: &Exchange) -> &str {
    exchange.request().uri().host().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pairs_keep_to_the_limits_without_deadlock(data in vec(any::<u8>(), 0..600)) {
        Driver::new(&data).run();
    }
}
