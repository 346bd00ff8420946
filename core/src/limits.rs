//! Every bound, in one place, with its reason.

use std::time::Duration;

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
    /// How often a request is tried that fails for no lasting reason; 1 means once. Progress in a blob
    /// begins the count anew.
    pub max_attempts: u32,
    /// The first wait between two tries; each further one is twice as long. Half of it is jitter.
    pub backoff_first: Duration,
    /// The longest wait between two tries that nobody asked for.
    pub backoff_max: Duration,
    /// The longest Retry-After that is waited for. A longer one fails the request, and is in the error.
    pub retry_after_max: Duration,
    /// Bytes of a token server's answer. Tokens with many grants have some ten thousand.
    pub token_bytes: u64,
    /// Tokens, and logins, that are kept.
    pub tokens: usize,
    /// How often one request may be answered with 401. Three occur: without credentials, with a token
    /// that went stale, with a new one.
    pub challenges: u32,
    /// How often one request is redirected. Browsers and curl allow more; registries need one or two.
    pub redirects: u32,
    /// Warnings of registries that an operation reports.
    pub warnings: usize,
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
            max_attempts: 5,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            token_bytes: 1 << 20,
            tokens: 256,
            challenges: 4,
            redirects: 10,
            warnings: 16,
        }
    }
}
