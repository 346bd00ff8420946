//! Counters of a run.

use std::collections::BTreeMap;

/// The number of occurrences of each kind of event.
pub type Counts = BTreeMap<&'static str, usize>;
