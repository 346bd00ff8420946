//! Who was lied to, and how much passing trouble each request had: what has to go well, and what need not.

use std::collections::{BTreeMap, BTreeSet};

use oci_proto::OpId;

/// Tells operations that have to go well from those that need not.
#[derive(Debug)]
pub(super) struct Accounts {
    /// The most failures of one request: with one more its tries would be used up.
    most: u32,
    /// How often something passing happened to the requests for something.
    charged: BTreeMap<(Option<OpId>, usize, String), u32>,
    /// Operations that were told something wrong.
    wrong: BTreeSet<OpId>,
    /// Registries whose tokens or logins are not in order.
    wrong_registries: BTreeSet<usize>,
}

impl Accounts {
    pub(super) fn new(tries: u32) -> Self {
        Self {
            most: tries.saturating_sub(1),
            charged: BTreeMap::new(),
            wrong: BTreeSet::new(),
            wrong_registries: BTreeSet::new(),
        }
    }

    /// Lets a failure happen that passes, if there is a try left after it.
    pub(super) fn charge(&mut self, op: Option<OpId>, registry: usize, name: &str) -> bool {
        // All requests for tokens of one registry may be one.
        let name = if op.is_some() { name } else { "" };
        let charged = self.charged.entry((op, registry, name.to_owned())).or_default();
        let affords = *charged < self.most;
        *charged += u32::from(affords);
        affords
    }

    pub(super) fn wrong(&mut self, op: OpId) {
        self.wrong.insert(op);
    }

    pub(super) fn wrong_of_registry(&mut self, registry: usize) {
        self.wrong_registries.insert(registry);
    }

    /// Whether the operation was told the truth, but for what passes.
    pub(super) fn is_right(&self, op: OpId, registry: usize) -> bool {
        !self.wrong.contains(&op) && !self.wrong_registries.contains(&registry)
    }
}
