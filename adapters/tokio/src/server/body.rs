//! The body of a response that the server sends.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::server::access::Entry;
use crate::server::blobs::Source;
use crate::server::rest::Rest;

/// The maximum size of the chunks in which a blob is read and sent, except for the first, in bytes. A client that stops
/// reading occupies two at most.
const CHUNK: usize = 64 << 10;
/// The maximum size of the first chunk.
const FIRST: usize = 2 * CHUNK;
/// The number of bytes after which the next chunk is read while one is sent.
const AHEAD: u64 = 1 << 20;

/// The body of a response. It has exactly as many bytes as its head announces, or ends with an error.
pub struct ResponseBody {
    /// A chunk that was read before the head was sent.
    first: Option<Bytes>,
    /// The number of bytes not read yet.
    left: u64,
    reading: Reading,
    /// The hook for an error of reading.
    report: Option<Report>,
    log: Option<Entry>,
    /// Reads what the client still sends, after this body.
    rest: Option<Rest>,
}

pub(super) type Report = Box<dyn FnOnce(io::Error) + Send>;

enum Reading {
    Nothing,
    Reader(Pin<Box<dyn AsyncRead + Send>>, BytesMut),
    Blocking(BlockingChunks),
}

impl ResponseBody {
    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self { first: Some(bytes), left: 0, reading: Reading::Nothing, report: None, log: None, rest: None }
    }

    /// Reads the first chunk: if that fails, the head can still say so.
    pub(super) async fn begin(source: Source, size: u64) -> io::Result<Self> {
        let reading = match source {
            Source::Bytes(bytes) if bytes.len() as u64 == size => return Ok(Self::bytes(bytes)),
            Source::Bytes(_) => return Err(io::Error::other("the size of the blob has changed")),
            Source::Reader(reader) => Reading::Reader(reader, BytesMut::new()),
            Source::Blocking(reader) => Reading::Blocking(BlockingChunks::new(reader, size)),
        };
        let mut body = Self { first: None, left: size, reading, report: None, log: None, rest: None };
        if size > 0 {
            body.first = Some(poll_fn(|cx| body.poll_chunk(cx)).await?);
        }
        Ok(body)
    }

    /// Sets a hook for an error of reading the rest.
    pub(super) fn on_error(self, report: Report) -> Self {
        Self { report: Some(report), ..self }
    }

    /// Sets the log entry that ends with the body.
    pub(super) fn log(&mut self, entry: Option<Entry>) {
        self.log = entry;
    }

    /// Sets what is read after the body.
    pub(super) fn then(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    fn sent(&mut self, chunk: &Bytes) {
        if let Some(log) = &mut self.log {
            log.sent(chunk.len());
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let left = self.left;
        let chunk = ready!(match &mut self.reading {
            Reading::Nothing => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Reading::Reader(reader, buffer) => poll_chunk(reader.as_mut(), buffer, left, cx),
            Reading::Blocking(chunks) => chunks.poll_next(cx),
        })?;
        self.left -= chunk.len() as u64;
        Poll::Ready(Ok(chunk))
    }

    fn unsent(&self) -> u64 {
        self.left + self.first.as_ref().map_or(0, |first| first.len() as u64)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            self.sent(&first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let chunk = ready!(self.poll_chunk(cx)).map_err(|error| match self.report.take() {
            Some(report) => {
                let kind = error.kind();
                report(error);
                kind.into()
            }
            None => error,
        });
        if let Ok(chunk) = &chunk {
            self.sent(chunk);
        }
        Poll::Ready(Some(chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.unsent() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.unsent())
    }
}

/// Reads at most `left` bytes. The end of the input is an error, since the head has announced more.
fn poll_chunk(
    reader: Pin<&mut (dyn AsyncRead + Send)>,
    buffer: &mut BytesMut,
    left: u64,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    // The buffer's memory is reused as soon as the connection has sent its content.
    buffer.clear();
    buffer.resize(usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK)), 0);
    let mut target = ReadBuf::new(buffer);
    ready!(reader.poll_read(cx, &mut target))?;
    let read = target.filled().len();
    Poll::Ready(match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(buffer.split_to(read).freeze()),
    })
}

type BlockingReader = Box<dyn Read + Send>;

/// A reader that is used on blocking threads. It is dropped after its last chunk.
struct BlockingChunks {
    /// Whoever reads has it.
    reader: Option<BlockingReader>,
    /// The number of bytes not read yet.
    left: u64,
    /// The number of bytes read so far.
    read: u64,
    next: Option<JoinHandle<io::Result<(BlockingReader, Bytes)>>>,
}

impl BlockingChunks {
    fn new(reader: BlockingReader, left: u64) -> Self {
        Self { reader: Some(reader), left, read: 0, next: None }
    }

    /// Returns the next chunk.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.begin();
        let Some(next) = &mut self.next else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let read = ready!(Pin::new(next).poll(cx));
        self.next = None;
        let (reader, chunk) = read.map_err(io::Error::other)??;
        self.left -= chunk.len() as u64;
        self.read += chunk.len() as u64;
        if self.left > 0 {
            self.reader = Some(reader);
            if self.read >= AHEAD {
                self.begin();
            }
        }
        Poll::Ready(Ok(chunk))
    }

    /// Begins to read a chunk, unless one is being read.
    fn begin(&mut self) {
        if let Some(reader) = self.reader.take() {
            let most = if self.read == 0 { FIRST } else { CHUNK };
            let size = usize::try_from(self.left).map_or(most, |left| left.min(most));
            self.next = Some(spawn_blocking(move || read(reader, size)));
        }
    }
}

/// Reads a chunk of at most `size` bytes. The end of the input is an error, since the head has announced more.
fn read(mut reader: BlockingReader, size: usize) -> io::Result<(BlockingReader, Bytes)> {
    // One read: a storage that opens no blob looks it up for each.
    let mut chunk = vec![0; size];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                chunk.truncate(read);
                return Ok((reader, chunk.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("unsent", &self.unsent()).finish_non_exhaustive()
    }
}
