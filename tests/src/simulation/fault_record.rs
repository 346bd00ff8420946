//! Records the wrong responses and transient failures, to tell which operations must succeed.

use std::collections::{BTreeMap, BTreeSet};

use oci_proto::OpId;

/// Tells operations that must succeed from those that may fail.
#[derive(Debug)]
pub(super) struct FaultRecord {
    /// The maximum number of failures of a request: one more would exhaust its attempts.
    most: u32,
    /// The number of transient failures for each target.
    charged: BTreeMap<(Option<OpId>, usize, String), u32>,
    /// Operations that received a wrong response.
    wrong: BTreeSet<OpId>,
    /// Registries with invalid tokens or credentials.
    wrong_registries: BTreeSet<usize>,
}

impl FaultRecord {
    pub(super) fn new(tries: u32) -> Self {
        Self {
            most: tries.saturating_sub(1),
            charged: BTreeMap::new(),
            wrong: BTreeSet::new(),
            wrong_registries: BTreeSet::new(),
        }
    }

    /// Injects a transient failure, if an attempt is left after it.
    pub(super) fn charge(&mut self, op: Option<OpId>, registry: usize, name: &str) -> bool {
        // All token requests of a registry may be the same one.
        let name = if op.is_some() { name } else { "" };
        self.charge_up_to(self.most, op, registry, name)
    }

    /// Injects a transient failure of an upload, if the operation can afford it. All uploads of an operation may be
    /// the same one, and the request for the status that follows may show that another attempt is needed.
    pub(super) fn charge_upload(&mut self, op: OpId, registry: usize) -> bool {
        self.charge_up_to(self.most / 2, Some(op), registry, "uploads")
    }

    /// Lets a token of the registry expire early. The 401 responses to a request are limited.
    pub(super) fn charge_expiry(&mut self, registry: usize) -> bool {
        self.charge_up_to(1, None, registry, "expiry")
    }

    fn charge_up_to(&mut self, most: u32, op: Option<OpId>, registry: usize, name: &str) -> bool {
        let charged = self.charged.entry((op, registry, name.to_owned())).or_default();
        let affords = *charged < most;
        *charged += u32::from(affords);
        affords
    }

    pub(super) fn wrong(&mut self, op: OpId) {
        self.wrong.insert(op);
    }

    pub(super) fn wrong_of_registry(&mut self, registry: usize) {
        self.wrong_registries.insert(registry);
    }

    /// Whether the operation received correct responses only, apart from transient failures.
    pub(super) fn is_right(&self, op: OpId, registry: usize) -> bool {
        !self.wrong.contains(&op) && !self.wrong_registries.contains(&registry)
    }
}
