//! What a walk is asked, and what it says.

use crate::manifest::Manifest;
use crate::types::descriptor::Descriptor;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;

/// What a walk reports, and how strictly it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkOptions {
    /// Reports the config and the layers of each image too.
    pub blobs: bool,
    /// Fails where the registry lacks a manifest, instead of reporting it as missing.
    pub strict: bool,
    /// Walks only what fits this platform best.
    pub platform: Option<Platform>,
}

/// One place in a tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Node {
    /// Levels below the root, which has 0.
    pub depth: u32,
    /// What the parent (for the root: the registry) says of it.
    pub descriptor: Descriptor,
    /// Index, image or other.
    pub kind: Kind,
    /// What was found there.
    pub found: Found,
}

impl Node {
    /// The artifact type: the document's own, else the descriptor's.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        let own = match &self.found {
            Found::Manifest(manifest) => manifest.artifact_type(),
            _ => None,
        };
        own.or(self.descriptor.artifact_type.as_ref())
    }
}

/// What a walk found in a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// An image or an index, read and verified.
    Manifest(Manifest),
    /// Something that is not read: neither an image nor an index.
    Leaf,
    /// Content that the walk has reported before.
    Repeated,
    /// A manifest that the registry does not have.
    Missing,
}

/// Names a manifest that a [`Walker`](crate::Walker) wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// A manifest that a [`Walker`](crate::Walker) wants.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted {
    /// Goes back with the manifest.
    pub ticket: Ticket,
    /// What is wanted.
    pub descriptor: Descriptor,
}

/// What comes next in the order.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "the three ways on are the contract, as an iterator's two are")]
pub enum WalkStep {
    /// The next node.
    Node(Box<Node>),
    /// Nothing until a manifest is supplied.
    Blocked,
    /// The tree was walked to its end.
    Finished,
}
