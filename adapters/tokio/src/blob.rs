//! A blob on its way: into a writer, out of a reader, or whole.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use oci_proto::{Error, Event, Fault, FaultKind};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::call::Call;
use crate::carrying::{Carrying, Progress};
use crate::mailbox::Letter;
use crate::{HyperTransport, Transport};

/// A blob as it arrives; made by [`Client::blob`](crate::Client::blob).
///
/// The request is sent with the first read. Bytes come before they are verified as a whole; **the end of
/// file comes only after size and digest were found right**. A reader that stops short of the end of file
/// knows nothing of what it read. Where the blob is wrong, or cannot be had, reading fails with an
/// [`io::Error`] whose inner error is an [`oci_proto::Error`], and fails so ever after.
///
/// As an [`AsyncBufRead`] it hands out the transport's own buffers, uncopied.
///
/// # Cancel safety
/// No byte is lost when a future that reads is dropped. Dropping the reader cancels the download.
#[must_use = "a blob is fetched by reading it"]
pub struct BlobReader<T: Transport = HyperTransport> {
    state: State<T>,
    chunk: Bytes,
}

enum State<T: Transport> {
    Open(Box<Download<T>>),
    Verified,
    Failed(Error),
}

impl<T: Transport> BlobReader<T> {
    pub(crate) fn new(call: Call<T>) -> Self {
        Self { state: State::Open(Box::new(Download::new(call))), chunk: Bytes::new() }
    }
}

impl<T: Transport> AsyncBufRead for BlobReader<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.chunk.is_empty() {
            match &mut this.state {
                State::Open(download) => match ready!(download.poll_piece(cx)) {
                    Ok(Piece::Bytes(chunk)) => this.chunk = chunk,
                    Ok(Piece::Flush) => download.settle(),
                    Ok(Piece::Done) => this.state = State::Verified,
                    Err(error) => this.state = State::Failed(error),
                },
                State::Verified => break,
                State::Failed(error) => return Poll::Ready(Err(io::Error::other(error.clone()))),
            }
        }
        Poll::Ready(Ok(&this.chunk))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.chunk.advance(amount);
    }
}

impl<T: Transport> AsyncRead for BlobReader<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = chunk.len().min(buf.remaining());
        buf.put_slice(chunk.get(..amount).unwrap_or_default());
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> fmt::Debug for BlobReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Open(_) => "open",
            State::Verified => "verified",
            State::Failed(_) => "failed",
        };
        f.debug_struct("BlobReader").field("state", &state).finish_non_exhaustive()
    }
}

/// Writes a blob into `writer`; the number of bytes written.
pub(crate) async fn write<T: Transport>(call: Call<T>, writer: impl AsyncWrite) -> Result<u64, Error> {
    let mut download = Download::new(call);
    let mut writer = pin!(writer);
    let mut written = 0;
    loop {
        let outcome = match poll_fn(|cx| download.poll_piece(cx)).await? {
            Piece::Bytes(chunk) => {
                written += chunk.len() as u64;
                download.unless_failed(writer.write_all(&chunk)).await?
            }
            // Before the last word on the blob, so that a failure is still part of it.
            Piece::Flush => {
                let outcome = download.unless_failed(writer.flush()).await?;
                if outcome.is_ok() {
                    download.settle();
                }
                outcome
            }
            Piece::Done => return Ok(written),
        };
        if let Err(error) = outcome {
            download.refuse(Fault::new(FaultKind::Sink, error));
        }
    }
}

/// Collects a blob of at most `limit` bytes; `size` is its size, where known.
pub(crate) async fn collect<T: Transport>(
    call: Call<T>,
    size: Option<u64>,
    limit: u64,
) -> Result<Bytes, Error> {
    let mut download = Download::new(call);
    let too_large = || Fault::new(FaultKind::Sink, format_args!("the blob has more than {limit} bytes"));
    if size.is_some_and(|size| size > limit) {
        download.refuse(too_large());
    }
    let mut bytes = BytesMut::new();
    loop {
        match poll_fn(|cx| download.poll_piece(cx)).await? {
            Piece::Bytes(chunk) if (bytes.len() + chunk.len()) as u64 > limit => download.refuse(too_large()),
            Piece::Bytes(chunk) => bytes.extend_from_slice(&chunk),
            Piece::Flush => download.settle(),
            Piece::Done => return Ok(bytes.freeze()),
        }
    }
}

/// A blob's operation, and the exchange that its call carries.
struct Download<T: Transport> {
    call: Call<T>,
    carrying: Option<Box<Carrying<T>>>,
    /// Whether content that needed no request was handed out, and not flushed yet.
    unflushed: bool,
    /// Why nothing more is taken.
    refusal: Option<Fault>,
}

/// What comes of a download.
enum Piece {
    /// The blob's next bytes.
    Bytes(Bytes),
    /// A response is at its end: the bytes so far must be safe before [`Download::settle`].
    Flush,
    /// The blob is complete, and right.
    Done,
}

impl<T: Transport> Download<T> {
    fn new(call: Call<T>) -> Self {
        Self { call, carrying: None, unflushed: false, refusal: None }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Error>> {
        if mem::take(&mut self.unflushed) {
            return Poll::Ready(Ok(Piece::Flush));
        }
        loop {
            match self.call.poll_letter(cx) {
                Poll::Ready(Letter::Event(Event::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Letter::Event(Event::Done)) => {
                    let refused = self.refusal.take().map(|fault| Err(fault.into()));
                    return Poll::Ready(refused.unwrap_or(Ok(Piece::Done)));
                }
                Poll::Ready(Letter::Event(Event::Data(bytes))) => {
                    self.unflushed = true;
                    return Poll::Ready(Ok(Piece::Bytes(bytes)));
                }
                Poll::Ready(Letter::Event(_)) => continue,
                Poll::Ready(Letter::Carry(carrying)) => {
                    self.carrying = Some(carrying);
                    if let Some(fault) = self.refusal.clone() {
                        self.refuse(fault);
                    }
                    continue;
                }
                Poll::Pending => {}
            }
            return match &mut self.carrying {
                None => Poll::Pending,
                Some(carrying) => carrying.poll(cx).map(|progress| {
                    Ok(match progress {
                        Progress::Chunk(chunk) => Piece::Bytes(chunk),
                        Progress::Ended => Piece::Flush,
                    })
                }),
            };
        }
    }

    /// The bytes so far are where they belong.
    fn settle(&mut self) {
        if let Some(completion) = self.carrying.take().and_then(|mut carrying| carrying.settle()) {
            self.call.shared().complete(completion);
        }
    }

    /// No more is taken, now or later.
    fn refuse(&mut self, fault: Fault) {
        if let Some(completion) = self.carrying.take().and_then(|mut carrying| carrying.fail(fault.clone())) {
            self.call.shared().complete(completion);
        }
        self.refusal = Some(fault);
    }

    /// Waits for a writer, for as long as the operation has not failed: its deadline may pass meanwhile.
    async fn unless_failed<F: Future>(&mut self, writing: F) -> Result<F::Output, Error> {
        if self.carrying.is_none() {
            // Content that needed no request: the operation is over, and its last event is still to be read.
            return Ok(writing.await);
        }
        let mut writing = pin!(writing);
        poll_fn(|cx| {
            if let Poll::Ready(output) = writing.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // Nothing but a failure ends the operation while its exchange is unsettled.
            loop {
                if let Err(error) = ready!(self.call.poll_event(cx)) {
                    return Poll::Ready(Err(error));
                }
            }
        })
        .await
    }
}
