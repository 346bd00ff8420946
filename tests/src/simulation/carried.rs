//! A request that the driver carries out, delivery by delivery.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::request;
use oci_proto::{
    Awaiting, Completion, Exchange, ExchangeId, Fault, FaultKind, OpId, Payload, Receiving, Sink, Time,
};

use super::trace::Trace;
use super::{Answers, Asked, Choices};
use crate::transcript::Answer;

/// After how long without a delivery a transport says that there is no answer in time.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// What answers with a Retry-After are dated by, and what some of them say there.
pub(super) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub(super) const HALF_A_MINUTE_LATER: &str = "Sun, 06 Nov 1994 08:50:07 GMT";

pub(super) struct Carried {
    pub(super) id: ExchangeId,
    pub(super) op: Option<OpId>,
    /// Method and URL.
    pub(super) request: String,
    pub(super) origin: String,
    /// When the next thing happens to it.
    pub(super) due: Time,
    pace: Pace,
    head: request::Parts,
    payload: Payload,
    /// For how long the server asked to be left alone.
    wait: Option<Duration>,
    stage: Stage,
}

/// How what is delivered is spread over time.
#[derive(Clone, Copy)]
struct Pace {
    latency: Duration,
    /// In how many pieces the body comes.
    pieces: usize,
    gap: Duration,
}

impl Pace {
    /// One byte of choice for each request: what is drawn more often is not more varied, but uses up inputs.
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
    /// Its transport is about to give it up.
    Failing(Box<Awaiting>, Fault),
    Answered(Box<Arriving>),
}

struct Arriving {
    receiving: Receiving,
    sink: Option<Sink>,
    answer: Answer,
    /// How much of the body has come.
    at: usize,
    /// How much of it the sink has had.
    delivered: u64,
    /// Whether nothing has come since, for as long as a transport waits.
    stalled: bool,
}

enum Delivered {
    /// There is more to come.
    Some(Box<Arriving>),
    /// That was all, and this is what broke it off.
    All(Box<Completion>, Option<Fault>),
}

pub(super) enum Progress {
    Going(Carried),
    /// What came of it, and for how long the server asked to be left alone.
    Ended(Completion, Option<Duration>),
}

impl Carried {
    pub(super) fn new(
        exchange: Exchange,
        now: Time,
        answers: &mut impl Answers,
        choices: &mut Choices<'_>,
    ) -> Self {
        let (id, op) = (exchange.id(), exchange.op());
        let (request, awaiting) = exchange.split();
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
            wait: None,
            stage: Stage::Sent(Box::new(awaiting)),
        }
    }

    /// The path of its URL.
    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The last segment of the URL's path: a tag, or a digest, if it is a request for content.
    pub(super) fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn asked(&self, now: Time) -> Asked<'_> {
        Asked { now, op: self.op, head: &self.head, payload: &self.payload }
    }

    /// Takes what is delivered next: the head, a piece of the body, or the end.
    pub(super) fn go_on(
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
                return Progress::Ended(awaiting.fail(fault), None);
            }
            Stage::Answered(arriving) => match arriving.go_on(self.pace.pieces, &mut deliver) {
                Delivered::Some(arriving) => {
                    self.due = now + if arriving.stalled { IDLE } else { self.pace.gap };
                    Stage::Answered(arriving)
                }
                Delivered::All(completion, fault) => {
                    match fault {
                        Some(fault) => trace.note(now, || format!("  < {id:?} {fault}")),
                        None => trace.note(now, || format!("  < {id:?} ends")),
                    }
                    return Progress::Ended(*completion, self.wait);
                }
            },
        };
        Progress::Going(self)
    }

    /// Ends at once, as a transport fails.
    pub(super) fn fail(self, fault: Fault) -> Completion {
        match self.stage {
            Stage::Sent(awaiting) | Stage::Failing(awaiting, _) => awaiting.fail(fault),
            Stage::Answered(arriving) => arriving.receiving.fail(fault),
        }
    }

    /// Ends in some way, for a session that does not mind which.
    pub(super) fn end(self) -> Completion {
        match self.stage {
            Stage::Answered(arriving) => arriving.receiving.finish(),
            _ => self.fail(Fault::new(FaultKind::Reset, "too late")),
        }
    }
}

impl Arriving {
    fn new(awaiting: Awaiting, answer: Answer) -> Self {
        let (mut head, ()) = http::Response::new(()).into_parts();
        (head.status, head.headers) = (answer.status, answer.headers.clone());
        let receiving = awaiting.head(&head);
        let sink = receiving.sink();
        Self { receiving, sink, answer, at: 0, delivered: 0, stalled: false }
    }

    /// Takes the next piece, or the end.
    fn go_on(mut self: Box<Self>, pieces: usize, deliver: &mut impl FnMut(&Sink, u64, &[u8])) -> Delivered {
        let Answer { body, cut, .. } = &self.answer;
        let end = cut.as_ref().map_or(body.len(), |(at, _)| *at);
        let rest = &body[..end.min(body.len())][self.at..];
        if !self.receiving.wants_body() {
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
        let Ok(bytes) = self.receiving.push(piece) else {
            return Delivered::All(Box::new(self.receiving.finish()), None);
        };
        if let Some(sink) = &self.sink {
            deliver(sink, sink.offset + self.delivered, bytes);
            self.delivered += bytes.len() as u64;
        }
        self.at += piece.len();
        Delivered::Some(self)
    }
}

/// What limits on requests count by.
pub(super) fn origin(uri: &http::Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |host| host.as_str()))
}

/// What servers of these tests say of a wait: seconds, or a date half a minute after that of the answer. An answer
/// that is content asks for none, whatever it says (RFC 9110, section 10.2.3).
fn wait(answer: &Answer) -> Option<Duration> {
    if answer.status.is_success() {
        return None;
    }
    let value = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = if value == HALF_A_MINUTE_LATER { Some(30) } else { value.parse().ok() };
    seconds.map(Duration::from_secs)
}
