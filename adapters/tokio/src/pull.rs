//! Pulls whole trees into layouts on disk.

use std::convert::Infallible;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::layout::RefName;
use oci_proto::{Descriptor, Event, Fault, FaultKind, Sink};
use oci_proto_layout::{LayoutDestination, PullError};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::Instant;

use crate::call::Call;
use crate::driver::CompletionGuard;
use crate::mailbox::Message;
use crate::transfer::{Progress, Transfer};

/// Writes the content of a pull into a layout. Returns the root's descriptor.
///
/// Returns, or panics, only once the layout is unlocked.
pub(crate) async fn pull(
    call: Call,
    destination: LayoutDestination,
    name: Option<RefName>,
) -> Result<Descriptor, PullError> {
    let (unlocks, unlocked) = oneshot::channel();
    let layout = Arc::new(Layout { destination, _unlocks: unlocks });
    let ended = {
        let mut driving = pin!(drive(call, layout, name));
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| driving.as_mut().poll(cx)));
            polled.map_or_else(|panic| Poll::Ready(Err(panic)), |polled| polled.map(Ok))
        })
        .await
    };
    // Writes may be in progress.
    let _ = unlocked.await;
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// The layout of a pull. The pull owns it, and so does each read and write in progress.
struct Layout {
    destination: LayoutDestination,
    /// Dropped after the destination.
    _unlocks: oneshot::Sender<Infallible>,
}

async fn drive(mut call: Call, layout: Arc<Layout>, name: Option<RefName>) -> Result<Descriptor, PullError> {
    // The tasks end when this future is dropped.
    let mut tasks = JoinSet::new();
    let mut root = None;
    loop {
        match call.message_beside(&mut tasks).await {
            Message::Exchange(transfer) => {
                let guard = call.shared().guard(transfer.id());
                tasks.spawn(run(transfer, Arc::downgrade(&layout), Arc::new(guard)));
            }
            Message::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
            Message::Ask(query, question) => {
                let work = move |destination: &LayoutDestination| destination.answer(&question);
                let answer = wherever_polled(&layout, work).await?;
                call.answer(query, answer);
            }
            Message::Event(Event::Skipped(descriptor)) => layout.destination.skipped(&descriptor),
            Message::Event(Event::Referrers(referrers)) => layout.destination.referrers(&referrers),
            Message::Event(Event::Failed(error)) => return Err(layout.destination.failed(error)),
            Message::Event(Event::Done) => {
                let root: Descriptor = root.expect("a session resolves before it is done");
                let descriptor = root.clone();
                let done =
                    move |destination: &LayoutDestination| destination.done(&descriptor, name.as_ref());
                wherever_polled(&layout, done).await??;
                return Ok(root);
            }
            Message::Event(_) | Message::Abort(_) => {}
        }
    }
}

/// The number of bytes that are written at a time. Switching to another thread costs as much as writing a
/// part of this.
const BATCH: usize = 512 << 10;
/// The longest time that bytes wait to be written together with later ones, so that a slow download makes
/// visible progress.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// Runs an exchange whose body goes into the file of its blob.
///
/// Each write holds the guard too. The exchange is therefore reported as lost, and another one may write,
/// only after the last write has ended.
async fn run(mut transfer: Box<Transfer>, layout: Weak<Layout>, guard: Arc<CompletionGuard>) {
    let mut batch = Batch::default();
    let mut written = Instant::now();
    loop {
        let ended = match poll_fn(|cx| transfer.poll(cx)).await {
            Progress::Chunk(bytes) => {
                if let Some(sink) = transfer.sink() {
                    batch.add(sink.clone(), bytes);
                }
                false
            }
            Progress::NeedsData => {
                transfer.fail_without_source();
                true
            }
            Progress::Ended => true,
        };
        if ended || batch.size >= BATCH || written.elapsed() >= MAX_DELAY {
            // The bytes must be in the file before the exchange is completed, also if it failed.
            let (full, held) = (mem::take(&mut batch), guard.clone());
            let append = move |destination: &LayoutDestination| {
                let _held = held;
                full.append_to(destination)
            };
            match blocking(&layout, append).await {
                // The guard reports the exchange as lost.
                None => return,
                Some(Err(fault)) => {
                    transfer.fail(fault);
                    break;
                }
                Some(Ok(())) => {}
            }
            written = Instant::now();
        }
        if ended {
            break;
        }
    }
    guard.settle(transfer.settle());
}

/// Contiguous bytes of a blob that wait to be written.
#[derive(Default)]
struct Batch {
    chunks: Vec<(Sink, Bytes)>,
    size: usize,
}

impl Batch {
    /// Adds bytes, which end at the offset of `sink`.
    fn add(&mut self, sink: Sink, bytes: Bytes) {
        self.size += bytes.len();
        self.chunks.push((sink, bytes));
    }

    fn append_to(self, destination: &LayoutDestination) -> Result<(), Fault> {
        self.chunks.iter().try_for_each(|(sink, bytes)| destination.append(sink, bytes))
    }
}

/// Reads or writes files on a blocking thread, for a future that may move to another runtime: if its runtime
/// shuts down before the work begins, the work begins on the runtime that polls the future next.
async fn wherever_polled<R: Send + 'static>(
    layout: &Arc<Layout>,
    work: impl Fn(&LayoutDestination) -> R + Clone + Send + 'static,
) -> Result<R, PullError> {
    for _ in 0..2 {
        if let Some(result) = blocking(&Arc::downgrade(layout), work.clone()).await {
            return Ok(result);
        }
        yield_now().await;
    }
    let fault = Fault::new(FaultKind::Unsupported, "the runtime that polls the pull has shut down");
    Err(PullError::Registry(fault.into()))
}

/// Reads or writes files on a blocking thread. Returns `None` if the pull ends or the runtime shuts down before
/// the work begins.
async fn blocking<R: Send + 'static>(
    layout: &Weak<Layout>,
    work: impl FnOnce(&LayoutDestination) -> R + Send + 'static,
) -> Option<R> {
    let layout = layout.clone();
    match spawn_blocking(move || layout.upgrade().map(|layout| work(&layout.destination))).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}
