//! A request in flight, delivered step by step.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{StatusCode, request};
use oci_proto::{
    Awaiting, Completion, Digest, Exchange, ExchangeId, Fault, FaultKind, OpId, Payload, Receiving, Rest,
    Sink, Time,
};

use crate::simulation::answers::{Answers, Asked};
use crate::simulation::choices::Choices;
use crate::simulation::outgoing::{self, Outgoing};
use crate::simulation::pipes::Pipes;
use crate::simulation::trace::Trace;
use crate::transcript::parse::Answer;

/// The idle timeout of the transport.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// The Date of responses with a Retry-After, and a date that some of them have there.
pub(super) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub(super) const HALF_A_MINUTE_LATER: &str = "Sun, 06 Nov 1994 08:50:07 GMT";

pub(super) struct Transfer {
    pub(super) id: ExchangeId,
    pub(super) op: Option<OpId>,
    /// The content of its sink or its source.
    pub(super) content: Option<Digest>,
    /// The method and the URL.
    pub(super) request: String,
    pub(super) origin: String,
    /// The time of its next delivery.
    pub(super) due: Time,
    pace: Pace,
    head: request::Parts,
    payload: Payload,
    /// The payload on its way.
    outgoing: Option<Outgoing>,
    /// Whether it is one half of a pair: a download that feeds an upload.
    pub(super) is_half: bool,
    answered: Option<Answered>,
    stage: Stage,
}

/// The distribution of deliveries over time.
#[derive(Clone, Copy)]
struct Pace {
    latency: Duration,
    /// The number of chunks of the body.
    pieces: usize,
    gap: Duration,
}

impl Pace {
    /// Each request consumes one byte of input: more would not give more variety.
    fn draw(choices: &mut Choices<'_>) -> Self {
        const LATENCIES: [u64; 8] = [0, 1, 20, 150, 1000, 10, 300, 2];
        const PIECES: [usize; 8] = [1, 3, 1, 40, 2, 1, 9, 1];
        const GAPS: [u64; 4] = [0, 1, 0, 20];
        let drawn = usize::from(choices.byte());
        Self {
            latency: Duration::from_millis(LATENCIES[drawn % 8]),
            pieces: PIECES[drawn / 8 % 8],
            gap: Duration::from_millis(GAPS[drawn / 64]),
        }
    }
}

/// A response.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// The path of its request.
    pub(super) path: String,
    /// Its Retry-After.
    pub(super) wait: Duration,
}

enum Stage {
    Sent(Box<Awaiting>),
    /// The transport is about to fail.
    Failing(Box<Awaiting>, Fault),
    Answered(Box<Arriving>),
}

struct Arriving {
    receiving: Receiving,
    answer: Answer,
    /// The number of bytes delivered.
    at: usize,
    /// Whether nothing has been delivered for the idle timeout.
    stalled: bool,
}

enum Delivered {
    /// More is to come.
    Some(Box<Arriving>),
    /// The end of the body, or a fault that breaks it off.
    All(Box<Completion>, Option<Fault>),
}

pub(super) enum Progress {
    Going(Box<Transfer>),
    /// The completion, and the response if there was one.
    Ended(Box<Completion>, Option<Answered>),
}

impl Transfer {
    /// Begins a request. `is_copy` says whether its operation sends content from one registry to another.
    pub(super) fn new(
        exchange: Exchange,
        is_copy: bool,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
    ) -> Self {
        let (id, op) = (exchange.id(), exchange.op());
        let (sink, reach) = (exchange.sink().cloned(), exchange.reach());
        let (request, sending, mut awaiting) = exchange.split();
        assert_eq!(awaiting.sink(), sink.as_ref(), "the sink of an exchange is known before it is sent");
        answers.sent(op, &request);
        answers.shown(&awaiting);
        let connected = answers.address(op, &request, reach).map_or(Ok(()), |it| awaiting.connected(it));
        let (head, payload) = request.into_parts();
        let outgoing = sending.map(|sending| Outgoing::new(sending, &payload, &head.headers));
        let pace = Pace::draw(choices);
        let content = match &payload {
            Payload::Source(source) => Some(source.digest.clone()),
            _ => sink.map(|sink| sink.digest),
        };
        Self {
            id,
            op,
            is_half: is_copy && content.is_some(),
            content,
            request: format!("{} {}", head.method, head.uri),
            origin: origin(&head.uri),
            due: now + pace.latency,
            pace,
            head,
            payload,
            outgoing,
            answered: None,
            stage: match connected {
                Ok(()) => Stage::Sent(Box::new(awaiting)),
                Err(fault) => Stage::Failing(Box::new(awaiting), fault),
            },
        }
    }

    /// The path of its URL.
    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The last segment of the path: a tag, or a digest if content is requested.
    pub(super) fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn asked(&self, now: Time) -> Asked<'_> {
        let arrived = self.outgoing.as_ref().map_or(&[][..], |outgoing| &outgoing.arrived);
        Asked { now, op: self.op, head: &self.head, payload: &self.payload, arrived }
    }

    /// Whether it cancels an upload of an operation that has ended.
    pub(super) fn is_cleanup(&self) -> bool {
        self.op.is_none() && self.head.method == http::Method::DELETE
    }

    pub(super) fn has_payload(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Whether it may have changed something at its server, or bytes have reached the other half of its pair.
    pub(super) fn has_moved(&self) -> bool {
        let is_write = ![http::Method::GET, http::Method::HEAD].contains(&self.head.method);
        let has_arrived = self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.arrived.is_empty());
        let counts = is_write && self.op.is_some() || self.is_half;
        counts && (has_arrived || !matches!(self.stage, Stage::Sent(_)))
    }

    /// Whether its next delivery is possible: one half of a pair may have to wait for the other.
    pub(super) fn is_ready(&self, pipes: &Pipes) -> bool {
        match (&self.stage, &self.outgoing) {
            _ if !self.is_half => true,
            (Stage::Sent(_), Some(outgoing)) => {
                !outgoing.is_begun() || outgoing.is_over() || pipes.has_bytes(self.id)
            }
            (Stage::Answered(_), None) => !pipes.is_full(self.id),
            _ => true,
        }
    }

    /// The connection breaks. The server keeps what has arrived, if it has not responded yet.
    pub(super) fn cut_off(&mut self, now: Time, answers: &mut impl Answers) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.stop();
            if matches!(self.stage, Stage::Sent(_)) {
                answers.cut_off(&self.asked(now));
            }
        }
    }

    /// Makes the next delivery: the head, a chunk of the body, or the end.
    pub(super) fn advance(
        mut self,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
        pipes: &mut Pipes,
        trace: &Trace,
        mut deliver: impl FnMut(&Sink, u64, &[u8]),
    ) -> Progress {
        let id = self.id;
        if matches!(self.stage, Stage::Sent(_)) {
            match self.send(now, answers, choices, pipes) {
                Ok(true) => {}
                Ok(false) => {
                    self.due = now + self.pace.gap;
                    return Progress::Going(Box::new(self));
                }
                Err(fault) => {
                    trace.note(now, || format!("  > {id:?} {fault}"));
                    self.cut_off(now, answers);
                    return Progress::Ended(Box::new(self.fail(fault)), None);
                }
            }
        }
        self.stage = match self.stage {
            Stage::Sent(awaiting) => {
                let arrived = self.outgoing.as_ref().map_or(&[][..], |outgoing| &outgoing.arrived);
                let asked = Asked { now, op: self.op, head: &self.head, payload: &self.payload, arrived };
                if !asked.is_complete() {
                    let (arrived, all) = (arrived.len(), asked.length());
                    trace.note(now, || format!("  > {id:?} {arrived} of {all} bytes arrive"));
                }
                let answer = answers.answer(&asked, choices);
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.stop();
                }
                match answer {
                    Ok(answer) => {
                        trace.answered(now, id, &answer);
                        self.due = now + self.pace.gap;
                        self.answered = Some(Answered {
                            status: answer.status,
                            path: self.head.uri.path().to_owned(),
                            wait: wait(&answer).unwrap_or_default(),
                        });
                        Stage::Answered(Box::new(Arriving::new(*awaiting, answer)))
                    }
                    Err(fault) => {
                        let idle = fault.kind() == FaultKind::Timeout;
                        self.due = if idle { now + IDLE } else { now };
                        Stage::Failing(awaiting, fault)
                    }
                }
            }
            Stage::Failing(awaiting, fault) => {
                trace.note(now, || format!("  < {id:?} {fault}"));
                return Progress::Ended(Box::new(awaiting.fail(fault)), None);
            }
            Stage::Answered(arriving) => match arriving.advance(self.pace.pieces, &mut deliver) {
                Delivered::Some(arriving) => {
                    self.due = now + if arriving.stalled { IDLE } else { self.pace.gap };
                    Stage::Answered(arriving)
                }
                Delivered::All(completion, fault) => {
                    match fault {
                        Some(fault) => trace.note(now, || format!("  < {id:?} {fault}")),
                        None => trace.note(now, || format!("  < {id:?} ends")),
                    }
                    return Progress::Ended(completion, self.answered);
                }
            },
        };
        Progress::Going(Box::new(self))
    }

    /// Sends the next piece of the payload. Returns whether the response is next.
    fn send(
        &mut self,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
        pipes: &mut Pipes,
    ) -> Result<bool, Fault> {
        if self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.is_begun()) {
            let reads = answers.reads(&self.asked(now), choices);
            if let Some(outgoing) = &mut self.outgoing {
                outgoing.begin(reads);
            }
        }
        let Some(outgoing) = self.outgoing.as_mut().filter(|outgoing| !outgoing.is_over()) else {
            return Ok(true);
        };
        let range = outgoing.next(self.pace.pieces);
        let (bytes, is_end) = match &self.payload {
            Payload::Empty => return Ok(true),
            Payload::Bytes(bytes) => {
                let at = |position| usize::try_from(position).expect("the position fits in memory");
                (bytes.slice(at(range.start)..at(range.end)), false)
            }
            Payload::Source(_) if self.is_half => (pipes.read(self.id, range.end - range.start), false),
            Payload::Source(source) => {
                let bytes = outgoing::read(answers.source(&source.digest), source, range.clone())?;
                let is_end = (bytes.len() as u64) < range.end - range.start;
                (bytes, is_end)
            }
        };
        outgoing.push(&bytes, is_end)?;
        Ok(outgoing.is_over())
    }

    /// Fails at once, as by the transport.
    pub(super) fn fail(self, fault: Fault) -> Completion {
        match self.stage {
            Stage::Sent(awaiting) | Stage::Failing(awaiting, _) => awaiting.fail(fault),
            Stage::Answered(arriving) => arriving.receiving.fail(fault),
        }
    }

    /// Ends in some way after the session lost interest.
    pub(super) fn end(self) -> Completion {
        match self.stage {
            Stage::Answered(arriving) => arriving.receiving.finish(),
            _ => self.fail(Fault::new(FaultKind::Reset, "too late")),
        }
    }
}

impl Arriving {
    fn new(awaiting: Awaiting, answer: Answer) -> Self {
        let receiving = awaiting.head(answer.status, answer.headers.clone());
        Self { receiving, answer, at: 0, stalled: false }
    }

    /// Delivers the next chunk, or the end.
    fn advance(mut self: Box<Self>, pieces: usize, deliver: &mut impl FnMut(&Sink, u64, &[u8])) -> Delivered {
        let Answer { body, cut, .. } = &self.answer;
        let end = cut.as_ref().map_or(body.len(), |(at, _)| *at);
        let rest = &body[..end.min(body.len())][self.at..];
        if self.receiving.rest() != Rest::Wanted {
            return Delivered::All(Box::new(self.receiving.finish()), None);
        }
        if rest.is_empty() {
            return match cut.clone() {
                None => Delivered::All(Box::new(self.receiving.finish()), None),
                Some((_, fault)) if fault.kind() == FaultKind::Timeout && !self.stalled => {
                    self.stalled = true;
                    Delivered::Some(self)
                }
                Some((_, fault)) => Delivered::All(Box::new(self.receiving.fail(fault.clone())), Some(fault)),
            };
        }
        let most = body.len().div_ceil(pieces);
        let piece = &rest[..most.min(rest.len())];
        let sink = self.receiving.sink().cloned();
        let Ok(range) = self.receiving.push(piece) else {
            assert_ne!(self.receiving.rest(), Rest::Wanted, "a refused body is not wanted");
            return Delivered::All(Box::new(self.receiving.finish()), None);
        };
        match sink {
            Some(sink) => deliver(&sink, sink.offset, &piece[range]),
            None => assert!(range.is_empty(), "bytes without a sink"),
        }
        self.at += piece.len();
        Delivered::Some(self)
    }
}

/// The key for limits on requests.
pub(super) fn origin(uri: &http::Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |host| host.as_str()))
}

/// The wait in a response: seconds, or a date half a minute after its Date. Successful responses are ignored
/// (RFC 9110, section 10.2.3).
fn wait(answer: &Answer) -> Option<Duration> {
    if answer.status.is_success() {
        return None;
    }
    let value = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = if value == HALF_A_MINUTE_LATER { Some(30) } else { value.parse().ok() };
    seconds.map(Duration::from_secs)
}
