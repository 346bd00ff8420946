//! All limits, with the reasons for their values.

use std::time::Duration;

/// Limits on the requests, memory and time of a session.
///
/// The defaults suit a program that talks to registries it does not control.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of requests in flight to one origin. Registries throttle clients that open
    /// many connections; browsers use similar limits.
    pub in_flight_per_origin: usize,
    /// The maximum number of requests in flight in total.
    pub in_flight: usize,
    /// The maximum size of a manifest, in bytes. Registries accept at least 4 MiB (distribution-spec,
    /// "Pushing manifests"); some accept more.
    pub manifest_bytes: u64,
    /// The maximum size of the `index.json` of an image layout, in bytes. It has an entry of about 220 bytes for each
    /// tag, so it may be larger than any manifest; this suffices for 300,000 tags.
    pub layout_index_bytes: u64,
    /// The maximum number of bytes of an error body that are kept for its message; the rest is dropped.
    pub error_bytes: u64,
    /// The maximum number of bytes of an unwanted body that a driver drains to reuse the connection.
    /// Draining this much is cheaper than a new connection; draining more is not.
    pub drain_bytes: u64,
    /// The maximum size of a blob without a known size, in bytes. The default exceeds every real layer
    /// but ends endless responses.
    pub blob_bytes: u64,
    /// The maximum depth of a walk, in levels below the root.
    pub walk_depth: u32,
    /// The maximum number of nodes that a walk reports, including repeated ones.
    pub walk_nodes: u64,
    /// The maximum size of all manifests that a walk reads, in bytes.
    pub walk_bytes: u64,
    /// The maximum size of the manifests that a walk holds ahead of its order, in bytes.
    pub walk_ahead_bytes: u64,
    /// The maximum number of pages of a list. Registries put 50 to 1,000 entries on a page, so this suffices for half
    /// a million; and every page must have a new entry, so a list that leads nowhere ends far earlier.
    pub list_pages: u32,
    /// The maximum number of entries of a list: tags, repositories or referrers. The largest repositories have
    /// some hundred thousand tags. To report each entry once, 16 bytes are remembered of it.
    pub list_entries: u64,
    /// The maximum size of a page of a list, in bytes. Some registries ignore the page size and return all entries
    /// at once; this suffices for 300,000 tags of 24 characters, or 20,000 referrers.
    pub list_bytes: u64,
    /// The maximum number of entries of an error body that are kept.
    pub error_entries: usize,
    /// The maximum number of attempts of a request that fails transiently, including the first; 1
    /// disables retries. Progress in a blob resets the count.
    pub max_attempts: u32,
    /// The delay before the first retry; it doubles for each further one. Half of it is jitter.
    pub backoff_first: Duration,
    /// The maximum delay before a retry without a Retry-After header.
    pub backoff_max: Duration,
    /// The maximum Retry-After delay that a session waits for. A longer one fails the request and is
    /// included in the error.
    pub retry_after_max: Duration,
    /// The maximum size of a token server's response, in bytes. A token with many grants takes some
    /// ten thousand.
    pub token_bytes: u64,
    /// The maximum number of cached tokens, and of cached logins. Each repository that a running operation
    /// addresses has room for one, beyond this limit if necessary.
    pub tokens: usize,
    /// The number of 401 responses at which a request fails. Up to three occur in practice: without
    /// credentials, with an expired token and with a new one.
    pub challenges: u32,
    /// The maximum size of a chunk of an upload, in bytes. A blob is sent whole unless its registry refuses that
    /// or its size is unknown, and a chunk of a blob of unknown size is held in memory. ECR refuses chunks below
    /// 5 MiB.
    pub chunk_bytes: u64,
    /// The maximum number of redirects of one request. Browsers and curl allow more; registries use one
    /// or two.
    pub redirects: u32,
    /// The maximum number of registry warnings that an operation reports.
    pub warnings: usize,
}

impl Limits {
    /// Returns the number of manifests that a walk may fetch ahead of its order: one set in flight, one
    /// set pending.
    pub(crate) fn window(&self) -> usize {
        self.in_flight_per_origin.saturating_mul(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_per_origin: 8,
            in_flight: 32,
            manifest_bytes: 8 << 20,
            layout_index_bytes: 64 << 20,
            error_bytes: 64 << 10,
            drain_bytes: 16 << 10,
            blob_bytes: 256 << 30,
            walk_depth: 32,
            walk_nodes: 50_000,
            walk_bytes: 512 << 20,
            walk_ahead_bytes: 32 << 20,
            list_pages: 10_000,
            list_entries: 1_000_000,
            list_bytes: 8 << 20,
            error_entries: 16,
            max_attempts: 5,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            token_bytes: 1 << 20,
            tokens: 256,
            challenges: 4,
            chunk_bytes: 8 << 20,
            redirects: 10,
            warnings: 16,
        }
    }
}
