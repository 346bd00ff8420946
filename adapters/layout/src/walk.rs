//! Walking a layout, as an iterator.

use std::iter::FusedIterator;

use oci_proto::layout::Root;
use oci_proto::{Descriptor, Node, WalkOptions, WalkStep, Walker};

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
    fn new(layout: &'a Layout, root: Descriptor, options: &WalkOptions) -> Self {
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
