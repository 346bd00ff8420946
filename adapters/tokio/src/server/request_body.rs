//! The body of a request that the server receives.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body::Body;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::body::ResponseBody;
use crate::server::pace::SendPace;
use crate::server::rest::Rest;

/// The size of the chunks in which a body is passed on, in bytes. A client that sends slowly occupies one.
const CHUNK: usize = 64 << 10;
/// The length of a body up to which the connection is kept after a refusal, in bytes.
const SMALL: u64 = 64 << 10;
/// The number of bytes that are read of a refused body.
const REST: u64 = 64 << 20;
/// The time for which they are read.
const REST_TIME: Duration = Duration::from_secs(10);

/// A part of a body.
pub(super) enum Part {
    /// A chunk that is not the last one.
    More(Vec<u8>),
    /// The last chunk. It is empty if the body is.
    Last(Vec<u8>),
}

/// Appends bytes to a chunk, whose memory grows up to its maximum size.
fn append(chunk: &mut Vec<u8>, bytes: &[u8]) {
    let needed = chunk.len() + bytes.len();
    if needed > chunk.capacity() {
        let capacity = needed.max(2 * chunk.len()).min(CHUNK);
        chunk.reserve_exact(capacity - chunk.len());
    }
    chunk.extend_from_slice(bytes);
}

/// The body of a request. Its bytes are counted.
pub(super) struct RequestBody<B> {
    body: B,
    received: Arc<AtomicU64>,
    /// The client sends no byte before it is told to, which the first read does.
    is_expecting: bool,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    Ended,
    /// It has failed, or the client is too slow.
    Broken,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> RequestBody<B> {
    pub(super) fn new(head: &Parts, body: B, received: Arc<AtomicU64>) -> Self {
        let is_expecting = head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let progress = if body.is_end_stream() { Progress::Ended } else { Progress::Open };
        Self { body, received, is_expecting, progress }
    }

    /// Passes the body on, until its end or until nobody takes it any more. If it breaks off, there is no last part.
    pub(super) async fn pass_on(&mut self, parts: mpsc::Sender<Part>, idle: Duration) {
        let mut pace = SendPace::new(idle);
        let mut chunk = Vec::new();
        while self.progress == Progress::Open {
            let next = tokio::select! {
                biased;
                () = parts.closed() => return,
                next = pace.wait(self.next()) => next,
            };
            let Some(bytes) = next else {
                self.progress = Progress::Broken;
                break;
            };
            pace.received(bytes.len());
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                let (taken, left) = bytes.split_at(bytes.len().min(CHUNK - chunk.len()));
                append(&mut chunk, taken);
                bytes = left;
                if chunk.len() == CHUNK && parts.send(Part::More(std::mem::take(&mut chunk))).await.is_err() {
                    return;
                }
            }
        }
        let last = match self.progress {
            Progress::Ended => Part::Last(chunk),
            Progress::Open | Progress::Broken => Part::More(chunk),
        };
        // If nobody takes it, the request has its response.
        let _ = parts.send(last).await;
    }

    /// Completes the response: what the client still sends is read after it, for a while.
    pub(super) fn finish(self, response: &mut Response<ResponseBody>) {
        let is_small = self.body.size_hint().upper().is_some_and(|length| length <= SMALL);
        match self.progress {
            Progress::Ended => return,
            Progress::Open if is_small && !self.is_expecting => {}
            // The client may send the body all the same, or skip it: the next request could begin anywhere.
            Progress::Open | Progress::Broken => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        if self.progress == Progress::Open {
            response.body_mut().then(Rest::new(self.skip()));
        }
    }

    async fn skip(mut self) {
        let skipped = async {
            let mut left = REST;
            while self.progress == Progress::Open && left > 0 {
                left = left.saturating_sub(self.next().await.len() as u64);
            }
        };
        // The end of the time closes the connection.
        let _ = timeout(REST_TIME, skipped).await;
    }

    /// Returns the next bytes, which are empty at the end and for trailers.
    async fn next(&mut self) -> Bytes {
        let Self { body, received, progress, .. } = self;
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let bytes = frame.into_data().unwrap_or_default();
                received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                bytes
            }
            Some(Err(_)) => {
                *progress = Progress::Broken;
                Bytes::new()
            }
            None => {
                *progress = Progress::Ended;
                Bytes::new()
            }
        }
    }
}
