//! The upload of content that can be read from any position.

use std::future::poll_fn;
use std::io::Read as _;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use oci_proto::{Error, Event, Fault, FaultKind, Source, Stored};
use oci_proto_common::{PayloadSource, ProgressHook, SentCounter, TreeSource};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::call::Call;
use crate::driver::CompletionGuard;
use crate::mailbox::Message;
use crate::transfer::{Progress, Transfer};

/// Sends a blob.
pub(crate) async fn upload(
    call: Call,
    tree: Arc<dyn TreeSource>,
    progress: ProgressHook,
) -> Result<Stored, Error> {
    let mut tasks = JoinSet::new();
    // If this future is dropped, the operation is cancelled before its requests are, and so repeats none.
    let mut call = call;
    let mut how = None;
    loop {
        match call.message_beside(&mut tasks).await {
            Message::Exchange(transfer) => match transfer.source().cloned() {
                Some(source) => {
                    let guard = call.shared().guard(transfer.id());
                    tasks.spawn(run(transfer, source, tree.clone(), progress.clone(), guard));
                }
                None => call.ignore(Message::Exchange(transfer)),
            },
            Message::Event(event) => {
                progress.report_event(&event);
                match event {
                    Event::Stored(_, stored) => how = Some(stored),
                    Event::Failed(error) => return Err(error),
                    Event::Done => return Ok(how.expect("a session stores content before it is done")),
                    _ => {}
                }
            }
            message @ Message::Ask(..) => call.ignore(message),
        }
    }
}

/// Runs an exchange whose payload comes from a source.
async fn run(
    mut transfer: Box<Transfer>,
    source: Source,
    tree: Arc<dyn TreeSource>,
    progress: ProgressHook,
    guard: CompletionGuard,
) {
    let mut sent = SentCounter::new(&source, progress);
    let mut reader = Reader::start(tree, source);
    let ended = poll_fn(|cx| {
        loop {
            match ready!(transfer.poll(cx)) {
                // The transfer still watches the connection: a response may come before the content.
                Progress::NeedsData => match ready!(reader.poll_next(cx)) {
                    Some(Ok(chunk)) if chunk.is_empty() => transfer.end(),
                    Some(Ok(chunk)) => {
                        transfer.supply(&chunk);
                        sent.add(chunk.len());
                    }
                    Some(Err(fault)) => transfer.fail(fault),
                    None => return Poll::Ready(false),
                },
                Progress::Chunk(_) => {}
                Progress::Ended => return Poll::Ready(true),
            }
        }
    })
    .await;
    // Otherwise the guard reports the exchange as lost.
    if ended {
        guard.settle(transfer.settle());
    }
}

/// The number of bytes that are read at a time. Switching to another thread costs as much as reading a part of
/// this.
const BATCH: u64 = 256 << 10;
/// The number of bytes that are hashed and sent at a time.
const CHUNK: usize = 64 << 10;

/// Reads a source on blocking threads, one batch ahead of what is sent.
///
/// A batch is read only while nothing waits: no thread is occupied by a slow connection.
struct Reader {
    batch: Bytes,
    next: Next,
}

enum Next {
    Reading(JoinHandle<Result<Batch, Fault>>),
    Failed(Fault),
    End,
}

/// The next bytes of a source, and the source if more follow.
type Batch = (Bytes, Option<PayloadSource>);

impl Reader {
    fn start(tree: Arc<dyn TreeSource>, source: Source) -> Self {
        let first = spawn_blocking(move || {
            // Dropped here, since the user's code may block.
            let tree = tree;
            let opened = PayloadSource::open(&*tree, &source);
            read(opened.map_err(|error| Fault::new(FaultKind::Storage, error))?)
        });
        Self { batch: Bytes::new(), next: Next::Reading(first) }
    }

    /// Returns the next bytes, none at the end, or `None` if the runtime shuts down.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        while self.batch.is_empty() {
            let read = match &mut self.next {
                Next::Reading(reading) => match ready!(std::pin::Pin::new(reading).poll(cx)) {
                    Ok(read) => read,
                    Err(ended) => match ended.try_into_panic() {
                        Ok(panic) => resume_unwind(panic),
                        Err(_) => return Poll::Ready(None),
                    },
                },
                Next::Failed(fault) => return Poll::Ready(Some(Err(fault.clone()))),
                Next::End => return Poll::Ready(Some(Ok(Bytes::new()))),
            };
            self.next = match read {
                Ok((bytes, rest)) => {
                    self.batch = bytes;
                    rest.map_or(Next::End, |rest| Next::Reading(spawn_blocking(move || self::read(rest))))
                }
                Err(fault) => Next::Failed(fault),
            };
        }
        let chunk = self.batch.len().min(CHUNK);
        Poll::Ready(Some(Ok(self.batch.split_to(chunk))))
    }
}

/// Reads the next batch.
fn read(mut source: PayloadSource) -> Result<Batch, Fault> {
    let wanted = usize::try_from(source.left().min(BATCH)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; wanted];
    let mut length = 0;
    while length < wanted {
        match source.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::new(FaultKind::Storage, error)),
        }
    }
    bytes.truncate(length);
    let rest = (length == wanted && source.left() > 0).then_some(source);
    Ok((mem::take(&mut bytes).into(), rest))
}
