//! What a session has learnt about the uploads that a registry accepts.

use std::collections::BTreeMap;

use crate::wire::origin::Origin;

/// The habits of the registries that a session has uploaded to.
#[derive(Debug, Default)]
pub(crate) struct Habits(BTreeMap<Origin, Habit>);

/// The uploads that one registry accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Habit {
    /// The maximum number of bytes in one request, if larger ones were refused.
    pub(crate) max_bytes: Option<u64>,
    /// Whether a blob may be sent in one request at all.
    pub(crate) takes_whole: bool,
    /// The minimum size of a chunk that is not the last one.
    pub(crate) min_chunk: u64,
}

impl Habits {
    /// The maximum number of registries that are remembered.
    const MAX: usize = 64;

    /// Returns the habit of a registry; of an unknown one, the specification's.
    pub(crate) fn of(&self, origin: &Origin) -> Habit {
        self.0.get(origin).copied().unwrap_or_default()
    }

    /// Notes the habit of a registry.
    pub(crate) fn note(&mut self, origin: &Origin, change: impl FnOnce(&mut Habit)) {
        if !self.0.contains_key(origin) && self.0.len() >= Self::MAX {
            self.0.pop_first();
        }
        change(self.0.entry(origin.clone()).or_default());
    }
}

impl Default for Habit {
    fn default() -> Self {
        Self { max_bytes: None, takes_whole: true, min_chunk: 0 }
    }
}
