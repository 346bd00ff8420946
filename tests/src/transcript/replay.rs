//! Transcripts against a session.

use std::collections::BTreeMap;

use http::response;
use oci_proto::{Awaiting, Config, Event, ExchangeId, Fault, OpId, Output, Session, Time, WalkOptions};

use super::describe;
use super::parse::{Answer, Step, Transcript, parse_duration, parse_fault};

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
            started: BTreeMap::new(),
            sinks: BTreeMap::new(),
            asked: Vec::new(),
            peeked: None,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { verb, label, rest, .. } = step;
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
                self.started.insert(label.clone(), op);
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
                let op = self.started.get(label).ok_or(format!("no operation [{label}] was started"))?;
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
