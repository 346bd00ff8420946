//! The download of a blob: to a writer, through a reader, or into memory.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use oci_proto::{Answer, Error, Event, Fault, FaultKind, QueryId, Question, StoreContent};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::call::Call;
use crate::driver::CompletionGuard;
use crate::mailbox::Message;
use crate::transfer::{Progress, Transfer};

/// A reader of a blob, created by [`Client::blob`](crate::Client::blob).
///
/// The first read sends the request. Bytes are returned before the whole blob is verified. **The end of file
/// is returned only after the size and the digest were verified**, so bytes are trustworthy only after the
/// end of file. If the blob is invalid or cannot be fetched, this and every later read fails with an
/// [`io::Error`] whose inner error is an [`oci_proto::Error`].
///
/// [`AsyncBufRead`] returns the transport's own buffers, without copying.
///
/// The response is read only when the reader is polled, so a started reader that is not polled occupies one
/// of the requests that may be in flight.
///
/// # Cancel safety
/// No byte is lost when the future of a read is dropped. Dropping the reader cancels the download.
#[must_use = "a blob is fetched by reading it"]
pub struct BlobReader {
    state: State,
    chunk: Bytes,
}

enum State {
    Open(Box<Download>),
    Verified,
    Failed(Error),
}

impl BlobReader {
    pub(crate) fn new(call: Call) -> Self {
        Self { state: State::Open(Box::new(Download::new(call))), chunk: Bytes::new() }
    }
}

impl AsyncBufRead for BlobReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.chunk.is_empty() {
            match &mut this.state {
                State::Open(download) => match ready!(download.poll_item(cx)) {
                    Ok(Item::Bytes(chunk)) => this.chunk = chunk,
                    Ok(Item::Flush) => download.settle(),
                    Ok(Item::Done) => this.state = State::Verified,
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

impl AsyncRead for BlobReader {
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

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Open(_) => "open",
            State::Verified => "verified",
            State::Failed(_) => "failed",
        };
        f.debug_struct("BlobReader").field("state", &state).finish_non_exhaustive()
    }
}

/// Writes a blob to `writer`. Returns the number of bytes written.
pub(crate) async fn write(call: Call, writer: impl AsyncWrite) -> Result<u64, Error> {
    let mut download = Download::new(call);
    let mut writer = pin!(writer);
    let mut written = 0;
    loop {
        let outcome = match poll_fn(|cx| download.poll_item(cx)).await? {
            Item::Bytes(chunk) => {
                written += chunk.len() as u64;
                download.unless_failed(writer.write_all(&chunk)).await?
            }
            // The exchange is completed only after the flush, so that a failure to flush fails the operation.
            Item::Flush => {
                let outcome = download.unless_failed(writer.flush()).await?;
                if outcome.is_ok() {
                    download.settle();
                }
                outcome
            }
            Item::Done => return Ok(written),
        };
        if let Err(error) = outcome {
            download.refuse(Fault::new(FaultKind::Storage, error));
        }
    }
}

/// Collects a blob of at most `limit` bytes. `size` is its size, if known.
pub(crate) async fn collect(call: Call, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
    let mut download = Download::new(call);
    let too_large = || Fault::new(FaultKind::Storage, format_args!("the blob has more than {limit} bytes"));
    if size.is_some_and(|size| size > limit) {
        download.refuse(too_large());
    }
    let mut bytes = BytesMut::new();
    loop {
        match poll_fn(|cx| download.poll_item(cx)).await? {
            Item::Bytes(chunk) if (bytes.len() + chunk.len()) as u64 > limit => download.refuse(too_large()),
            Item::Bytes(chunk) => bytes.extend_from_slice(&chunk),
            Item::Flush => download.settle(),
            Item::Done => return Ok(bytes.freeze()),
        }
    }
}

/// The operation of a blob, and the exchange that its call runs.
struct Download {
    call: Call,
    transfer: Option<(Box<Transfer>, CompletionGuard)>,
    /// The number of bytes returned.
    delivered: u64,
    /// The question to store embedded content, which was returned.
    storing: Option<QueryId>,
}

/// An item of a download.
enum Item {
    /// The next bytes of the blob.
    Bytes(Bytes),
    /// A response has ended. The bytes so far must be flushed before [`Download::settle`].
    Flush,
    /// The blob is complete and verified.
    Done,
}

impl Download {
    fn new(call: Call) -> Self {
        Self { call, transfer: None, delivered: 0, storing: None }
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Item, Error>> {
        if self.storing.is_some() {
            return Poll::Ready(Ok(Item::Flush));
        }
        loop {
            match self.call.poll_message(cx) {
                Poll::Ready(Message::Event(Event::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Message::Event(Event::Done)) => return Poll::Ready(Ok(Item::Done)),
                Poll::Ready(Message::Ask(
                    query,
                    Question::Store { content: StoreContent::Bytes(bytes), .. },
                )) => {
                    self.storing = Some(query);
                    return Poll::Ready(Ok(Item::Bytes(bytes)));
                }
                Poll::Ready(Message::Exchange(transfer)) if transfer.sink().is_some() => {
                    self.take(transfer);
                    continue;
                }
                Poll::Ready(message) => {
                    self.call.ignore(message);
                    continue;
                }
                Poll::Pending => {}
            }
            return match &mut self.transfer {
                None => Poll::Pending,
                Some((transfer, _)) => match ready!(transfer.poll(cx)) {
                    Progress::Chunk(chunk) => {
                        self.delivered += chunk.len() as u64;
                        Poll::Ready(Ok(Item::Bytes(chunk)))
                    }
                    Progress::Ended => Poll::Ready(Ok(Item::Flush)),
                    Progress::NeedsData => {
                        transfer.fail_without_source();
                        continue;
                    }
                },
            };
        }
    }

    /// Takes an exchange, and fails if its body does not continue after the returned bytes.
    fn take(&mut self, transfer: Box<Transfer>) {
        let offset = transfer.sink().map_or(0, |sink| sink.offset);
        let guard = self.call.shared().guard(transfer.id());
        self.transfer = Some((transfer, guard));
        // Returned bytes cannot be withdrawn, and only the repeated ones would be verified.
        if offset != self.delivered {
            let why =
                format!("the blob starts over at byte {offset}, after {} bytes were written", self.delivered);
            self.refuse(Fault::new(FaultKind::Storage, why));
        }
    }

    /// Confirms that the bytes so far are flushed.
    fn settle(&mut self) {
        if let Some(query) = self.storing.take() {
            self.call.answer(query, Answer::Stored);
        }
        if let Some((mut transfer, guard)) = self.transfer.take() {
            guard.settle(transfer.settle());
        }
    }

    /// Fails the operation.
    fn refuse(&mut self, fault: Fault) {
        if let Some((mut transfer, guard)) = self.transfer.take() {
            transfer.fail(fault.clone());
            guard.settle(transfer.settle());
        }
        self.storing = None;
        self.call.fail(fault);
    }

    /// Waits for a writer, unless the operation fails. Its deadline may pass meanwhile.
    async fn unless_failed<F: Future>(&mut self, writing: F) -> Result<F::Output, Error> {
        let mut writing = pin!(writing);
        poll_fn(|cx| {
            if let Poll::Ready(output) = writing.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // Only a failure ends the operation while its exchange or its question is open.
            loop {
                if let Err(error) = ready!(self.call.poll_event(cx)) {
                    return Poll::Ready(Err(error));
                }
            }
        })
        .await
    }
}
