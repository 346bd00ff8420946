//! Replays transcripts against a session.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use oci_proto::{
    Algorithm, Awaiting, Completion, Digest, Event, ExchangeId, Fault, FaultKind, Hasher, Held, OpId, Output,
    Payload, QueryId, Question, Rest, Sending, Session, Sink, StoreContent, Time,
};

use crate::transcript::describe::{describe, describe_question, describe_reach};
use crate::transcript::parse::{
    Answer, Step, Transcript, parse_duration, parse_fault, parse_login, parse_sent, slice,
};
use crate::transcript::start::{Operation, Start, config};

impl Transcript {
    /// Replays the transcript against a new session, delivering bodies in chunks of `chunk` bytes.
    ///
    /// # Errors
    ///
    /// A difference between the session and the transcript.
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
    /// Live operations.
    ops: BTreeMap<String, OpId>,
    /// All operations started so far; the last one for each label.
    started: BTreeMap<String, OpId>,
    sinks: BTreeMap<OpId, Vec<u8>>,
    /// The bytes of each blob that pulls received.
    pulled: BTreeMap<OpId, BTreeMap<Digest, Vec<u8>>>,
    /// The sources of uploads that differ from the content that they should have.
    sources: BTreeMap<OpId, Bytes>,
    /// Requests without a response: label, exchange.
    asked: Vec<(String, ExchangeId, Asking)>,
    /// Aborted, abandoned or lost requests.
    stale: Vec<(String, ExchangeId, Asking)>,
    /// Requests with a response.
    answered: Vec<(String, ExchangeId)>,
    /// All questions asked, in order.
    questions: Vec<Asked>,
}

/// A request without a response.
struct Asking {
    awaiting: Awaiting,
    payload: Payload,
    sending: Option<Sending>,
}

/// A question of the session.
struct Asked {
    label: String,
    query: QueryId,
    question: Question,
    /// Whether it is unanswered.
    is_open: bool,
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
            sources: BTreeMap::new(),
            asked: Vec::new(),
            stale: Vec::new(),
            answered: Vec::new(),
            questions: Vec::new(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { verb, label, rest, .. } = step;
        match verb.as_str() {
            ">" | "=" | "?" | "abort" => return self.expect(step),
            "config" => return Ok(()),
            // Operations may be started and steered before the session is polled.
            "start" | "cancel" | "pause" | "resume" | "deadline" | "fail" => {}
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
                let pulls = matches!(start.operation, Operation::Pull | Operation::Copy);
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
                let asking = self.take_asked(label)?;
                self.answered.push((label.clone(), asking.awaiting.id()));
                let mut awaiting = self.send(asking, answer.sent)?.map_err(|fault| format!("{fault}"))?;
                if let Some(Err(fault)) = answer.from.map(|from| awaiting.connected(from)) {
                    self.session.complete(self.now, awaiting.fail(fault));
                    return Ok(());
                }
                self.deliver(awaiting, answer)?;
            }
            "fault" => {
                let fault = parse_fault(rest)?;
                let asking = self.take_asked(label)?;
                let sent = parse_sent(&step.below, 0)?;
                let awaiting = self.send(asking, sent)?.map_err(|fault| format!("{fault}"))?;
                self.session.complete(self.now, awaiting.fail(fault));
            }
            "refused" => {
                let asking = self.take_asked(label)?;
                let id = asking.awaiting.id();
                let Err((fault, awaiting)) = self.send_checked(asking, u64::MAX)? else {
                    return Err(format!("the payload of {id:?} is accepted"));
                };
                self.session.complete(self.now, awaiting.fail(fault));
            }
            "source" => {
                let bytes =
                    self.transcript.contents.get(rest).ok_or(format!("no content is named `{rest}`"))?;
                self.sources.insert(self.op(label)?, bytes.clone());
            }
            "read" => {
                let (range, is_last) =
                    rest.strip_suffix(" last").map_or((rest.as_str(), false), |r| (r, true));
                let bytes = if range == "nothing" { Bytes::new() } else { self.transcript.range(range)? };
                let query = self.question(label, |question| matches!(question, Question::Read { .. }))?;
                self.session.answer(self.now, query, oci_proto::Answer::Read { bytes, is_last });
            }
            "supply" => {
                let (name, fault) = rest.split_once(" fail ").unwrap_or((rest, ""));
                let content = self.transcript.range(name)?;
                let asks = |question: &Question| {
                    let Question::Document { descriptor, .. } = question else { return false };
                    self.transcript.content_of(&descriptor.digest).is_ok_and(|bytes| bytes == content)
                };
                let query = self.question(label, asks)?;
                let answer = match fault {
                    "" => oci_proto::Answer::Document(content),
                    fault => oci_proto::Answer::Failed(parse_fault(fault)?),
                };
                self.session.answer(self.now, query, answer);
            }
            "list" => {
                let (subject, referrers) = rest.split_once(' ').unwrap_or((rest, ""));
                let content = self.transcript.range(subject)?;
                let asks = |question: &Question| {
                    let Question::Referrers { subject, .. } = question else { return false };
                    self.transcript.content_of(&subject.digest).is_ok_and(|bytes| bytes == content)
                };
                let query = self.question(label, asks)?;
                let answer = if let Some(fault) = referrers.strip_prefix("fail ") {
                    oci_proto::Answer::Failed(parse_fault(fault)?)
                } else {
                    let names = referrers.split_ascii_whitespace();
                    let described = names.map(|name| self.transcript.described(name));
                    oci_proto::Answer::Referrers(described.collect::<Result<_, _>>()?)
                };
                self.session.answer(self.now, query, answer);
            }
            "login" => {
                let query = self.question("", |question| matches!(question, Question::Credentials(_)))?;
                let answer = match parse_login(rest)? {
                    Ok(found) => oci_proto::Answer::Credentials(found),
                    Err(fault) => oci_proto::Answer::Failed(fault),
                };
                self.session.answer(self.now, query, answer);
            }
            "lost" => {
                let (id, fault) = (self.lose(label)?, parse_fault(rest)?);
                self.session.lost(self.now, id, fault);
            }
            "fail" => {
                let op = self.started.get(label).ok_or(format!("no operation [{label}] was started"))?;
                self.session.fail(*op, parse_fault(rest)?);
            }
            "time" => self.now = self.now + parse_duration(rest)?,
            "cancel" => self.session.cancel(self.op(label)?),
            "pause" => self.session.pause(self.op(label)?),
            "resume" => self.session.resume(self.op(label)?),
            "deadline" => self.session.set_deadline(self.op(label)?, Time::ZERO + parse_duration(rest)?),
            "abandon" => {
                self.stale.append(&mut self.asked);
                self.questions.iter_mut().for_each(|asked| asked.is_open = false);
                self.session.abandon_in_flight(self.now);
            }
            "held" => {
                let (name, held) = rest.split_once(' ').ok_or("held NAME HELD")?;
                let content =
                    |name| self.transcript.contents.get(name).ok_or(format!("no content is named `{name}`"));
                let bytes = content(name)?;
                let digest = Digest::of(Algorithm::Sha256, bytes);
                let asks = |question: &Question| matches!(question, Question::Held { descriptor, .. } if descriptor.digest == digest);
                let query = self.question(label, asks)?;
                let held = match held.split_once(' ').unwrap_or((held, "")) {
                    ("fail", fault) => {
                        let failed = oci_proto::Answer::Failed(parse_fault(fault)?);
                        self.session.answer(self.now, query, failed);
                        return Ok(());
                    }
                    ("nothing", _) => Held::Nothing,
                    ("whole", _) => Held::Whole,
                    ("document", _) => Held::Document(bytes.clone()),
                    ("part", part) => {
                        let (length, of) = part.split_once(" of ").unwrap_or((part, name));
                        let length: usize = length.parse().map_err(|_| "held NAME part N of NAME")?;
                        let there =
                            content(of)?.get(..length).ok_or("the part is longer than the content")?;
                        let mut hasher = Hasher::new(Algorithm::Sha256);
                        hasher.update(there);
                        let op = self.op(label)?;
                        self.pulled.entry(op).or_default().insert(digest.clone(), there.to_vec());
                        Held::Part { offset: length as u64, hasher }
                    }
                    (other, _) => return Err(format!("`{other}` is not a state of held content")),
                };
                self.session.answer(self.now, query, oci_proto::Answer::Held(held));
            }
            "stored" => {
                let (name, fault) = rest.split_once(" fail ").unwrap_or((rest, ""));
                let digest = match name {
                    "" => None,
                    name => {
                        let bytes = self.transcript.contents.get(name);
                        let bytes = bytes.ok_or(format!("no content is named `{name}`"))?;
                        Some(Digest::of(Algorithm::Sha256, bytes))
                    }
                };
                let query = self.question(label, |question| match question {
                    Question::Store { descriptor, .. } => {
                        digest.as_ref().is_none_or(|digest| descriptor.digest == *digest)
                    }
                    _ => false,
                })?;
                let answer = match fault {
                    "" => oci_proto::Answer::Stored,
                    fault => oci_proto::Answer::Failed(parse_fault(fault)?),
                };
                self.session.answer(self.now, query, answer);
            }
            "sink" => {
                let expected =
                    self.transcript.contents.get(rest).ok_or(format!("no content is named `{rest}`"))?;
                let op = self.started.get(label).ok_or(format!("no operation [{label}] was started"))?;
                let digest = Digest::of(Algorithm::Sha256, expected);
                let had = match self.pulled.get(op) {
                    Some(pulled) => pulled.get(&digest).ok_or("the pull has no sink for this content")?,
                    None => &self.sinks[op],
                };
                if had != expected {
                    return Err(format!(
                        "the sink received {} bytes, not these {}",
                        had.len(),
                        expected.len()
                    ));
                }
            }
            other => return Err(format!("`{other}` is not a step")),
        }
        if verb == "cancel" {
            self.ops.remove(label);
        }
        Ok(())
    }

    fn op(&self, label: &str) -> Result<OpId, String> {
        self.ops.get(label).copied().ok_or(format!("operation [{label}] is not live"))
    }

    /// The first unanswered question of this kind, or else the last answered one.
    fn question(&mut self, label: &str, is_it: impl Fn(&Question) -> bool) -> Result<QueryId, String> {
        let fits = |asked: &Asked| asked.label == label && is_it(&asked.question);
        let open = self.questions.iter().position(|asked| asked.is_open && fits(asked));
        let index = open.or_else(|| self.questions.iter().rposition(fits));
        let asked = index.and_then(|index| self.questions.get_mut(index));
        let asked = asked.ok_or("no question waits for this answer")?;
        asked.is_open = false;
        Ok(asked.query)
    }

    /// The session must have no output but `Wait`.
    fn must_wait(&mut self) -> Result<Option<Time>, String> {
        match self.session.poll_output(self.now) {
            Output::Wait(until) => Ok(until),
            other => Err(format!("the session does not wait: {}", self.show(&other))),
        }
    }

    /// The session's next output must be the one in the step.
    fn expect(&mut self, step: &Step) -> Result<(), String> {
        let output = self.session.poll_output(self.now);
        let said = self.show(&output);
        match (step.verb.as_str(), output) {
            (">", Output::Send(exchange)) => {
                let id = exchange.id();
                let reach = describe_reach(exchange.reach());
                let (request, sending, awaiting) = exchange.split();
                let asked = format!("{} {}", request.method(), request.uri());
                if asked != step.rest {
                    return Err(format!("the session sends {asked}"));
                }
                for line in &step.below {
                    if let Some(range) = line.strip_prefix("content ") {
                        self.check_content(range, request.body())?;
                        continue;
                    }
                    if let Some(expected) = line.strip_prefix("reach ") {
                        if reach != expected {
                            return Err(format!("the reach is {reach}"));
                        }
                        continue;
                    }
                    if let Some(expected) = line.strip_prefix("payload ") {
                        match request.body() {
                            Payload::Bytes(bytes) if bytes == expected => continue,
                            Payload::Bytes(bytes) => {
                                return Err(format!("the payload is {}", String::from_utf8_lossy(bytes)));
                            }
                            other => return Err(format!("the payload is {other:?}")),
                        }
                    }
                    let (name, value) = line.split_once(':').ok_or(format!("`{line}` is not a header"))?;
                    let has = request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
                    let wanted = Some(value.trim()).filter(|value| *value != "(none)");
                    if has != wanted {
                        return Err(format!("the request's {name} is {has:?}"));
                    }
                }
                let payload = request.into_body();
                self.asked.push((step.label.clone(), id, Asking { awaiting, payload, sending }));
                Ok(())
            }
            ("=", Output::Event(op, event)) => {
                let label = self.label(op)?;
                if matches!(event, Event::Done | Event::Failed(_)) {
                    self.ops.remove(&label);
                }
                let described = describe(&event);
                if label == step.label && described == step.rest {
                    Ok(())
                } else {
                    Err(format!("the session emits [{label}] {described}"))
                }
            }
            ("?", Output::Ask(query, question)) => {
                let label = question.op().map_or(Ok(String::new()), |op| self.label(op))?;
                let asks = describe_question(&question);
                self.keep(&question);
                let as_expected = label == step.label && asks == step.rest;
                self.questions.push(Asked { label: label.clone(), query, question, is_open: true });
                if as_expected { Ok(()) } else { Err(format!("the session asks [{label}] {asks}")) }
            }
            ("abort", Output::Abort(id)) => {
                let Some(index) = self.asked.iter().position(|(_, asked, _)| *asked == id) else {
                    return Err("the session aborts a request that is not in flight".to_owned());
                };
                let asked = self.asked.remove(index);
                let label = asked.0.clone();
                self.stale.push(asked);
                if label == step.label { Ok(()) } else { Err(format!("the session aborts [{label}]")) }
            }
            _ => Err(said),
        }
    }

    fn label(&self, op: OpId) -> Result<String, String> {
        let alive = self.ops.iter().find(|(_, id)| **id == op);
        alive.map(|(label, _)| label.clone()).ok_or("an operation that has ended emits an event".to_owned())
    }

    /// Content that an operation other than a pull asks to store goes to its sink.
    fn keep(&mut self, question: &Question) {
        if let Question::Store { op, content, .. } = question
            && !self.pulled.contains_key(op)
        {
            let bytes = match content {
                StoreContent::Document(manifest) => manifest.bytes(),
                StoreContent::Bytes(bytes) => bytes,
                StoreContent::Sink => return,
            };
            self.sinks.insert(*op, bytes.to_vec());
        }
    }

    /// Marks a request as lost by its driver. Its response may still arrive late.
    fn lose(&mut self, label: &str) -> Result<ExchangeId, String> {
        if let Some(index) = self.asked.iter().position(|(asked, ..)| asked == label) {
            let lost = self.asked.remove(index);
            let id = lost.1;
            self.stale.push(lost);
            return Ok(id);
        }
        let stale = self.stale.iter().map(|(asked, id, _)| (asked, *id));
        let answered = self.answered.iter().map(|(asked, id)| (asked, *id));
        let found = stale.chain(answered).find(|(asked, _)| *asked == label);
        found.map(|(_, id)| id).ok_or(format!("request [{label}] is not in flight"))
    }

    fn take_asked(&mut self, label: &str) -> Result<Asking, String> {
        for asked in [&mut self.asked, &mut self.stale] {
            if let Some(index) = asked.iter().position(|(asked, ..)| asked == label) {
                return Ok(asked.remove(index).2);
            }
        }
        Err(format!("no request [{label}] waits for an answer"))
    }

    /// The request's payload must be this content.
    fn check_content(&self, range: &str, payload: &Payload) -> Result<(), String> {
        let found = match payload {
            Payload::Empty if range == "none" => return Ok(()),
            Payload::Empty => return Err("the payload is empty".to_owned()),
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Source(source) => {
                let content = self.transcript.content_of(&source.digest)?;
                slice(&content, source.range.start, source.range.end)?
            }
        };
        let expected = if range == "none" { Bytes::new() } else { self.transcript.range(range)? };
        if found == expected { Ok(()) } else { Err(format!("the payload has other content: {payload:?}")) }
    }

    /// Sends the first bytes of a request's payload, or all with the maximum.
    fn send(&self, asking: Asking, sent: u64) -> Result<Result<Awaiting, Fault>, String> {
        Ok(self.send_checked(asking, sent)?.map_err(|(fault, _)| fault))
    }

    fn send_checked(
        &self,
        Asking { awaiting, payload, sending }: Asking,
        sent: u64,
    ) -> Result<Result<Awaiting, (Fault, Awaiting)>, String> {
        let Some(mut sending) = sending else { return Ok(Ok(awaiting)) };
        let (bytes, before) = match &payload {
            Payload::Empty => return Err("an empty payload is checked".to_owned()),
            Payload::Bytes(bytes) => (bytes.clone(), 0),
            Payload::Source(source) => {
                let content = match self.sources.get(&source.op) {
                    Some(other) => other.clone(),
                    None => self.transcript.content_of(&source.digest)?,
                };
                // A source that has more bytes than it should is read to its end by a careless driver.
                let is_last = source.range.end == source.size;
                let end = if is_last { content.len() as u64 } else { source.range.end };
                (slice(&content, source.start, end)?, source.range.start - source.start)
            }
        };
        let all = before.saturating_add(sent) >= bytes.len() as u64;
        let end = usize::try_from(before.saturating_add(sent)).unwrap_or(usize::MAX).min(bytes.len());
        let chunk = if end > 1 << 16 { 1 << 16 } else { self.chunk.max(1) };
        for chunk in bytes[..end].chunks(chunk) {
            if let Err(fault) = sending.push(chunk) {
                return Ok(Err((fault, awaiting)));
            }
        }
        if all && let Err(fault) = sending.finish() {
            return Ok(Err((fault, awaiting)));
        }
        Ok(Ok(awaiting))
    }

    /// Delivers a response to the session, with its body in chunks, and content to the sinks.
    fn deliver(&mut self, awaiting: Awaiting, answer: Answer) -> Result<(), String> {
        let (status, headers) = (answer.status, answer.headers);
        let mut gap = None;
        let dropped = answer.drop.map(|at| (at, Fault::new(FaultKind::Reset, "the driver was dropped")));
        let cut = answer.cut.or(dropped);
        let deliver = |sink: &Sink, at, bytes: &[u8]| {
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
        };
        let (completion, rest) = drive(awaiting, (status, headers), &answer.body, cut, self.chunk, deliver);
        if answer.rest.is_some_and(|expected| expected != rest) {
            return Err(format!("of the rest of the body it says {rest:?}"));
        }
        if answer.drop.is_none() {
            self.session.complete(self.now, completion);
        }
        gap.map_or(Ok(()), Err)
    }

    fn show(&self, output: &Output) -> String {
        match output {
            Output::Send(exchange) => format!("it sends an exchange for {:?}", exchange.op()),
            Output::Event(_, event) => format!("it says {}", describe(event)),
            Output::Ask(_, question) => format!("it asks {}", describe_question(question)),
            Output::Wait(until) => {
                format!("it waits until {until:?}, with {} requests in flight", self.asked.len())
            }
            Output::Abort(id) => format!("it aborts {id:?}"),
        }
    }
}

/// Drives an exchange with a response as a driver does. Content is delivered with its sink and its offset.
/// Returns the completion, and the instruction for the rest of the body.
pub fn drive(
    awaiting: Awaiting,
    (status, headers): (StatusCode, HeaderMap),
    body: &[u8],
    cut: Option<(usize, Fault)>,
    chunk: usize,
    mut deliver: impl FnMut(&Sink, u64, &[u8]),
) -> (Completion, Rest) {
    let mut receiving = awaiting.head(status, headers);
    let (body, fault) = match cut {
        Some((at, fault)) => (&body[..at.min(body.len())], Some(fault)),
        None => (body, None),
    };
    for chunk in body.chunks(chunk.max(1)) {
        if receiving.rest() != Rest::Wanted {
            break;
        }
        let sink = receiving.sink().cloned();
        let Ok(range) = receiving.push(chunk) else { break };
        if let Some(sink) = sink {
            deliver(&sink, sink.offset, &chunk[range]);
        }
    }
    let rest = receiving.rest();
    let completion = match fault {
        Some(fault) if rest == Rest::Wanted => receiving.fail(fault),
        _ => receiving.finish(),
    };
    (completion, rest)
}
