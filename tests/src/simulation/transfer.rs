//! A request in flight, delivered step by step.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::request;
use oci_proto::{
    Awaiting, Completion, Exchange, ExchangeId, Fault, FaultKind, OpId, Payload, Receiving, Rest, Sending,
    Sink, Time,
};

use crate::simulation::answers::{Answers, Asked};
use crate::simulation::choices::Choices;
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
    /// The method and the URL.
    pub(super) request: String,
    pub(super) origin: String,
    /// The time of its next delivery.
    pub(super) due: Time,
    pace: Pace,
    head: request::Parts,
    payload: Payload,
    /// The sending half, until the payload is sent.
    sending: Option<Sending>,
    /// The Retry-After of the response.
    wait: Option<Duration>,
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
    /// The completion, and the Retry-After of the response.
    Ended(Box<Completion>, Option<Duration>),
}

impl Transfer {
    pub(super) fn new(
        exchange: Exchange,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
    ) -> Self {
        let (id, op) = (exchange.id(), exchange.op());
        let sink = exchange.sink().cloned();
        let (request, sending, awaiting) = exchange.split();
        assert_eq!(awaiting.sink(), sink.as_ref(), "the sink of an exchange is known before it is sent");
        answers.sent(op, &request);
        answers.shown(&awaiting);
        let (head, payload) = request.into_parts();
        let pace = Pace::draw(choices);
        Self {
            id,
            op,
            request: format!("{} {}", head.method, head.uri),
            origin: origin(&head.uri),
            due: now + pace.latency,
            pace,
            head,
            payload,
            sending,
            wait: None,
            stage: Stage::Sent(Box::new(awaiting)),
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
        Asked { now, op: self.op, head: &self.head, payload: &self.payload }
    }

    /// Makes the next delivery: the head, a chunk of the body, or the end.
    pub(super) fn advance(
        mut self,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
        trace: &Trace,
        mut deliver: impl FnMut(&Sink, u64, &[u8]),
    ) -> Progress {
        let id = self.id;
        self.stage = match self.stage {
            Stage::Sent(awaiting) => {
                if let Some(sending) = self.sending.take() {
                    send(sending, &self.payload);
                }
                let asked = Asked { now, op: self.op, head: &self.head, payload: &self.payload };
                match answers.answer(&asked, choices) {
                    Ok(answer) => {
                        trace.answered(now, id, &answer);
                        self.due = now + self.pace.gap;
                        self.wait = wait(&answer);
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
                    return Progress::Ended(completion, self.wait);
                }
            },
        };
        Progress::Going(Box::new(self))
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

/// Sends a payload from memory, in two chunks.
fn send(mut sending: Sending, payload: &Payload) {
    let Payload::Bytes(bytes) = payload else {
        panic!("no operation of the simulation has such a payload: {payload:?}")
    };
    assert_eq!(sending.length(), bytes.len() as u64);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for piece in [first, second] {
        sending.push(piece).expect("the chunk is part of the payload");
    }
    sending.finish().expect("the payload is complete");
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
