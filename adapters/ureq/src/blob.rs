//! The download of a blob: to a writer, through a reader, or into memory.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::ops::ControlFlow;

use bytes::{Buf, Bytes};
use oci_proto::{Answer, Error, Event, Fault, FaultKind, QueryId, Question, StoreContent};

use crate::call::{Call, Later};
use crate::exchange::Open;
use crate::state::Message;

/// The size of the read buffer in bytes. It fits into the cache of a processor.
const CHUNK: usize = 32 << 10;
/// The size of the read buffer for blobs that are kept in memory, which are small.
const SMALL_CHUNK: usize = 8 << 10;

/// A reader of a blob, created by [`Client::blob`](crate::Client::blob).
///
/// The first read sends the request. Bytes are returned before the whole blob is verified. **The end of file
/// is returned only after the size and the digest were verified**, so bytes are trustworthy only after the
/// end of file. If the blob is invalid or cannot be fetched, this and every later read fails with an
/// [`io::Error`] whose inner error is an [`oci_proto::Error`].
///
/// Only calls of `read` read the response, so a started reader that is not read occupies one of the requests
/// that may be in flight. Dropping it cancels the download.
#[must_use = "a blob is fetched by reading it"]
pub struct BlobReader {
    stage: Stage,
}

enum Stage {
    Fresh(Later),
    Running(Box<Download>),
    Verified,
    Failed(Error),
    /// Set during a read. It stays if the read panics, for example in a hook.
    Reading,
}

impl BlobReader {
    pub(crate) fn new(start: Later) -> Self {
        Self { stage: Stage::Fresh(start) }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let mut read = None;
            self.stage = match mem::replace(&mut self.stage, Stage::Reading) {
                Stage::Fresh(start) => Stage::Running(Box::new(Download::new(start()))),
                Stage::Running(mut download) => match download.next(buffer) {
                    Ok(Item::Bytes(bytes)) => {
                        read = Some(Ok(bytes));
                        Stage::Running(download)
                    }
                    Ok(Item::Flush) => {
                        download.settle();
                        Stage::Running(download)
                    }
                    Ok(Item::Done) => Stage::Verified,
                    Err(error) => Stage::Failed(error),
                },
                Stage::Verified => {
                    read = Some(Ok(0));
                    Stage::Verified
                }
                Stage::Failed(error) => {
                    read = Some(Err(io::Error::other(error.clone())));
                    Stage::Failed(error)
                }
                Stage::Reading => {
                    Stage::Failed(Fault::new(FaultKind::Unsupported, "an earlier read panicked").into())
                }
            };
            if let Some(read) = read {
                return read;
            }
        }
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Fresh(..) => "fresh",
            Stage::Running(_) => "running",
            Stage::Verified => "verified",
            Stage::Failed(_) | Stage::Reading => "failed",
        };
        f.debug_struct("BlobReader").field("stage", &stage).finish_non_exhaustive()
    }
}

/// Writes a blob to `writer`. Returns the number of bytes written.
pub(crate) fn write(call: Call, mut writer: impl Write) -> Result<u64, Error> {
    let mut download = Download::new(call);
    let mut buffer = vec![0; CHUNK];
    let mut written = 0;
    loop {
        let outcome = match download.next(&mut buffer)? {
            Item::Bytes(read) => {
                written += read as u64;
                writer.write_all(&buffer[..read])
            }
            // The exchange is completed only after the flush, so that a failure to flush fails the operation.
            Item::Flush => writer.flush().inspect(|()| download.settle()),
            Item::Done => return Ok(written),
        };
        if let Err(error) = outcome {
            download.refuse(Fault::new(FaultKind::Storage, error));
        }
    }
}

/// Collects a blob of at most `limit` bytes. `size` is its size, if known.
pub(crate) fn collect(call: Call, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
    let mut download = Download::new(call);
    let too_large = || Fault::new(FaultKind::Storage, format_args!("the blob has more than {limit} bytes"));
    if size.is_some_and(|size| size > limit) {
        download.refuse(too_large());
    }
    let mut buffer = [0; SMALL_CHUNK];
    let mut bytes = Vec::new();
    loop {
        match download.next(&mut buffer)? {
            Item::Bytes(read) if (bytes.len() + read) as u64 > limit => download.refuse(too_large()),
            Item::Bytes(read) => bytes.extend_from_slice(&buffer[..read]),
            Item::Flush => download.settle(),
            Item::Done => return Ok(bytes.into()),
        }
    }
}

/// The operation of a blob, and the response that its call reads.
struct Download {
    call: Call,
    open: Option<Open>,
    /// The rest of embedded content that was not returned yet, and the question to store it.
    data: Option<(QueryId, Bytes)>,
    /// The fault that ends the download.
    failure: Option<Fault>,
    /// The number of bytes returned from responses.
    delivered: u64,
}

/// An item of a download.
enum Item {
    /// The number of the blob's next bytes, which are at the front of the buffer.
    Bytes(usize),
    /// A response has ended. The bytes so far must be flushed before [`Download::settle`].
    Flush,
    /// The blob is complete and verified.
    Done,
}

impl Download {
    fn new(call: Call) -> Self {
        Self { call, open: None, data: None, failure: None, delivered: 0 }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Item, Error> {
        loop {
            if let Some(open) = &mut self.open {
                let Some(read) = open.read(&self.call.shared().transport, buffer) else {
                    return Ok(Item::Flush);
                };
                if read == 0 {
                    continue;
                }
                self.delivered += read as u64;
                return Ok(Item::Bytes(read));
            }
            if let Some((_, data)) = &mut self.data {
                let length = data.len().min(buffer.len());
                if length == 0 {
                    return Ok(Item::Flush);
                }
                data.copy_to_slice(&mut buffer[..length]);
                return Ok(Item::Bytes(length));
            }
            match self.call.message() {
                Message::Event(Event::Done) => {
                    return self.failure.take().map_or(Ok(Item::Done), |fault| Err(fault.into()));
                }
                Message::Event(Event::Failed(error)) => return Err(error),
                Message::Event(_) => {}
                Message::Ask(query, question) => match (question, &self.failure) {
                    (_, Some(fault)) => self.call.answer(query, Answer::Failed(fault.clone())),
                    (Question::Store { content: StoreContent::Bytes(data), .. }, None) => {
                        self.data = Some((query, data));
                    }
                    _ => {
                        let fault = Fault::new(FaultKind::Unsupported, "this call expects a blob");
                        self.call.answer(query, Answer::Failed(fault));
                    }
                },
                Message::Exchange(job) => {
                    // Returned bytes cannot be withdrawn, and only the repeated ones would be verified.
                    let offset = job.exchange.sink().map_or(0, |sink| sink.offset);
                    if offset != self.delivered && self.failure.is_none() {
                        let delivered = self.delivered;
                        let why = format!(
                            "the blob starts over at byte {offset}, after {delivered} bytes were written"
                        );
                        self.failure = Some(Fault::new(FaultKind::Storage, why));
                    }
                    let opened = match &self.failure {
                        Some(fault) => ControlFlow::Break(job.refuse(fault.clone())),
                        None => job.open(&self.call.shared().transport, self.call.shared().now(), None),
                    };
                    match opened {
                        ControlFlow::Continue(open) => self.open = Some(open),
                        ControlFlow::Break(completion) => self.call.complete(completion),
                    }
                }
            }
        }
    }

    /// Confirms that the bytes so far are flushed.
    fn settle(&mut self) {
        if let Some(open) = self.open.take() {
            self.call.complete(open.end());
        }
        if let Some((query, _)) = self.data.take() {
            self.call.answer(query, Answer::Stored);
        }
    }

    /// Fails the download with this fault.
    fn refuse(&mut self, fault: Fault) {
        if let Some(open) = self.open.take() {
            self.call.complete(open.refuse(fault.clone()));
        }
        if let Some((query, _)) = self.data.take() {
            self.call.answer(query, Answer::Failed(fault.clone()));
        }
        self.failure = Some(fault);
    }
}
