//! Exists: finds out whether a repository has a manifest or a blob.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{
    Admission, Call, Fetch, Fetched, OpOutput, Operation, Recipient, Reply, reply_of,
};
use crate::wire::endpoint::Endpoint;
use crate::wire::origin::Origin;
use crate::wire::status::{Class, RequestKind, get_decides};
use crate::wire::target::Target;

/// Finds out whether the registry has the content at an endpoint. No content is read.
#[derive(Debug)]
pub(crate) struct Exists {
    target: Arc<Target>,
    endpoint: Endpoint,
    next: Option<RequestKind>,
    /// The request that follows if the response to HEAD settles nothing.
    fallback: Option<RequestKind>,
    events: VecDeque<Event>,
}

impl Exists {
    pub(crate) fn manifest(target: Arc<Target>, endpoint: Endpoint) -> Self {
        Self::new(target, endpoint, RequestKind::HeadManifest, RequestKind::GetManifest)
    }

    pub(crate) fn blob(target: Arc<Target>, endpoint: Endpoint) -> Self {
        Self::new(target, endpoint, RequestKind::HeadBlob, RequestKind::GetBlob)
    }

    fn new(target: Arc<Target>, endpoint: Endpoint, head: RequestKind, get: RequestKind) -> Self {
        Self { target, endpoint, next: Some(head), fallback: Some(get), events: VecDeque::new() }
    }
}

impl Operation for Exists {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        let call = Call::new(self.next.take()?, Recipient::Endpoint(self.endpoint.clone()));
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        match reply_of(outcome).and_then(found) {
            Ok(found) => self.events.extend([Event::Exists(found), Event::Done]),
            Err(error) => match self.fallback.take().filter(|_| get_decides(error.cause())) {
                Some(get) => self.next = Some(get),
                None => self.events.push_back(Event::Failed(error)),
            },
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.events.pop_front().map(OpOutput::Event)
    }
}

/// Returns whether the registry has the content.
fn found(reply: Reply) -> Result<bool, Error> {
    if reply.class == Class::Content {
        return Ok(true);
    }
    let error = reply.into_error();
    if error.is_not_found() { Ok(false) } else { Err(error) }
}
