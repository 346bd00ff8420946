//! Checks all content under a set of roots, without I/O.
//!
//! A [`Walker`](crate::Walker) stops at the first problem; a [`Checker`] records it and continues.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;

use crate::layout::index::Entry;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::manifest::error::VerifyError;
use crate::manifest::verify::Expectation;
use crate::types::descriptor::Descriptor;
use crate::types::media_type::Kind;
use crate::walker::budget::OverBudget;
use crate::walker::descent::{Descent, Item, Obstacle, Role, Visitor};
use crate::walker::finding::{Finding, Problem};
use crate::walker::position::Position;

/// A check in progress. It visits each blob under its roots once, and each document once for each media
/// type that descriptors give it, regardless of problems elsewhere.
///
/// [`next_item`](Self::next_item) returns the next item to read; any number of items may be
/// outstanding. Pass the bytes of a document to [`document`](Self::document). Verify a blob yourself.
/// Report a missing or invalid item with [`wrong`](Self::wrong), and drop a valid one.
/// [`next_finding`](Self::next_finding) returns the findings.
///
/// A subject is not followed, since the specification allows it to be missing (image-spec,
/// manifest.md). A missing non-distributable layer is not a problem.
#[derive(Debug)]
pub struct Checker {
    descent: Descent,
    findings: Findings,
}

impl Checker {
    /// Creates a check without roots. The limits on manifests and walks apply; the limit on nodes
    /// counts repeated content once.
    pub fn new(limits: &Limits) -> Self {
        let findings = Findings { found: VecDeque::new(), document_bytes: limits.manifest_bytes };
        Self { descent: Descent::new(limits), findings }
    }

    /// Adds a root to the check.
    pub fn add_root(&mut self, root: Descriptor) {
        let Ok(()) = self.descent.add_root(root, Position::Root, &mut self.findings);
    }

    /// Adds an entry of a layout's `index.json` to the check; numbers start at 0. An entry with a
    /// generic media type is a document if it parses as one.
    pub fn add_layout_entry(&mut self, number: usize, entry: &Entry) {
        let (root, position) = (entry.descriptor().clone(), Position::Layout(number));
        let Ok(()) = self.descent.add_root(root, position, &mut self.findings);
    }

    /// Returns the next item to read, or `None` if none is pending.
    pub fn next_item(&mut self) -> Option<Item> {
        self.descent.next_item()
    }

    /// Returns whether any items are pending.
    pub(crate) fn has_items(&self) -> bool {
        self.descent.has_items()
    }

    /// Returns the next finding.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.findings.found.pop_front()
    }

    /// Adds a finding of the caller, about something other than the check's items.
    pub fn note(&mut self, finding: Finding) {
        self.findings.found.push_back(finding);
    }

    /// Reports a problem with an item.
    pub fn wrong(&mut self, item: Item, problem: Problem, detail: impl fmt::Display) {
        let Item { descriptor, role, position, .. } = item;
        let excused =
            problem == Problem::Missing && role == Role::Blob && descriptor.media_type.is_nondistributable();
        if !excused {
            self.findings.add(&descriptor, problem, &position, detail);
        }
    }

    /// Verifies and parses the bytes of a document. `content_type` is the Content-Type of the response,
    /// if any.
    #[expect(clippy::needless_pass_by_value, reason = "an item is reported once")]
    pub fn document(&mut self, item: Item, bytes: Bytes, content_type: Option<&str>) {
        match Manifest::sniffed(bytes, &item.descriptor, content_type) {
            Ok(Some(manifest)) => {
                let Ok(()) = self.descent.descend(&item, &manifest, &mut self.findings);
            }
            Ok(None) => {}
            Err(error) => {
                let problem = match &error {
                    VerifyError::Size { .. } => Problem::WrongSize,
                    VerifyError::UnknownAlgorithm(_) => Problem::Unverifiable,
                    VerifyError::Digest { .. } => Problem::WrongContent,
                    VerifyError::Manifest(_) => Problem::Malformed,
                };
                self.findings.add(&item.descriptor, problem, &item.position, error);
            }
        }
    }
}

/// The findings that were not yet returned.
#[derive(Debug)]
struct Findings {
    found: VecDeque<Finding>,
    /// The maximum size of a document, in bytes.
    document_bytes: u64,
}

impl Findings {
    fn add(
        &mut self,
        descriptor: &Descriptor,
        problem: Problem,
        position: &Position,
        detail: impl fmt::Display,
    ) {
        let digest = Some(descriptor.digest.clone());
        self.found.push_back(Finding::new(digest, problem, format_args!("{position}: {detail}")));
    }
}

impl Visitor for Findings {
    type Stop = Infallible;

    fn visit(&mut self, descriptor: &Descriptor, position: &Position) -> Result<Option<Role>, Infallible> {
        let Descriptor { media_type, digest, size, data, .. } = descriptor;
        if let Some(data) = data
            && digest.algorithm().is_some()
            && Expectation::from(descriptor).verify(data).is_err()
        {
            let detail = "the descriptor's embedded data does not match its digest and size";
            self.add(descriptor, Problem::Contradiction, position, detail);
        }
        let may_be_document = match position {
            Position::Root | Position::Layout(_) => media_type.is_generic() && *size <= self.document_bytes,
            Position::Within { .. } => false,
        };
        let is_document = media_type.kind() != Kind::Other || may_be_document;
        Ok(Some(if is_document { Role::Document } else { Role::Blob }))
    }

    fn skip(
        &mut self,
        descriptor: &Descriptor,
        position: &Position,
        obstacle: Obstacle,
    ) -> Result<(), Infallible> {
        let (problem, detail) = match obstacle {
            Obstacle::Contradiction { first } => (
                Problem::Contradiction,
                format!("the descriptor says {} bytes, but another descriptor says {first}", descriptor.size),
            ),
            Obstacle::UnknownAlgorithm => {
                (Problem::Unverifiable, VerifyError::UnknownAlgorithm(descriptor.digest.clone()).to_string())
            }
            Obstacle::OverBudget(over) => (
                Problem::Limit,
                match over {
                    OverBudget::Depth(limit) => {
                        format!("it is more than {limit} levels below its root and was not read")
                    }
                    OverBudget::DocumentBytes(limit) => {
                        format!("the document has more than {limit} bytes and was not read")
                    }
                    OverBudget::TotalBytes(limit) => {
                        format!("with it, the documents have more than {limit} bytes in all; it was not read")
                    }
                    OverBudget::Nodes(limit) => {
                        format!("there are more than {limit} contents; it was not read")
                    }
                },
            ),
        };
        self.add(descriptor, problem, position, detail);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
