//! The upload of content: from sources that can be read from any position, or from another registry.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::Read as _;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use oci_proto::{Answer, Error, Fault, FaultKind, Question, Source};
use oci_proto_common::{Pairs, PayloadSource, ProgressHook, Sent, SentCounter, TreeSource, answer_from};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet, spawn_blocking, yield_now};

use crate::call::Call;
use crate::driver::CompletionGuard;
use crate::mailbox::Message;
use crate::transfer::{Progress, Transfer};

/// Sends content: from a tree, or from the downloads of the same operation.
pub(crate) async fn send(
    call: Call,
    tree: Option<Arc<dyn TreeSource>>,
    progress: ProgressHook,
) -> Result<Sent, Error> {
    let mut tasks = JoinSet::new();
    let mut pipes = Pairs::<mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>>::default();
    let mut running = BTreeMap::new();
    // If this future is dropped, the operation is cancelled before its requests are, and so repeats none.
    let mut call = call;
    let mut sent = Sent::default();
    loop {
        match call.message_beside(&mut tasks).await {
            Message::Exchange(transfer) => {
                let id = transfer.id();
                let guard = call.shared().guard(id);
                let (source, sink) = (transfer.source().cloned(), transfer.sink().cloned());
                let task = match (source, sink, &tree) {
                    (Some(source), _, Some(tree)) => {
                        let reader = Feed::Tree(Reader::start(tree.clone(), source.clone()));
                        tasks.spawn(run(transfer, source, reader, progress.clone(), guard))
                    }
                    (Some(source), _, None) => {
                        let reader = Feed::Pipe(PipeReader::new(pipes.upload(&source.digest, id), &source));
                        tasks.spawn(run(transfer, source, reader, progress.clone(), guard))
                    }
                    (None, Some(sink), None) => {
                        // Without the lock while ends of other pipes are dropped, since that wakes tasks.
                        let is_in_flight = |upload| call.shared().lock().is_in_flight(upload);
                        let pipe = pipes.download(&sink.digest, is_in_flight, || mpsc::channel(PIPE));
                        tasks.spawn(fill(transfer, pipe, guard))
                    }
                    (None, ..) => {
                        call.ignore(Message::Exchange(transfer));
                        continue;
                    }
                };
                running.retain(|_, task: &mut AbortHandle| !task.is_finished());
                running.insert(id, task);
            }
            Message::Abort(id) => {
                if let Some(task) = running.remove(&id) {
                    task.abort();
                }
            }
            Message::Ask(query, question @ (Question::Document { .. } | Question::Referrers { .. })) => {
                match &tree {
                    Some(tree) => {
                        let answer = answer(tree, &question).await;
                        call.answer(query, answer);
                    }
                    None => call.decline(query),
                }
            }
            Message::Event(event) => {
                if let Some(ended) = sent.take(event, &progress) {
                    return ended.map(|()| sent);
                }
            }
            message @ Message::Ask(..) => call.ignore(message),
        }
    }
}

/// Answers a question about a tree on a blocking thread. If the runtime shuts down before, it is answered on the one
/// that polls the future next.
async fn answer(tree: &Arc<dyn TreeSource>, question: &Question) -> Answer {
    for _ in 0..2 {
        let (tree, question) = (tree.clone(), question.clone());
        match spawn_blocking(move || answer_from(&*tree, &question)).await {
            Ok(answer) => return answer,
            Err(ended) => {
                if let Ok(panic) = ended.try_into_panic() {
                    resume_unwind(panic);
                }
            }
        }
        yield_now().await;
    }
    let why = "the runtime that polls the push has shut down";
    Answer::Failed(Fault::new(FaultKind::Unsupported, why))
}

/// Runs an exchange whose body is the source of another one.
async fn fill(mut transfer: Box<Transfer>, pipe: mpsc::Sender<Bytes>, guard: CompletionGuard) {
    loop {
        match poll_fn(|cx| transfer.poll(cx)).await {
            Progress::Chunk(bytes) => {
                // The core has counted the bytes, so they must be in the pipe before the exchange ends.
                if pipe.send(bytes).await.is_err() {
                    transfer.fail(Fault::new(FaultKind::Reset, "the upload of the blob has ended"));
                    break;
                }
            }
            Progress::NeedsData => transfer.fail_without_source(),
            Progress::Ended => break,
        }
    }
    guard.settle(transfer.settle());
}

/// The number of chunks in a pipe. Each has at most [`CHUNK`](crate::transfer) bytes.
const PIPE: usize = 2;

/// Reads the bytes of a download.
struct PipeReader {
    /// `None` if the session has sent no download for the upload.
    pipe: Option<mpsc::Receiver<Bytes>>,
    left: u64,
}

impl PipeReader {
    fn new(pipe: Option<mpsc::Receiver<Bytes>>, source: &Source) -> Self {
        let range = source.read_range();
        Self { pipe, left: range.end.saturating_sub(range.start) }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(pipe) = self.pipe.as_mut().filter(|_| self.left > 0) else {
            return Poll::Ready(Some(Ok(Bytes::new())));
        };
        Poll::Ready(ready!(pipe.poll_recv(cx)).map(|chunk| {
            self.left = self.left.saturating_sub(chunk.len() as u64);
            Ok(chunk)
        }))
    }
}

/// The bytes of a payload.
enum Feed {
    Tree(Reader),
    Pipe(PipeReader),
}

impl Feed {
    /// Returns the next bytes, none at the end, or `None` if there is nobody left who could supply them.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::Tree(reader) => reader.poll_next(cx),
            Self::Pipe(reader) => reader.poll_next(cx),
        }
    }
}

/// Runs an exchange whose payload comes from a source.
async fn run(
    mut transfer: Box<Transfer>,
    source: Source,
    mut reader: Feed,
    progress: ProgressHook,
    guard: CompletionGuard,
) {
    let mut sent = SentCounter::new(&source, progress);
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
    if ended {
        guard.settle(transfer.settle());
    }
    // Reports the exchange as lost, unless it has ended.
    drop(guard);
    // The session learns how the upload ended before its pipe closes, which fails the download: otherwise it might take
    // that failure for the cause.
    drop(reader);
}

/// The number of bytes that are read, hashed and sent at a time. Switching to another thread costs as much as reading a
/// part of this.
const BATCH: u64 = 256 << 10;

/// Reads a source on blocking threads, one batch ahead of what is sent.
///
/// A batch is read only while nothing waits: no thread is occupied by a slow connection.
struct Reader {
    /// The last batches, whose memory is used again once the transport has released it. New memory would have to be
    /// zeroed for each batch.
    last: [Bytes; 2],
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
            read(opened.map_err(|error| Fault::new(FaultKind::Storage, error))?, Bytes::new())
        });
        Self { last: [Bytes::new(), Bytes::new()], next: Next::Reading(first) }
    }

    /// Returns the next bytes, none at the end, or `None` if the runtime shuts down.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
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
        Poll::Ready(Some(match read {
            Ok((bytes, rest)) => {
                let [former, last] = mem::take(&mut self.last);
                self.last = [last, bytes.clone()];
                self.next = rest.map_or(Next::End, |rest| {
                    Next::Reading(spawn_blocking(move || self::read(rest, former)))
                });
                Ok(bytes)
            }
            Err(fault) => {
                self.next = Next::Failed(fault.clone());
                Err(fault)
            }
        }))
    }
}

/// Reads the next batch, into the memory of a former one if nothing else holds it.
fn read(mut source: PayloadSource, former: Bytes) -> Result<Batch, Fault> {
    let wanted = usize::try_from(source.left().min(BATCH)).unwrap_or(usize::MAX);
    let mut bytes = former.try_into_mut().unwrap_or_default();
    bytes.resize(wanted, 0);
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
    Ok((bytes.freeze(), rest))
}
