//! A blob on its way: into a writer, out of a reader, or whole.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use bytes::{Buf, Bytes};
use oci_proto::{Error, Event, Fault, FaultKind};

use crate::call::{Call, Later};
use crate::exchange::Open;
use crate::state::Step;

/// How much is read, and hashed, at a time: what a processor has close at hand.
const CHUNK: usize = 32 << 10;
/// The same where a blob is kept in memory: such blobs are small.
const SMALL_CHUNK: usize = 8 << 10;

/// A blob as it arrives; made by [`Client::blob`](crate::Client::blob).
///
/// The request is sent with the first read. Bytes come before they are verified as a whole; **the end of
/// file comes only after size and digest were found right**. A reader that stops short of the end of file
/// knows nothing of what it read. Where the blob is wrong, or cannot be had, reading fails with an
/// [`io::Error`] whose inner error is an [`oci_proto::Error`], and fails so ever after.
///
/// The response is read by the calls of `read`, so that a reader that has begun and rests holds one of the
/// requests that may be in flight. Dropping it cancels the download.
#[must_use = "a blob is fetched by reading it"]
pub struct BlobReader {
    stage: Stage,
}

enum Stage {
    /// `None` once it was taken.
    Fresh(Option<Later>),
    Running(Box<Download>),
    Verified,
    Failed(Error),
}

impl BlobReader {
    pub(crate) fn new(start: Later) -> Self {
        Self { stage: Stage::Fresh(Some(start)) }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.stage {
                Stage::Fresh(start) => match start.take() {
                    Some(start) => self.stage = Stage::Running(Box::new(Download::new(start()))),
                    None => return Ok(0),
                },
                Stage::Running(download) => match download.next(buffer) {
                    Ok(Piece::Bytes(read)) => return Ok(read),
                    Ok(Piece::Flush) => download.settle(),
                    Ok(Piece::Done) => self.stage = Stage::Verified,
                    Err(error) => self.stage = Stage::Failed(error),
                },
                Stage::Verified => return Ok(0),
                Stage::Failed(error) => return Err(io::Error::other(error.clone())),
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
            Stage::Failed(_) => "failed",
        };
        f.debug_struct("BlobReader").field("stage", &stage).finish_non_exhaustive()
    }
}

/// Writes a blob into `writer`; the number of bytes written.
pub(crate) fn write(call: Call, mut writer: impl Write) -> Result<u64, Error> {
    let mut download = Download::new(call);
    let mut buffer = vec![0; CHUNK];
    let mut written = 0;
    loop {
        let outcome = match download.next(&mut buffer)? {
            Piece::Bytes(read) => {
                written += read as u64;
                writer.write_all(&buffer[..read])
            }
            // Before the last word on the blob, so that a failure is still part of it.
            Piece::Flush => writer.flush().inspect(|()| download.settle()),
            Piece::Done => return Ok(written),
        };
        if let Err(error) = outcome {
            download.refuse(Fault::new(FaultKind::Sink, error));
        }
    }
}

/// Collects a blob of at most `limit` bytes; `size` is its size, where known.
pub(crate) fn collect(call: Call, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
    let mut download = Download::new(call);
    let too_large = || Fault::new(FaultKind::Sink, format_args!("the blob has more than {limit} bytes"));
    if size.is_some_and(|size| size > limit) {
        download.refuse(too_large());
    }
    let mut buffer = [0; SMALL_CHUNK];
    let mut bytes = Vec::new();
    loop {
        match download.next(&mut buffer)? {
            Piece::Bytes(read) if (bytes.len() + read) as u64 > limit => download.refuse(too_large()),
            Piece::Bytes(read) => bytes.extend_from_slice(&buffer[..read]),
            Piece::Flush => download.settle(),
            Piece::Done => return Ok(bytes.into()),
        }
    }
}

/// A blob's operation, and the response that its call reads.
struct Download {
    call: Call,
    open: Option<Open>,
    /// Content that needed no request, and was not handed out yet.
    data: Option<Bytes>,
    /// Why nothing more is taken.
    refusal: Option<Fault>,
}

/// What comes of a download.
enum Piece {
    /// The blob's next bytes, this many, at the front of the buffer.
    Bytes(usize),
    /// A response is at its end: the bytes so far must be safe before [`Download::settle`].
    Flush,
    /// The blob is complete, and right.
    Done,
}

impl Download {
    fn new(call: Call) -> Self {
        Self { call, open: None, data: None, refusal: None }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Piece, Error> {
        loop {
            if let Some(open) = &mut self.open {
                match open.read(&self.call.shared().transport, buffer) {
                    Some(0) => continue,
                    Some(read) => return Ok(Piece::Bytes(read)),
                    None => return Ok(Piece::Flush),
                }
            }
            if let Some(data) = &mut self.data {
                let length = data.len().min(buffer.len());
                if length == 0 {
                    self.data = None;
                    return Ok(Piece::Flush);
                }
                data.copy_to_slice(&mut buffer[..length]);
                return Ok(Piece::Bytes(length));
            }
            match self.call.step() {
                Step::Event(Event::Done) => {
                    return self.refusal.take().map_or(Ok(Piece::Done), |fault| Err(fault.into()));
                }
                Step::Event(Event::Failed(error)) => return Err(error),
                Step::Event(Event::Data(data)) => self.data = Some(data),
                Step::Event(_) => {}
                Step::Carry(job) => {
                    let opened = match &self.refusal {
                        Some(fault) => ControlFlow::Break(job.refuse(fault.clone())),
                        None => job.open(&self.call.shared().transport, self.call.shared().now()),
                    };
                    match opened {
                        ControlFlow::Continue(open) => self.open = Some(open),
                        ControlFlow::Break(completion) => self.call.complete(completion),
                    }
                }
            }
        }
    }

    /// The bytes so far are where they belong.
    fn settle(&mut self) {
        if let Some(open) = self.open.take() {
            self.call.complete(open.end());
        }
    }

    /// No more is taken, now or later.
    fn refuse(&mut self, fault: Fault) {
        if let Some(open) = self.open.take() {
            self.call.complete(open.refuse(fault.clone()));
        }
        self.refusal = Some(fault);
    }
}
