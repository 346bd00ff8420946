//! Replays a recording in a session.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::op::event::Event;
use crate::record::lines::{parsed, read_seconds, shown};
use crate::record::recorder::{FORMAT, output_text};
use crate::record::response::{read, read_answer, read_fault};
use crate::record::secrets::Secrets;
use crate::record::{settings, start};
use crate::session::output::{Answer, Output};
use crate::session::state::Session;
use crate::types::id::{OpId, QueryId};
use crate::types::time::Time;
use crate::wire::exchange::Exchange;

/// Replays a recording, line by line: passes its inputs to a new session, and compares the outputs.
///
/// It holds one step of the recording at a time. [`Session::recorded`](crate::Session::recorded) creates recordings.
///
/// ```
/// use oci_proto::record::{Keep, Player};
/// use oci_proto::{Config, Session, Time};
///
/// let (sender, texts) = std::sync::mpsc::channel();
/// let mut session = Session::recorded(Config::default(), 7, Keep::Documents, move |text| {
///     let _ = sender.send(text.to_owned());
/// });
/// session.resolve(&"registry.example/team/app:1.0".parse()?, None);
/// let _ = session.poll_output(Time::ZERO);
/// let recording: String = texts.try_iter().collect();
///
/// let mut player = Player::new();
/// for line in recording.lines() {
///     player.push(line)?;
/// }
/// let replayed = player.finish()?;
/// assert_eq!((replayed.outputs, replayed.exchanges), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Player {
    /// The number of lines so far.
    line: u64,
    /// The step whose lines are not complete yet.
    step: Option<Step>,
    replay: Option<Box<Replay>>,
}

/// What a complete recording contained, all of which was replayed exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// The number of outputs that were compared.
    pub outputs: u64,
    /// The number of these that were exchanges.
    pub exchanges: u64,
    /// The number of operations that had not ended at the end of the recording, for example because the program was
    /// interrupted.
    pub unfinished: u64,
    /// The version of the core that was recorded.
    pub version: String,
    /// The text of the last step, which no further line has completed.
    pub last: String,
}

/// Why a recording was not replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The text is not a recording.
    #[error("this is not a recording: it does not begin with `recording {FORMAT} by`")]
    NotARecording,
    /// The recording has another version of the format.
    #[error("this recording has version {0} of the format; this program reads version {FORMAT}")]
    Format(u32),
    /// A line is invalid.
    #[error("line {line}: {problem}")]
    Invalid {
        /// The number of the line, counted from 1.
        line: u64,
        /// The problem.
        problem: String,
    },
    /// The session's output differs from the recorded one.
    #[error("line {line}: the session goes another way than in the recording")]
    Divergence {
        /// The number of the line, counted from 1.
        line: u64,
        /// The version of the core that was recorded.
        version: String,
        /// The text of the recorded output.
        recorded: String,
        /// The text of the output of this session.
        replayed: String,
    },
}

impl ReplayError {
    fn invalid(line: u64, problem: impl Into<String>) -> Self {
        Self::Invalid { line, problem: problem.into() }
    }
}

impl Player {
    /// Creates a player that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line of a recording, without its newline. Returns the text of the step that this completes, if
    /// any: the one before it.
    ///
    /// # Errors
    /// The text is not a recording that this version can read, or the session behaves differently. The replay cannot
    /// continue.
    pub fn push(&mut self, line: &str) -> Result<Option<String>, ReplayError> {
        self.line += 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(detail) = line.strip_prefix("  ") {
            let step = self.step.as_mut().ok_or(ReplayError::NotARecording)?;
            step.details.push(detail.to_owned());
            return Ok(None);
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if self.replay.is_none() && self.step.is_none() && !line.starts_with("recording ") {
            return Err(ReplayError::NotARecording);
        }
        let next = Step { line: self.line, first: line.to_owned(), details: Vec::new() };
        self.step.replace(next).map(|step| self.play(&step)).transpose()
    }

    /// Replays the last step.
    ///
    /// # Errors
    /// Like [`push`](Self::push). An empty text is not a recording.
    pub fn finish(mut self) -> Result<Replayed, ReplayError> {
        let step = self.step.take().ok_or(ReplayError::NotARecording)?;
        let last = self.play(&step)?;
        let replay = self.replay.ok_or(ReplayError::NotARecording)?;
        Ok(Replayed { unfinished: replay.ops.len() as u64, last, ..replay.replayed })
    }

    fn play(&mut self, step: &Step) -> Result<String, ReplayError> {
        match &mut self.replay {
            Some(replay) => replay.play(step)?,
            replay => *replay = Some(Box::new(Replay::begin(step)?)),
        }
        Ok(step.text())
    }
}

#[derive(Debug)]
struct Step {
    /// The number of its first line.
    line: u64,
    first: String,
    /// The lines below, without their indentation.
    details: Vec<String>,
}

impl Step {
    fn text(&self) -> String {
        let mut text = self.first.clone();
        for detail in &self.details {
            text.push_str("\n  ");
            text.push_str(detail);
        }
        text
    }
}

#[derive(Debug)]
struct Replay {
    session: Session,
    secrets: Secrets,
    now: Time,
    /// The operations, exchanges and questions that have not ended, by number.
    ops: BTreeMap<u64, OpId>,
    exchanges: BTreeMap<u64, Exchange>,
    queries: BTreeMap<u64, QueryId>,
    replayed: Replayed,
}

impl Replay {
    fn begin(step: &Step) -> Result<Self, ReplayError> {
        let words: Vec<&str> = step.first.split(' ').collect();
        let ["recording", format, "by", "oci-proto", version] = words[..] else {
            return Err(ReplayError::NotARecording);
        };
        let format: u32 = format.parse().map_err(|_| ReplayError::NotARecording)?;
        if format != FORMAT {
            return Err(ReplayError::Format(format));
        }
        let (mut config, mut seed) = (Config::default(), None);
        for (line, detail) in (step.line + 1..).zip(&step.details) {
            let invalid = |problem| ReplayError::Invalid { line, problem };
            match detail.strip_prefix("seed ") {
                Some(text) => seed = Some(parsed(text, "a seed").map_err(invalid)?),
                None => settings::read(&mut config, detail).map_err(invalid)?,
            }
        }
        let seed = seed.ok_or_else(|| ReplayError::invalid(step.line, "the seed is missing"))?;
        Ok(Self {
            session: Session::for_replay(config, seed),
            secrets: Secrets::new(),
            now: Time::ZERO,
            ops: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            queries: BTreeMap::new(),
            replayed: Replayed { version: shown(version), ..Replayed::default() },
        })
    }

    fn play(&mut self, step: &Step) -> Result<(), ReplayError> {
        let verb = step.first.split(' ').next().unwrap_or_default();
        if matches!(verb, ">" | "?" | "=" | "abort" | "wait") {
            return self.compare(step);
        }
        self.input(step, verb).map_err(|problem| ReplayError::Invalid { line: step.line, problem })
    }

    fn compare(&mut self, step: &Step) -> Result<(), ReplayError> {
        let output = self.session.poll_output(self.now);
        let (recorded, replayed) = (step.text(), output_text(&mut self.secrets, &output));
        if recorded != replayed {
            let version = self.replayed.version.clone();
            return Err(ReplayError::Divergence { line: step.line, version, recorded, replayed });
        }
        self.replayed.outputs += 1;
        match output {
            Output::Send(exchange) => {
                self.replayed.exchanges += 1;
                self.exchanges.insert(exchange.id().number(), exchange);
            }
            Output::Ask(query, _) => _ = self.queries.insert(query.number(), query),
            Output::Abort(exchange) => _ = self.exchanges.remove(&exchange.number()),
            Output::Event(op, Event::Done | Event::Failed(_)) => _ = self.ops.remove(&op.number()),
            Output::Event(..) | Output::Wait(_) => {}
        }
        Ok(())
    }

    fn input(&mut self, step: &Step, verb: &str) -> Result<(), String> {
        let rest = step.first.get(verb.len() + 1..).unwrap_or_default();
        match verb {
            "at" => self.now = Time::from_epoch(read_seconds(rest)?),
            "abandon" => self.session.abandon_in_flight(self.now),
            "recording" => return Err("a file has one recording".to_owned()),
            _ => {
                let (number, rest) = numbered(rest)?;
                self.numbered(step, verb, number, rest)?;
            }
        }
        Ok(())
    }

    /// Passes on an input with the number of an operation, an exchange or a question. If that has ended, the
    /// session ignores the input, as it did when it was recorded.
    fn numbered(&mut self, step: &Step, verb: &str, number: u64, rest: &str) -> Result<(), String> {
        let op = self.ops.get(&number).copied();
        match verb {
            "start" => {
                let op = start::start(&mut self.session, start::read(rest, &step.details)?);
                if op.number() != number {
                    return Err(format!("this is operation {}", op.number()));
                }
                self.ops.insert(number, op);
            }
            "<" | "fault" => {
                let (status, ended) = if verb == "<" { (Some(rest), "") } else { (None, rest) };
                let transcript = read(status, ended, &step.details)?;
                if let Some(exchange) = self.exchanges.remove(&number) {
                    self.session.complete(self.now, transcript.play(exchange));
                }
            }
            "lost" => {
                let fault = read_fault(rest)?;
                if let Some(exchange) = self.exchanges.remove(&number) {
                    self.session.lost(self.now, exchange.id(), fault);
                }
            }
            "deadline" => {
                let at = Time::from_epoch(read_seconds(rest)?);
                if let Some(op) = op {
                    self.session.set_deadline(op, at);
                }
            }
            "fail" => {
                let fault = read_fault(rest)?;
                if let Some(op) = op {
                    self.session.fail(op, fault);
                }
            }
            "cancel" => {
                if let Some(op) = self.ops.remove(&number) {
                    self.session.cancel(op);
                }
            }
            "pause" => _ = op.map(|op| self.session.pause(op)),
            "resume" => _ = op.map(|op| self.session.resume(op)),
            verb => {
                let answer = read_answer(verb, rest, &step.details)?;
                let answer = answer.ok_or_else(|| format!("`{}` is not a step", shown(verb)))?;
                self.answer(number, answer);
            }
        }
        Ok(())
    }

    fn answer(&mut self, number: u64, answer: Answer) {
        if let Some(query) = self.queries.remove(&number) {
            self.session.answer(self.now, query, answer);
        }
    }
}

/// Splits off the number in brackets.
fn numbered(text: &str) -> Result<(u64, &str), String> {
    let split = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (number, rest) = split.ok_or("the line lacks a number in brackets")?;
    Ok((parsed(number, "a number")?, rest.strip_prefix(' ').unwrap_or(rest)))
}
