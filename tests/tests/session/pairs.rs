//! Pairs of a GET and a PUT that depend on each other, under arbitrary limits, challenges, redirects and
//! failures.

use std::collections::{BTreeMap, BTreeSet};

use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, StatusCode};
use oci_proto::{
    Algorithm, Answer, Config, Credentials, Digest, Event, Exchange, ExchangeId, Fault, FaultKind, OpId,
    Output, QueryId, Question, Reference, ScriptStep, Session, Time,
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
/// More steps than any script needs.
const MAX_STEPS: usize = 3_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Get(OpId, Digest),
    Put(OpId, Digest),
    /// A token request.
    Token,
}

impl Name {
    fn of(exchange: &Exchange) -> Self {
        match (exchange.sink(), exchange.source()) {
            (Some(sink), None) => Self::Get(sink.op, sink.digest.clone()),
            (None, Some(source)) => Self::Put(source.op, source.digest.clone()),
            _ => Self::Token,
        }
    }

    fn other(&self) -> Option<Self> {
        match self {
            Self::Get(op, digest) => Some(Self::Put(*op, digest.clone())),
            Self::Put(op, digest) => Some(Self::Get(*op, digest.clone())),
            Self::Token => None,
        }
    }
}

/// One half of a pair, or a GET alone.
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
    contents: BTreeMap<Digest, Vec<u8>>,
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
        let (all, per_origin) = (limits.in_flight, limits.in_flight_per_origin);
        let mut realms = BTreeMap::new();
        for registry in ["a.example", "b.example", "c.example", "d.example"] {
            let realm = choices.pick(&["", "auth.example", registry, "a.example", "b.example"]);
            if !realm.is_empty() {
                realms.insert(registry, format!("https://{realm}/token"));
            }
        }
        let mut driver = Self {
            session: Session::new(config, 1),
            choices,
            now: Time::ZERO,
            all,
            per_origin,
            realms,
            contents: BTreeMap::new(),
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

    /// Starts a script of several copies, perhaps with a blob download beside it.
    fn start(&mut self, least: usize) {
        let (from, to) = self.choices.pick(&ROUTES);
        let reference = |host: &str, name: &str| -> Reference {
            format!("{host}/team/{name}:1").parse().expect("a reference")
        };
        let copies: Vec<(Digest, u64)> = (0..least + self.choices.below(5)).map(|_| self.content()).collect();
        let step = |(digest, size): &(Digest, u64)| ScriptStep::Copy { digest: digest.clone(), size: *size };
        let steps = copies.iter().map(step).collect();
        let op = self.session.script(&reference(from, "from"), &reference(to, "to"), steps);
        self.alive.insert(op);
        for (digest, _) in copies {
            self.halves.insert(Name::Get(op, digest.clone()), Half::default());
            self.halves.insert(Name::Put(op, digest), Half::default());
        }
        for _ in 0..self.choices.below(3) {
            let (digest, size) = self.content();
            let op = self.session.blob(&reference(from, "other").at(digest.clone()), Some(size));
            self.alive.insert(op);
            self.halves.insert(Name::Get(op, digest), Half::default());
        }
    }

    fn content(&mut self) -> (Digest, u64) {
        let content = format!("content {}", self.contents.len()).into_bytes();
        let (digest, size) = (Digest::of(Algorithm::Sha256, &content), content.len() as u64);
        self.contents.insert(digest.clone(), content);
        (digest, size)
    }

    /// Drives all operations to completion.
    fn run(mut self) {
        for _ in 0..MAX_STEPS {
            let until = self.poll();
            if self.alive.is_empty() {
                assert!(self.session.is_idle() && self.session.in_flight() == 0, "{:?}", self.session);
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
                Output::Event(op, Event::Done) => _ = self.alive.remove(&op),
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
        if self.actions_left > 0 && self.choices.once_in(10) {
            self.actions_left -= 1;
            return self.act_arbitrarily();
        }
        let mut ready: Vec<usize> = (0..self.out.len()).collect();
        ready.retain(|index| self.reply_of(*index) != Reply::None);
        let ways = self.questions.len() + ready.len() + usize::from(until.is_some());
        if ways == 0 {
            // A paused operation does not hold up others, nor its own exchanges in flight.
            assert!(self.alive.is_subset(&self.paused), "deadlock: {:?}", self.out);
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
            Reply::Success => {
                self.end(&name);
                let content = match &name {
                    Name::Get(_, digest) => Some(self.contents[digest].clone()),
                    _ => None,
                };
                match content {
                    Some(content) => self.answer(exchange, 200, &[], &content),
                    None => self.answer(exchange, 201, &[], b""),
                }
            }
            Reply::None => unreachable!("it has to wait"),
        }
        if name == Name::Token {
            self.halves.remove(&name);
        }
    }

    fn end(&mut self, name: &Name) {
        self.halves.get_mut(name).expect("the half is in flight").is_over = true;
    }

    /// After a PUT has failed, both halves are sent again.
    fn begin_again(&mut self, name: &Name) {
        let (Name::Put(..), Some(get)) = (name, name.other()) else { return };
        self.to_abort.extend(self.out.iter().filter(|(name, _)| *name == get).map(|(_, get)| get.id()));
        for half in [name, &get] {
            let half = self.halves.get_mut(half).expect("a PUT has a GET");
            (half.was_sent, half.is_over) = (false, false);
        }
    }

    /// A transient failure.
    fn failure(&mut self, name: &Name, exchange: Exchange) {
        let is_get = matches!(name, Name::Get(..));
        let path = exchange.request().uri().path().to_owned();
        let elsewhere = format!("https://{}/elsewhere{path}", self.choices.pick(&ELSEWHERE));
        match self.choices.below(8) {
            0..3 => self.answer(exchange, 307, &[("location", &elsewhere)], b""),
            3 => self.answer(exchange, 503, &[], b""),
            4 => self.answer(exchange, 429, &[("retry-after", "2")], b""),
            5 if !self.halves[name].was_challenged && self.wants_token(&exchange) => {
                self.challenge(name, exchange);
            }
            6 => self.session.lost(self.now, exchange.id(), Fault::new(FaultKind::NotSent, "lost")),
            _ => {
                let kind = if is_get { FaultKind::Reset } else { FaultKind::NotSent };
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

    /// Responds: after the whole payload in case of success, otherwise before.
    fn answer(&mut self, exchange: Exchange, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let (request, sending, awaiting) = exchange.split();
        if let Some(mut sending) = sending.filter(|_| status < 300) {
            let length: u64 =
                request.headers()[CONTENT_LENGTH].to_str().expect("text").parse().expect("a number");
            assert_eq!(length, sending.length());
            if let oci_proto::Payload::Source(source) = request.body() {
                sending.push(&self.contents[&source.digest]).expect("the content has the right digest");
            }
            sending.finish().expect("the content is complete");
        }
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
            })
            .collect();
        let mut receiving = awaiting.head(StatusCode::from_u16(status).expect("a status"), headers);
        if !body.is_empty() {
            receiving.push(body).expect("the body is wanted");
        }
        self.session.complete(self.now, receiving.finish());
    }
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
