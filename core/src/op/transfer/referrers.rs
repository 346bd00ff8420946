//! The referrers of the documents of a tree, which are copied after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::Error;
use crate::limits::Limits;
use crate::op::operation::{Call, Reply};
use crate::op::referrers::ReferrersList;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::types::reference::name::Repository;
use crate::wire::list::referrers::Referrer;

/// The referrers that are found at the source of a copy.
#[derive(Debug, Default)]
pub(super) struct Referrers {
    /// The lists that are being read, by their subjects.
    lists: BTreeMap<Digest, ReferrersList>,
    /// The subjects of the lists that may have a request.
    runnable: VecDeque<Digest>,
    /// All that were found.
    found: BTreeSet<Digest>,
    /// Those that are yet to be walked.
    next: VecDeque<Descriptor>,
}

impl Referrers {
    /// Begins to list the referrers of a document.
    pub(super) fn list(&mut self, repository: Repository, subject: &Digest, limits: &Limits) {
        let list = ReferrersList::new(repository, subject.clone(), None, limits);
        self.lists.insert(subject.clone(), list);
        self.runnable.push_back(subject.clone());
    }

    /// Returns the next request, if there is one. The subject is its content.
    pub(super) fn next_call(&mut self) -> Option<Call> {
        let subject = self.runnable.pop_front()?;
        let call = self.lists.get_mut(&subject)?.next_call()?;
        Some(Call { content: Some(subject), ..call })
    }

    /// Takes a page of the referrers of a subject. Returns those that cannot be walked, since their type is not known.
    pub(super) fn settle(
        &mut self,
        subject: &Digest,
        outcome: Result<Reply, Error>,
        limits: &Limits,
    ) -> Result<Vec<Descriptor>, Error> {
        let Some(list) = self.lists.get_mut(subject) else { return Ok(Vec::new()) };
        let (referrers, settled) = list.settle(outcome?);
        settled?;
        if list.is_over() {
            self.lists.remove(subject);
        } else {
            self.runnable.push_back(subject.clone());
        }
        let mut unknown = Vec::new();
        for Referrer { descriptor, .. } in referrers {
            // The walk fails beyond that.
            let has_room = self.found.len() as u64 <= limits.walk_nodes;
            if !has_room || !self.found.insert(descriptor.digest.clone()) {
                continue;
            }
            if descriptor.media_type.kind() == Kind::Other {
                unknown.push(descriptor);
            } else {
                self.next.push_back(descriptor);
            }
        }
        Ok(unknown)
    }

    /// Takes the next referrer to walk.
    pub(super) fn next(&mut self) -> Option<Descriptor> {
        self.next.pop_front()
    }

    /// Returns whether more may be found in the lists that are being read.
    pub(super) fn are_being_listed(&self) -> bool {
        !self.lists.is_empty()
    }
}
