//! Sends the requests of a script, for tests of drivers until an operation sends payloads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use http::Uri;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{
    Admission, BlobFetch, BlobLocation, Call, Failed, Fetch, FetchKind, Fetched, OpOutput, Operation,
    Recipient, Reply,
};
use crate::types::digest::Digest;
use crate::types::id::OpId;
use crate::wire::endpoint::{Begin, Endpoint};
use crate::wire::origin::Origin;
use crate::wire::request::{Payload, Source};
use crate::wire::status::{Class, RequestKind};
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
    /// Copies to send again.
    again: VecDeque<Again>,
    /// The copies in progress, and whether their GET is too.
    copies: BTreeMap<Digest, bool>,
    in_flight: usize,
    /// The number of copies that were sent again.
    repeated: u32,
    outcome: Option<Event>,
}

/// A copy to send again, since its PUT was not processed.
#[derive(Debug)]
struct Again {
    digest: Digest,
    size: u64,
    /// The target of a redirect.
    to: Option<Uri>,
    after: Option<Failed>,
}

impl Scripted {
    pub(crate) fn new(id: OpId, from: Arc<Target>, to: Arc<Target>, steps: Vec<ScriptStep>) -> Self {
        let outcome = steps.is_empty().then_some(Event::Done);
        Self {
            id,
            targets: [from, to],
            steps: steps.into(),
            again: VecDeque::new(),
            copies: BTreeMap::new(),
            in_flight: 0,
            repeated: 0,
            outcome,
        }
    }

    fn copy(&mut self, again: Again) -> Option<Admission> {
        self.in_flight += 2;
        self.copies.insert(again.digest.clone(), true);
        let get = self.get(again.digest.clone(), again.size);
        Some(Admission::Pair(Box::new((get, self.put(again)?))))
    }

    fn put(&self, Again { digest, size, to: url, after }: Again) -> Option<Fetch> {
        let [_, to] = &self.targets;
        let endpoint = Endpoint::Uploads(to.repository.clone()?, Begin::Whole(digest.clone()));
        let payload = Payload::Source(Source { op: self.id, digest, size, start: 0, range: 0..size });
        let recipient = url.map_or(Recipient::Endpoint(endpoint), Recipient::Url);
        Some(Call { payload, after, ..Call::new(RequestKind::PutWhole, recipient) }.at(to, None))
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

impl Scripted {
    const MAX_REPEATED: u32 = 500;

    /// Takes the response to a PUT. A copy whose PUT was not processed is sent again: the session has stopped
    /// its GET.
    fn replied(&mut self, fetch: &Fetch, reply: Reply) {
        let Some(Payload::Source(source)) = fetch.call().map(|call| &call.payload) else { return };
        let (digest, size) = (source.digest.clone(), source.size);
        if reply.class == Class::Done {
            return;
        }
        let is_repeatable = matches!(reply.class, Class::Trouble | Class::Redirect | Class::Challenge);
        let Some(reads) =
            self.copies.remove(&digest).filter(|_| is_repeatable && self.repeated < Self::MAX_REPEATED)
        else {
            self.outcome = Some(Event::Failed(reply.into_error()));
            return;
        };
        self.repeated += 1;
        self.in_flight = self.in_flight.saturating_sub(usize::from(reads));
        let to = (reply.class == Class::Redirect).then(|| reply.url.clone());
        let count = u32::from(reply.class == Class::Trouble);
        let after = reply.error.map(|error| Failed { error, count });
        self.again.push_back(Again { digest, size, to, after });
    }
}

impl Operation for Scripted {
    fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    fn next_fetch(&mut self, origin: &Origin, _: &Habits) -> Option<Admission> {
        let [from, to] = &self.targets;
        if from.origin == *origin
            && let Some(again) = self.again.pop_front()
        {
            return self.copy(again);
        }
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
                Admission::One(self.put(Again { digest, size, to: None, after: None })?)
            }
            ScriptStep::Copy { digest, size } => self.copy(Again { digest, size, to: None, after: None })?,
        })
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Err(error) => self.outcome = Some(Event::Failed(error)),
            Ok(Fetched::Reply(reply)) => self.replied(fetch, *reply),
            Ok(_) => {
                if let FetchKind::Blob(blob) = &fetch.kind {
                    self.copies.insert(blob.digest.clone(), false);
                }
            }
        }
        let is_over = self.in_flight == 0 && self.steps.is_empty() && self.again.is_empty();
        if is_over && self.outcome.is_none() {
            self.outcome = Some(Event::Done);
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.outcome.take().map(OpOutput::Event)
    }
}
