//! Every bound, in one place, with its reason.

/// Bounds on what a session does and holds.
///
/// The defaults suit a program that talks to registries it does not control. Each field says what
/// a smaller or a larger value costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests in flight to one origin. Registries throttle clients that open many connections;
    /// browsers settled near this number.
    pub in_flight_per_origin: usize,
    /// Requests in flight in all.
    pub in_flight: usize,
    /// Bytes of a manifest whose size no descriptor gives. Registries accept at least 4 MiB
    /// (distribution-spec, "Pushing manifests"); some accept more.
    pub manifest_bytes: u64,
    /// Bytes of an error body that are read for its message; the rest is dropped.
    pub error_bytes: u64,
    /// Bytes of a blob whose size no descriptor gives. Larger than any layer in the field, small
    /// enough that an endless answer ends.
    pub blob_bytes: u64,
    /// Levels below the root that a walk descends.
    pub walk_depth: u32,
    /// Nodes that a walk reports, repeated ones included.
    pub walk_nodes: u64,
    /// Bytes of manifests that a walk reads in all.
    pub walk_bytes: u64,
    /// Bytes of manifests that a walk holds while they wait for their turn in its order.
    pub walk_ahead_bytes: u64,
    /// Entries of an error body, or codes of it, that are kept.
    pub error_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_per_origin: 8,
            in_flight: 32,
            manifest_bytes: 8 << 20,
            error_bytes: 64 << 10,
            blob_bytes: 256 << 30,
            walk_depth: 32,
            walk_nodes: 50_000,
            walk_bytes: 512 << 20,
            walk_ahead_bytes: 32 << 20,
            error_entries: 16,
        }
    }
}
