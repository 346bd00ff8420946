//! One exchange, carried from its request to its completion.

use std::error::Error;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use oci_proto::{Awaiting, Completion, Exchange, Fault, FaultKind, Payload, Receiving};
use tokio::time::{Instant, Sleep, sleep};

use crate::driver::Shared;
use crate::fault::fault;
use crate::{Body, BoxError, Transport};

/// Names the kind of a transport's error, where it can.
pub(crate) type Classify = dyn Fn(&(dyn Error + 'static)) -> Option<FaultKind> + Send + Sync;

/// How exchanges are carried, and how many were.
pub(crate) struct Rules {
    /// How long nothing may arrive.
    pub(crate) idle: Duration,
    pub(crate) classify: Option<Box<Classify>>,
    pub(crate) requests: AtomicU64,
}

impl Rules {
    fn fault(&self, error: &(dyn Error + 'static)) -> Fault {
        fault(error, self.classify.as_deref())
    }
}

/// An exchange on its way.
pub(crate) struct Carrying<T: Transport> {
    stage: Stage<T>,
    patience: IdleTimer,
    rules: Arc<Rules>,
}

type Responding<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

enum Stage<T: Transport> {
    Asking(Responding<T::Body>, Awaiting),
    Reading(Pin<Box<T::Body>>, Receiving),
    /// The body is at its end, or no more of it is wanted.
    Read(Receiving),
    Failed(Completion),
    Over,
}

/// What comes of polling an exchange.
pub(crate) enum Progress {
    /// These bytes belong in the sink.
    Chunk(Bytes),
    /// Nothing more comes: settle it, or fail it.
    Ended,
}

impl<T: Transport> Carrying<T> {
    /// Sends nothing before the first poll.
    pub(crate) fn new(exchange: Exchange, transport: T, rules: Arc<Rules>) -> Self {
        let (request, awaiting) = exchange.split();
        let counter = rules.clone();
        let response = async move {
            counter.requests.fetch_add(1, Ordering::Relaxed);
            transport.send(with_body(request)).await
        };
        Self {
            stage: Stage::Asking(Box::pin(response), awaiting),
            patience: IdleTimer::new(rules.idle),
            rules,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        loop {
            self.stage = match mem::replace(&mut self.stage, Stage::Over) {
                Stage::Asking(mut response, awaiting) => match response.as_mut().poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        self.patience.renew();
                        let (head, body) = response.into_parts();
                        let receiving = awaiting.head(&head);
                        if receiving.wants_body() {
                            Stage::Reading(Box::pin(body), receiving)
                        } else {
                            Stage::Read(receiving)
                        }
                    }
                    Poll::Ready(Err(error)) => Stage::Failed(awaiting.fail(self.rules.fault(&*error))),
                    Poll::Pending if self.patience.is_over(cx) => {
                        Stage::Failed(awaiting.fail(self.patience.fault()))
                    }
                    Poll::Pending => {
                        self.stage = Stage::Asking(response, awaiting);
                        return Poll::Pending;
                    }
                },
                // Asked first, since finding the end by polling may mean waiting for the connection's task.
                Stage::Reading(body, receiving) if body.is_end_stream() => Stage::Read(receiving),
                Stage::Reading(mut body, mut receiving) => match body.as_mut().poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        self.patience.renew();
                        // Trailers say nothing that the protocol reads.
                        let chunk = frame.into_data().unwrap_or_default();
                        match receiving.push(&chunk).map(|deliver| chunk.slice_ref(deliver)) {
                            Ok(chunk) if chunk.is_empty() => Stage::Reading(body, receiving),
                            Ok(chunk) => {
                                self.stage = Stage::Reading(body, receiving);
                                return Poll::Ready(Progress::Chunk(chunk));
                            }
                            Err(_) => Stage::Read(receiving),
                        }
                    }
                    Poll::Ready(None) => Stage::Read(receiving),
                    Poll::Ready(Some(Err(error))) => {
                        Stage::Failed(receiving.fail(self.rules.fault(&*error.into())))
                    }
                    Poll::Pending if self.patience.is_over(cx) => {
                        Stage::Failed(receiving.fail(self.patience.fault()))
                    }
                    Poll::Pending => {
                        self.stage = Stage::Reading(body, receiving);
                        return Poll::Pending;
                    }
                },
                ended @ (Stage::Read(_) | Stage::Failed(_) | Stage::Over) => {
                    self.stage = ended;
                    return Poll::Ready(Progress::Ended);
                }
            }
        }
    }

    /// Where the bytes belong that came last, as far as they have come.
    #[cfg(feature = "pull")]
    pub(crate) fn sink(&self) -> Option<oci_proto::Sink> {
        match &self.stage {
            Stage::Reading(_, receiving) => receiving.sink(),
            _ => None,
        }
    }

    /// Takes the completion of an exchange that has ended.
    pub(crate) fn settle(&mut self) -> Option<Completion> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Read(receiving) => Some(receiving.finish()),
            Stage::Failed(completion) => Some(completion),
            unfinished => {
                self.stage = unfinished;
                None
            }
        }
    }

    /// Ends it with a fault, unless it failed already or its completion was taken.
    pub(crate) fn fail(&mut self, fault: Fault) -> Option<Completion> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asking(_, awaiting) => Some(awaiting.fail(fault)),
            Stage::Reading(_, receiving) | Stage::Read(receiving) => Some(receiving.fail(fault)),
            Stage::Failed(completion) => Some(completion),
            Stage::Over => None,
        }
    }
}

fn with_body(request: Request<Payload>) -> Request<Body> {
    request.map(|payload| match payload {
        Payload::Bytes(bytes) => Body::new(bytes),
        _ => Body::default(),
    })
}

/// Measures how long nothing has arrived.
struct IdleTimer {
    limit: Duration,
    /// Made at the first wait, so that an exchange can be made without a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleTimer {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    /// Something arrived.
    fn renew(&mut self) {
        self.waiting = false;
    }

    /// Nothing is there now: waits, from the first such moment on.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !mem::replace(&mut self.waiting, true)
            && let Some(deadline) = Instant::now().checked_add(self.limit)
        {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn fault(&self) -> Fault {
        Fault::new(FaultKind::Timeout, format_args!("nothing moved for {:?}", self.limit))
    }
}

/// Carries an exchange that no call has to attend to.
pub(crate) struct Task<T: Transport> {
    shared: Weak<Shared<T>>,
    carrying: Box<Carrying<T>>,
}

impl<T: Transport> Task<T> {
    pub(crate) fn new(shared: &Arc<Shared<T>>, carrying: Box<Carrying<T>>) -> Self {
        Self { shared: Arc::downgrade(shared), carrying }
    }
}

impl<T: Transport> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.carrying.poll(cx) {
                Poll::Ready(Progress::Ended) => {
                    if let (Some(completion), Some(shared)) = (self.carrying.settle(), self.shared.upgrade())
                    {
                        shared.complete(completion);
                    }
                    return Poll::Ready(());
                }
                // Without a sink, nothing belongs in it.
                Poll::Ready(Progress::Chunk(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T: Transport> Drop for Task<T> {
    /// A task may be dropped unfinished: aborted, when nobody cares any more, or with its runtime, when the
    /// session must learn that the exchange is lost.
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let fault = Fault::new(FaultKind::Reset, "the runtime that carried the request has shut down");
            if let Some(completion) = self.carrying.fail(fault) {
                shared.complete(completion);
            }
        }
    }
}
