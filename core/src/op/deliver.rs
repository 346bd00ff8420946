//! Delivers content that needs no request: the driver stores it, and the operation is done.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::op::ask::StoreContent;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// An operation that needs no further request.
#[derive(Debug)]
pub(crate) struct Deliver {
    outputs: VecDeque<OpOutput>,
}

impl Deliver {
    /// Asks the driver to store this content, then is done.
    pub(crate) fn content(descriptor: Descriptor, content: StoreContent) -> Self {
        Self { outputs: [OpOutput::Store(descriptor, content)].into() }
    }

    /// Is done at once.
    pub(crate) fn nothing() -> Self {
        Self { outputs: [OpOutput::Event(Event::Done)].into() }
    }

    /// Fails at once.
    pub(crate) fn failed(error: Error) -> Self {
        Self { outputs: [OpOutput::Event(Event::Failed(error))].into() }
    }
}

impl Operation for Deliver {
    fn targets(&self) -> &[Arc<Target>] {
        &[]
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        None
    }

    fn settle(&mut self, _: &Fetch, _: Result<Fetched, Error>, _: &mut Habits) {}

    fn next_output(&mut self) -> Option<OpOutput> {
        self.outputs.pop_front()
    }

    fn stored(&mut self, _: &Digest) {
        self.outputs.push_back(OpOutput::Event(Event::Done));
    }
}
