//! The traversal of all content under a set of roots: each content once, within limits, without I/O.
//!
//! A [`Visitor`] selects the content to read and decides whether an obstacle ends the descent or is
//! skipped. The visitor of the [`Checker`](crate::Checker) records every problem; the server's stops at
//! the first one.

use std::collections::BTreeMap;

use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::walker::budget::{Budget, OverBudget};
use crate::walker::position::Position;

/// A descent in progress.
#[derive(Debug)]
pub(crate) struct Descent {
    /// A stack: the last item is next.
    pending: Vec<Item>,
    known: BTreeMap<Digest, Known>,
    /// Counts repeated content as one node.
    budget: Budget,
    /// Whether the limit on nodes was reported.
    full: bool,
}

/// Content to read under a root.
#[derive(Debug)]
#[non_exhaustive]
pub struct Item {
    /// The content's descriptor, without embedded data.
    pub descriptor: Descriptor,
    /// How to read the content.
    pub role: Role,
    pub(crate) position: Position,
    depth: u32,
}

impl Item {
    /// Returns whether the item is an entry of an index.
    pub(crate) fn is_entry(&self) -> bool {
        matches!(self.position, Position::Within { part: Part::Entry(_), .. })
    }
}

/// How to read an [`Item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new role requires support in every driver")]
pub enum Role {
    /// Read at most the descriptor's size and pass the bytes to
    /// [`Checker::document`](crate::Checker::document), which verifies them.
    Document,
    /// Verify the size and the digest; the bytes are not needed.
    Blob,
}

/// Receives the descriptors of a descent.
pub(crate) trait Visitor {
    /// The error that ends the descent.
    type Stop;

    /// Visits a descriptor, including repeated ones. Returns how to read its content, or `None` to skip it.
    fn visit(&mut self, descriptor: &Descriptor, position: &Position) -> Result<Option<Role>, Self::Stop>;

    /// Handles content that was selected for reading but is skipped because of an obstacle.
    fn skip(
        &mut self,
        descriptor: &Descriptor,
        position: &Position,
        obstacle: Obstacle,
    ) -> Result<(), Self::Stop>;
}

/// The reason why content is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// An earlier descriptor has another size.
    Contradiction { first: u64 },
    /// The digest's algorithm is not supported.
    UnknownAlgorithm,
    /// A limit was exceeded.
    OverBudget(OverBudget),
}

impl From<OverBudget> for Obstacle {
    fn from(over: OverBudget) -> Self {
        Self::OverBudget(over)
    }
}

/// The content's properties according to the descriptors so far.
#[derive(Debug)]
struct Known {
    size: u64,
    contradicted: bool,
    blob: bool,
    /// The media types as which it is read as a document.
    documents: Vec<MediaType>,
}

impl Descent {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { pending: Vec::new(), known: BTreeMap::new(), budget: Budget::new(limits), full: false }
    }

    /// Grants the limits again, for content that is not known yet.
    pub(crate) fn renew_budget(&mut self, limits: &Limits) {
        self.budget = Budget::new(limits);
        self.full = false;
    }

    /// Adds a root.
    pub(crate) fn add_root<V: Visitor>(
        &mut self,
        root: Descriptor,
        position: Position,
        visitor: &mut V,
    ) -> Result<(), V::Stop> {
        self.add(root, position, 0, visitor)
    }

    /// Returns the next item to read, in document order as far as documents are known.
    pub(crate) fn next_item(&mut self) -> Option<Item> {
        self.pending.pop()
    }

    /// Returns whether any items are pending.
    pub(crate) fn has_items(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Descends into a verified document.
    pub(crate) fn descend<V: Visitor>(
        &mut self,
        item: &Item,
        manifest: &Manifest,
        visitor: &mut V,
    ) -> Result<(), V::Stop> {
        // The first child must be on top of the stack.
        let first = self.pending.len();
        for (part, child) in manifest.children() {
            let position = Position::Within { document: item.descriptor.digest.clone(), part };
            self.add(child.to_owned(), position, item.depth.saturating_add(1), visitor)?;
        }
        if let Some(added) = self.pending.get_mut(first..) {
            added.reverse();
        }
        Ok(())
    }

    fn add<V: Visitor>(
        &mut self,
        mut descriptor: Descriptor,
        position: Position,
        depth: u32,
        visitor: &mut V,
    ) -> Result<(), V::Stop> {
        let Some(role) = visitor.visit(&descriptor, &position)? else { return Ok(()) };
        match self.admit(&descriptor, role, depth) {
            Ok(false) => {}
            Ok(true) => {
                descriptor.data = None;
                self.pending.push(Item { descriptor, role, position, depth });
            }
            Err(obstacle) => visitor.skip(&descriptor, &position, obstacle)?,
        }
        Ok(())
    }

    /// Returns whether to read the content: not if it was already admitted in this role.
    fn admit(&mut self, descriptor: &Descriptor, role: Role, depth: u32) -> Result<bool, Obstacle> {
        if !self.is_new(descriptor, role)? {
            return Ok(false);
        }
        if descriptor.digest.algorithm().is_none() {
            return Err(Obstacle::UnknownAlgorithm);
        }
        if role == Role::Document {
            self.budget.allows_document(descriptor.size, depth.into())?;
            self.budget.spend_bytes(descriptor.size);
        }
        Ok(true)
    }

    /// Returns whether a descriptor adds content, or a type or role, that is not yet known. Each
    /// obstacle is reported once.
    fn is_new(&mut self, descriptor: &Descriptor, role: Role) -> Result<bool, Obstacle> {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        if let Some(known) = self.known.get_mut(digest) {
            if known.size != *size {
                let reported = std::mem::replace(&mut known.contradicted, true);
                return if reported { Ok(false) } else { Err(Obstacle::Contradiction { first: known.size }) };
            }
            let old = match role {
                // Reading a document verifies it as well.
                Role::Blob => known.blob || !known.documents.is_empty(),
                Role::Document => known.documents.contains(media_type),
            };
            if old {
                return Ok(false);
            }
        }
        if let Err(over) = self.budget.allows_node() {
            let reported = std::mem::replace(&mut self.full, true);
            return if reported { Ok(false) } else { Err(over.into()) };
        }
        self.budget.spend_node();
        let known = self.known.entry(digest.clone()).or_insert_with(|| Known {
            size: *size,
            contradicted: false,
            blob: false,
            documents: Vec::new(),
        });
        match role {
            Role::Blob => known.blob = true,
            Role::Document => known.documents.push(media_type.clone()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::server::content::Content as _;
    use crate::server::memory::{Flavour, Memory};

    /// Reads everything as a document, counting visits and recording obstacles.
    #[derive(Default)]
    struct All {
        visits: usize,
        obstacles: Vec<Obstacle>,
    }

    impl Visitor for All {
        type Stop = Infallible;

        fn visit(&mut self, _: &Descriptor, _: &Position) -> Result<Option<Role>, Infallible> {
            self.visits += 1;
            Ok(Some(Role::Document))
        }

        fn skip(&mut self, _: &Descriptor, _: &Position, obstacle: Obstacle) -> Result<(), Infallible> {
            self.obstacles.push(obstacle);
            Ok(())
        }
    }

    #[test]
    fn a_repeated_child_is_pending_once() {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[]);
        let mut larger = image.clone();
        larger.size += 1;
        let entries = std::iter::repeat_n(&image, 20_000).chain([&larger, &larger]);
        let root = memory.add_index(Flavour::OCI, entries);
        let manifest = Manifest::verified(memory.bytes(&root.digest).unwrap(), &root, None).unwrap();

        let (mut descent, mut all) = (Descent::new(&Limits::default()), All::default());
        let Ok(()) = descent.add_root(root, Position::Root, &mut all);
        let item = descent.next_item().unwrap();
        let Ok(()) = descent.descend(&item, &manifest, &mut all);
        assert_eq!((descent.pending.len(), all.visits), (1, 20_003));
        assert_eq!(all.obstacles, [Obstacle::Contradiction { first: image.size }]);
    }
}
