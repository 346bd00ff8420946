//! The limits on the tree below a root.

use crate::error::LimitExceeded;
use crate::limits::Limits;

/// The limits on depth, on the size of each document and of all documents, and on the number of nodes.
#[derive(Debug)]
pub(super) struct Budget {
    depth: u32,
    document_bytes: u64,
    total_bytes: u64,
    nodes: u64,
    spent_bytes: u64,
    spent_nodes: u64,
}

/// The limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverBudget {
    /// A document is more than this many levels below its root.
    Depth(u32),
    /// A document has more than this many bytes.
    DocumentBytes(u64),
    /// With this document, all documents have more than this many bytes.
    TotalBytes(u64),
    /// There are more than this many nodes.
    Nodes(u64),
}

impl From<OverBudget> for LimitExceeded {
    fn from(over: OverBudget) -> Self {
        match over {
            OverBudget::Depth(limit) => Self::WalkDepth(limit),
            OverBudget::DocumentBytes(limit) => Self::ManifestBytes(limit),
            OverBudget::TotalBytes(limit) => Self::WalkBytes(limit),
            OverBudget::Nodes(limit) => Self::WalkNodes(limit),
        }
    }
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            depth: limits.walk_depth,
            document_bytes: limits.manifest_bytes,
            total_bytes: limits.walk_bytes,
            nodes: limits.walk_nodes,
            spent_bytes: 0,
            spent_nodes: 0,
        }
    }

    /// Checks whether another document of this size at this depth is within the limits.
    pub(super) fn allows_document(&self, size: u64, depth: u64) -> Result<(), OverBudget> {
        if depth > u64::from(self.depth) {
            Err(OverBudget::Depth(self.depth))
        } else if size > self.document_bytes {
            Err(OverBudget::DocumentBytes(self.document_bytes))
        } else if self.spent_bytes.saturating_add(size) > self.total_bytes {
            Err(OverBudget::TotalBytes(self.total_bytes))
        } else {
            Ok(())
        }
    }

    /// Counts a document of this size.
    pub(super) fn spend_bytes(&mut self, size: u64) {
        self.spent_bytes = self.spent_bytes.saturating_add(size);
    }

    /// Checks whether another node is within the limits.
    pub(super) fn allows_node(&self) -> Result<(), OverBudget> {
        if self.spent_nodes < self.nodes { Ok(()) } else { Err(OverBudget::Nodes(self.nodes)) }
    }

    /// Counts a node.
    pub(super) fn spend_node(&mut self) {
        self.spent_nodes += 1;
    }
}
