//! A walk as an iterator.

use std::iter::FusedIterator;

use oci_proto::{Descriptor, Node, WalkOptions, WalkStep, Walker};

use crate::layout::is_missing;
use crate::{Layout, LayoutError};

/// The nodes of a tree, from [`Layout::walk`], in the depth-first pre-order of the documents. An error is the
/// last item.
#[derive(Debug)]
pub struct Walk<'a> {
    layout: &'a Layout,
    /// None at the end.
    tree: Option<Walker>,
    strict: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(layout: &'a Layout, root: Descriptor, options: &WalkOptions) -> Self {
        // Files are read one after another, each when it is next.
        let tree = Walker::new(root, options, layout.limits(), 1);
        Self { layout, tree: Some(tree), strict: options.strict }
    }

    fn step(&mut self) -> Result<Option<Node>, LayoutError> {
        let Some(tree) = &mut self.tree else { return Ok(None) };
        loop {
            let step = tree.next_step().map_err(|error| LayoutError::new(self.layout.folder(), error))?;
            match step {
                WalkStep::Node(node) => return Ok(Some(*node)),
                WalkStep::Finished => return Ok(None),
                WalkStep::Blocked => {}
            }
            let Some(wanted) = tree.want() else { continue };
            match self.layout.unverified(&wanted.descriptor) {
                // The tree verifies it.
                Ok(bytes) => tree.supply(wanted.ticket, bytes, None),
                Err(error) if is_missing(&error) && !self.strict => tree.supply_missing(wanted.ticket),
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
            self.tree = None;
        }
        next
    }
}

impl FusedIterator for Walk<'_> {}
