//! Adds a tree of content to a server, all or nothing.

use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::manifest::error::{InvalidManifest, VerifyError};
use crate::server::content::Content;
use crate::server::holdings::{Holdings, StoredManifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::walker::budget::OverBudget;
use crate::walker::descent::{Descent, Item, Obstacle, Role, Visitor};
use crate::walker::position::Position;

/// Gathers the root and all content under it.
pub(super) fn gather(
    root: &Descriptor,
    content: &(impl Content + ?Sized),
    limits: &Limits,
) -> Result<Holdings, AddError> {
    let mut gathering = Gathering { content, gathered: Holdings::default() };
    let mut descent = Descent::new(limits);
    let mut nodes: u64 = 1;
    descent.add_root(root.clone(), Position::Root, &mut gathering)?;
    while let Some(item) = descent.next_item() {
        gathering.check_size(&item.descriptor, &item.position)?;
        if item.role == Role::Blob {
            continue;
        }
        let manifest = gathering.read(&item)?;
        if manifest.kind() == Kind::Index {
            nodes = nodes.saturating_add(manifest.entries().len() as u64);
            if nodes > limits.walk_nodes {
                let problem = AddProblem::TooMany { limit: limits.walk_nodes };
                return Err(AddError::new(&item.descriptor, &item.position, problem));
            }
        }
        descent.descend(&item, &manifest, &mut gathering)?;
        let stored = StoredManifest::document(&item.descriptor.digest, &manifest);
        gathering.gathered.insert_manifest(item.descriptor.digest, stored);
    }
    Ok(gathering.gathered)
}

/// A gathering in progress. It ends at the first problem.
struct Gathering<'a, C: ?Sized> {
    content: &'a C,
    gathered: Holdings,
}

impl<C: Content + ?Sized> Gathering<'_, C> {
    fn check_size(&self, descriptor: &Descriptor, position: &Position) -> Result<(), AddError> {
        let problem = match self.content.size(&descriptor.digest) {
            None => AddProblem::Missing,
            Some(found) if found != descriptor.size => AddProblem::Size { expected: descriptor.size, found },
            Some(_) => return Ok(()),
        };
        Err(AddError::new(descriptor, position, problem))
    }

    fn read(&self, item: &Item) -> Result<Manifest, AddError> {
        let bytes = self.content.bytes(&item.descriptor.digest).ok_or(AddProblem::Missing);
        bytes
            .and_then(|bytes| Ok(Manifest::verified(bytes, &item.descriptor, None)?))
            .map_err(|problem| AddError::new(&item.descriptor, &item.position, problem))
    }
}

impl<C: Content + ?Sized> Visitor for Gathering<'_, C> {
    type Stop = AddError;

    fn visit(&mut self, descriptor: &Descriptor, position: &Position) -> Result<Option<Role>, AddError> {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        if let Position::Within { part: Part::Config | Part::Layer(_), .. } = position {
            // Whatever its type, a config or layer is served as a blob and not read.
            let is_present = self.content.size(digest).is_some();
            if is_present || !media_type.is_nondistributable() {
                self.check_size(descriptor, position)?;
                self.gathered.blobs.insert(digest.clone(), *size);
            }
            return Ok(None);
        }
        if media_type.kind() != Kind::Other {
            return Ok(Some(Role::Document));
        }
        self.gathered.blobs.insert(digest.clone(), *size);
        self.gathered.insert_manifest(digest.clone(), StoredManifest::leaf(media_type.clone(), *size));
        Ok(Some(Role::Blob))
    }

    fn skip(
        &mut self,
        descriptor: &Descriptor,
        position: &Position,
        obstacle: Obstacle,
    ) -> Result<(), AddError> {
        let problem = match obstacle {
            // The size of the content decides which of the two descriptors is wrong.
            Obstacle::Contradiction { .. } => return self.check_size(descriptor, position),
            // Blobs are not verified.
            Obstacle::UnknownAlgorithm if descriptor.media_type.kind() == Kind::Other => {
                return self.check_size(descriptor, position);
            }
            Obstacle::UnknownAlgorithm => AddProblem::Unverifiable,
            Obstacle::OverBudget(OverBudget::Depth(limit)) => AddProblem::TooDeep { limit },
            Obstacle::OverBudget(OverBudget::DocumentBytes(limit)) => AddProblem::TooLarge { limit },
            Obstacle::OverBudget(OverBudget::TotalBytes(limit)) => AddProblem::TooMuch { limit },
            Obstacle::OverBudget(OverBudget::Nodes(limit)) => AddProblem::TooMany { limit },
        };
        Err(AddError::new(descriptor, position, problem))
    }
}

/// The error returned when content cannot be added: the descriptor, its document and the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot add {} ({}): {}", .0.digest, .0.position, .0.problem)]
pub struct AddError(Box<AddErrorInner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct AddErrorInner {
    digest: Digest,
    position: Position,
    problem: AddProblem,
}

impl AddError {
    fn new(descriptor: &Descriptor, position: &Position, problem: AddProblem) -> Self {
        let (digest, position) = (descriptor.digest.clone(), position.clone());
        Self(Box::new(AddErrorInner { digest, position, problem }))
    }

    /// Returns the digest of the missing or invalid content.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// Returns the document that refers to the content, or `None` for the root.
    pub fn document(&self) -> Option<&Digest> {
        match &self.0.position {
            Position::Root | Position::Layout(_) => None,
            Position::Within { document, .. } => Some(document),
        }
    }

    /// Returns the problem.
    pub fn problem(&self) -> &AddProblem {
        &self.0.problem
    }
}

/// The reason why content cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddProblem {
    /// The content is missing.
    #[error("the content is missing")]
    Missing,
    /// The size differs from the descriptor's.
    #[error("its descriptor says {expected} bytes, but it has {found}")]
    Size {
        /// The size in the descriptor.
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// The digest differs from the descriptor's.
    #[error("digest mismatch: computed {found}")]
    Digest {
        /// The actual digest.
        found: Digest,
    },
    /// The digest's algorithm is not supported.
    #[error("its digest algorithm is not supported, so it cannot be verified")]
    Unverifiable,
    /// The document is invalid.
    #[error("invalid document: {0}")]
    Refused(InvalidManifest),
    /// The content is too many levels below the root.
    #[error("it is more than {limit} levels below the root")]
    TooDeep {
        /// The maximum depth.
        limit: u32,
    },
    /// The document is too large.
    #[error("the document has more than {limit} bytes")]
    TooLarge {
        /// The maximum size of one document, in bytes.
        limit: u64,
    },
    /// With this document's entries, the tree has too many nodes.
    #[error("with its entries, the tree has more than {limit} nodes")]
    TooMany {
        /// The maximum number of nodes.
        limit: u64,
    },
    /// With this document, the documents are too large in total.
    #[error("with it, the tree's documents have more than {limit} bytes in total")]
    TooMuch {
        /// The maximum size of all documents, in bytes.
        limit: u64,
    },
}

impl From<VerifyError> for AddProblem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Size { expected, found } => Self::Size { expected, found },
            VerifyError::UnknownAlgorithm(_) => Self::Unverifiable,
            VerifyError::Digest { computed: found, .. } => Self::Digest { found },
            VerifyError::Manifest(refused) => Self::Refused(refused),
        }
    }
}

#[cfg(test)]
mod tests;
