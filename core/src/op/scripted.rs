//! Sends the requests of a script, for tests of drivers until an operation sends payloads.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{
    Admission, BlobFetch, BlobLocation, Call, Fetch, FetchKind, Fetched, OpOutput, Operation, Recipient,
};
use crate::types::digest::Digest;
use crate::types::id::OpId;
use crate::wire::endpoint::{Begin, Endpoint};
use crate::wire::origin::Origin;
use crate::wire::request::{Payload, Source};
use crate::wire::status::RequestKind;
use crate::wire::target::Target;

/// One step of a script.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "tests construct it")]
pub enum ScriptStep {
    /// Uploads this content with a PUT under `blobs/uploads/`, from the operation's source.
    Put {
        /// The content's digest.
        digest: Digest,
        /// The content's size in bytes.
        size: u64,
    },
    /// Sends a GET and a PUT of this blob together.
    Copy {
        /// The content's digest.
        digest: Digest,
        /// The content's size in bytes.
        size: u64,
    },
}

/// Sends the requests of a script, and ends when all of them are settled.
#[derive(Debug)]
pub(crate) struct Scripted {
    id: OpId,
    /// The source and the destination.
    targets: [Arc<Target>; 2],
    steps: VecDeque<ScriptStep>,
    in_flight: usize,
    outcome: Option<Event>,
}

impl Scripted {
    pub(crate) fn new(id: OpId, from: Arc<Target>, to: Arc<Target>, steps: Vec<ScriptStep>) -> Self {
        let outcome = steps.is_empty().then_some(Event::Done);
        Self { id, targets: [from, to], steps: steps.into(), in_flight: 0, outcome }
    }

    fn put(&self, digest: Digest, size: u64) -> Fetch {
        let [_, to] = &self.targets;
        let endpoint = Endpoint::Uploads(to.repository.clone(), Begin::Whole(digest.clone()));
        let payload = Payload::Source(Source { op: self.id, digest, size, start: 0, range: 0..size });
        let call = Call::new(RequestKind::PutWhole, Recipient::Endpoint(endpoint));
        Call { payload, ..call }.at(to, None)
    }

    fn get(&self, digest: Digest, size: u64) -> Fetch {
        let [from, _] = &self.targets;
        let blob = BlobFetch {
            digest,
            size: Some(size),
            location: BlobLocation::Blobs,
            fallbacks: VecDeque::new(),
            resume: None,
            may_restart: false,
            discard: false,
        };
        Fetch { target: from.clone(), kind: FetchKind::Blob(Box::new(blob)), ticket: None, is_search: false }
    }
}

impl Operation for Scripted {
    fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    fn next_fetch(&mut self, origin: &Origin, _: &Habits) -> Option<Admission> {
        let [from, to] = &self.targets;
        let at = match self.steps.front()? {
            ScriptStep::Put { .. } => to,
            ScriptStep::Copy { .. } => from,
        };
        if at.origin != *origin {
            return None;
        }
        Some(match self.steps.pop_front()? {
            ScriptStep::Put { digest, size } => {
                self.in_flight += 1;
                Admission::One(self.put(digest, size))
            }
            ScriptStep::Copy { digest, size } => {
                self.in_flight += 2;
                Admission::Pair(Box::new((self.get(digest.clone(), size), self.put(digest, size))))
            }
        })
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Err(error) => self.outcome = Some(Event::Failed(error)),
            Ok(Fetched::Reply(reply)) if reply.error.is_some() => {
                self.outcome = Some(Event::Failed(reply.into_error()));
            }
            Ok(_) if self.in_flight == 0 && self.steps.is_empty() => self.outcome = Some(Event::Done),
            Ok(_) => {}
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.outcome.take().map(OpOutput::Event)
    }
}
