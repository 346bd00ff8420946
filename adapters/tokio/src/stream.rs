//! The upload of a stream: from a reader, or through a writer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use oci_proto::{Descriptor, Error, Fault, FaultKind, QueryId, Question};
use oci_proto_common::{ChunkBuffer, ProgressHook, Sent};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::call::Call;
use crate::mailbox::Message;

/// A writer of a blob, created by [`Client::blob_writer`](crate::Client::blob_writer).
///
/// The first write begins the upload. Bytes are sent in chunks, of
/// [`Limits::chunk_bytes`](oci_proto::Limits::chunk_bytes) or as much as the registry demands. While one is sent,
/// writes fill the next one, so the writer holds at most two in memory. Flushing does not send a chunk that is
/// not full, since registries refuse small ones.
///
/// **The blob exists only after [`finish`](Self::finish)**, or after a shutdown of the writer, which makes its
/// [`descriptor`](Self::descriptor) available. If the upload fails, this and every later write fails with an
/// [`io::Error`] whose inner error is an [`oci_proto::Error`].
///
/// ```no_run
/// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use oci_proto_tokio::StreamOptions;
/// use tokio::io::AsyncWriteExt as _;
///
/// let mut writer = client.blob_writer(&"registry.example/app".parse()?, StreamOptions::default());
/// for line in 0..1_000_000 {
///     writer.write_all(format!("line {line}\n").as_bytes()).await?;
/// }
/// let blob = writer.finish().await?;
/// println!("{} has {} bytes", blob.digest, blob.size);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// A write whose future is dropped has written nothing, or is complete. Dropping the writer before it is finished
/// cancels the upload, also at the registry if the client lives on.
#[must_use = "a blob exists only after the writer is finished"]
pub struct BlobWriter {
    state: State,
}

enum State {
    Open(Box<Upload>),
    Stored(Descriptor),
    Failed(Error),
}

impl BlobWriter {
    pub(crate) fn new(call: Call, progress: ProgressHook) -> Self {
        Self { state: State::Open(Box::new(Upload::new(call, progress))) }
    }

    /// Ends the blob, and returns its descriptor once the registry has stored it. The media type is
    /// `application/octet-stream`.
    ///
    /// # Errors
    /// Returns an error if the registry refuses the blob, violates the protocol, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the upload.
    pub async fn finish(mut self) -> Result<Descriptor, Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Returns the descriptor of the blob, once a shutdown of the writer has succeeded.
    pub fn descriptor(&self) -> Option<&Descriptor> {
        match &self.state {
            State::Stored(descriptor) => Some(descriptor),
            State::Open(_) | State::Failed(_) => None,
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Descriptor, Error>> {
        if let State::Open(upload) = &mut self.state {
            upload.buffer.end();
        }
        self.advance(cx);
        match &self.state {
            State::Open(_) => Poll::Pending,
            State::Stored(descriptor) => Poll::Ready(Ok(descriptor.clone())),
            State::Failed(error) => Poll::Ready(Err(error.clone())),
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if let State::Open(upload) = &mut self.state
            && let Poll::Ready(ended) = upload.poll_end(cx)
        {
            self.state = ended.map_or_else(State::Failed, State::Stored);
        }
    }
}

impl AsyncWrite for BlobWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.advance(cx);
        let upload = match &mut self.state {
            State::Failed(error) => return Poll::Ready(Err(io::Error::other(error.clone()))),
            State::Open(upload) if !upload.buffer.has_ended() => upload,
            State::Open(_) | State::Stored(_) => {
                let why = "the blob writer was shut down";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
        };
        let written = upload.buffer.add(bytes, upload.max);
        if written == 0 && !bytes.is_empty() {
            // A message wakes the task.
            return Poll::Pending;
        }
        // The chunk may be full. An error is reported by the next call.
        self.advance(cx);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.advance(cx);
        Poll::Ready(match &self.state {
            State::Failed(error) => Err(io::Error::other(error.clone())),
            State::Open(_) | State::Stored(_) => Ok(()),
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map(|ended| ended.map(drop).map_err(io::Error::other))
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Open(_) => "open",
            State::Stored(_) => "stored",
            State::Failed(_) => "failed",
        };
        f.debug_struct("BlobWriter").field("state", &state).finish_non_exhaustive()
    }
}

/// Sends everything that `reader` returns.
pub(crate) async fn upload(
    call: Call,
    reader: impl AsyncRead,
    progress: ProgressHook,
) -> Result<Descriptor, Error> {
    let mut reader = pin!(reader);
    let mut upload = Upload::new(call, progress);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = upload.poll_end(cx) {
                return Poll::Ready(ended);
            }
            let space = upload.buffer.grow(upload.max);
            if space == 0 {
                return Poll::Pending;
            }
            let mut buffer = upload.buffer.bytes_mut().limit(space);
            let read = pin!(reader.read_buf(&mut buffer)).poll(cx);
            match ready!(read) {
                Ok(0) => upload.buffer.end(),
                Ok(_) => {}
                Err(error) => {
                    let why = format_args!("cannot read the stream to upload: {error}");
                    return Poll::Ready(Err(Fault::new(FaultKind::Storage, why).into()));
                }
            }
        }
    })
    .await
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

    /// Hands over the next chunk if it is full. Returns the blob's descriptor at the end, and is pending until
    /// then, also if more bytes are needed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Descriptor, Error>> {
        loop {
            if let Some(query) = self.query
                && let Some(answer) = self.buffer.cut(self.max)
            {
                self.query = None;
                self.call.answer(query, answer);
            }
            match ready!(self.call.poll_message(cx)) {
                Message::Ask(query, Question::Read { max, .. }) => {
                    (self.query, self.max) = (Some(query), max);
                }
                Message::Event(event) => {
                    if let Some(ended) = self.sent.take(event, &self.progress) {
                        return Poll::Ready(ended.map(|()| mem::take(&mut self.sent).last().0));
                    }
                }
                message => self.call.ignore(message),
            }
        }
    }
}
