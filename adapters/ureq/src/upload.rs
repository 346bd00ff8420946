//! The upload of content: from sources that can be read from any position, or from another registry.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use oci_proto::{Completion, Error, Fault, FaultKind, Question, Source};
use oci_proto_common::{Pairs, PayloadSource, ProgressHook, Sent, SentCounter, TreeSource, answer_from};

use crate::call::Call;
use crate::driver::Shared;
use crate::exchange::Job;
use crate::link::Link;
use crate::state::Message;
use crate::threads::{Threads, with_threads};

/// Sends content: from a tree, or from the downloads of the same operation.
pub(crate) fn send(
    call: Call,
    tree: Option<&dyn TreeSource>,
    progress: &ProgressHook,
) -> Result<Sent, Error> {
    with_threads(call, |call, threads| drive(call, threads, tree, progress))
}

fn drive<'env>(
    call: &Call,
    threads: &Threads<'_, 'env>,
    tree: Option<&'env dyn TreeSource>,
    progress: &'env ProgressHook,
) -> Result<Sent, Error> {
    let mut sent = Sent::default();
    let mut pipes = Pipes::default();
    loop {
        match call.message() {
            Message::Exchange(job) => match (job.exchange.source().cloned(), job.exchange.sink(), tree) {
                (Some(source), _, Some(tree)) => {
                    threads.run(job, (), move |shared, job, ()| match PayloadSource::open(tree, &source) {
                        Ok(reader) => send_from(shared, job, &source, reader, progress),
                        Err(error) => job.refuse(Fault::new(FaultKind::Storage, error)),
                    });
                }
                (Some(source), _, None) => {
                    let pipe = pipes.upload(&source.digest, job.id());
                    let pipe = PipeReader::new(pipe, &source, Arc::clone(&job.link));
                    // The session learns how the upload ended before its pipe closes, which fails the download:
                    // otherwise it might take that failure for the cause.
                    threads.run(job, pipe, move |shared, job, pipe| {
                        send_from(shared, job, &source, pipe, progress)
                    });
                }
                (None, Some(sink), None) => {
                    let is_in_flight = |upload| call.shared().lock().is_in_flight(upload);
                    let pipe = pipes.download(&sink.digest, is_in_flight, || sync_channel(PIPE));
                    threads.run(job, pipe, |shared, job, pipe| {
                        job.write(&shared.transport, shared.now(), |_, bytes| {
                            let over = |_| Fault::new(FaultKind::Reset, "the upload of the blob has ended");
                            pipe.send(bytes.to_vec()).map_err(over)
                        })
                    });
                }
                (None, ..) => call.ignore(Message::Exchange(job)),
            },
            Message::Ask(query, question @ (Question::Document { .. } | Question::Referrers { .. })) => {
                match tree {
                    Some(tree) => call.answer(query, answer_from(tree, &question)),
                    None => call.decline(query),
                }
            }
            Message::Event(event) => {
                if let Some(ended) = sent.take(event, progress) {
                    return ended.map(|()| sent);
                }
            }
            message @ Message::Ask(..) => call.ignore(message),
        }
    }
}

/// Runs an exchange whose payload comes from a reader.
fn send_from(
    shared: &Shared,
    job: Job,
    source: &Source,
    reader: impl Read,
    progress: &ProgressHook,
) -> Completion {
    let mut counted = Counted { reader, sent: SentCounter::new(source, progress.clone()) };
    job.run(&shared.transport, shared.now(), Some(&mut counted))
}

/// A source whose bytes are sent as they are read.
struct Counted<R> {
    reader: R,
    sent: SentCounter,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.sent.add(read);
        Ok(read)
    }
}

/// The number of chunks in a pipe.
const PIPE: usize = 2;

/// The pipes of a copy, whose ends are held by threads.
type Pipes = Pairs<SyncSender<Vec<u8>>, Receiver<Vec<u8>>>;

/// Reads the bytes of a download.
struct PipeReader {
    /// `None` if the session has sent no download for the upload.
    pipe: Option<Receiver<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
    left: u64,
    link: Arc<Link>,
}

impl PipeReader {
    /// Reads the payload of an upload, until its link is abandoned.
    fn new(pipe: Option<Receiver<Vec<u8>>>, source: &Source, link: Arc<Link>) -> Self {
        let range = source.read_range();
        let left = range.end.saturating_sub(range.start);
        Self { pipe, chunk: Vec::new(), at: 0, left, link }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// The time between looks at the link.
        const LOOK: Duration = Duration::from_millis(50);
        let Some(pipe) = self.pipe.as_ref().filter(|_| self.left > 0) else { return Ok(0) };
        while self.at == self.chunk.len() {
            match pipe.recv_timeout(LOOK) {
                Ok(chunk) => (self.chunk, self.at) = (chunk, 0),
                Err(RecvTimeoutError::Timeout) if self.link.is_wanted() => {}
                Err(_) => return Err(io::Error::other("the download of the blob was stopped")),
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}
