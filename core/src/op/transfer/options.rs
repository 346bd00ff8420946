//! The options of a push or a copy, its ends, and the names of its root.

use std::sync::Arc;

use crate::types::digest::Digest;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::reference::name::{Repository, Tag};
use crate::wire::target::Target;

/// The options of a push or a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushOptions {
    /// Copies only the best match for this platform. A push sends the root that it is given.
    pub platform: Option<Platform>,
    /// Also sends non-distributable layers.
    pub foreign: bool,
    /// Further tags of the root.
    pub tags: Vec<Tag>,
    /// A repository of the destination's registry that may have blobs of the tree.
    pub mount: Option<Repository>,
    /// Asks the registry, by HEAD, for everything that it says it has stored, before anything that refers to it is
    /// sent.
    pub verify: bool,
    /// Also sends everything whose subject is in the tree, such as signatures, and what has these as its subject. It
    /// is stored before the root, unless it refers to the root.
    ///
    /// A copy lists the referrers of each document at the registry of the source, never at its mirrors, and a push asks
    /// the driver for them, with [`Question::Referrers`](crate::Question::Referrers). Either is a hint: what it names is
    /// sent even if its subject is another one. A referrer whose type is not known is reported as
    /// [skipped](crate::Event::Skipped).
    pub referrers: bool,
}

/// The ends of a transfer.
#[derive(Debug)]
pub(super) struct Ends {
    /// The source, or `None` for the driver.
    pub(super) from: Option<Arc<Target>>,
    pub(super) to: Arc<Target>,
    /// The repository of the destination's registry to mount blobs from.
    pub(super) mount: Option<Repository>,
}

/// The names of the root at the destination.
#[derive(Debug)]
pub(super) struct Naming {
    pub(super) digest: Option<Digest>,
    pub(super) tags: Vec<Tag>,
}

impl Naming {
    pub(super) fn of(reference: &Reference, more: &[Tag]) -> Self {
        let tags = reference.tag().into_iter().chain(more).cloned().collect();
        Self { digest: reference.digest().cloned(), tags }
    }
}
