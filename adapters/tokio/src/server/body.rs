//! The body of a response that the server sends.

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

use crate::server::blobs::Source;

/// The size of the chunks in which a blob is read and sent, in bytes.
const CHUNK: usize = 64 << 10;
/// The same for files. It is larger, since handing a chunk to another thread costs as much as copying a part
/// of it.
const FILE_CHUNK: u64 = 256 << 10;

/// The body of a response. It has exactly as many bytes as its head announces, or ends with an error.
pub struct ResponseBody {
    /// The number of bytes not sent yet.
    left: u64,
    rest: Rest,
}

enum Rest {
    Bytes(Bytes),
    Reader(Pin<Box<dyn AsyncRead + Send>>, BytesMut),
    File(FileChunks),
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
                Rest::Failed(io::Error::other("the size of the blob has changed"))
            }
            Source::Bytes(bytes) => Rest::Bytes(bytes),
            Source::Reader(reader) => Rest::Reader(reader, BytesMut::new()),
            Source::File(file) => Rest::File(FileChunks { file: Arc::new(file), next: None }),
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
            Rest::File(chunks) => ready!(chunks.poll_next(left, cx)),
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

/// A file that is read on blocking threads. The next chunk is read while the last one is sent.
struct FileChunks {
    file: Arc<File>,
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileChunks {
    /// Reads at most `left` bytes. The end of the input is an error, since the head has announced more.
    fn poll_next(&mut self, left: u64, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let next = self.next.get_or_insert_with(|| {
            let file = self.file.clone();
            spawn_blocking(move || read(&file, left.min(FILE_CHUNK)))
        });
        let chunk = ready!(Pin::new(next).poll(cx));
        self.next = None;
        Poll::Ready(chunk.map_err(io::Error::other)?)
    }
}

fn read(file: &File, size: u64) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    match file.take(size).read_to_end(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(chunk.into()),
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("left", &self.left).finish_non_exhaustive()
    }
}
