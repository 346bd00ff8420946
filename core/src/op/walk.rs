//! Walk: everything under a reference, in the order of the documents.

use crate::error::Error;
use crate::limits::Limits;
use crate::op::event::Event;
use crate::op::lookup::Lookup;
use crate::op::{Fetch, Fetched};
use crate::types::reference::Reference;
use crate::walker::node::{Ticket, WalkOptions, WalkStep};
use crate::walker::walk::Walker;

#[derive(Debug)]
pub(crate) struct Walk {
    options: WalkOptions,
    limits: Limits,
    window: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Finds the root.
    Lookup(Lookup),
    Walker(Walker),
}

impl Walk {
    pub(crate) fn new(reference: &Reference, options: WalkOptions, limits: &Limits, window: usize) -> Self {
        let lookup = Lookup::new(reference, options.platform.as_ref(), true, limits, window);
        Self { options, limits: limits.clone(), window, state: State::Lookup(lookup) }
    }

    pub(super) fn next_fetch(&mut self) -> Option<Fetch> {
        match &mut self.state {
            State::Lookup(lookup) => lookup.next_fetch(),
            State::Walker(tree) => {
                let wanted = tree.want()?;
                Some(Fetch::described(wanted.descriptor, Some(wanted.ticket)))
            }
        }
    }

    pub(super) fn settle(&mut self, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
        match &mut self.state {
            State::Lookup(lookup) => lookup.settle(ticket, outcome),
            State::Walker(tree) => tree.take(ticket, outcome),
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        match &mut self.state {
            State::Lookup(lookup) => match lookup.take_found()? {
                Ok((descriptor, manifest)) => {
                    let mut tree = Walker::new(descriptor.clone(), &self.options, &self.limits, self.window);
                    if let Some(manifest) = manifest {
                        tree.supply_root(manifest);
                    }
                    self.state = State::Walker(tree);
                    Some(Event::Resolved(descriptor))
                }
                Err(error) => Some(Event::Failed(error)),
            },
            State::Walker(tree) => match tree.next_step() {
                Ok(WalkStep::Node(node)) => Some(Event::Node(*node)),
                Ok(WalkStep::Blocked) => None,
                Ok(WalkStep::Finished) => Some(Event::Done),
                Err(error) => Some(Event::Failed(error)),
            },
        }
    }
}

impl Walker {
    /// Takes the outcome of a fetch that the tree wanted.
    pub(super) fn take(&mut self, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
        let Some(ticket) = ticket else { return };
        match outcome {
            Ok(Fetched::Manifest(_, manifest)) => self.supply_manifest(ticket, manifest),
            Ok(Fetched::Head(_) | Fetched::Blob) => {}
            Err(error) if error.is_not_found() => self.supply_missing(ticket),
            Err(error) => self.supply_error(ticket, error),
        }
    }
}
