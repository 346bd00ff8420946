//! Transcripts against a session.

use std::collections::{BTreeMap, VecDeque};

use http::response;
use oci_proto::{
    Algorithm, Awaiting, Digest, Event, ExchangeId, Fault, FaultKind, Hasher, Held, OpId, Output, Payload,
    QueryId, Session, Sink, Time,
};

use super::describe;
use super::parse::{Answer, Step, Transcript, parse_duration, parse_fault, parse_login};
use super::start::{Operation, Start, config};

impl Transcript {
    /// Replays the transcript against a new session, delivering bodies in chunks of `chunk` bytes.
    ///
    /// # Errors
    ///
    /// What the session did that the transcript does not say, or the other way round.
    pub fn replay(&self, chunk: usize) -> Result<(), String> {
        let mut replay = Replay::new(self, chunk)?;
        for step in &self.steps {
            replay.step(step).map_err(|problem| format!("line {}: {problem}", step.number))?;
        }
        replay.must_wait().map_err(|problem| format!("at the end: {problem}"))?;
        if let Some(label) = replay.ops.keys().next() {
            return Err(format!("at the end: operation [{label}] has not ended"));
        }
        Ok(())
    }
}

/// A replay in progress.
struct Replay<'a> {
    transcript: &'a Transcript,
    chunk: usize,
    session: Session,
    now: Time,
    /// Those that are alive.
    ops: BTreeMap<String, OpId>,
    /// Those that were ever started; the last one under each label.
    started: BTreeMap<String, OpId>,
    sinks: BTreeMap<OpId, Vec<u8>>,
    /// What pulls have had of each blob.
    pulled: BTreeMap<OpId, BTreeMap<Digest, Vec<u8>>>,
    /// Requests that have no answer yet: label, exchange.
    asked: Vec<(String, ExchangeId, Awaiting)>,
    /// Those of them that nobody waits for any more.
    stale: Vec<(String, ExchangeId, Awaiting)>,
    /// Questions for logins that have no answer yet.
    queries: VecDeque<QueryId>,
}

impl<'a> Replay<'a> {
    fn new(transcript: &'a Transcript, chunk: usize) -> Result<Self, String> {
        Ok(Self {
            transcript,
            chunk,
            session: Session::new(config(transcript)?, 1),
            now: Time::ZERO,
            ops: BTreeMap::new(),
            started: BTreeMap::new(),
            sinks: BTreeMap::new(),
            pulled: BTreeMap::new(),
            asked: Vec::new(),
            stale: Vec::new(),
            queries: VecDeque::new(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { verb, label, rest, .. } = step;
        match verb.as_str() {
            ">" | "=" | "?" | "abort" => return self.expect(step),
            "config" => return Ok(()),
            // Operations may be started and steered before the session is asked what to do.
            "start" | "cancel" | "pause" | "resume" | "deadline" => {}
            "wait" => {
                let until = self.must_wait()?;
                let told = until.map(|until| until.saturating_since(self.now));
                let as_expected = match rest.split_once("..") {
                    _ if rest == "never" => told.is_none(),
                    Some((from, to)) => {
                        let expected = parse_duration(from)?..=parse_duration(to)?;
                        told.is_some_and(|told| expected.contains(&told))
                    }
                    None => told == Some(parse_duration(rest)?),
                };
                return if as_expected { Ok(()) } else { Err(format!("the session waits for {told:?}")) };
            }
            _ => _ = self.must_wait()?,
        }
        match verb.as_str() {
            "start" => {
                let start = Start::parse(rest)?;
                let pulls = start.operation == Operation::Pull;
                let op = start.begin(&mut self.session);
                if pulls {
                    self.pulled.insert(op, BTreeMap::new());
                }
                self.ops.insert(label.clone(), op);
                self.started.insert(label.clone(), op);
                self.sinks.insert(op, Vec::new());
            }
            "<" => {
                let answer = self.transcript.answer(step)?;
                let awaiting = self.take_asked(label)?;
                self.deliver(awaiting, answer)?;
            }
            "fault" => {
                let fault = parse_fault(rest)?;
                let completion = self.take_asked(label)?.fail(fault);
                self.session.complete(self.now, completion);
            }
            "login" => {
                let query = self.queries.pop_front().ok_or("no question waits for an answer")?;
                self.session.credentials(self.now, query, parse_login(rest)?);
            }
            "time" => self.now = self.now + parse_duration(rest)?,
            "cancel" => self.session.cancel(self.op(label)?),
            "pause" => self.session.pause(self.op(label)?),
            "resume" => self.session.resume(self.op(label)?),
            "deadline" => self.session.set_deadline(self.op(label)?, Time::ZERO + parse_duration(rest)?),
            "abandon" => {
                self.stale.append(&mut self.asked);
                self.queries.clear();
                self.session.abandon_in_flight(self.now);
            }
            "held" => {
                let (name, held) = rest.split_once(' ').ok_or("held NAME HELD")?;
                let content =
                    |name| self.transcript.contents.get(name).ok_or(format!("nothing is named `{name}`"));
                let bytes = content(name)?;
                let (op, digest) = (self.op(label)?, Digest::of(Algorithm::Sha256, bytes));
                let held = match held.split_once(' ').unwrap_or((held, "")) {
                    ("nothing", _) => Held::Nothing,
                    ("whole", _) => Held::Whole,
                    ("document", _) => Held::Document(bytes.clone()),
                    ("part", part) => {
                        let (length, of) = part.split_once(" of ").unwrap_or((part, name));
                        let length: usize = length.parse().map_err(|_| "held NAME part N of NAME")?;
                        let there = content(of)?.get(..length).ok_or("the part is longer than the whole")?;
                        let mut hasher = Hasher::new(Algorithm::Sha256);
                        hasher.update(there);
                        self.pulled.entry(op).or_default().insert(digest.clone(), there.to_vec());
                        Held::Part { offset: length as u64, hasher }
                    }
                    (other, _) => return Err(format!("`{other}` is nothing to have")),
                };
                self.session.held(op, &digest, held);
            }
            "sink" => {
                let expected =
                    self.transcript.contents.get(rest).ok_or(format!("nothing is named `{rest}`"))?;
                let op = self.started.get(label).ok_or(format!("no operation [{label}] was started"))?;
                let digest = Digest::of(Algorithm::Sha256, expected);
                let had = match self.pulled.get(op) {
                    Some(pulled) => pulled.get(&digest).ok_or("the pull has no sink for it")?,
                    None => &self.sinks[op],
                };
                if had != expected {
                    return Err(format!(
                        "the sink has had {} bytes, not these {}",
                        had.len(),
                        expected.len()
                    ));
                }
            }
            other => return Err(format!("`{other}` is no step")),
        }
        if verb == "cancel" {
            self.ops.remove(label);
        }
        Ok(())
    }

    fn op(&self, label: &str) -> Result<OpId, String> {
        self.ops.get(label).copied().ok_or(format!("no operation [{label}] is alive"))
    }

    /// The session must have nothing to say but until when it waits.
    fn must_wait(&mut self) -> Result<Option<Time>, String> {
        match self.session.poll_output(self.now) {
            Output::Wait(until) => Ok(until),
            other => Err(format!("the session goes on: {}", self.show(&other))),
        }
    }

    /// The session must say what the step says.
    fn expect(&mut self, step: &Step) -> Result<(), String> {
        let output = self.session.poll_output(self.now);
        let said = self.show(&output);
        match (step.verb.as_str(), output) {
            (">", Output::Send(exchange)) => {
                let id = exchange.id();
                let (request, awaiting) = exchange.split();
                let asked = format!("{} {}", request.method(), request.uri());
                if asked != step.rest {
                    return Err(format!("the session asks {asked}"));
                }
                for line in &step.below {
                    if let Some(expected) = line.strip_prefix("payload ") {
                        match request.body() {
                            Payload::Bytes(bytes) if bytes == expected => continue,
                            Payload::Bytes(bytes) => {
                                return Err(format!("the payload is {}", String::from_utf8_lossy(bytes)));
                            }
                            other => return Err(format!("the payload is {other:?}")),
                        }
                    }
                    let (name, value) = line.split_once(':').ok_or(format!("`{line}` is no header"))?;
                    let has = request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
                    let wanted = Some(value.trim()).filter(|value| *value != "(none)");
                    if has != wanted {
                        return Err(format!("the request's {name} is {has:?}"));
                    }
                }
                self.asked.push((step.label.clone(), id, awaiting));
                Ok(())
            }
            ("=", Output::Event(op, event)) => {
                let label = self.ops.iter().find(|(_, id)| **id == op).map(|(label, _)| label.clone());
                let label =
                    label.ok_or_else(|| format!("an event of an operation that has ended: {said}"))?;
                match &event {
                    Event::Data(bytes) => self.sinks.entry(op).or_default().extend_from_slice(bytes),
                    Event::Manifest(_, manifest) => {
                        self.sinks.entry(op).or_default().extend_from_slice(manifest.bytes());
                    }
                    _ => {}
                }
                if matches!(event, Event::Done | Event::Failed(_)) {
                    self.ops.remove(&label);
                }
                let described = describe(&event);
                if label == step.label && described == step.rest {
                    Ok(())
                } else {
                    Err(format!("the session says [{label}] {described}"))
                }
            }
            ("?", Output::Credentials(query, asked)) => {
                let whose = format!("{} {}", asked.registry, asked.repository);
                self.queries.push_back(query);
                if whose == step.rest { Ok(()) } else { Err(format!("the session asks for {whose}")) }
            }
            ("abort", Output::Abort(id)) => {
                let Some(index) = self.asked.iter().position(|(_, asked, _)| *asked == id) else {
                    return Err("the session aborts what was not asked, or was answered".to_owned());
                };
                let asked = self.asked.remove(index);
                let label = asked.0.clone();
                self.stale.push(asked);
                if label == step.label { Ok(()) } else { Err(format!("the session aborts [{label}]")) }
            }
            _ => Err(said),
        }
    }

    fn take_asked(&mut self, label: &str) -> Result<Awaiting, String> {
        for asked in [&mut self.asked, &mut self.stale] {
            if let Some(index) = asked.iter().position(|(asked, ..)| asked == label) {
                return Ok(asked.remove(index).2);
            }
        }
        Err(format!("no request [{label}] waits for an answer"))
    }

    /// Gives an answer to the session, body in chunks, what is delivered to the sinks.
    fn deliver(&mut self, awaiting: Awaiting, answer: Answer) -> Result<(), String> {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = answer.status;
        parts.headers = answer.headers;
        let mut gap = None;
        let dropped = answer.drop.map(|at| (at, Fault::new(FaultKind::Reset, "the driver was dropped")));
        let cut = answer.cut.or(dropped);
        let completion = drive(awaiting, &parts, &answer.body, cut, self.chunk, |sink, at, bytes| {
            let had = match self.pulled.get_mut(&sink.op) {
                Some(pulled) => pulled.entry(sink.digest.clone()).or_default(),
                None => self.sinks.entry(sink.op).or_default(),
            };
            match usize::try_from(at) {
                Ok(at) if at <= had.len() => {
                    had.truncate(at);
                    had.extend_from_slice(bytes);
                }
                _ => {
                    gap = Some(format!("the sink has had {} bytes, and is given those from {at}", had.len()));
                }
            }
        });
        if answer.drop.is_none() {
            self.session.complete(self.now, completion);
        }
        gap.map_or(Ok(()), Err)
    }

    fn show(&self, output: &Output) -> String {
        match output {
            Output::Send(exchange) => format!("it sends an exchange for {:?}", exchange.op()),
            Output::Event(_, event) => format!("it says {}", describe(event)),
            Output::Wait(until) => {
                format!("it waits until {until:?}, with {} requests out", self.asked.len())
            }
            other => format!("{other:?}"),
        }
    }
}

/// Carries an exchange's answer out as a driver does. What is to be delivered comes with its sink, and
/// with its place in the content.
pub fn drive(
    awaiting: Awaiting,
    head: &response::Parts,
    body: &[u8],
    cut: Option<(usize, Fault)>,
    chunk: usize,
    mut deliver: impl FnMut(&Sink, u64, &[u8]),
) -> oci_proto::Completion {
    let mut receiving = awaiting.head(head);
    let sink = receiving.sink();
    let mut at = sink.as_ref().map_or(0, |sink| sink.offset);
    let (body, fault) = match cut {
        Some((at, fault)) => (&body[..at.min(body.len())], Some(fault)),
        None => (body, None),
    };
    if receiving.wants_body() {
        for chunk in body.chunks(chunk.max(1)) {
            match receiving.push(chunk) {
                Ok(bytes) => {
                    if let Some(sink) = &sink {
                        deliver(sink, at, bytes);
                        at += bytes.len() as u64;
                    }
                }
                Err(_) => return receiving.finish(),
            }
        }
    }
    match fault {
        Some(fault) if receiving.wants_body() => receiving.fail(fault),
        _ => receiving.finish(),
    }
}
