//! Walk: reports everything under a reference, in the order of the documents.

use std::sync::Arc;

use crate::config::Config;
use crate::error::Error;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::lookup::Lookup;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation, supply};
use crate::op::rooted::Rooted;
use crate::types::reference::Reference;
use crate::walker::node::{WalkOptions, WalkStep};
use crate::walker::walk::Walker;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Walks everything under a reference.
pub(crate) fn walk(
    target: Arc<Target>,
    reference: &Reference,
    options: WalkOptions,
    config: &Config,
) -> Rooted {
    let lookup = Lookup::new(target.clone(), reference, options.platform.as_ref(), true, config);
    let (limits, window) = (config.limits.clone(), config.limits.window());
    Rooted::new(lookup, move |root, manifest| {
        let mut walker = Walker::new(root, &options, &limits, window);
        if let Some(manifest) = manifest {
            walker.supply_root(manifest);
        }
        Box::new(Walk { target, walker })
    })
}

#[derive(Debug)]
struct Walk {
    target: Arc<Target>,
    walker: Walker,
}

impl Operation for Walk {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        let wanted = self.walker.want()?;
        Some(Admission::One(Fetch::described(&self.target, wanted.descriptor, Some(wanted.ticket))))
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        supply(&mut self.walker, fetch.ticket, outcome);
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        Some(OpOutput::Event(match self.walker.next_step() {
            Ok(WalkStep::Node(node)) => Event::Node(*node),
            Ok(WalkStep::Blocked) => return None,
            Ok(WalkStep::Finished) => Event::Done,
            Err(error) => Event::Failed(error),
        }))
    }
}
