//! Transcripts: conversations as readable text, replayed against a session.
//!
//! A transcript is a file of `tests/transcripts/`. Its lines are read in order:
//!
//! ```text
//! # What the transcript shows.
//! document NAME MEDIA/TYPE            a document; its text follows, indented by two spaces
//! blob NAME COUNT x TEXT              bytes: TEXT, COUNT times
//! config KEY VALUE                    a setting of the session, before the first start
//! start [LABEL] OPERATION REFERENCE   resolve, manifest, walk, blob; then words: blobs, strict,
//!                                     platform=P, size=N
//! > [LABEL] METHOD URL                a request that must come next; indented: headers that it must have
//! < [LABEL] STATUS                    its answer; indented: headers, then `body NAME` or `text TEXT`,
//!                                     `cut N KIND MESSAGE` where the body breaks off after N bytes
//! fault [LABEL] KIND MESSAGE          the request cannot be carried out
//! = [LABEL] EVENT                     an event that must come next
//! wait never|DURATION                 the session must wait, for a completion or until then
//! time DURATION                       time passes
//! cancel|pause|resume [LABEL]         steers an operation;  abandon: a driver was dropped
//! deadline [LABEL] DURATION           the operation's deadline, from the beginning
//! abort [LABEL]                       the session must say that nobody waits for that request any more
//! sink [LABEL] NAME                   the operation's sink has had exactly these bytes
//! ```
//!
//! `{NAME}` stands for a document's digest, `{NAME.size}`, `{NAME.sha512}` for more of it. A label may
//! be left out where there is one operation, or where answers come in the order of requests. Before
//! each line that gives the session something, the session must have nothing to say but `Wait`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use oci_proto::{
    Algorithm, Awaiting, Config, Digest, Event, ExchangeId, Fault, FaultKind, Found, Node, OpId, Output,
    Session, Time, WalkOptions,
};

/// A line that says something, with what is indented below it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Its number in the file, for messages.
    pub number: usize,
    /// The word that it begins with.
    pub verb: String,
    /// The label in brackets, or nothing.
    pub label: String,
    /// The rest of the line.
    pub rest: String,
    /// The indented lines below.
    pub below: Vec<String>,
}

/// A transcript, read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transcript {
    /// What can be named in braces and in bodies.
    pub contents: BTreeMap<String, Bytes>,
    /// What is said, in order.
    pub steps: Vec<Step>,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    ///
    /// A line that cannot be understood, with its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut transcript = Self::default();
        let mut raw: Vec<Step> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(below) = line.strip_prefix("  ") {
                raw.last_mut()
                    .ok_or(format!("line {number}: nothing above it"))?
                    .below
                    .push(below.to_owned());
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
                let (label, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                    Some((label, rest)) => (label.to_owned(), rest.trim()),
                    None => (String::new(), rest),
                };
                let rest = rest.to_owned();
                raw.push(Step { number, verb: verb.to_owned(), label, rest, below: Vec::new() });
            }
        }
        for mut step in raw {
            step.rest = transcript.expand(&step.rest).map_err(|e| format!("line {}: {e}", step.number))?;
            for line in &mut step.below {
                *line = transcript.expand(line).map_err(|e| format!("line {}: {e}", step.number))?;
            }
            match step.verb.as_str() {
                "document" => {
                    let name = step.rest.split(' ').next().unwrap_or_default().to_owned();
                    transcript.contents.insert(name, Bytes::from(step.below.join("\n")));
                }
                "blob" => {
                    let mut words = step.rest.splitn(4, ' ');
                    let (Some(name), Some(count), Some("x"), Some(text)) =
                        (words.next(), words.next(), words.next(), words.next())
                    else {
                        return Err(format!("line {}: blob NAME COUNT x TEXT", step.number));
                    };
                    let count = count.parse().map_err(|e| format!("line {}: {e}", step.number))?;
                    transcript.contents.insert(name.to_owned(), Bytes::from(text.repeat(count)));
                }
                _ => transcript.steps.push(step),
            }
        }
        Ok(transcript)
    }

    /// Replaces `{NAME}`, `{NAME.size}` and `{NAME.sha512}`. Braces that hold no known name stay.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            expanded.push_str(before);
            let named = after.split_once('}').and_then(|(key, tail)| {
                let (name, part) = key.split_once('.').unwrap_or((key, "sha256"));
                self.contents.get(name).map(|bytes| (bytes, part, tail))
            });
            let Some((bytes, part, tail)) = named else {
                expanded.push('{');
                rest = after;
                continue;
            };
            match part {
                "sha256" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha256, bytes)),
                "sha384" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha384, bytes)),
                "sha512" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha512, bytes)),
                "size" => _ = write!(expanded, "{}", bytes.len()),
                other => return Err(format!("`{other}` is no part of a document")),
            }
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

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

    /// The answer that a `<` step describes.
    ///
    /// # Errors
    ///
    /// A line that cannot be understood.
    pub fn answer(&self, step: &Step) -> Result<Answer, String> {
        let status = step.rest.parse().map_err(|_| format!("`{}` is not a status", step.rest))?;
        let mut answer = Answer { status, headers: HeaderMap::new(), body: Bytes::new(), cut: None };
        for line in &step.below {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "body" => {
                    answer.body =
                        self.contents.get(rest).ok_or(format!("nothing is named `{rest}`"))?.clone();
                }
                "text" => answer.body = Bytes::from(rest.to_owned()),
                "cut" => {
                    let (at, fault) = rest.split_once(' ').ok_or("cut N KIND MESSAGE")?;
                    answer.cut = Some((at.parse().map_err(|_| "cut N KIND MESSAGE")?, parse_fault(fault)?));
                }
                _ => {
                    let (name, value) = line.split_once(':').ok_or(format!("`{line}` is no header"))?;
                    let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
                    let value =
                        HeaderValue::from_str(value.trim()).map_err(|_| format!("`{value}` is no value"))?;
                    answer.headers.append(name, value);
                }
            }
        }
        Ok(answer)
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, as they stand.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// After how many bytes the body breaks off, and how.
    pub cut: Option<(usize, Fault)>,
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let (kind, message) = text.split_once(' ').unwrap_or((text, ""));
    let kind = match kind {
        "connect" => FaultKind::Connect,
        "tls" => FaultKind::Tls,
        "timeout" => FaultKind::Timeout,
        "reset" => FaultKind::Reset,
        "sink" => FaultKind::Sink,
        other => return Err(format!("`{other}` is no kind of fault")),
    };
    Ok(Fault::new(kind, message))
}

/// Reads a duration: a whole number and `ms` or `s`.
///
/// # Errors
///
/// It is something else.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration");
    if let Some(millis) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(millis.parse().map_err(|_| wrong())?));
    }
    Ok(Duration::from_secs(text.strip_suffix('s').ok_or_else(wrong)?.parse().map_err(|_| wrong())?))
}

/// Starts the operation that a `start` step describes.
///
/// # Errors
///
/// A word that cannot be understood.
pub fn start(session: &mut Session, rest: &str) -> Result<OpId, String> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [verb, reference, options @ ..] = words.as_slice() else {
        return Err("start OPERATION REFERENCE".to_owned());
    };
    let reference = reference.parse().map_err(|e| format!("{e}"))?;
    let mut walk = WalkOptions::default();
    let mut size = None;
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("blobs", _) => walk.blobs = true,
            ("strict", _) => walk.strict = true,
            ("platform", value) => walk.platform = Some(value.parse().map_err(|e| format!("{e}"))?),
            ("size", value) => size = Some(value.parse().map_err(|e| format!("{e}"))?),
            (other, _) => return Err(format!("`{other}` is no option")),
        }
    }
    Ok(match *verb {
        "resolve" => session.resolve(&reference, walk.platform.as_ref()),
        "manifest" => session.manifest(&reference, walk.platform.as_ref()),
        "walk" => session.walk(&reference, walk),
        "blob" => session.blob(&reference, size),
        other => return Err(format!("`{other}` is no operation")),
    })
}

/// An event as transcripts write it.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Resolved(d) => format!("resolved {} {} {}", d.media_type, d.digest, d.size),
        Event::Manifest(d, manifest) => {
            format!(
                "manifest {} {} {} as {}",
                d.media_type,
                d.digest,
                manifest.bytes().len(),
                manifest.kind()
            )
        }
        Event::Node(node) => describe_node(node),
        Event::Data(bytes) => format!("data {}", String::from_utf8_lossy(bytes)),
        Event::Done => "done".to_owned(),
        Event::Failed(error) => format!("failed {error}"),
        other => format!("{other:?}"),
    }
}

/// A node as transcripts write it.
pub fn describe_node(node: &Node) -> String {
    let Node { depth, descriptor, kind, found, .. } = node;
    let mut text = format!("node {depth} {kind} {} {}", descriptor.digest, descriptor.size);
    if let Some(platform) = &descriptor.platform {
        _ = write!(text, " platform={platform}");
    }
    if let Some(artifact_type) = node.artifact_type() {
        _ = write!(text, " artifact={artifact_type}");
    }
    match found {
        Found::Leaf => text.push_str(" leaf"),
        Found::Repeated => text.push_str(" repeated"),
        Found::Missing => text.push_str(" missing"),
        _ => {}
    }
    text
}

/// A replay in progress.
struct Replay<'a> {
    transcript: &'a Transcript,
    chunk: usize,
    session: Session,
    now: Time,
    ops: BTreeMap<String, OpId>,
    sinks: BTreeMap<OpId, Vec<u8>>,
    /// Requests that have no answer yet: label, exchange.
    asked: Vec<(String, ExchangeId, Awaiting)>,
    /// What the session said last and no line has matched yet.
    peeked: Option<Output>,
}

impl<'a> Replay<'a> {
    fn new(transcript: &'a Transcript, chunk: usize) -> Result<Self, String> {
        Ok(Self {
            transcript,
            chunk,
            session: Session::new(config(transcript)?, 1),
            now: Time::ZERO,
            ops: BTreeMap::new(),
            sinks: BTreeMap::new(),
            asked: Vec::new(),
            peeked: None,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { verb, label, rest, below, .. } = step;
        match verb.as_str() {
            ">" | "=" | "abort" => return self.expect(step),
            "config" => return Ok(()),
            "wait" => {
                let until = self.must_wait()?;
                let told = until.map(|until| until.saturating_since(self.now));
                let expected = if rest == "never" { None } else { Some(parse_duration(rest)?) };
                return if told == expected {
                    Ok(())
                } else {
                    Err(format!("the session waits for {told:?}"))
                };
            }
            _ => _ = self.must_wait()?,
        }
        match verb.as_str() {
            "start" => {
                let op = start(&mut self.session, rest)?;
                self.ops.insert(label.clone(), op);
                self.sinks.insert(op, Vec::new());
            }
            "<" => {
                let answer = self.transcript.answer(step)?;
                let awaiting = self.take_asked(label)?;
                self.deliver(awaiting, answer);
            }
            "fault" => {
                let fault = parse_fault(rest)?;
                let completion = self.take_asked(label)?.fail(fault);
                self.session.complete(self.now, completion);
            }
            "time" => self.now = self.now + parse_duration(rest)?,
            "cancel" => self.session.cancel(self.op(label)?),
            "pause" => self.session.pause(self.op(label)?),
            "resume" => self.session.resume(self.op(label)?),
            "deadline" => self.session.set_deadline(self.op(label)?, Time::ZERO + parse_duration(rest)?),
            "abandon" => {
                self.asked.clear();
                self.session.abandon_in_flight(self.now);
            }
            "sink" => {
                let expected =
                    self.transcript.contents.get(rest).ok_or(format!("nothing is named `{rest}`"))?;
                let started = self.sinks.keys().last().ok_or("no operation was started")?;
                let op = self.ops.get(label).unwrap_or(started);
                let had = &self.sinks[op];
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
        let _ = below;
        Ok(())
    }

    fn op(&self, label: &str) -> Result<OpId, String> {
        self.ops.get(label).copied().ok_or(format!("no operation [{label}] is alive"))
    }

    fn poll(&mut self) -> Output {
        self.peeked.take().unwrap_or_else(|| self.session.poll_output(self.now))
    }

    /// The session must have nothing to say but until when it waits.
    fn must_wait(&mut self) -> Result<Option<Time>, String> {
        match self.poll() {
            Output::Wait(until) => Ok(until),
            other => Err(format!("the session goes on: {}", self.show(&other))),
        }
    }

    /// The session must say what the step says.
    fn expect(&mut self, step: &Step) -> Result<(), String> {
        let output = self.poll();
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
                if let Event::Data(bytes) = &event {
                    self.sinks.entry(op).or_default().extend_from_slice(bytes);
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
            ("abort", Output::Abort(id)) => {
                let Some(index) = self.asked.iter().position(|(_, asked, _)| *asked == id) else {
                    return Err("the session aborts what was not asked, or was answered".to_owned());
                };
                let (label, ..) = self.asked.remove(index);
                if label == step.label { Ok(()) } else { Err(format!("the session aborts [{label}]")) }
            }
            _ => Err(said),
        }
    }

    fn take_asked(&mut self, label: &str) -> Result<Awaiting, String> {
        let index = self.asked.iter().position(|(asked, ..)| asked == label);
        let index = index.ok_or(format!("no request [{label}] waits for an answer"))?;
        Ok(self.asked.remove(index).2)
    }

    /// Gives an answer to the session, body in chunks, what is delivered to the sinks.
    fn deliver(&mut self, awaiting: Awaiting, answer: Answer) {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = answer.status;
        parts.headers = answer.headers;
        let completion = drive(awaiting, &parts, &answer.body, answer.cut, self.chunk, |sink, bytes| {
            self.sinks.entry(sink).or_default().extend_from_slice(bytes);
        });
        self.session.complete(self.now, completion);
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

/// Carries an exchange's answer out as a driver does.
pub fn drive(
    awaiting: Awaiting,
    head: &response::Parts,
    body: &[u8],
    cut: Option<(usize, Fault)>,
    chunk: usize,
    mut deliver: impl FnMut(OpId, &[u8]),
) -> oci_proto::Completion {
    let mut receiving = awaiting.head(head);
    let sink = receiving.sink();
    let (body, fault) = match cut {
        Some((at, fault)) => (&body[..at.min(body.len())], Some(fault)),
        None => (body, None),
    };
    if receiving.wants_body() {
        for chunk in body.chunks(chunk.max(1)) {
            match receiving.push(chunk) {
                Ok(bytes) => {
                    if let Some(sink) = &sink {
                        deliver(sink.op, bytes);
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

fn config(transcript: &Transcript) -> Result<Config, String> {
    let mut config = Config::default();
    for step in transcript.steps.iter().filter(|step| step.verb == "config") {
        let (key, value) = step.rest.split_once(' ').ok_or("config KEY VALUE")?;
        let number = || value.parse::<u32>().map_err(|e| format!("{value}: {e}"));
        let limits = &mut config.limits;
        match key {
            "in_flight" => limits.in_flight = number()? as usize,
            "in_flight_per_origin" => limits.in_flight_per_origin = number()? as usize,
            "manifest_bytes" => limits.manifest_bytes = number()?.into(),
            "blob_bytes" => limits.blob_bytes = number()?.into(),
            "walk_depth" => limits.walk_depth = number()?,
            "walk_nodes" => limits.walk_nodes = number()?.into(),
            "walk_bytes" => limits.walk_bytes = number()?.into(),
            other => return Err(format!("`{other}` is no setting")),
        }
    }
    Ok(config)
}
