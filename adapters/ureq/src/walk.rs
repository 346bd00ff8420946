//! A walk as an iterator.

use std::fmt;
use std::iter::FusedIterator;
use std::mem;

use oci_proto::{Error, Event, Node};

use crate::call::{Call, Later};

/// An iterator over the nodes of a tree, in depth-first pre-order, created by
/// [`Client::walk`](crate::Client::walk).
///
/// The first `next` starts the walk. It reads ahead of the iterator, and pauses when a few dozen nodes are
/// buffered. An error is the last item. Dropping the walk cancels it.
#[must_use = "nothing is sent before the first `next`"]
pub struct Walk {
    stage: Stage,
}

enum Stage {
    Fresh(Later),
    Running(Call),
    Over,
}

impl Walk {
    pub(crate) fn new(start: Later) -> Self {
        Self { stage: Stage::Fresh(start) }
    }
}

impl Iterator for Walk {
    type Item = Result<Node, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let call = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Fresh(start) => start(),
            Stage::Running(call) => call,
            Stage::Over => return None,
        };
        loop {
            match call.event() {
                Event::Node(node) => {
                    self.stage = Stage::Running(call);
                    return Some(Ok(node));
                }
                Event::Done => return None,
                Event::Failed(error) => return Some(Err(error)),
                _ => {}
            }
        }
    }
}

impl FusedIterator for Walk {}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").finish_non_exhaustive()
    }
}
