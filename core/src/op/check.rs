//! Check: everything under a reference, fetched and verified, whatever is wrong with the rest.

use std::collections::{BTreeMap, VecDeque};

use crate::error::fault::FaultKind;
use crate::error::{Cause, Error, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::event::Event;
use crate::op::lookup::Lookup;
use crate::op::{At, BlobFetch, Fetch, Fetched, What};
use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::check::{Checker, Item, Role};
use crate::walker::finding::Problem;
use crate::walker::node::Ticket;

#[derive(Debug)]
pub(crate) struct Check {
    limits: Limits,
    events: VecDeque<Event>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Finds the root.
    Lookup(Box<Lookup>),
    Auditing(Box<Auditing>),
}

#[derive(Debug)]
struct Auditing {
    audit: Checker,
    fetching: BTreeMap<Ticket, Item>,
    next_ticket: u64,
    is_over: bool,
}

impl Check {
    pub(crate) fn new(
        reference: &Reference,
        platform: Option<&Platform>,
        limits: &Limits,
        window: usize,
    ) -> Self {
        let lookup = Lookup::new(reference, platform, true, limits, window);
        Self { limits: limits.clone(), events: VecDeque::new(), state: State::Lookup(Box::new(lookup)) }
    }

    pub(super) fn next_fetch(&mut self) -> Option<Fetch> {
        match &mut self.state {
            State::Lookup(lookup) => lookup.next_fetch(),
            State::Auditing(auditing) => auditing.next_fetch(),
        }
    }

    pub(super) fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>) {
        match &mut self.state {
            State::Lookup(lookup) => lookup.settle(fetch.ticket, outcome),
            State::Auditing(auditing) => {
                if let Err(error) = auditing.settle(fetch, outcome) {
                    self.events.push_back(Event::Failed(error));
                }
            }
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            match &mut self.state {
                State::Lookup(lookup) => match lookup.take_found()? {
                    Ok((root, manifest)) => {
                        self.events.push_back(Event::Resolved(root.clone()));
                        let auditing = Auditing::new(root, manifest, &self.limits);
                        self.state = State::Auditing(Box::new(auditing));
                    }
                    Err(error) => self.events.push_back(Event::Failed(error)),
                },
                State::Auditing(auditing) => return auditing.next_event(),
            }
        }
        self.events.pop_front()
    }
}

impl Auditing {
    fn new(root: Descriptor, manifest: Option<Manifest>, limits: &Limits) -> Self {
        let mut audit = Checker::new(limits);
        audit.add_root(root);
        // The root's document was read to find it.
        if let Some(manifest) = manifest
            && let Some(item) = audit.next_item()
        {
            audit.document(item, manifest.bytes().clone(), None);
        }
        Self { audit, fetching: BTreeMap::new(), next_ticket: 0, is_over: false }
    }

    fn next_fetch(&mut self) -> Option<Fetch> {
        let item = self.audit.next_item()?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let fetch = match item.role {
            Role::Document => Fetch::described(item.descriptor.clone(), Some(ticket)),
            Role::Blob => {
                let Descriptor { digest, size, .. } = item.descriptor.clone();
                // What an index names is a manifest to a registry, whatever its type, and sometimes a blob.
                let (at, or_at) = if item.is_entry() {
                    (At::Manifests, VecDeque::from([At::Blobs]))
                } else {
                    (At::Blobs, VecDeque::new())
                };
                let blob = BlobFetch { digest, size: Some(size), at, or_at, had: None, discard: true };
                Fetch { what: What::Blob(Box::new(blob)), ticket: Some(ticket) }
            }
        };
        self.fetching.insert(ticket, item);
        Some(fetch)
    }

    /// Takes the outcome of a fetch; fails where the registry cannot be asked any more.
    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>) -> Result<(), Error> {
        let Some(item) = fetch.ticket.and_then(|ticket| self.fetching.remove(&ticket)) else { return Ok(()) };
        let error = match outcome {
            Ok(Fetched::Manifest(_, manifest)) => {
                self.audit.document(item, manifest.bytes().clone(), None);
                return Ok(());
            }
            Ok(_) => return Ok(()),
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
            // The registry cannot be asked any more.
            Cause::Transport(_) | Cause::Request(_) => return Err(error),
        };
        self.audit.wrong(item, problem, error);
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(finding) = self.audit.next_finding() {
            return Some(Event::Finding(finding));
        }
        let over = self.fetching.is_empty() && !self.audit.has_items();
        (over && !std::mem::replace(&mut self.is_over, true)).then_some(Event::Done)
    }
}
