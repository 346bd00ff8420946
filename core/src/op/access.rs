//! Access: finds out whether a registry accepts the client and its login.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, Call, Fetch, Fetched, OpOutput, Operation, Recipient, reply_of};
use crate::wire::endpoint::Endpoint;
use crate::wire::origin::Origin;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// Sends the API version check, to which a registry responds only after it has accepted the login.
#[derive(Debug)]
pub(crate) struct Access {
    target: Arc<Target>,
    next: Option<RequestKind>,
    events: VecDeque<Event>,
}

impl Access {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, next: Some(RequestKind::CheckVersion), events: VecDeque::new() }
    }
}

impl Operation for Access {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        let call = Call::new(self.next.take()?, Recipient::Endpoint(Endpoint::Version));
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        match reply_of(outcome) {
            Ok(reply) if reply.class == Class::Content => {
                self.events.extend([Event::Accepted { with_login: reply.with_login }, Event::Done]);
            }
            Ok(reply) => self.events.push_back(Event::Failed(reply.into_error())),
            Err(error) => self.events.push_back(Event::Failed(error)),
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.events.pop_front().map(OpOutput::Event)
    }
}
