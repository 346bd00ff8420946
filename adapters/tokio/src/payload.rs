//! The body of a request: empty, bytes in memory, or chunks that are supplied as the transport takes them.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::fault::BoxError;

/// The body of a request, of a known length.
///
/// A streamed body ends with an error if its source fails, or if the response arrives before the whole body
/// is sent. The transport must then close the connection, so that the request does not look complete.
#[derive(Default)]
pub struct Body(Content);

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Bytes(Bytes),
    Streamed(Arc<Pipe>),
}

impl Body {
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self(Content::Bytes(bytes))
    }

    /// Creates a body of `length` bytes, and its sender.
    pub(crate) fn streamed(length: u64) -> (Self, BodySender) {
        let flow =
            Flow { left: length, chunk: Bytes::new(), state: Open, taken: false, body: None, sender: None };
        let pipe = Arc::new(Pipe(Mutex::new(flow)));
        (Self(Content::Streamed(pipe.clone())), BodySender(pipe))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bytes = match &mut self.0 {
            Content::Empty => return Poll::Ready(None),
            Content::Bytes(bytes) => mem::take(bytes),
            Content::Streamed(pipe) => return pipe.poll_frame(cx),
        };
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Streamed(pipe) => pipe.lock().is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Content::Empty => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Streamed(pipe) => pipe.lock().left,
        })
    }
}

impl fmt::Debug for Body {
    /// Leaves out the bytes, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?} bytes)", http_body::Body::size_hint(self).exact())
    }
}

/// A channel for at most one chunk, so that a slow server slows down the source.
struct Pipe(Mutex<Flow>);

struct Flow {
    /// The number of bytes that the transport has not taken.
    left: u64,
    /// The next chunk; empty if it was not supplied yet.
    chunk: Bytes,
    state: State,
    /// Whether a chunk was taken since the sender last asked.
    taken: bool,
    /// The waker of the transport, if it waits for a chunk.
    body: Option<Waker>,
    /// The waker of the sender, if it waits for the transport.
    sender: Option<Waker>,
}

use State::{Broken, Complete, Open, Stopped};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The last chunk was supplied.
    Complete,
    /// No more is sent, but the connection stays open for the response.
    Stopped,
    /// The connection must be closed.
    Broken,
}

impl Flow {
    fn is_over(&self) -> bool {
        self.state == Complete && self.chunk.is_empty()
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Flow> {
        // Nothing panics while it holds the guard.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Wakers are cloned before the lock is taken, and dropped after it is released.
        let mut waker = Some(cx.waker().clone());
        let mut flow = self.lock();
        match flow.state {
            Broken => return Poll::Ready(Some(Err("the request body was aborted".into()))),
            Open | Complete if !flow.chunk.is_empty() => {
                let chunk = mem::take(&mut flow.chunk);
                flow.left = flow.left.saturating_sub(chunk.len() as u64);
                flow.taken = true;
                let sender = flow.sender.take();
                drop(flow);
                sender.into_iter().for_each(Waker::wake);
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            Complete => return Poll::Ready(None),
            Open | Stopped => {}
        }
        mem::swap(&mut flow.body, &mut waker);
        let sender = flow.sender.take();
        drop(flow);
        sender.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    fn set(&self, chunk: Bytes, state: State) {
        let mut flow = self.lock();
        let unsent = mem::replace(&mut flow.chunk, chunk);
        flow.state = state;
        let body = flow.body.take();
        drop(flow);
        drop(unsent);
        body.into_iter().for_each(Waker::wake);
    }
}

/// The sender of a streamed [`Body`]. If it is dropped early, the body ends with an error.
pub(crate) struct BodySender(Arc<Pipe>);

impl BodySender {
    /// Returns `Ready` if the transport waits for a chunk.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = Some(cx.waker().clone());
        let mut flow = self.0.lock();
        if flow.state == Open && flow.chunk.is_empty() && flow.body.is_some() {
            return Poll::Ready(());
        }
        mem::swap(&mut flow.sender, &mut waker);
        Poll::Pending
    }

    /// Returns whether the transport took a chunk since the last call.
    pub(crate) fn was_taken(&self) -> bool {
        mem::take(&mut self.0.lock().taken)
    }

    /// Stops the body. Returns whether it was incomplete. The connection stays open until the sender is
    /// dropped.
    pub(crate) fn stop(&self) -> bool {
        let mut flow = self.0.lock();
        let is_short = !flow.is_over();
        if is_short {
            flow.state = Stopped;
        }
        is_short
    }

    /// Supplies a chunk, which must not be empty, after [`poll_wanted`](Self::poll_wanted).
    pub(crate) fn put(&self, chunk: Bytes) {
        self.0.set(chunk, Open);
    }

    /// Supplies the last chunk. It is empty if the body is empty.
    pub(crate) fn complete(&self, chunk: Bytes) {
        self.0.set(chunk, Complete);
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if !self.0.lock().is_over() {
            self.0.set(Bytes::new(), Broken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, mpsc};
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A waker that takes the lock when it is dropped.
    struct Locks(Weak<Pipe>);

    impl Wake for Locks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Locks {
        fn drop(&mut self) {
            if let Some(pipe) = self.0.upgrade() {
                drop(pipe.lock());
            }
        }
    }

    #[test]
    fn wakers_are_dropped_outside_the_lock_of_a_payload() {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let (_body, sender) = Body::streamed(1);
            let waker = || Waker::from(Arc::new(Locks(Arc::downgrade(&sender.0))));
            for _ in 0..2 {
                assert!(sender.poll_wanted(&mut Context::from_waker(&waker())).is_pending());
            }
            for _ in 0..2 {
                assert!(sender.0.poll_frame(&mut Context::from_waker(&waker())).is_pending());
            }
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(10)).expect("a waker is dropped under the lock");
    }
}
