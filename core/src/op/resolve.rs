//! Resolve and manifest: what a reference names, and its bytes where they are wanted.

use std::collections::VecDeque;

use crate::limits::Limits;
use crate::op::event::Event;
use crate::op::lookup::Lookup;
use crate::types::platform::Platform;
use crate::types::reference::Reference;

#[derive(Debug)]
pub(crate) struct Resolve {
    pub(super) lookup: Lookup,
    wants_manifest: bool,
    events: VecDeque<Event>,
}

impl Resolve {
    pub(crate) fn new(
        reference: &Reference,
        platform: Option<&Platform>,
        wants_manifest: bool,
        limits: &Limits,
        window: usize,
    ) -> Self {
        let lookup = Lookup::new(reference, platform, wants_manifest, limits, window);
        Self { lookup, wants_manifest, events: VecDeque::new() }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        match self.lookup.take_found() {
            Some(Ok((descriptor, manifest))) => {
                self.events.push_back(Event::Resolved(descriptor.clone()));
                if let Some(manifest) = manifest.filter(|_| self.wants_manifest) {
                    self.events.push_back(Event::Manifest(descriptor, manifest));
                }
                self.events.push_back(Event::Done);
            }
            Some(Err(error)) => self.events.push_back(Event::Failed(error)),
            None => {}
        }
        self.events.pop_front()
    }
}
