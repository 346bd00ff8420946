//! A walk as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use oci_proto::{Error, Event, Node};

use crate::call::Call;

/// A stream of the nodes of a tree, in depth-first pre-order, created by
/// [`Client::walk`](crate::Client::walk).
///
/// The first poll starts the walk. It reads ahead of the stream, and pauses when a few dozen nodes are
/// buffered. An error is the last item.
///
/// # Cancel safety
/// No node is lost when the future of the next one is dropped. Dropping the walk cancels it.
#[must_use = "a walk starts when it is polled"]
pub struct Walk {
    /// `None` once the walk has ended.
    call: Option<Call>,
}

impl Walk {
    pub(crate) fn new(call: Call) -> Self {
        Self { call: Some(call) }
    }
}

impl Stream for Walk {
    type Item = Result<Node, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(call) = &mut self.call {
            match ready!(call.poll_event(cx)) {
                Ok(Event::Node(node)) => return Poll::Ready(Some(Ok(node))),
                Ok(Event::Done) => self.call = None,
                // The root's descriptor is repeated in its node.
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

impl FusedStream for Walk {
    fn is_terminated(&self) -> bool {
        self.call.is_none()
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("over", &self.is_terminated()).finish_non_exhaustive()
    }
}
