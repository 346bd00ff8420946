//! What a client tells those who look in: spans and events of [`tracing`], and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_proto::header::Warning;
use oci_proto::{Completion, MirrorReport, RequestSummary, Retry};
use tracing::{Span, debug, debug_span, field, info, warn};

/// The target of all spans and events.
const TARGET: &str = "oci_proto";

/// The sums of what a client and its clones have done since they were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// The operations that were started: a call of a method is one.
    pub operations: u64,
    /// The HTTP requests that were sent, those for tokens and the repeated ones included.
    pub requests: u64,
    /// The requests without a usable response: the connection failed, or broke before the response was complete. Those that
    /// were abandoned are not among them.
    pub broken_requests: u64,
    /// The delays before a request was repeated, or sent in another form.
    pub retries: u64,
    /// The connections that were established. A custom transport counts none.
    pub connections: u64,
    /// The bytes of request bodies.
    pub bytes_sent: u64,
    /// The bytes of response bodies.
    pub bytes_received: u64,
}

/// Counts what a client does, and tells subscribers.
#[derive(Debug, Default)]
pub struct Monitor {
    operations: AtomicU64,
    requests: AtomicU64,
    broken_requests: AtomicU64,
    retries: AtomicU64,
    connections: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Monitor {
    /// Returns the sums so far.
    pub fn metrics(&self) -> Metrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            operations: get(&self.operations),
            requests: get(&self.requests),
            broken_requests: get(&self.broken_requests),
            retries: get(&self.retries),
            connections: get(&self.connections),
            bytes_sent: get(&self.bytes_sent),
            bytes_received: get(&self.bytes_received),
        }
    }

    /// Notes a new operation, named after its method. Its span is a child of the current one.
    pub fn operation(&self, verb: &'static str) -> OperationSpan {
        add(&self.operations, 1);
        OperationSpan(Arc::new(debug_span!(target: TARGET, "operation", verb)))
    }

    /// Notes that a request of an operation failed, and will be sent again.
    pub fn retry(&self, of: &OperationSpan, retry: &Retry) {
        add(&self.retries, 1);
        let delay = field::debug(retry.delay);
        info!(target: TARGET, parent: &*of.0, error = %retry.error, delay, failed = retry.failed, "retry");
    }

    /// Notes that content came from a mirror, or that one failed.
    pub fn mirror(&self, of: &OperationSpan, report: &MirrorReport) {
        let MirrorReport { registry, repository, error, .. } = report;
        match error {
            None => debug!(target: TARGET, parent: &*of.0, %registry, %repository, "served by a mirror"),
            Some(error) => {
                info!(target: TARGET, parent: &*of.0, %registry, %repository, %error, "a mirror failed");
            }
        }
    }

    /// Notes that a registry warned the user.
    pub fn warning(&self, of: &OperationSpan, warning: &Warning) {
        warn!(target: TARGET, parent: &*of.0, "{warning}");
    }

    /// Notes that a connection was established.
    pub fn connected(&self) {
        add(&self.connections, 1);
    }

    /// Notes a request that is about to be sent, for an operation or for several.
    pub fn request(self: &Arc<Self>, of: Option<&OperationSpan>, request: &RequestSummary) -> RequestSpan {
        add(&self.requests, 1);
        let parent = of.and_then(|of| of.0.id());
        let span = debug_span!(
            target: TARGET,
            parent: parent,
            "request",
            request = %request,
            status = field::Empty,
            sent = field::Empty,
            received = field::Empty,
            fault = field::Empty,
        );
        RequestSpan { monitor: self.clone(), span, received: 0, is_over: false }
    }
}

/// The span of an operation. Clones share it.
#[derive(Clone, Debug)]
pub struct OperationSpan(Arc<Span>);

/// The span of a request, with the bytes that it has received.
#[derive(Debug)]
pub struct RequestSpan {
    monitor: Arc<Monitor>,
    span: Span,
    received: u64,
    is_over: bool,
}

impl RequestSpan {
    /// Runs a part of the request inside its span.
    pub fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        self.span.in_scope(run)
    }

    /// Counts bytes of the response's body.
    pub fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        add(&self.monitor.bytes_received, bytes as u64);
    }

    /// Notes the end of the request.
    pub fn settled(&mut self, completion: &Completion) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        add(&self.monitor.bytes_sent, completion.sent());
        let fault = completion.fault();
        add(&self.monitor.broken_requests, u64::from(fault.is_some()));
        if self.span.is_disabled() {
            return;
        }
        if let Some(status) = completion.status() {
            self.span.record("status", status.as_u16());
        }
        self.span.record("sent", completion.sent());
        self.span.record("received", self.received);
        if let Some(fault) = fault {
            self.span.record("fault", field::display(fault.as_str()));
        }
        self.span.in_scope(|| debug!(target: TARGET, "settled"));
    }
}

impl Drop for RequestSpan {
    /// Nobody waited for the end of the request.
    fn drop(&mut self) {
        if !self.is_over {
            self.span.record("received", self.received);
            self.span.record("fault", field::display("abandoned"));
        }
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
