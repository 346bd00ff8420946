//! Gathers trees of content for a server, all or nothing.

use std::collections::BTreeSet;

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

/// What happens if content is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMissing {
    Fail,
    Skip,
}

/// The content under some roots.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) holdings: Holdings,
    /// The content that was skipped, in the order in which it was found.
    pub(super) missing: Vec<AddError>,
}

/// Gathers roots and all content under them. Each content is read once, also if several roots share it; the limits
/// apply to the content that a root adds to the earlier ones.
pub(super) fn gather<'a>(
    roots: impl IntoIterator<Item = &'a Descriptor>,
    content: &(impl Content + ?Sized),
    limits: &Limits,
    if_missing: IfMissing,
) -> Result<Gathered, AddError> {
    let gathered = Gathered { holdings: Holdings::default(), missing: Vec::new() };
    let mut gathering = Gathering { content, if_missing, gathered, absent: BTreeSet::new() };
    let mut descent = Descent::new(limits);
    for root in roots {
        descent.renew_budget(limits);
        gathering.gather(root, &mut descent, limits)?;
    }
    Ok(gathering.gathered)
}

/// A gathering in progress. It ends at the first problem.
struct Gathering<'a, C: ?Sized> {
    content: &'a C,
    if_missing: IfMissing,
    gathered: Gathered,
    /// The digests of the content that was skipped.
    absent: BTreeSet<Digest>,
}

impl<C: Content + ?Sized> Gathering<'_, C> {
    fn gather(&mut self, root: &Descriptor, descent: &mut Descent, limits: &Limits) -> Result<(), AddError> {
        let mut nodes: u64 = 1;
        descent.add_root(root.clone(), Position::Root, self)?;
        while let Some(item) = descent.next_item() {
            if !self.has(&item.descriptor, &item.position)? || item.role == Role::Blob {
                continue;
            }
            let manifest = self.read(&item)?;
            if manifest.kind() == Kind::Index {
                nodes = nodes.saturating_add(manifest.entries().len() as u64);
                if nodes > limits.walk_nodes {
                    let problem = AddProblem::TooMany { limit: limits.walk_nodes };
                    return Err(AddError::new(&item.descriptor, &item.position, problem));
                }
            }
            descent.descend(&item, &manifest, self)?;
            let stored = StoredManifest::document(&item.descriptor.digest, &manifest);
            self.gathered.holdings.insert_manifest(item.descriptor.digest, stored);
        }
        Ok(())
    }

    /// Returns whether content is present, with the right size. If it is missing, it is skipped or an error.
    fn has(&mut self, descriptor: &Descriptor, position: &Position) -> Result<bool, AddError> {
        let Descriptor { digest, size, .. } = descriptor;
        if self.absent.contains(digest) {
            return Ok(false);
        }
        let problem = match self.content.size(digest) {
            Some(found) if found == *size => return Ok(true),
            Some(found) => AddProblem::Size { expected: *size, found },
            None => AddProblem::Missing,
        };
        let error = AddError::new(descriptor, position, problem);
        if error.problem() != &AddProblem::Missing || self.if_missing == IfMissing::Fail {
            return Err(error);
        }
        self.gathered.missing.push(error);
        self.absent.insert(digest.clone());
        // An entry that is not read was added when it was visited.
        self.gathered.holdings.remove(digest);
        Ok(false)
    }

    fn read(&self, item: &Item) -> Result<Manifest, AddError> {
        let bytes = self.content.bytes(&item.descriptor.digest).ok_or(AddProblem::Missing);
        bytes
            .and_then(|bytes| Ok(Manifest::verified(bytes, &item.descriptor, None)?))
            .map_err(|problem| AddError::new(&item.descriptor, &item.position, problem))
    }

    /// Adds a config or a layer. Whatever its type, it is served as a blob and not read.
    fn add_part(&mut self, descriptor: &Descriptor, position: &Position) -> Result<(), AddError> {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        let is_known = self.gathered.holdings.blobs.get(digest) == Some(size);
        let may_be_absent = || media_type.is_nondistributable() && self.content.size(digest).is_none();
        if !is_known && !may_be_absent() && self.has(descriptor, position)? {
            self.gathered.holdings.blobs.insert(digest.clone(), *size);
        }
        Ok(())
    }
}

impl<C: Content + ?Sized> Visitor for Gathering<'_, C> {
    type Stop = AddError;

    fn visit(&mut self, descriptor: &Descriptor, position: &Position) -> Result<Option<Role>, AddError> {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        if let Position::Within { part: Part::Config | Part::Layer(_), .. } = position {
            self.add_part(descriptor, position)?;
            return Ok(None);
        }
        if media_type.kind() != Kind::Other {
            return Ok(Some(Role::Document));
        }
        if !self.absent.contains(digest) {
            let holdings = &mut self.gathered.holdings;
            holdings.blobs.insert(digest.clone(), *size);
            holdings.insert_manifest(digest.clone(), StoredManifest::leaf(media_type.clone(), *size));
        }
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
            Obstacle::Contradiction { .. } => return self.has(descriptor, position).map(drop),
            // Blobs are not verified.
            Obstacle::UnknownAlgorithm if descriptor.media_type.kind() == Kind::Other => {
                return self.has(descriptor, position).map(drop);
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
