//! What the storage knows of the content of its repositories.

use std::collections::BTreeMap;

use oci_proto::layout::Index;
use oci_proto::{Digest, MediaType, Repository};

/// The content of each repository.
pub(super) type Holdings = BTreeMap<Repository, BTreeMap<Digest, Held>>;

/// The `index.json` of each repository that was changed, as it is on disk: parsing a large one takes longer than
/// writing it.
pub(super) type Indexes = BTreeMap<Repository, Index>;

/// What the storage knows.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) holdings: Holdings,
    pub(super) indexes: Indexes,
}

/// Content of a repository: a blob, a manifest, or both, in one file.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) size: u64,
    pub(super) is_blob: bool,
    pub(super) manifest: Option<Listing>,
}

/// How a manifest appears in `index.json`.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) media_type: MediaType,
    /// Whether it has an entry of its own. Otherwise it is a child of another manifest, which another program wrote.
    pub(super) is_listed: bool,
}
