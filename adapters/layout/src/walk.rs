//! Walking a layout, as an iterator.

use std::collections::BTreeSet;
use std::iter::FusedIterator;

use oci_proto::layout::Root;
use oci_proto::{Descriptor, Found, Node, WalkOptions, WalkStep, Walker};

use crate::error::LayoutError;
use crate::layout::Layout;

impl Layout {
    /// Walks everything under a root, or under the best match for a platform.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve).
    pub fn walk(&self, root: &Root, options: &WalkOptions) -> Result<Walk<'_>, LayoutError> {
        let root = self.resolve(root, options.platform.as_ref())?;
        Ok(Walk::new(self, root, options))
    }

    /// The [referrers](Self::referrers) of all documents in the tree under `root`, and theirs, to any depth: the roots of
    /// further trees, each once, after its subject. Those that are in another of these trees are left out. One that is
    /// neither an image nor an index, by its type, has no tree, and need not be in the layout.
    ///
    /// # Errors
    /// A document in one of the trees is missing or invalid, or those of [`referrers`](Self::referrers).
    pub fn referrers_of_tree(&self, root: &Descriptor) -> Result<Vec<Descriptor>, LayoutError> {
        let mut options = WalkOptions::default();
        options.strict = true;
        let mut trees = vec![root.clone()];
        let mut known = BTreeSet::from([root.digest.clone()]);
        let mut inner = BTreeSet::new();
        let mut next = 0;
        while let Some(tree) = trees.get(next).cloned() {
            next += 1;
            for node in Walk::new(self, tree, &options) {
                let Node { depth, descriptor, found, .. } = node?;
                if !matches!(found, Found::Manifest(_)) {
                    continue;
                }
                let referrers = self.referrers(&descriptor.digest)?.iter();
                trees.extend(referrers.filter(|referrer| known.insert(referrer.digest.clone())).cloned());
                if depth > 0 {
                    inner.insert(descriptor.digest);
                }
            }
        }
        trees.remove(0);
        trees.retain(|tree| !inner.contains(&tree.digest));
        Ok(trees)
    }
}

/// The nodes of a walk, from [`Layout::walk`], in depth-first pre-order. An error is the last item.
#[derive(Debug)]
pub struct Walk<'a> {
    layout: &'a Layout,
    /// None at the end.
    walker: Option<Walker>,
    strict: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(layout: &'a Layout, root: Descriptor, options: &WalkOptions) -> Self {
        // Files are read one at a time, so nothing is fetched ahead.
        let walker = Walker::new(root, options, layout.limits(), 1);
        Self { layout, walker: Some(walker), strict: options.strict }
    }

    fn step(&mut self) -> Result<Option<Node>, LayoutError> {
        let Some(walker) = &mut self.walker else { return Ok(None) };
        loop {
            let step = walker.next_step().map_err(|error| LayoutError::new(self.layout.path(), error))?;
            match step {
                WalkStep::Node(node) => return Ok(Some(*node)),
                WalkStep::Finished => return Ok(None),
                WalkStep::Blocked => {}
            }
            let Some(wanted) = walker.want() else { continue };
            match self.layout.unverified(&wanted.descriptor) {
                // The walker verifies it.
                Ok(bytes) => walker.supply(wanted.ticket, bytes, None),
                Err(error) if error.is_missing() && !self.strict => walker.supply_missing(wanted.ticket),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Node, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.walker = None;
        }
        next
    }
}

impl FusedIterator for Walk<'_> {}
