//! Model registries, a token server and a driver, whose every step and fault the input decides.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{
    Answer, Awaiting, Completion, Config, Digest, Error, Event, Exchange, ExchangeId, Fault, FaultKind, OpId,
    Output, Payload, Question, Receiving, Rest, Session, Sink, Source, Time,
};
use oci_proto_tests::simulation::Choices;
use oci_proto_tests::writable::{Habits, Response, WritableRegistry};

/// How often an exchange that can continue is overtaken, before it is served next. Tokens serve more requests.
const OVERTAKEN: usize = 15;

/// More steps than any transfer needs.
const MAX_STEPS: usize = 20_000;

/// What a driver does besides its duties.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whims {
    /// The number of requests that fail.
    pub(super) faults: usize,
    /// The number of times that it pauses an operation, loses an exchange, or is replaced.
    pub(super) actions: usize,
}

pub(super) struct World<'c> {
    pub(super) session: Session,
    pub(super) choices: Choices<'c>,
    pub(super) now: Time,
    /// By host.
    pub(super) registries: BTreeMap<&'static str, WritableRegistry>,
    /// The content of the driver.
    pub(super) memory: Memory,
    pub(super) whims: Whims,
    pub(super) events: Vec<Event>,
    /// A registry that has lost content.
    pub(super) incomplete: Option<&'static str>,
    /// The registries that require a token, which they accept this often.
    tokens: BTreeMap<&'static str, usize>,
    /// The tokens, with the registry that accepts each and the remaining number of requests.
    issued: BTreeMap<String, (&'static str, usize)>,
    out: Vec<Travelling>,
    pipes: Vec<Pipe>,
    paused: bool,
    ended: BTreeMap<OpId, Result<(), Error>>,
}

/// An exchange in flight.
struct Travelling {
    /// How often others were served since it was last.
    overtaken: usize,
    id: ExchangeId,
    state: State,
}

impl Travelling {
    fn sink(&self) -> Option<&Sink> {
        match &self.state {
            State::Sent(exchange) => exchange.sink(),
            State::Arriving(receiving, ..) => receiving.sink(),
        }
    }
}

enum State {
    Sent(Box<Exchange>),
    /// The body of a download, and how much of it has arrived.
    Arriving(Box<Receiving>, Bytes, usize),
}

/// The bytes that a download has passed on to the upload of the same content.
struct Pipe {
    digest: Digest,
    start: u64,
    bytes: Vec<u8>,
    /// The downloads that fill it, one after another.
    writers: Vec<ExchangeId>,
    /// The upload that reads them.
    reader: Option<ExchangeId>,
}

impl<'c> World<'c> {
    pub(super) fn new(data: &'c [u8], memory: Memory, whims: Whims) -> Self {
        let mut choices = Choices::new(data);
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 1 + choices.below(6);
        config.limits.in_flight = [1, 2, 32][choices.below(3)];
        config.limits.chunk_bytes = 64 << choices.below(8);
        config.limits.max_attempts = 12;
        let mut tokens = BTreeMap::new();
        let registries = ["a.example", "b.example"].map(|host| {
            if choices.once_in(3) {
                tokens.insert(host, 25 + choices.below(40));
            }
            let mut habits = habits(&mut choices);
            if choices.once_in(4) {
                habits.upload_host = Some(if host == "a.example" { "up.a.example" } else { "up.b.example" });
            }
            (host, WritableRegistry::new(habits))
        });
        let registries = registries.into();
        Self {
            session: Session::new(config, 7),
            choices,
            now: Time::ZERO,
            registries,
            memory,
            whims,
            events: Vec::new(),
            incomplete: None,
            tokens,
            issued: BTreeMap::new(),
            out: Vec::new(),
            pipes: Vec::new(),
            paused: false,
            ended: BTreeMap::new(),
        }
    }

    /// Replaces the session and the driver, as after a crash.
    pub(super) fn restart(&mut self) {
        let mut config = Config::default();
        config.limits.max_attempts = 12;
        self.session = Session::new(config, 8);
        self.out.clear();
        self.pipes.clear();
    }

    /// Drives an operation to its end.
    pub(super) fn run(&mut self, op: OpId) -> Result<(), Error> {
        self.events.clear();
        for _ in 0..MAX_STEPS {
            if let Some(ended) = self.ended.remove(&op) {
                return ended;
            }
            self.step(&[op]);
        }
        panic!("it does not end");
    }

    /// Drives several operations to their ends.
    pub(super) fn run_all(&mut self, ops: &[OpId]) -> Vec<Result<(), Error>> {
        for _ in 0..MAX_STEPS {
            if ops.iter().all(|op| self.ended.contains_key(op)) {
                return ops.iter().filter_map(|op| self.ended.remove(op)).collect();
            }
            self.step(ops);
        }
        panic!("they do not end");
    }

    /// Drives operations for this many steps. Returns whether one of them has ended.
    pub(super) fn run_for(&mut self, ops: &[OpId], steps: usize) -> bool {
        for _ in 0..steps {
            if !self.ended.is_empty() {
                return true;
            }
            self.step(ops);
        }
        false
    }

    /// Drives the session until it is idle.
    pub(super) fn run_out(&mut self) {
        for _ in 0..MAX_STEPS {
            if self.session.is_idle() {
                return;
            }
            self.step(&[]);
        }
        panic!("it never becomes idle");
    }

    fn step(&mut self, ops: &[OpId]) {
        match self.session.poll_output(self.now) {
            Output::Send(exchange) => self.begin(exchange),
            Output::Ask(query, question) => {
                let answer = self.answer(&question);
                self.session.answer(self.now, query, answer);
            }
            Output::Abort(id) => {
                self.out.retain(|travelling| travelling.id != id);
                self.close_pipe_of(id);
            }
            Output::Event(op, Event::Done) => _ = self.ended.insert(op, Ok(())),
            Output::Event(op, Event::Failed(error)) => _ = self.ended.insert(op, Err(error)),
            Output::Event(_, event) => self.events.push(event),
            Output::Wait(until) => {
                if self.whims.actions > 0 && !ops.is_empty() && self.choices.once_in(6) {
                    self.whims.actions -= 1;
                    return self.act(ops);
                }
                if self.serve() {
                    let whole = self.registries.iter().filter(|(host, _)| self.incomplete != Some(**host));
                    whole.for_each(|(_, registry)| registry.assert_whole());
                } else if self.paused {
                    self.paused = false;
                    for op in ops {
                        self.session.resume(*op);
                    }
                } else {
                    self.now = until.unwrap_or_else(|| panic!("it hangs: {:?}", self.out.len()));
                }
            }
        }
    }

    /// Does something that a driver may do at any time.
    fn act(&mut self, ops: &[OpId]) {
        match self.choices.below(3) {
            0 => {
                self.paused = true;
                for op in ops {
                    self.session.pause(*op);
                }
            }
            1 => {
                self.out.clear();
                self.pipes.clear();
                self.session.abandon_in_flight(self.now);
            }
            _ if self.out.is_empty() => {}
            _ => {
                let index = self.choices.below(self.out.len());
                let lost = self.out.remove(index);
                let kinds = [FaultKind::Reset, FaultKind::Timeout, FaultKind::NotSent];
                let is_sent = matches!(lost.state, State::Arriving(..));
                let kind = kinds[self.choices.below(if is_sent { 2 } else { 3 })];
                self.close_pipe_of(lost.id);
                self.session.lost(self.now, lost.id, Fault::new(kind, "lost"));
            }
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Document { descriptor, .. } => match self.memory.bytes(&descriptor.digest) {
                Some(bytes) => Answer::Document(bytes),
                None => Answer::Failed(Fault::new(FaultKind::Storage, "it is not there")),
            },
            Question::Credentials(_) => Answer::Credentials(None),
            other => panic!("{other:?}"),
        }
    }

    /// Takes an exchange. A pipe is opened by a download, and read by one upload.
    fn begin(&mut self, exchange: Exchange) {
        self.check(&exchange);
        let id = exchange.id();
        if let Some(Sink { digest, offset, .. }) = exchange.sink() {
            let is_same = |other: &Travelling| other.sink().is_some_and(|sink| sink.digest == *digest);
            assert!(!self.out.iter().any(is_same), "two downloads of the same content: {exchange:?}");
            match self.pipe(digest) {
                Some(pipe) => {
                    let end = pipe.start + pipe.bytes.len() as u64;
                    assert_eq!(end, *offset, "a download continues at another position: {exchange:?}");
                    pipe.writers.push(id);
                }
                None => self.pipes.push(Pipe {
                    digest: digest.clone(),
                    start: *offset,
                    bytes: Vec::new(),
                    writers: vec![id],
                    reader: None,
                }),
            }
        }
        if let Some(source) = exchange.source()
            && self.memory.size(&source.digest).is_none()
        {
            let pipe = self.pipe(&source.digest);
            let pipe = pipe.unwrap_or_else(|| panic!("an upload without its download: {exchange:?}"));
            assert!(pipe.reader.is_none(), "two uploads read from one download: {exchange:?}");
            assert_eq!(pipe.start, source.start, "the halves of a pair begin at different positions");
            pipe.reader = Some(id);
        }
        self.out.push(Travelling { id, overtaken: 0, state: State::Sent(Box::new(exchange)) });
    }

    fn pipe(&mut self, digest: &Digest) -> Option<&mut Pipe> {
        self.pipes.iter_mut().find(|pipe| pipe.digest == *digest)
    }

    /// What is true of every request.
    fn check(&self, exchange: &Exchange) {
        let request = exchange.request();
        let host = request.uri().host().expect("a host");
        let Some(authorization) = request.headers().get(AUTHORIZATION) else { return };
        let token = authorization.to_str().expect("text").trim_start_matches("Bearer ");
        let (of, _) = self.issued[token];
        assert_eq!(of, host, "a token leaves its registry");
    }

    /// Closes the pipe that an upload reads from.
    fn close_pipe_of(&mut self, upload: ExchangeId) {
        self.pipes.retain(|pipe| pipe.reader != Some(upload));
    }

    /// Serves one of the exchanges that can continue. Returns whether there was one.
    fn serve(&mut self) -> bool {
        let ready: Vec<usize> = (0..self.out.len()).filter(|index| self.can_continue(*index)).collect();
        if ready.is_empty() {
            return false;
        }
        // No request is overtaken so often that its token expires in the meantime: a fresh one that is refused is final.
        let overtaken = ready.iter().copied().find(|index| self.out[*index].overtaken >= OVERTAKEN);
        let index = overtaken.unwrap_or_else(|| ready[self.choices.below(ready.len())]);
        self.out.iter_mut().for_each(|other| other.overtaken += 1);
        let Travelling { id, state, .. } = self.out.remove(index);
        match state {
            State::Sent(exchange) => self.carry(id, *exchange),
            State::Arriving(receiving, body, at) => self.arrive(id, *receiving, body, at),
        }
        true
    }

    fn can_continue(&self, index: usize) -> bool {
        let State::Sent(exchange) = &self.out[index].state else { return true };
        let Some(source) = exchange.source() else { return true };
        self.memory.size(&source.digest).is_some()
            || self.pipes.iter().any(|pipe| {
                pipe.digest == source.digest && pipe.start + pipe.bytes.len() as u64 >= source.range.end
            })
    }

    fn carry(&mut self, id: ExchangeId, exchange: Exchange) {
        let is_faulty = self.whims.faults > 0 && self.choices.once_in(5);
        self.whims.faults -= usize::from(is_faulty);
        let fault = if is_faulty { self.choices.below(7) } else { 7 };
        let (request, sending, awaiting) = exchange.split();
        let (head, payload) = request.into_parts();
        let head = Request::from_parts(head, ());
        let bytes = match payload {
            Payload::Empty => Bytes::new(),
            Payload::Bytes(bytes) => bytes,
            Payload::Source(source) => self.read(&source),
        };
        let host = head.uri().host().expect("a host").to_owned();
        if host == "auth.example" {
            let response = self.issue(&head);
            return self.answered(id, awaiting, response);
        }
        if let Some(refused) = self.refuse(&host, &head, fault) {
            // Nothing of the payload is read.
            drop(sending);
            return self.answered(id, awaiting, refused);
        }
        let registry = self.registry(&host);
        let mut sent = Vec::new();
        let is_cut = fault < 2;
        let cut = if is_cut { self.choices.below(bytes.len().min(200) + 1) } else { bytes.len() };
        if let Some(mut sending) = sending {
            for chunk in bytes[..cut].chunks(9) {
                let payload = sending.push(chunk).expect("the source is right");
                sent.extend_from_slice(&chunk[payload]);
            }
            if cut == bytes.len() {
                sending.finish().expect("the payload is complete");
            }
        }
        let registry = self.registries.get_mut(registry).expect("a registry");
        match fault {
            0 | 1 => {
                if cut == bytes.len() {
                    registry.respond(&head, &sent);
                } else {
                    registry.cut_off(&head, &sent);
                }
                let kind = if fault == 0 { FaultKind::Reset } else { FaultKind::Timeout };
                self.completed(id, awaiting.fail(Fault::new(kind, "cut off")));
            }
            2 => self.completed(id, awaiting.fail(Fault::new(FaultKind::NotSent, "not sent"))),
            3 => {
                registry.cut_off(&head, &sent);
                self.answered(id, awaiting, response(503, &[]));
            }
            _ => {
                let response = registry.respond(&head, &sent);
                self.answered(id, awaiting, response);
            }
        }
    }

    /// Returns the bytes of a payload.
    fn read(&self, source: &Source) -> Bytes {
        let range = source.read_range();
        let at = |position: u64| usize::try_from(position).expect("it is small");
        if let Some(bytes) = self.memory.bytes(&source.digest) {
            return bytes.slice(at(range.start)..at(range.end));
        }
        let pipe = self.pipes.iter().find(|pipe| pipe.digest == source.digest);
        let Pipe { start, bytes, .. } = pipe.expect("its bytes were there");
        Bytes::copy_from_slice(&bytes[at(range.start - start)..at(range.end - start)])
    }

    /// Returns the response that comes before the payload is read, if there is one.
    fn refuse(&mut self, host: &str, head: &Request<()>, fault: usize) -> Option<Response> {
        let registry = self.registry(host);
        let note = |world: &mut Self, why: &str| {
            let line = format!("{} {} {why}", head.method(), head.uri());
            world.registries.get_mut(registry).expect("a registry").requests.push(line);
        };
        if host == registry && self.tokens.contains_key(registry) {
            let token =
                head.headers().get(AUTHORIZATION).map(|value| value.to_str().expect("text").to_owned());
            let token = token.map(|text| text.trim_start_matches("Bearer ").to_owned());
            let left = token.and_then(|token| self.issued.get_mut(&token)).map(|(_, left)| left);
            match left {
                Some(left) if *left > 0 => *left -= 1,
                _ => {
                    note(self, "challenged");
                    let challenge =
                        format!(r#"Bearer realm="https://auth.example/token",service="{registry}""#);
                    return Some(response(401, &[(WWW_AUTHENTICATE, &challenge)]));
                }
            }
        }
        match fault {
            4 => {
                note(self, "limited");
                return Some(response(429, &[(RETRY_AFTER, "1")]));
            }
            5 if host == registry && !head.uri().path().ends_with("/uploads/") => {
                note(self, "redirected");
                let elsewhere = head.uri().to_string().replace(registry, &format!("up.{registry}"));
                return Some(response(307, &[(LOCATION, &elsewhere)]));
            }
            _ => {}
        }
        let refused = self.registries[registry].refuse_early(head).filter(|_| fault > 3)?;
        note(self, "refused");
        Some(refused)
    }

    fn registry(&self, host: &str) -> &'static str {
        let of = |name: &&&'static str| host.ends_with(**name);
        self.registries.keys().find(of).copied().unwrap_or_else(|| panic!("an unknown host: {host}"))
    }

    fn issue(&mut self, head: &Request<()>) -> Response {
        let query = head.uri().query().unwrap_or_default();
        let of = self.registries.keys().copied().find(|host| query.contains(&format!("service={host}")));
        let of = of.unwrap_or_else(|| panic!("a token for nothing known: {query}"));
        let token = format!("token{}", self.issued.len());
        self.issued.insert(token.clone(), (of, self.tokens[of]));
        Response { body: format!(r#"{{"token":"{token}"}}"#).into(), ..response(200, &[]) }
    }

    fn answered(&mut self, id: ExchangeId, awaiting: Awaiting, response: Response) {
        let receiving = awaiting.head(response.status, response.headers);
        self.arrive(id, receiving, response.body, 0);
    }

    /// Passes on some of a body, all of it if nothing waits for it.
    fn arrive(&mut self, id: ExchangeId, mut receiving: Receiving, body: Bytes, mut at: usize) {
        let is_download = receiving.sink().is_some();
        let most = if is_download { [usize::MAX, 40, 500, 3000][self.choices.below(4)] } else { usize::MAX };
        let end = body.len().min(at.saturating_add(most));
        for chunk in body[at..end].chunks(11) {
            if receiving.rest() != Rest::Wanted {
                at = body.len();
                break;
            }
            let Ok(range) = receiving.push(chunk) else {
                at = body.len();
                break;
            };
            at += chunk.len();
            if is_download {
                let pipe = self.pipes.iter_mut().find(|pipe| pipe.writers.contains(&id));
                let Some(pipe) = pipe else {
                    let fault = Fault::new(FaultKind::Reset, "the upload of the content has ended");
                    return self.session.complete(self.now, receiving.fail(fault));
                };
                pipe.bytes.extend_from_slice(&chunk[range]);
            }
        }
        if at < body.len() {
            return self.out.push(Travelling {
                id,
                overtaken: 0,
                state: State::Arriving(Box::new(receiving), body, at),
            });
        }
        self.completed(id, receiving.finish());
    }

    /// Ends an exchange. An upload closes its pipe before the session learns of its end.
    fn completed(&mut self, id: ExchangeId, completion: Completion) {
        self.close_pipe_of(id);
        self.session.complete(self.now, completion);
    }
}

fn habits(choices: &mut Choices<'_>) -> Habits {
    let mut habits = Habits::default();
    match choices.below(4) {
        1 | 2 => habits.only_chunks = true,
        3 => habits.only_whole = true,
        _ => {}
    }
    habits.refuses_mounts = choices.flip();
    habits.range_of_chunk = choices.flip();
    habits.forgets_broken_uploads = choices.flip();
    habits.relative_locations = choices.flip();
    habits.without_referrers = choices.flip();
    habits.without_subject_header = choices.flip();
    habits.tag_parameters = choices.flip();
    habits.etags = choices.flip();
    habits.immutable_tags = choices.flip();
    habits
}

fn response(status: u16, headers: &[(HeaderName, &str)]) -> Response {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header")));
    Response {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: headers.collect::<HeaderMap>(),
        body: Bytes::new(),
    }
}
