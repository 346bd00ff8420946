//! A walk, as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use oci_proto::{Error, Event, Node};

use crate::call::Call;
use crate::{HyperTransport, Transport};

/// The nodes of a tree, in depth-first pre-order; made by [`Client::walk`](crate::Client::walk).
///
/// The walk starts with the first poll. From then on it reads ahead of the stream, and rests while a few
/// dozen nodes wait to be taken. The first error is the last item.
///
/// # Cancel safety
/// No node is lost when a future that waits for the next one is dropped. Dropping the walk cancels it.
#[must_use = "a walk starts when it is polled"]
pub struct Walk<T: Transport = HyperTransport> {
    /// `None` once the walk is over.
    call: Option<Call<T>>,
}

impl<T: Transport> Walk<T> {
    pub(crate) fn new(call: Call<T>) -> Self {
        Self { call: Some(call) }
    }
}

impl<T: Transport> Stream for Walk<T> {
    type Item = Result<Node, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(call) = &mut self.call {
            match ready!(call.poll_event(cx)) {
                Ok(Event::Node(node)) => return Poll::Ready(Some(Ok(node))),
                Ok(Event::Done) => self.call = None,
                // The root's descriptor comes again with its node.
                Ok(_) => {}
                Err(error) => {
                    self.call = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Transport> FusedStream for Walk<T> {
    fn is_terminated(&self) -> bool {
        self.call.is_none()
    }
}

impl<T: Transport> fmt::Debug for Walk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("over", &self.is_terminated()).finish_non_exhaustive()
    }
}
