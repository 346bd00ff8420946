//! Runs one exchange, from its request to its completion.

use std::error::Error;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper_util::client::legacy::connect::HttpInfo;
use oci_proto::{
    Awaiting, Completion, Exchange, ExchangeId, Fault, FaultKind, Payload, Receiving, RequestSummary, Rest,
    Sending, Sink, Source,
};
use oci_proto_common::{Awaited, DRAINING, Monitor, OperationSpan, RequestSpan};

use crate::erased::{ErasedBody, ErasedTransport, ResponseFuture};
use crate::fault::{Classify, fault, panicked};
use crate::payload::{Body, BodySender};
use crate::timer::IdleTimer;

/// The maximum number of bytes that are hashed at a time, regardless of the transport's chunks.
const CHUNK: usize = 128 << 10;
/// The number of bytes after which the task yields. Hashing and writing them takes a millisecond or two.
const TURN: usize = 512 << 10;

/// The transport and the settings that all exchanges of a client share.
pub(crate) struct TransferContext {
    pub(crate) transport: Box<dyn ErasedTransport>,
    /// The idle timeout.
    pub(crate) idle: Duration,
    pub(crate) classify: Option<Box<Classify>>,
    pub(crate) monitor: Arc<Monitor>,
}

/// An exchange in progress. A panic in the transport becomes a fault.
pub(crate) struct Transfer {
    id: ExchangeId,
    source: Option<Source>,
    stage: Stage,
    wire: Wire,
    upload: Option<Upload>,
    timer: IdleTimer,
    /// The time limit for the head of the response, after the request was sent.
    head_limit: Duration,
    /// The number of bytes received since a poll was last pending.
    turn: usize,
    context: Arc<TransferContext>,
    /// The request, and the span of its operation, for the span that begins when it is sent.
    summary: (RequestSummary, Option<OperationSpan>),
    span: Option<RequestSpan>,
}

/// The core's state of the exchange.
enum Stage {
    Awaiting(Awaiting),
    Receiving(Receiving),
    Over(Completion),
    Taken,
}

/// The transport's state of the exchange.
#[expect(clippy::large_enum_variant, reason = "each exchange has one, and is boxed")]
enum Wire {
    Request(Request<Body>),
    Response(ResponseFuture),
    /// A body, and the rest of its last chunk.
    Body(ErasedBody, Bytes),
    /// A body that is drained, and the number of bytes that may still follow.
    Rest(ErasedBody, u64),
    Closed,
}

/// A payload that is handed to the transport in chunks.
struct Upload {
    /// `None` once the payload has ended or was stopped.
    sending: Option<Sending>,
    sender: BodySender,
    /// The last chunk, held back until the source has ended.
    last: Bytes,
    /// The rest of a payload in memory, or `None` if it comes from a source.
    memory: Option<Bytes>,
}

/// The result of polling an exchange.
pub(crate) enum Progress {
    /// Bytes for the sink.
    Chunk(Bytes),
    /// The transport waits for the source: call [`supply`](Transfer::supply) or [`end`](Transfer::end).
    /// The exchange still wakes its task meanwhile.
    NeedsData,
    /// The exchange has ended: take its completion, or fail it.
    Ended,
}

impl Transfer {
    /// Creates the state of an exchange. The first poll sends the request.
    pub(crate) fn new(
        exchange: Exchange,
        operation: Option<OperationSpan>,
        context: Arc<TransferContext>,
    ) -> Self {
        let (id, source) = (exchange.id(), exchange.source().cloned());
        let head_limit = context.idle.saturating_add(exchange.processing_time());
        let (reach, summary) = (exchange.reach(), (exchange.summary(), operation));
        let (request, mut sending, awaiting) = exchange.split();
        let (mut head, payload) = request.into_parts();
        head.extensions.insert(reach);
        let mut upload = None;
        let body = match payload {
            Payload::Empty => Body::default(),
            // In chunks, so that progress is noticed: a slow network takes longer for it than the idle timeout.
            Payload::Bytes(bytes) if bytes.len() > CHUNK => {
                let (body, sender) = Body::streamed(bytes.len() as u64);
                upload = Some(Upload { sending, sender, last: Bytes::new(), memory: Some(bytes) });
                body
            }
            Payload::Bytes(bytes) => {
                // Cannot fail: this is the whole payload.
                let _ = sending.as_mut().map(|sending| sending.push(&bytes));
                Body::bytes(bytes)
            }
            Payload::Source(source) => {
                let (body, sender) = Body::streamed(source.length());
                upload = Some(Upload { sending, sender, last: Bytes::new(), memory: None });
                body
            }
        };
        let first = if upload.is_some() { context.idle } else { head_limit };
        Self {
            id,
            source,
            stage: Stage::Awaiting(awaiting),
            wire: Wire::Request(Request::from_parts(head, body)),
            upload,
            timer: IdleTimer::new(first),
            head_limit,
            turn: 0,
            context,
            summary,
            span: None,
        }
    }

    pub(crate) fn id(&self) -> ExchangeId {
        self.id
    }

    /// Returns the sink, with the offset of the next byte; before the head, of the first one.
    pub(crate) fn sink(&self) -> Option<&Sink> {
        match &self.stage {
            Stage::Awaiting(awaiting) => awaiting.sink(),
            Stage::Receiving(receiving) => receiving.sink(),
            Stage::Over(_) | Stage::Taken => None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.advance(cx))).unwrap_or_else(|panic| {
            self.fail(panicked(&*panic));
            Poll::Ready(Progress::Ended)
        });
        if polled.is_pending() {
            self.turn = 0;
        }
        polled
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        loop {
            match &mut self.wire {
                Wire::Request(_) => self.send(),
                Wire::Response(response) => match within(self.span.as_ref(), || response.as_mut().poll(cx)) {
                    Poll::Ready(Ok(response)) => self.begin(response),
                    Poll::Ready(Err(error)) => self.fail_with(&*error),
                    Poll::Pending if self.wants_source(cx) => {
                        let memory = self.upload.as_mut().and_then(|upload| upload.memory.as_mut());
                        match memory.map(|rest| rest.split_to(rest.len().min(CHUNK))) {
                            None => return Poll::Ready(Progress::NeedsData),
                            Some(chunk) if chunk.is_empty() => self.end(),
                            Some(chunk) => self.supply(&chunk),
                        }
                    }
                    Poll::Pending if self.timer.poll_over(cx).is_ready() => self.time_out(),
                    Poll::Pending => return Poll::Pending,
                },
                Wire::Body(body, chunk) if chunk.is_empty() => {
                    // Checked first, since polling for the end may have to wait for the connection's task.
                    if body.is_end_stream() {
                        self.close();
                        continue;
                    }
                    match within(self.span.as_ref(), || Pin::new(body).poll_frame(cx)) {
                        Poll::Ready(Some(Ok(frame))) => {
                            self.timer.renew();
                            // The protocol does not use trailers.
                            *chunk = frame.into_data().unwrap_or_default();
                            self.span.iter_mut().for_each(|span| span.received(chunk.len()));
                        }
                        Poll::Ready(Some(Err(error))) => self.fail_with(&*error),
                        Poll::Ready(None) => self.close(),
                        Poll::Pending if self.timer.poll_over(cx).is_ready() => self.time_out(),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Wire::Body(..) if self.turn >= TURN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Wire::Body(_, chunk) => {
                    let part = chunk.split_to(chunk.len().min(CHUNK));
                    self.turn += part.len();
                    let wanted = self.receive(&part);
                    if !wanted.is_empty() {
                        return Poll::Ready(Progress::Chunk(wanted));
                    }
                }
                Wire::Rest(body, _) if body.is_end_stream() => self.close(),
                Wire::Rest(body, left) => match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let length = frame.into_data().map_or(0, |data| data.len() as u64);
                        match left.checked_sub(length) {
                            Some(less) => *left = less,
                            None => self.close(),
                        }
                    }
                    Poll::Ready(_) => self.close(),
                    Poll::Pending if self.timer.poll_over(cx).is_ready() => self.close(),
                    Poll::Pending => return Poll::Pending,
                },
                Wire::Closed => return Poll::Ready(Progress::Ended),
            }
        }
    }

    fn send(&mut self) {
        if let Wire::Request(request) = mem::replace(&mut self.wire, Wire::Closed) {
            let (summary, operation) = &self.summary;
            let span = self.context.monitor.request(operation.as_ref(), summary);
            self.wire = Wire::Response(span.within(|| self.context.transport.send(request)));
            self.span = Some(span);
        }
    }

    /// Returns whether the transport waits for the source.
    fn wants_source(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(upload) = &self.upload else { return false };
        let wants = upload.sender.poll_wanted(cx).is_ready();
        // The idle timeout does not apply while the source is slow.
        if upload.sender.was_taken() || wants {
            self.timer.renew();
        }
        wants
    }

    /// Takes the head of the response.
    fn begin(&mut self, response: Response<ErasedBody>) {
        self.timer.renew_with(self.context.idle);
        let (head, body) = response.into_parts();
        let Stage::Awaiting(mut awaiting) = mem::replace(&mut self.stage, Stage::Taken) else { return };
        // The default transport connects to nothing out of reach. Another one may be known only now, after the
        // request was sent.
        if let Some(info) = head.extensions.get::<HttpInfo>()
            && let Err(fault) = awaiting.connected(info.remote_addr().ip())
        {
            self.stage = Stage::Awaiting(awaiting);
            return self.fail(fault);
        }
        if let Some(upload) = &mut self.upload {
            upload.sending = None;
            if !upload.sender.stop() {
                self.upload = None;
            }
        }
        self.stage = Stage::Receiving(awaiting.head(head.status, head.headers));
        self.wire = Wire::Body(body, Bytes::new());
        self.apply_rest();
    }

    /// Takes a chunk of the body. Returns the part of it that belongs in the sink.
    fn receive(&mut self, part: &Bytes) -> Bytes {
        let Stage::Receiving(receiving) = &mut self.stage else { return Bytes::new() };
        let wanted = receiving.push(part).map(|range| part.slice(range)).unwrap_or_default();
        self.apply_rest();
        wanted
    }

    /// Drains or closes a body that is no longer wanted.
    fn apply_rest(&mut self) {
        let Stage::Receiving(receiving) = &self.stage else { return };
        match (receiving.rest(), mem::replace(&mut self.wire, Wire::Closed)) {
            (Rest::Wanted, wire) => self.wire = wire,
            // A connection with an incomplete request cannot be reused.
            (Rest::Drain(bytes), Wire::Body(body, chunk)) if self.upload.is_none() => {
                if let Some(left) = bytes.checked_sub(chunk.len() as u64) {
                    self.wire = Wire::Rest(body, left);
                    // In all, from the first wait for the network.
                    self.timer.renew_with(DRAINING.min(self.context.idle));
                }
            }
            (Rest::Drain(_) | Rest::Close, _) => self.close(),
        }
    }

    fn fail_with(&mut self, error: &(dyn Error + 'static)) {
        let fault = fault(error, self.context.classify.as_deref());
        self.fail(fault);
    }

    fn time_out(&mut self) {
        let idle = self.context.idle;
        let (awaited, limit) = match (&self.stage, &self.upload) {
            (Stage::Awaiting(_), Some(Upload { sending: Some(_), .. })) => (Awaited::Request, idle),
            (Stage::Awaiting(_), _) => (Awaited::Head, self.head_limit),
            _ => (Awaited::Body, idle),
        };
        self.fail(awaited.timed_out(limit));
    }

    /// Releases the connection. It is reused if the request and the response are complete.
    fn close(&mut self) {
        self.wire = Wire::Closed;
        self.upload = None;
    }

    /// Fails the exchange, unless it has failed already or its completion was taken.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.close();
        self.stage = match mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Awaiting(awaiting) => Stage::Over(awaiting.fail(fault)),
            Stage::Receiving(receiving) => Stage::Over(receiving.fail(fault)),
            ended @ (Stage::Over(_) | Stage::Taken) => ended,
        }
    }

    /// Fails an exchange whose call has no source, after [`Progress::NeedsData`].
    pub(crate) fn fail_without_source(&mut self) {
        self.fail(Fault::new(FaultKind::Unsupported, "this call has no source"));
    }

    /// Takes the completion, if the exchange has ended.
    pub(crate) fn settle(&mut self) -> Option<Completion> {
        let completion = match (mem::replace(&mut self.stage, Stage::Taken), &self.wire) {
            (Stage::Over(completion), _) => completion,
            (Stage::Receiving(receiving), Wire::Closed) => receiving.finish(),
            (unfinished, _) => {
                self.stage = unfinished;
                return None;
            }
        };
        self.span.iter_mut().for_each(|span| span.settled(&completion));
        Some(completion)
    }

    /// Returns the source of the payload.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Supplies the next chunk of the source, after [`Progress::NeedsData`]. Invalid content fails the
    /// exchange.
    pub(crate) fn supply(&mut self, chunk: &Bytes) {
        let Some(Upload { sending: Some(sending), sender, last, .. }) = &mut self.upload else { return };
        self.timer.renew();
        match sending.push(chunk) {
            Ok(payload) if payload.is_empty() => {}
            // The request must not be completed before the source has ended.
            Ok(payload) if sending.sent() == sending.length() => *last = chunk.slice(payload),
            Ok(payload) => sender.put(chunk.slice(payload)),
            Err(fault) => self.fail(fault),
        }
    }

    /// Ends the payload. If the source was too short, the exchange fails.
    pub(crate) fn end(&mut self) {
        let Some(upload) = &mut self.upload else { return };
        match upload.sending.take().map(Sending::finish) {
            Some(Ok(())) => {
                upload.sender.complete(mem::take(&mut upload.last));
                self.timer.renew_with(self.head_limit);
            }
            Some(Err(fault)) => self.fail(fault),
            None => {}
        }
    }
}

/// Runs a part of the transport inside the span of its request.
fn within<T>(span: Option<&RequestSpan>, run: impl FnOnce() -> T) -> T {
    match span {
        Some(span) => span.within(run),
        None => run(),
    }
}
