//! A request that the driver carries out, step by step.

use oci_proto::{Awaiting, Completion, Exchange, ExchangeId, Fault, FaultKind, OpId, Receiving, Sink};

use super::{Answers, Choices};
use crate::transcript::Answer;

pub(super) struct Carried {
    pub(super) id: ExchangeId,
    pub(super) op: Option<OpId>,
    pub(super) request: String,
    pub(super) origin: String,
    answer: Answer,
    stage: Stage,
}

enum Stage {
    Asked(Box<Awaiting>),
    Answered(Box<Arriving>),
}

struct Arriving {
    receiving: Receiving,
    sink: Option<Sink>,
    /// How much of the body has come.
    at: usize,
    /// How much of it the sink has had.
    delivered: u64,
}

pub(super) enum Progress {
    Going(Carried),
    Ended(Completion),
}

impl Carried {
    pub(super) fn new(exchange: Exchange, answers: &mut impl Answers, choices: &mut Choices<'_>) -> Self {
        let (id, op) = (exchange.id(), exchange.op());
        let (request, awaiting) = exchange.split();
        answers.asked(op, &request);
        answers.shown(&awaiting);
        let (head, _payload) = request.into_parts();
        let answer = answers.answer(&head, choices);
        Self {
            id,
            op,
            request: format!("{} {}", head.method, head.uri),
            origin: format!("{:?} {:?}", head.uri.scheme(), head.uri.authority()),
            answer,
            stage: Stage::Asked(Box::new(awaiting)),
        }
    }

    /// Takes the head, or at most so many bytes of the body, or its end; with `usize::MAX`, all of them.
    pub(super) fn go_on(mut self, most: usize, mut deliver: impl FnMut(&Sink, u64, &[u8])) -> Progress {
        loop {
            match self.step(most, &mut deliver) {
                Progress::Going(going) if most == usize::MAX => self = going,
                progress => return progress,
            }
        }
    }

    /// Ends at once, as a transport fails.
    pub(super) fn fail(self, fault: Fault) -> Completion {
        match self.stage {
            Stage::Asked(awaiting) => awaiting.fail(fault),
            Stage::Answered(arriving) => arriving.receiving.fail(fault),
        }
    }

    /// Ends in some way, for a session that does not mind which.
    pub(super) fn end(self) -> Completion {
        match self.stage {
            Stage::Asked(awaiting) => awaiting.fail(Fault::new(FaultKind::Reset, "too late")),
            Stage::Answered(arriving) => arriving.receiving.finish(),
        }
    }

    fn step(self, most: usize, deliver: &mut impl FnMut(&Sink, u64, &[u8])) -> Progress {
        let Self { answer, stage, .. } = self;
        let arriving = match stage {
            Stage::Asked(awaiting) => {
                let (mut head, ()) = http::Response::new(()).into_parts();
                (head.status, head.headers) = (answer.status, answer.headers.clone());
                let receiving = awaiting.head(&head);
                let sink = receiving.sink();
                Box::new(Arriving { receiving, sink, at: 0, delivered: 0 })
            }
            Stage::Answered(mut arriving) => {
                let end = answer.cut.as_ref().map_or(answer.body.len(), |(at, _)| *at);
                let rest = &answer.body[..end.min(answer.body.len())][arriving.at..];
                if rest.is_empty() || !arriving.receiving.wants_body() {
                    return Progress::Ended(match answer.cut {
                        Some((_, fault)) if arriving.receiving.wants_body() => arriving.receiving.fail(fault),
                        _ => arriving.receiving.finish(),
                    });
                }
                let chunk = &rest[..most.min(rest.len())];
                let Ok(bytes) = arriving.receiving.push(chunk) else {
                    return Progress::Ended(arriving.receiving.finish());
                };
                if let Some(sink) = &arriving.sink {
                    deliver(sink, sink.offset + arriving.delivered, bytes);
                    arriving.delivered += bytes.len() as u64;
                }
                arriving.at += chunk.len();
                arriving
            }
        };
        Progress::Going(Self { answer, stage: Stage::Answered(arriving), ..self })
    }
}
