//! The inputs and outputs of a walk.

use crate::manifest::Manifest;
use crate::types::descriptor::Descriptor;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;

/// The options of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkOptions {
    /// Also reports the config and the layers of each image.
    pub blobs: bool,
    /// Fails if the registry lacks a manifest, instead of reporting it as missing.
    pub strict: bool,
    /// Walks only the best match for this platform.
    pub platform: Option<Platform>,
}

/// A descriptor that a walk has reached, with the result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// The number of levels below the root, which has depth 0.
    pub depth: u32,
    /// The descriptor in the parent, or from the registry for the root.
    pub descriptor: Descriptor,
    /// The kind: index, image or other.
    pub kind: Kind,
    /// The result at this node.
    pub found: Found,
}

impl Node {
    /// Returns the artifact type of the document, or else of the descriptor.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        let own = match &self.found {
            Found::Manifest(manifest) => manifest.artifact_type(),
            _ => None,
        };
        own.or(self.descriptor.artifact_type.as_ref())
    }
}

/// The result of a walk at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// An image or an index, verified and parsed.
    Manifest(Manifest),
    /// Content that is not read: neither an image nor an index.
    Leaf,
    /// Content that the walk has already reported.
    Repeated,
    /// A manifest that the registry does not have.
    Missing,
}

/// Identifies a requested manifest when it is supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// A manifest that a [`Walker`](crate::Walker) requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted {
    /// The ticket to pass with the manifest.
    pub ticket: Ticket,
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
}

/// The next step of a walk.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "these three outcomes are the contract of a walk")]
pub enum WalkStep {
    /// The next node.
    Node(Box<Node>),
    /// The walk cannot continue until a manifest is supplied.
    Blocked,
    /// There are no more nodes.
    Finished,
}
