//! The first step of most operations: resolve the root, then continue from it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

use crate::error::{Error, Misbehaviour};
use crate::manifest::Manifest;
use crate::op::ask::Held;
use crate::op::deliver::Deliver;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::lookup::Lookup;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Resolves a reference, reports [`Event::Resolved`], and becomes the operation that `then` creates from
/// the root, and from its manifest if the lookup has read it.
pub(crate) struct Rooted {
    state: State,
    /// All repositories that it may address.
    targets: Vec<Arc<Target>>,
}

type Then = Box<dyn FnOnce(Descriptor, Option<Manifest>) -> Box<dyn Operation> + Send + Sync>;

enum State {
    Lookup(Box<Lookup>, Option<Then>),
    Found(Box<dyn Operation>),
}

impl Rooted {
    pub(crate) fn new(
        lookup: Lookup,
        then: impl FnOnce(Descriptor, Option<Manifest>) -> Box<dyn Operation> + Send + Sync + 'static,
    ) -> Self {
        let targets = vec![lookup.target().clone()];
        Self { state: State::Lookup(Box::new(lookup), Some(Box::new(then))), targets }
    }

    /// Creates one for an operation that needs the manifest. The lookup must be one that reads it.
    pub(crate) fn with_manifest(
        lookup: Lookup,
        then: impl FnOnce(Descriptor, Manifest) -> Box<dyn Operation> + Send + Sync + 'static,
    ) -> Self {
        Self::new(lookup, move |root, manifest| match manifest {
            Some(manifest) => then(root, manifest),
            None => Box::new(Deliver::failed(Error::new(Misbehaviour::Unexpected))),
        })
    }

    /// Sets the repositories, if the operation that follows addresses more than that of the lookup.
    pub(crate) fn with_targets(self, targets: Vec<Arc<Target>>) -> Self {
        Self { targets, ..self }
    }
}

impl Operation for Rooted {
    fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    fn next_fetch(&mut self, origin: &Origin, habits: &Habits) -> Option<Admission> {
        match &mut self.state {
            State::Lookup(lookup, _) => lookup.next_fetch().map(Admission::One),
            State::Found(op) => op.next_fetch(origin, habits),
        }
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, habits: &mut Habits) {
        match &mut self.state {
            State::Lookup(lookup, _) => lookup.settle(fetch, outcome),
            // The operation numbers its own fetches.
            State::Found(_) if fetch.is_search => {}
            State::Found(op) => op.settle(fetch, outcome, habits),
        }
    }

    fn next_attempt(&mut self, settled: &Fetch, habits: &Habits) -> Option<Admission> {
        match &mut self.state {
            State::Found(op) if !settled.is_search => op.next_attempt(settled, habits),
            State::Lookup(..) | State::Found(_) => None,
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        let (lookup, then) = match &mut self.state {
            State::Lookup(lookup, then) => (lookup, then),
            State::Found(op) => return op.next_output(),
        };
        Some(OpOutput::Event(match lookup.take_found()? {
            Ok((root, manifest)) => {
                // The lookup returns its result once.
                let op = then.take()?(root.clone(), manifest);
                self.state = State::Found(op);
                Event::Resolved(root)
            }
            Err(error) => Event::Failed(error),
        }))
    }

    fn held(&mut self, descriptor: &Descriptor, held: Held) {
        if let State::Found(op) = &mut self.state {
            op.held(descriptor, held);
        }
    }

    fn stored(&mut self, digest: &Digest) {
        if let State::Found(op) = &mut self.state {
            op.stored(digest);
        }
    }

    fn document(&mut self, descriptor: &Descriptor, bytes: Bytes) {
        if let State::Found(op) = &mut self.state {
            op.document(descriptor, bytes);
        }
    }

    fn referrers(&mut self, subject: &Descriptor, referrers: Vec<Descriptor>) {
        if let State::Found(op) = &mut self.state {
            op.referrers(subject, referrers);
        }
    }

    fn open_uploads(&self) -> Vec<(Arc<Target>, Uri)> {
        match &self.state {
            State::Lookup(..) => Vec::new(),
            State::Found(op) => op.open_uploads(),
        }
    }
}

impl fmt::Debug for Rooted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Lookup(lookup, _) => f.debug_tuple("Rooted").field(lookup).finish(),
            State::Found(op) => op.fmt(f),
        }
    }
}
