//! How content comes into a server: a walk over descriptors, all or nothing.

use std::collections::BTreeSet;

use crate::limits::Limits;
use crate::manifest::error::InvalidManifest;
use crate::manifest::evidence::Evidence;
use crate::manifest::{DescriptorRef, Manifest};
use crate::server::Content;
use crate::server::holdings::{Holdings, StoredManifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::{Kind, MediaType};
use crate::walker::position::{Part, Position};

/// Takes the root and everything under it.
pub(super) fn gather(
    root: &Descriptor,
    content: &(impl Content + ?Sized),
    limits: &Limits,
) -> Result<Holdings, AddError> {
    let mut gathered = Holdings::default();
    // One digest may be named with several types, or sizes, and each of them has to be right.
    let mut seen = BTreeSet::new();
    let mut nodes: u64 = 1;
    let mut bytes_read: u64 = 0;
    let mut waiting = vec![Claim {
        digest: root.digest.clone(),
        media_type: root.media_type.clone(),
        size: root.size,
        depth: 0,
        place: Position::Root,
    }];

    while let Some(claim) = waiting.pop() {
        if !seen.insert((claim.digest.clone(), claim.media_type.clone(), claim.size)) {
            continue;
        }
        if claim.depth > limits.walk_depth {
            return Err(claim.wrong(AddProblem::TooDeep { limit: limits.walk_depth }));
        }
        claim.check_size(content)?;
        if claim.media_type.kind() == Kind::Other {
            gathered.blobs.insert(claim.digest.clone(), claim.size);
            gathered.hold(claim.digest, StoredManifest::leaf(claim.media_type, claim.size));
            continue;
        }

        if claim.size > limits.manifest_bytes {
            return Err(claim.wrong(AddProblem::TooLarge { limit: limits.manifest_bytes }));
        }
        bytes_read = bytes_read.saturating_add(claim.size);
        if bytes_read > limits.walk_bytes {
            return Err(claim.wrong(AddProblem::TooMuch { limit: limits.walk_bytes }));
        }
        let manifest = claim.read(content)?;
        match manifest.kind() {
            Kind::Index => {
                nodes = nodes.saturating_add(manifest.entries().len() as u64);
                if nodes > limits.walk_nodes {
                    return Err(claim.wrong(AddProblem::TooMany { limit: limits.walk_nodes }));
                }
                // The stack gives back last what it took first; reversed, errors name the first in
                // document order.
                let entries = manifest.entries().enumerate().rev();
                waiting.extend(entries.map(|(n, entry)| claim.below(entry, Part::Entry(n))));
            }
            Kind::Image => {
                let config = manifest.config().map(|config| claim.below(config, Part::Config));
                let layers = manifest.entries().enumerate();
                let layers = layers.map(|(n, layer)| claim.below(layer, Part::Layer(n)));
                for blob in config.into_iter().chain(layers) {
                    let there = content.size(&blob.digest).is_some();
                    if !there && blob.media_type.is_nondistributable() {
                        continue;
                    }
                    blob.check_size(content)?;
                    gathered.blobs.insert(blob.digest, blob.size);
                }
            }
            Kind::Other => {}
        }
        let held = StoredManifest::document(&claim.digest, &manifest);
        gathered.hold(claim.digest, held);
    }
    Ok(gathered)
}

/// What a descriptor says, and where it says so.
#[derive(Debug)]
struct Claim {
    digest: Digest,
    media_type: MediaType,
    size: u64,
    depth: u32,
    place: Position,
}

impl Claim {
    fn below(&self, descriptor: DescriptorRef<'_>, part: Part) -> Self {
        Self {
            digest: descriptor.digest().clone(),
            media_type: descriptor.media_type().clone(),
            size: descriptor.size(),
            depth: self.depth.saturating_add(1),
            place: Position::Within { document: self.digest.clone(), part },
        }
    }

    fn wrong(&self, problem: AddProblem) -> AddError {
        AddError(Box::new(Wrong { digest: self.digest.clone(), place: self.place.clone(), problem }))
    }

    fn check_size(&self, content: &(impl Content + ?Sized)) -> Result<(), AddError> {
        match content.size(&self.digest) {
            None => Err(self.wrong(AddProblem::Missing)),
            Some(found) if found != self.size => {
                Err(self.wrong(AddProblem::Size { expected: self.size, found }))
            }
            Some(_) => Ok(()),
        }
    }

    fn read(&self, content: &(impl Content + ?Sized)) -> Result<Manifest, AddError> {
        let bytes = content.bytes(&self.digest).ok_or_else(|| self.wrong(AddProblem::Missing))?;
        let found = bytes.len() as u64;
        if found != self.size {
            return Err(self.wrong(AddProblem::Size { expected: self.size, found }));
        }
        let Some(algorithm) = self.digest.algorithm() else {
            return Err(self.wrong(AddProblem::Unverifiable));
        };
        let found = Digest::of(algorithm, &bytes);
        if found != self.digest {
            return Err(self.wrong(AddProblem::Digest { found }));
        }
        let evidence = Evidence { expected: Some(&self.media_type), ..Evidence::default() };
        Manifest::read(bytes, evidence).map_err(|refused| self.wrong(AddProblem::Refused(refused)))
    }
}

/// Why content was not added: which descriptor, in which document, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot add {} ({}): {}", .0.digest, .0.place, .0.problem)]
pub struct AddError(Box<Wrong>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    digest: Digest,
    place: Position,
    problem: AddProblem,
}

impl AddError {
    /// The content that is missing or wrong.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// The document whose descriptor names the content; none for the root.
    pub fn document(&self) -> Option<&Digest> {
        match &self.0.place {
            Position::Root | Position::Layout(_) => None,
            Position::Within { document, .. } => Some(document),
        }
    }

    /// What is the matter with it.
    pub fn problem(&self) -> &AddProblem {
        &self.0.problem
    }
}

/// What is the matter with some content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddProblem {
    /// It is not there.
    #[error("the content is not there")]
    Missing,
    /// It has another size than its descriptor says.
    #[error("its descriptor says {expected} bytes, but it has {found}")]
    Size {
        /// What the descriptor says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// Its bytes have another digest.
    #[error("its bytes have the digest {found}")]
    Digest {
        /// What they have.
        found: Digest,
    },
    /// Its digest's algorithm is not one of those that can be verified.
    #[error("its digest's algorithm is not known, so that it cannot be verified")]
    Unverifiable,
    /// It is not a proper document of its type.
    #[error("the document is refused: {0}")]
    Refused(InvalidManifest),
    /// It is too many levels below the root.
    #[error("it is more than {limit} levels below the root")]
    TooDeep {
        /// The most levels that are descended.
        limit: u32,
    },
    /// The document is too large.
    #[error("the document has more than {limit} bytes")]
    TooLarge {
        /// The most bytes that one document may have.
        limit: u64,
    },
    /// With this document's entries there are too many.
    #[error("with its entries the tree has more than {limit} nodes")]
    TooMany {
        /// The most nodes that a tree may have.
        limit: u64,
    },
    /// With this document, all documents together are too large.
    #[error("with it the tree's documents have more than {limit} bytes together")]
    TooMuch {
        /// The most bytes that all documents may have together.
        limit: u64,
    },
}

#[cfg(test)]
mod tests;
