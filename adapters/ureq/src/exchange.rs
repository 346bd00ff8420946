//! Carrying one exchange out.

use std::io::Read;
use std::ops::ControlFlow;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::response;
use oci_proto::{Completion, Exchange, ExchangeId, Fault, OpId, Receiving, Time};
use ureq::{Body, BodyReader};

use crate::transport::{Phase, Transport};

/// Manifests, tokens and error bodies: most are smaller.
const SMALL: usize = 8 << 10;
/// An unwanted body up to this size is read, since reading it costs less than a new connection.
const WORTH_DRAINING: u64 = 4 << 10;

/// An exchange to carry out.
pub(crate) struct Job {
    pub(crate) exchange: Exchange,
    /// When the operation that it serves has to be over.
    pub(crate) deadline: Option<Time>,
}

impl Job {
    pub(crate) fn id(&self) -> ExchangeId {
        self.exchange.id()
    }

    pub(crate) fn op(&self) -> Option<OpId> {
        self.exchange.op()
    }

    /// Ends the exchange unsent.
    pub(crate) fn refuse(self, fault: Fault) -> Completion {
        let (_, awaiting) = self.exchange.split();
        awaiting.fail(fault)
    }

    /// Carries out an exchange whose body the core keeps itself, as long as it is wanted: a body may come so slowly
    /// that it outlasts all who waited for it.
    pub(crate) fn carry(self, transport: &Transport, now: Time, is_wanted: impl Fn() -> bool) -> Completion {
        let mut buffer = [0; SMALL];
        match self.open(transport, now) {
            ControlFlow::Continue(mut open) => {
                while open.read(transport, &mut buffer).is_some() && is_wanted() {}
                open.end()
            }
            ControlFlow::Break(completion) => completion,
        }
    }

    /// Sends the request and takes the head of the response.
    pub(crate) fn open(self, transport: &Transport, now: Time) -> ControlFlow<Completion, Open> {
        let time: Option<Duration> = self.deadline.map(|at| at.saturating_since(now));
        let (request, awaiting) = self.exchange.split();
        let response = match transport.send(request, time) {
            Ok(response) => response,
            Err(fault) => return ControlFlow::Break(awaiting.fail(fault)),
        };
        let (head, body) = response.into_parts();
        let receiving = awaiting.head(&head);
        if !receiving.wants_body() {
            drain(&head, body);
            return ControlFlow::Break(receiving.finish());
        }
        ControlFlow::Continue(Open { receiving, body: reader(body), broken: None })
    }
}

/// A response whose body is arriving.
pub(crate) struct Open {
    receiving: Receiving,
    body: BodyReader<'static>,
    broken: Option<Fault>,
}

impl Open {
    /// Reads the next part of the body; `None` at its end. What belongs in the sink, and that may be
    /// nothing, is then at the front of `buffer`, as much as the number says.
    pub(crate) fn read(&mut self, transport: &Transport, buffer: &mut [u8]) -> Option<usize> {
        if self.broken.is_some() || !self.receiving.wants_body() {
            return None;
        }
        let read = match self.body.read(buffer) {
            // Reading on to the end has given the connection back.
            Ok(0) => return None,
            Ok(read) => read,
            Err(error) => {
                self.broken = Some(transport.fault(Phase::Body, error.into()));
                return None;
            }
        };
        let kept = self.receiving.push(buffer.get(..read)?).ok()?;
        if kept.len() == read || kept.is_empty() {
            return Some(kept.len());
        }
        // Rare: a body that goes on too long, or that begins before where it was asked for.
        let kept = kept.to_vec();
        buffer.get_mut(..kept.len())?.copy_from_slice(&kept);
        Some(kept.len())
    }

    /// Where the bytes belong that were read last, as far as they have come.
    #[cfg(feature = "pull")]
    pub(crate) fn sink(&self) -> Option<oci_proto::Sink> {
        self.receiving.sink()
    }

    /// The body is at its end, and what belongs in the sink is there.
    pub(crate) fn end(self) -> Completion {
        match self.broken {
            None => self.receiving.finish(),
            Some(fault) => self.receiving.fail(fault),
        }
    }

    /// The sink cannot take more.
    pub(crate) fn refuse(self, fault: Fault) -> Completion {
        self.receiving.fail(fault)
    }
}

/// ureq bounds bodies unless told otherwise; the core bounds them by what it asked for.
fn reader(body: Body) -> BodyReader<'static> {
    body.into_with_config().limit(u64::MAX).reader()
}

/// Reads a short body that nobody wants, to keep its connection. Nothing depends on it.
fn drain(head: &response::Parts, body: Body) {
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length <= WORTH_DRAINING) {
        let _ = std::io::copy(&mut reader(body), &mut std::io::sink());
    }
}
