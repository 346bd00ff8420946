//! Runs one exchange.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use oci_proto::{
    Completion, Exchange, ExchangeId, Fault, FaultKind, OpId, Payload, Receiving, Rest, Sink, Time,
};
use oci_proto_common::{DRAINING, OperationSpan, RequestSpan};
use ureq::BodyReader;

use crate::link::Link;
use crate::payload::PayloadReader;
use crate::transport::{Peer, RequestLimits, Transport};

/// The size of the buffer for manifests, tokens and error bodies, in bytes. Most are smaller.
const SMALL: usize = 8 << 10;
/// The size of the chunks in which a blob is read, hashed and written, in bytes.
const LARGE: usize = 128 << 10;

/// An exchange to run.
pub(crate) struct Job {
    pub(crate) exchange: Exchange,
    /// The deadline of its operation.
    pub(crate) deadline: Option<Time>,
    pub(crate) link: Arc<Link>,
    /// The span of its operation.
    pub(crate) operation: Option<OperationSpan>,
}

impl Job {
    pub(crate) fn id(&self) -> ExchangeId {
        self.exchange.id()
    }

    pub(crate) fn op(&self) -> Option<OpId> {
        self.exchange.op()
    }

    /// Fails the exchange without sending its request.
    pub(crate) fn refuse(self, fault: Fault) -> Completion {
        let (_, _, awaiting) = self.exchange.split();
        awaiting.fail(fault)
    }

    /// Runs an exchange whose body the core keeps. `source` is as for [`open`](Self::open).
    pub(crate) fn run(self, transport: &Transport, now: Time, source: Option<&mut dyn Read>) -> Completion {
        let mut buffer = [0; SMALL];
        match self.open(transport, now, source) {
            ControlFlow::Continue(mut open) => {
                while open.read(transport, &mut buffer).is_some() {}
                open.end()
            }
            ControlFlow::Break(completion) => completion,
        }
    }

    /// Runs an exchange whose body goes into a sink. `write` gets the bytes, and the sink, whose offset is after them.
    pub(crate) fn write(
        self,
        transport: &Transport,
        now: Time,
        mut write: impl FnMut(&Sink, &[u8]) -> Result<(), Fault>,
    ) -> Completion {
        let mut open = match self.open(transport, now, None) {
            ControlFlow::Continue(open) => open,
            ControlFlow::Break(completion) => return completion,
        };
        let mut buffer = vec![0; LARGE];
        while let Some(read) = open.read(transport, &mut buffer) {
            if let Some(sink) = open.receiving.sink()
                && read > 0
                // The core has counted the bytes, so they must be written before the exchange ends.
                && let Err(fault) = write(sink, &buffer[..read])
            {
                return open.refuse(fault);
            }
        }
        open.end()
    }

    /// Sends the request and reads the head of the response. `source` yields exactly the
    /// [range to read](oci_proto::Source::read_range) of the payload.
    pub(crate) fn open(
        self,
        transport: &Transport,
        now: Time,
        source: Option<&mut dyn Read>,
    ) -> ControlFlow<Completion, Open> {
        let time: Option<Duration> = self.deadline.map(|at| at.saturating_since(now));
        let (reach, summary) = (self.exchange.reach(), self.exchange.summary());
        let limits = RequestLimits { exchange: time, processing: self.exchange.processing_time() };
        let (request, sending, mut awaiting) = self.exchange.split();
        let (head, payload) = request.into_parts();
        let (mut nothing, mut bytes);
        let source: &mut dyn Read = match (&payload, source) {
            (Payload::Empty, _) => {
                nothing = io::empty();
                &mut nothing
            }
            (Payload::Bytes(payload), _) => {
                bytes = &payload[..];
                &mut bytes
            }
            (Payload::Source(_), Some(source)) => source,
            (Payload::Source(_), None) => {
                let fault = Fault::new(FaultKind::Unsupported, "this call has no source");
                return ControlFlow::Break(awaiting.fail(fault));
            }
        };
        let link = self.link;
        let reader = sending.map(|sending| PayloadReader::new(source, sending, Arc::clone(&link)));
        let request = Request::from_parts(head, ());
        let mut span = transport.monitor().request(self.operation.as_ref(), &summary);
        let sent = span.within(|| link.call(|| transport.send(request, reader, reach, limits)));
        let response = match sent {
            Ok(response) => response,
            Err(fault) => {
                let completion = awaiting.fail(fault);
                span.settled(&completion);
                return ControlFlow::Break(completion);
            }
        };
        let (head, body) = response.into_parts();
        // Each agent connects only to addresses within its reach.
        if let Some(Peer(peer)) = head.extensions.get()
            && let Err(fault) = awaiting.connected(*peer)
        {
            let completion = awaiting.fail(fault);
            span.settled(&completion);
            return ControlFlow::Break(completion);
        }
        let receiving = awaiting.head(head.status, head.headers);
        // ureq limits bodies by default. The core has its own limits.
        let body = body.into_with_config().limit(u64::MAX).reader();
        let open = Open { receiving, body, link, broken: None, span };
        if open.receiving.rest() == Rest::Wanted {
            ControlFlow::Continue(open)
        } else {
            ControlFlow::Break(open.end())
        }
    }
}

/// A response whose body is arriving.
pub(crate) struct Open {
    receiving: Receiving,
    body: BodyReader<'static>,
    link: Arc<Link>,
    broken: Option<Fault>,
    span: RequestSpan,
}

impl Open {
    /// Reads the next part of the body, or returns `None` at its end, or if it is no longer wanted. Moves the
    /// bytes for the sink to the front of `buffer`, and returns their number, which may be 0.
    pub(crate) fn read(&mut self, transport: &Transport, buffer: &mut [u8]) -> Option<usize> {
        if self.broken.is_some() || self.receiving.rest() != Rest::Wanted {
            return None;
        }
        let reading = || self.link.call_within(transport.idle_timeout(), || self.body.read(buffer));
        let read = match self.span.within(reading) {
            // Reading the end of the body has returned the connection to ureq's pool.
            Ok(0) => return None,
            Ok(read) => {
                self.span.received(read);
                read
            }
            Err(error) => {
                self.broken = Some(transport.fault(error.into()));
                return None;
            }
        };
        if !self.link.is_wanted() {
            self.broken = Some(Fault::new(FaultKind::Reset, "the exchange was aborted"));
            return None;
        }
        let kept = self.receiving.push(buffer.get(..read)?).ok()?;
        let length = kept.len();
        if kept.start > 0 {
            // Rare: the body starts before the requested offset.
            buffer.copy_within(kept, 0);
        }
        Some(length)
    }

    /// Ends the exchange, after all bytes were written to the sink.
    pub(crate) fn end(mut self) -> Completion {
        if let Some(fault) = self.broken.take() {
            return self.refuse(fault);
        }
        // A connection with an incomplete request cannot be reused.
        if let Rest::Drain(bytes) = self.receiving.rest()
            && !self.link.is_answered()
        {
            self.link.call_within(DRAINING, || drain(self.body, bytes));
        }
        let completion = self.receiving.finish();
        self.span.settled(&completion);
        completion
    }

    /// Fails the exchange.
    pub(crate) fn refuse(mut self, fault: Fault) -> Completion {
        let completion = self.receiving.fail(fault);
        self.span.settled(&completion);
        completion
    }
}

/// Reads an unwanted body of at most `bytes` bytes, so that its connection can be reused. A failure is
/// ignored.
fn drain(body: BodyReader<'static>, bytes: u64) {
    // ureq reuses the connection after a read that returns the end of the body.
    let _ = io::copy(&mut body.take(bytes.saturating_add(1)), &mut io::sink());
}
