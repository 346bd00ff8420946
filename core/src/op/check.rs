//! Check: fetches and verifies everything under a reference, and continues after a problem.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::error::fault::FaultKind;
use crate::error::{Cause, Error, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::location::Locations;
use crate::op::lookup::Lookup;
use crate::op::operation::{Admission, BlobFetch, Fetch, FetchKind, Fetched, OpOutput, Operation};
use crate::op::rooted::Rooted;
use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::check::Checker;
use crate::walker::descent::{Item, Role};
use crate::walker::finding::Problem;
use crate::walker::node::Ticket;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Checks everything under a reference.
pub(crate) fn check(
    target: Arc<Target>,
    reference: &Reference,
    platform: Option<&Platform>,
    config: &Config,
) -> Rooted {
    let lookup = Lookup::new(target.clone(), reference, platform, true, config);
    let limits = config.limits.clone();
    Rooted::new(lookup, move |root, manifest| Box::new(Check::new(target, root, manifest, &limits)))
}

#[derive(Debug)]
struct Check {
    target: Arc<Target>,
    checker: Checker,
    fetching: BTreeMap<Ticket, Item>,
    /// Fetches of blobs at their next location.
    fallbacks: Vec<Fetch>,
    next_ticket: u64,
    /// The error that ends the check.
    failure: Option<Error>,
}

impl Check {
    fn new(target: Arc<Target>, root: Descriptor, manifest: Option<Manifest>, limits: &Limits) -> Self {
        let mut checker = Checker::new(limits);
        checker.add_root(root);
        // The lookup may have read the root's document already.
        if let Some(manifest) = manifest
            && let Some(item) = checker.next_item()
        {
            checker.document(item, manifest.bytes().clone(), None);
        }
        let (fetching, fallbacks) = (BTreeMap::new(), Vec::new());
        Self { target, checker, fetching, fallbacks, next_ticket: 0, failure: None }
    }
}

impl Operation for Check {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        if let Some(fetch) = self.fallbacks.pop() {
            return Some(Admission::One(fetch));
        }
        let item = self.checker.next_item()?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let fetch = match item.role {
            Role::Document => Fetch::described(&self.target, item.descriptor.clone(), Some(ticket)),
            Role::Blob => {
                let Descriptor { digest, size, .. } = item.descriptor.clone();
                let blob = BlobFetch {
                    digest,
                    size: Some(size),
                    locations: Locations::of(&[], item.is_entry()),
                    resume: None,
                    feeds_from: None,
                    may_restart: true,
                    discard: true,
                    has_others: false,
                };
                Fetch {
                    target: self.target.clone(),
                    kind: FetchKind::Blob(Box::new(blob)),
                    ticket: Some(ticket),
                    is_search: false,
                }
            }
        };
        self.fetching.insert(ticket, item);
        Some(Admission::One(fetch))
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        if let (FetchKind::Blob(blob), Err(error)) = (&fetch.kind, &outcome)
            && let Some(next) = blob.fall_back(error)
        {
            self.fallbacks.push(Fetch { kind: FetchKind::Blob(Box::new(next)), ..fetch.clone() });
            return;
        }
        let Some(item) = fetch.ticket.and_then(|ticket| self.fetching.remove(&ticket)) else { return };
        let error = match outcome {
            Ok(Fetched::Manifest(_, manifest)) => {
                self.checker.document(item, manifest.bytes().clone(), None);
                return;
            }
            Ok(_) => return,
            Err(error) => error,
        };
        let problem = match error.cause() {
            _ if error.is_not_found() => Problem::Missing,
            Cause::Misbehaved(Misbehaviour::WrongDigest { .. }) => Problem::WrongContent,
            Cause::Misbehaved(
                Misbehaviour::WrongSize { .. } | Misbehaviour::TooLong { .. } | Misbehaviour::TooShort { .. },
            ) => Problem::WrongSize,
            Cause::Misbehaved(Misbehaviour::Manifest(_)) => Problem::Malformed,
            Cause::Misbehaved(_) | Cause::Answered(_) => Problem::Unreadable,
            Cause::Transport(fault) if matches!(fault.kind(), FaultKind::Reset | FaultKind::Timeout) => {
                Problem::Unreadable
            }
            Cause::Limit(_) => Problem::Limit,
            // Further requests to the registry would fail too.
            Cause::Transport(_) | Cause::Request(_) => {
                self.failure.get_or_insert(error);
                return;
            }
        };
        self.checker.wrong(item, problem, error);
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        if let Some(error) = self.failure.take() {
            return Some(OpOutput::Event(Event::Failed(error)));
        }
        if let Some(finding) = self.checker.next_finding() {
            return Some(OpOutput::Event(Event::Finding(finding)));
        }
        let over = self.fetching.is_empty() && !self.checker.has_items();
        over.then_some(OpOutput::Event(Event::Done))
    }
}
