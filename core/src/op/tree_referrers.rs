//! The referrers of the documents of a tree, which are walked after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{Cause, Error, LimitExceeded, Misbehaviour};
use crate::limits::Limits;
use crate::op::operation::{Call, OpOutput, Reply};
use crate::op::order::Order;
use crate::op::referrers::ReferrersList;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::types::reference::name::Repository;
use crate::walker::walk::Walker;
use crate::wire::list::referrers::Referrer;

/// The referrers of a tree and, in turn, their referrers.
///
/// A list is a hint: what it names is walked even if its subject is another one, and verified by its digest.
#[derive(Debug)]
pub(crate) struct TreeReferrers {
    source: ReferrersSource,
    limits: Limits,
    /// The lists that are being read, by their subjects.
    lists: BTreeMap<Digest, ReferrersList>,
    /// The subjects of the lists that may have a request.
    runnable: VecDeque<Digest>,
    /// The subjects whose referrers the driver was asked for.
    asked: BTreeSet<Digest>,
    /// All that were found.
    found: BTreeSet<Digest>,
    /// Those that are yet to be walked.
    next: VecDeque<Descriptor>,
    /// The one that is being walked.
    walked: Option<Digest>,
}

/// Where the referrers of a document are listed.
#[derive(Debug)]
pub(crate) enum ReferrersSource {
    /// Referrers are not wanted.
    Nowhere,
    Registry(Repository),
    Driver,
}

/// Referrers that no list had before.
#[derive(Debug, Default)]
pub(crate) struct NewReferrers {
    /// Those that are going to be walked.
    pub(crate) walked: Vec<Referrer>,
    /// Those that cannot be walked, since their type is not known.
    pub(crate) unknown: Vec<Descriptor>,
}

/// What follows the end of a walk.
#[derive(Debug)]
pub(crate) enum AfterWalk {
    /// The walk continues at a referrer.
    Referrer,
    /// More referrers may be listed.
    Blocked,
    Nothing,
}

impl TreeReferrers {
    pub(crate) fn new(source: ReferrersSource, limits: &Limits) -> Self {
        Self {
            source,
            limits: limits.clone(),
            lists: BTreeMap::new(),
            runnable: VecDeque::new(),
            asked: BTreeSet::new(),
            found: BTreeSet::new(),
            next: VecDeque::new(),
            walked: None,
        }
    }

    /// Begins to list the referrers of a document. Returns the question to the driver, if it has them.
    pub(crate) fn list(&mut self, subject: &Descriptor) -> Option<OpOutput> {
        let digest = subject.digest.clone();
        match &self.source {
            ReferrersSource::Nowhere => None,
            ReferrersSource::Registry(repository) => {
                let list = ReferrersList::new(repository.clone(), digest.clone(), None, &self.limits);
                self.lists.insert(digest.clone(), list);
                self.runnable.push_back(digest);
                None
            }
            ReferrersSource::Driver => {
                self.asked.insert(digest);
                Some(OpOutput::Referrers(Descriptor { data: None, ..subject.clone() }))
            }
        }
    }

    /// Returns the next request, if there is one. The subject is its content.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        let subject = self.runnable.pop_front()?;
        let call = self.lists.get_mut(&subject)?.next_call()?;
        Some(Call { content: Some(subject), ..call })
    }

    /// Takes a page of the referrers of a subject.
    pub(crate) fn settle(
        &mut self,
        subject: &Digest,
        outcome: Result<Reply, Error>,
    ) -> Result<NewReferrers, Error> {
        let Some(list) = self.lists.get_mut(subject) else { return Ok(NewReferrers::default()) };
        let (referrers, settled) = list.settle(outcome?);
        settled?;
        if list.is_over() {
            self.lists.remove(subject);
        } else {
            self.runnable.push_back(subject.clone());
        }
        self.take(referrers)
    }

    /// Takes the referrers of a subject that the driver has.
    pub(crate) fn answered(
        &mut self,
        subject: &Digest,
        referrers: Vec<Descriptor>,
    ) -> Result<NewReferrers, Error> {
        if !self.asked.remove(subject) {
            return Ok(NewReferrers::default());
        }
        self.take(
            referrers.into_iter().map(|descriptor| Referrer { descriptor, annotations: BTreeMap::new() }),
        )
    }

    fn take(&mut self, referrers: impl IntoIterator<Item = Referrer>) -> Result<NewReferrers, Error> {
        let mut new = NewReferrers::default();
        for referrer in referrers {
            let descriptor = &referrer.descriptor;
            if !self.found.insert(descriptor.digest.clone()) {
                continue;
            }
            // Those that cannot be walked count, too.
            if self.found.len() as u64 > self.limits.walk_nodes {
                let exceeded = LimitExceeded::WalkNodes(self.limits.walk_nodes);
                return Err(Error::of_document(&descriptor.digest, exceeded));
            }
            if descriptor.media_type.kind() == Kind::Other {
                new.unknown.push(Descriptor { data: None, ..referrer.descriptor });
            } else {
                self.next.push_back(descriptor.clone());
                new.walked.push(referrer);
            }
        }
        Ok(new)
    }

    /// Returns the error of a walk, which differs if it is the current referrer that is missing.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match error.cause() {
            Cause::Misbehaved(Misbehaviour::Missing(missing)) if self.walked.as_ref() == Some(missing) => {
                Error::new(Misbehaviour::MissingReferrer(missing.clone()))
            }
            _ => error,
        }
    }

    /// Continues a walk that has finished at the next referrer. The held root of the tree waits for each one, and is
    /// released after the last.
    pub(crate) fn continue_walk(&mut self, walker: &mut Walker, order: &mut Order) -> AfterWalk {
        order.finish();
        if let Some(referrer) = self.walked.take() {
            order.hold_for(&referrer);
        }
        if let Some(referrer) = self.next.pop_front() {
            self.walked = Some(referrer.digest.clone());
            walker.continue_at(referrer);
            AfterWalk::Referrer
        } else if !self.lists.is_empty() || !self.asked.is_empty() {
            AfterWalk::Blocked
        } else {
            order.release();
            AfterWalk::Nothing
        }
    }
}
