//! Delete: removes a tag, a manifest or a blob from a repository.

use std::sync::Arc;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, Call, Fetch, Fetched, OpOutput, Operation, Recipient, reply_of};
use crate::wire::endpoint::Endpoint;
use crate::wire::origin::Origin;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// Deletes the content at an endpoint.
#[derive(Debug)]
pub(crate) struct Delete {
    target: Arc<Target>,
    endpoint: Option<Endpoint>,
    outcome: Option<Event>,
}

impl Delete {
    pub(crate) fn new(target: Arc<Target>, endpoint: Endpoint) -> Self {
        Self { target, endpoint: Some(endpoint), outcome: None }
    }
}

impl Operation for Delete {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        let call = Call::new(RequestKind::Delete, Recipient::Endpoint(self.endpoint.take()?));
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        self.outcome = Some(match reply_of(outcome) {
            Ok(reply) if reply.class == Class::Done => Event::Done,
            // An earlier attempt may have deleted it, although no response arrived.
            Ok(reply) if reply.class == Class::Gone && reply.is_repeated => Event::Done,
            Ok(reply) => Event::Failed(reply.into_error()),
            Err(error) => Event::Failed(error),
        });
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.outcome.take().map(OpOutput::Event)
    }
}
