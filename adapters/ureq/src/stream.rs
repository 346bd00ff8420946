//! The upload of a stream: from a reader, or through a writer.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem;

use oci_proto::{Descriptor, Error, Fault, FaultKind, QueryId, Question};
use oci_proto_common::{ChunkBuffer, ProgressHook, Sent};

use crate::call::{Call, Later};
use crate::state::Message;

/// A writer of a blob, created by [`Client::blob_writer`](crate::Client::blob_writer).
///
/// The first write begins the upload. Bytes are sent in chunks, of
/// [`Limits::chunk_bytes`](oci_proto::Limits::chunk_bytes) or as much as the registry demands. The writer holds one
/// chunk in memory, and the write after a full one sends it. Flushing does not send a chunk that is not full, since
/// registries refuse small ones.
///
/// **The blob exists only after [`finish`](Self::finish).** If the upload fails, this and every later write fails
/// with an [`io::Error`] whose inner error is an [`oci_proto::Error`]. Dropping the writer before it is finished
/// cancels the upload, also at the registry if the client lives on.
///
/// ```no_run
/// use std::io::Write as _;
///
/// use oci_proto_ureq::{Client, StreamOptions};
///
/// let client = Client::new()?;
/// let mut writer = client.blob_writer(&"registry.example/app".parse()?, StreamOptions::default());
/// for line in 0..1_000_000 {
///     writeln!(writer, "line {line}")?;
/// }
/// let blob = writer.finish()?;
/// println!("{} has {} bytes", blob.digest, blob.size);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a blob exists only after the writer is finished"]
pub struct BlobWriter {
    stage: Stage,
    progress: ProgressHook,
}

enum Stage {
    Fresh(Later),
    Running(Box<Upload>),
    Failed(Error),
    /// Set during a write. It stays if the write panics, for example in a hook.
    Writing,
}

impl BlobWriter {
    pub(crate) fn new(start: Later, progress: ProgressHook) -> Self {
        Self { stage: Stage::Fresh(start), progress }
    }

    /// Ends the blob, and returns its descriptor once the registry has stored it. The media type is
    /// `application/octet-stream`.
    ///
    /// # Errors
    /// Returns an error if the registry refuses the blob, violates the protocol, or cannot be reached.
    pub fn finish(mut self) -> Result<Descriptor, Error> {
        let mut upload = self.start()?;
        upload.buffer.end();
        loop {
            if let Some(descriptor) = upload.advance()? {
                return Ok(descriptor);
            }
        }
    }

    /// Takes the upload, and starts it if necessary.
    fn start(&mut self) -> Result<Box<Upload>, Error> {
        match mem::replace(&mut self.stage, Stage::Writing) {
            Stage::Fresh(start) => Ok(Box::new(Upload::new(start(), self.progress.clone()))),
            Stage::Running(upload) => Ok(upload),
            Stage::Failed(error) => {
                self.stage = Stage::Failed(error.clone());
                Err(error)
            }
            Stage::Writing => Err(Fault::new(FaultKind::Unsupported, "an earlier write panicked").into()),
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut upload = self.start().map_err(io::Error::other)?;
        loop {
            let written = upload.buffer.add(bytes, upload.max);
            if written > 0 {
                self.stage = Stage::Running(upload);
                return Ok(written);
            }
            if let Err(error) = upload.advance() {
                self.stage = Stage::Failed(error.clone());
                return Err(io::Error::other(error));
            }
        }
    }

    /// Does nothing: a chunk is sent once it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Fresh(_) => "fresh",
            Stage::Running(_) => "running",
            Stage::Failed(_) | Stage::Writing => "failed",
        };
        f.debug_struct("BlobWriter").field("stage", &stage).finish_non_exhaustive()
    }
}

/// Sends everything that `reader` returns.
pub(crate) fn upload(call: Call, mut reader: impl Read, progress: ProgressHook) -> Result<Descriptor, Error> {
    let mut upload = Upload::new(call, progress);
    loop {
        while upload.buffer.room(upload.max) > 0 {
            if let Err(error) = upload.buffer.read_from(&mut reader, upload.max) {
                let why = format_args!("cannot read the stream to upload: {error}");
                return Err(Fault::new(FaultKind::Storage, why).into());
            }
        }
        if let Some(descriptor) = upload.advance()? {
            return Ok(descriptor);
        }
    }
}

/// The operation of an upload, and the bytes that it has not asked for yet.
struct Upload {
    call: Call,
    progress: ProgressHook,
    buffer: ChunkBuffer,
    /// The open question for the next chunk.
    query: Option<QueryId>,
    /// The size of the chunk that was asked for last, or 0 before the first.
    max: usize,
    sent: Sent,
}

impl Upload {
    fn new(call: Call, progress: ProgressHook) -> Self {
        Self { call, progress, buffer: ChunkBuffer::default(), query: None, max: 0, sent: Sent::default() }
    }

    /// Sends the chunk in the buffer, which must be full or the last one, and waits until the next one is asked
    /// for. Returns the blob's descriptor at the end.
    fn advance(&mut self) -> Result<Option<Descriptor>, Error> {
        if let Some(query) = self.query.take()
            && let Some(answer) = self.buffer.cut(self.max)
        {
            self.call.answer(query, answer);
        }
        loop {
            match self.call.message() {
                Message::Ask(query, Question::Read { max, .. }) => {
                    (self.query, self.max) = (Some(query), max);
                    return Ok(None);
                }
                Message::Event(event) => {
                    if let Some(ended) = self.sent.take(event, &self.progress) {
                        return ended.map(|()| Some(mem::take(&mut self.sent).last().0));
                    }
                }
                message => self.call.ignore(message),
            }
        }
    }
}
