//! The upload of content: from sources that can be read from any position, or from another registry.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, Scope};
use std::time::Duration;

use oci_proto::{Completion, Descriptor, Error, Event, Fault, FaultKind, Question, Source, Stored};
use oci_proto_common::{Pairs, PayloadSource, ProgressHook, SentCounter, TreeSource, read_document};

use crate::call::Call;
use crate::driver::Shared;
use crate::exchange::Job;
use crate::link::Link;
use crate::state::{Message, Poller};

/// The end of an operation that sends content.
#[derive(Default)]
pub(crate) struct Sent {
    /// The root that the operation resolved.
    pub(crate) root: Option<Descriptor>,
    /// The content that was stored last, and how.
    pub(crate) last: Option<(Descriptor, Stored)>,
}

/// Sends content: from a tree, or from the downloads of the same operation.
pub(crate) fn send(
    call: Call,
    tree: Option<&dyn TreeSource>,
    progress: &ProgressHook,
) -> Result<Sent, Error> {
    let shared = Arc::clone(call.shared());
    let sending = Sending { shared: &shared, tree, progress };
    // The scope waits for its threads. Once the operation has failed or its call is dropped, its exchanges are
    // aborted: each thread ends at its next read or write.
    thread::scope(|scope| {
        let call = call;
        sending.drive(&call, scope)
    })
}

/// The state that the threads of an operation share.
struct Sending<'a> {
    shared: &'a Arc<Shared>,
    tree: Option<&'a dyn TreeSource>,
    progress: &'a ProgressHook,
}

impl Sending<'_> {
    fn drive<'scope>(&'scope self, call: &Call, scope: &'scope Scope<'scope, '_>) -> Result<Sent, Error> {
        let mut sent = Sent::default();
        let mut pipes = Pipes::default();
        loop {
            match call.message() {
                // The limit on requests in flight bounds the number of threads.
                Message::Exchange(job) => match (job.exchange.source().cloned(), job.exchange.sink()) {
                    (Some(source), _) if self.tree.is_some() => {
                        scope.spawn(move || self.run(*job, |job| self.upload(job, &source)));
                    }
                    (Some(source), _) => {
                        let pipe = pipes.upload(&source.digest, job.id());
                        let mut pipe = PipeReader::new(pipe, &source, Arc::clone(&job.link));
                        // The session learns how the upload ended before its pipe closes, which fails the download:
                        // otherwise it might take that failure for the cause.
                        scope.spawn(move || self.run(*job, |job| self.send_from(job, &source, &mut pipe)));
                    }
                    (None, Some(sink)) => {
                        let state = self.shared.lock();
                        let is_in_flight = |upload| state.is_in_flight(upload);
                        let pipe = pipes.download(&sink.digest, is_in_flight, || sync_channel(PIPE));
                        drop(state);
                        scope.spawn(move || self.run(*job, |job| self.fill(job, &pipe)));
                    }
                    (None, None) => {
                        let fault = Fault::new(FaultKind::Unsupported, "this call has no such content");
                        call.complete(job.refuse(fault));
                    }
                },
                Message::Ask(query, Question::Document { descriptor, .. }) => match self.tree {
                    Some(tree) => call.answer(query, read_document(tree, &descriptor)),
                    None => call.decline(query),
                },
                Message::Ask(query, _) => call.decline(query),
                Message::Event(event) => {
                    self.progress.report_event(&event);
                    match event {
                        Event::Resolved(descriptor) => sent.root = Some(descriptor),
                        Event::Stored(descriptor, stored) => sent.last = Some((descriptor, stored)),
                        Event::Failed(error) => return Err(error),
                        Event::Done => return Ok(sent),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Runs an exchange, and reports its end to the session.
    fn run(&self, job: Job, carry: impl FnOnce(Job) -> Completion) {
        let id = job.id();
        // A source or a hook may panic. The operation must not wait for this exchange then.
        let ended = panic::catch_unwind(AssertUnwindSafe(|| carry(job)));
        let (ended, panic) = match ended {
            Ok(completion) => (Ok(completion), None),
            Err(panic) => (Err(Fault::new(FaultKind::Storage, "reading the source panicked")), Some(panic)),
        };
        let mut state = self.shared.end(id, ended);
        self.shared.drive(&mut state, Poller::Other);
        drop(state);
        if let Some(panic) = panic {
            panic::resume_unwind(panic);
        }
    }

    /// Runs an exchange whose payload comes from the tree.
    fn upload(&self, job: Job, source: &Source) -> Completion {
        let opened = self.tree.map(|tree| PayloadSource::open(tree, source));
        match opened {
            Some(Ok(reader)) => self.send_from(job, source, reader),
            Some(Err(error)) => job.refuse(Fault::new(FaultKind::Storage, error)),
            None => job.refuse(Fault::new(FaultKind::Unsupported, "this call has no such content")),
        }
    }

    /// Runs an exchange whose payload comes from a reader.
    fn send_from(&self, job: Job, source: &Source, reader: impl Read) -> Completion {
        let mut counted = Counted { reader, sent: SentCounter::new(source, self.progress.clone()) };
        job.run(&self.shared.transport, self.shared.now(), Some(&mut counted))
    }

    /// Runs an exchange whose body goes into a pipe.
    fn fill(&self, job: Job, pipe: &SyncSender<Vec<u8>>) -> Completion {
        let transport = &self.shared.transport;
        let mut open = match job.open(transport, self.shared.now(), None) {
            ControlFlow::Continue(open) => open,
            ControlFlow::Break(completion) => return completion,
        };
        let mut buffer = vec![0; CHUNK];
        while let Some(read) = open.read(transport, &mut buffer) {
            // The core has counted the bytes, so they must be in the pipe before the exchange ends.
            if read > 0 && pipe.send(buffer[..read].to_vec()).is_err() {
                return open.refuse(Fault::new(FaultKind::Reset, "the upload of the blob has ended"));
            }
        }
        open.end()
    }
}

/// The size of the chunks in which a blob is read from a registry, in bytes.
const CHUNK: usize = 128 << 10;

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
