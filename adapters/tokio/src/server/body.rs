//! The body of a response that is served.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Source;

/// How much of a blob is read, and sent, at a time.
const CHUNK: usize = 64 << 10;
/// The same of a file: it goes from one thread to another, which costs as much as copying a part of this.
const PIECE: u64 = 256 << 10;

/// The body of a response: as many bytes as its head says, or an error.
pub struct ResponseBody {
    /// How many bytes are still to come.
    left: u64,
    rest: Rest,
}

enum Rest {
    Bytes(Bytes),
    Reader(Pin<Box<dyn AsyncRead + Send>>, BytesMut),
    File(Pieces),
    Failed(io::Error),
}

impl ResponseBody {
    pub(super) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self { left: bytes.len() as u64, rest: Rest::Bytes(bytes) }
    }

    pub(super) fn failed(error: io::Error, size: u64) -> Self {
        Self { left: size, rest: Rest::Failed(error) }
    }

    pub(super) fn new(source: Source, size: u64) -> Self {
        let rest = match source {
            Source::Bytes(bytes) if bytes.len() as u64 != size => {
                Rest::Failed(io::Error::other("the blob has not the size that it was added with"))
            }
            Source::Bytes(bytes) => Rest::Bytes(bytes),
            Source::Reader(reader) => Rest::Reader(reader, BytesMut::new()),
            Source::File(file) => Rest::File(Pieces { file: Arc::new(file), next: None }),
        };
        Self { left: size, rest }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let left = self.left;
        let next = match &mut self.rest {
            Rest::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Rest::Reader(reader, buffer) => ready!(poll_chunk(reader.as_mut(), buffer, left, cx)),
            Rest::File(pieces) => ready!(pieces.poll_next(left, cx)),
            Rest::Failed(error) => Err(std::mem::replace(error, io::ErrorKind::Other.into())),
        };
        Poll::Ready(Some(next.map(|bytes| {
            self.left -= bytes.len() as u64;
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads at most `left` bytes; none is an error, since that many were promised.
fn poll_chunk(
    reader: Pin<&mut (dyn AsyncRead + Send)>,
    buffer: &mut BytesMut,
    left: u64,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    // The buffer's memory is used again as soon as the connection has sent what was in it.
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

/// A file that is read where that holds nobody up. The next piece is read while the last one is sent.
struct Pieces {
    file: Arc<File>,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Pieces {
    /// Reads at most `left` bytes; none is an error, since that many were promised.
    fn poll_next(&mut self, left: u64, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let next = self.next.get_or_insert_with(|| {
            let file = self.file.clone();
            spawn_blocking(move || read(&file, left.min(PIECE)))
        });
        let piece = ready!(Pin::new(next).poll(cx));
        self.next = None;
        Poll::Ready(piece.map_err(io::Error::other)?)
    }
}

fn read(file: &File, size: u64) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    match file.take(size).read_to_end(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(piece.into()),
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("left", &self.left).finish_non_exhaustive()
    }
}
