//! The manifests that a walk has requested and not yet reported.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Error, Misbehaviour};
use crate::manifest::verify::Expectation;
use crate::manifest::{DescriptorRef, Manifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::{Kind, MediaType};
use crate::walker::node::{Ticket, Wanted};

/// A position in the walk's order: the index of the child at each level.
pub(super) type Path = Vec<usize>;

#[derive(Debug, Default)]
pub(super) struct Documents {
    docs: BTreeMap<Digest, Doc>,
    tickets: BTreeMap<Ticket, Digest>,
    next_ticket: u64,
    /// The documents whose children may be requested ahead of the order.
    ahead: BTreeMap<Path, Cursor>,
    /// The bytes of the documents that were supplied and not yet taken.
    bytes: u64,
}

#[derive(Debug)]
struct Doc {
    size: u64,
    media_type: MediaType,
    path: Path,
    state: DocState,
}

#[derive(Debug)]
enum DocState {
    Wanted(Ticket),
    Supplied(Supplied),
}

/// The outcome of a requested document.
#[derive(Debug)]
pub(super) enum Supplied {
    Manifest(Manifest),
    Missing,
    Failed(Error),
}

impl Documents {
    /// Returns the number of documents that are requested, or supplied and not yet taken.
    pub(super) fn len(&self) -> usize {
        self.docs.len()
    }

    /// Returns the bytes of the documents that were supplied and not yet taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether the document is requested or supplied with the same declared size and type.
    pub(super) fn contains(&self, descriptor: &Descriptor) -> bool {
        self.docs
            .get(&descriptor.digest)
            .is_some_and(|doc| doc.size == descriptor.size && doc.media_type == descriptor.media_type)
    }

    /// Requests a document.
    pub(super) fn request(&mut self, descriptor: Descriptor, path: Path) -> Wanted {
        let ticket = self.insert(&descriptor, path);
        Wanted { ticket, descriptor }
    }

    /// Supplies the document from the descriptor's embedded data, if that is present and valid.
    pub(super) fn supply_embedded(&mut self, descriptor: &Descriptor, path: &Path) -> bool {
        let Some(data) = &descriptor.data else { return false };
        let Ok(manifest) = Manifest::verified(data.clone(), descriptor, None) else { return false };
        let ticket = self.insert(descriptor, path.clone());
        self.settle(ticket, Supplied::Manifest(manifest));
        true
    }

    fn insert(&mut self, descriptor: &Descriptor, path: Path) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, descriptor.digest.clone());
        let doc = Doc {
            size: descriptor.size,
            media_type: descriptor.media_type.clone(),
            path,
            state: DocState::Wanted(ticket),
        };
        // A request with another declared size or type replaces the earlier one, whose bytes would be
        // rejected.
        if let Some(earlier) = self.docs.insert(descriptor.digest.clone(), doc) {
            self.forget(&earlier);
        }
        ticket
    }

    /// Supplies the bytes of a document and verifies them against its descriptor.
    pub(super) fn supply(&mut self, ticket: Ticket, bytes: Bytes, content_type: Option<&str>) {
        let Some((digest, doc)) = self.tickets.get(&ticket).and_then(|d| self.docs.get_key_value(d)) else {
            return;
        };
        let expected =
            Expectation { size: Some(doc.size), digest: Some(digest), media_type: Some(&doc.media_type) };
        let supplied = match expected.read(bytes, content_type) {
            Ok(manifest) => Supplied::Manifest(manifest),
            Err(cause) => Supplied::Failed(Error::of_document(digest, cause)),
        };
        self.settle(ticket, supplied);
    }

    /// Supplies a document that is already verified, with its digest.
    pub(super) fn supply_verified(&mut self, ticket: Ticket, computed: &Digest, manifest: Manifest) {
        let Some(expected) = self.tickets.remove(&ticket) else { return };
        if expected == *computed {
            return self.record(&expected, Supplied::Manifest(manifest));
        }
        let wrong = Misbehaviour::WrongDigest { expected: expected.clone(), computed: computed.clone() };
        self.record(&expected, Supplied::Failed(Error::of_document(&expected, wrong)));
    }

    /// Records the outcome of a document. An unknown or repeated ticket is ignored.
    pub(super) fn settle(&mut self, ticket: Ticket, supplied: Supplied) {
        if let Some(digest) = self.tickets.remove(&ticket) {
            self.record(&digest, supplied);
        }
    }

    fn record(&mut self, digest: &Digest, supplied: Supplied) {
        let Some(doc) = self.docs.get_mut(digest) else { return };
        if let Supplied::Manifest(manifest) = &supplied {
            self.bytes += manifest.bytes().len() as u64;
            if manifest.kind() == Kind::Index {
                self.ahead.insert(doc.path.clone(), Cursor::new(manifest.clone(), doc.path.clone()));
            }
        }
        doc.state = DocState::Supplied(supplied);
    }

    /// Removes and returns the outcome of the document, if there is one yet.
    pub(super) fn take(&mut self, digest: &Digest) -> Option<Supplied> {
        if !matches!(self.docs.get(digest)?.state, DocState::Supplied(_)) {
            return None;
        }
        let doc = self.docs.remove(digest)?;
        self.forget(&doc);
        match doc.state {
            DocState::Supplied(supplied) => Some(supplied),
            DocState::Wanted(_) => None,
        }
    }

    /// Returns the next unknown child ahead of the order that satisfies `wants`.
    pub(super) fn next_ahead(
        &mut self,
        wants: impl Fn(DescriptorRef<'_>, usize) -> bool,
    ) -> Option<(Descriptor, Path)> {
        loop {
            let mut entry = self.ahead.first_entry()?;
            let Some((child, path)) = entry.get_mut().advance(false) else {
                entry.remove();
                continue;
            };
            if !self.docs.contains_key(child.digest()) && wants(child, path.len()) {
                return Some((child.to_owned(), path));
            }
        }
    }

    /// Removes a document whose children have all been reported.
    pub(super) fn finish(&mut self, path: &Path) {
        self.ahead.remove(path);
    }

    fn forget(&mut self, doc: &Doc) {
        match &doc.state {
            DocState::Wanted(ticket) => drop(self.tickets.remove(ticket)),
            DocState::Supplied(Supplied::Manifest(manifest)) => {
                self.bytes = self.bytes.saturating_sub(manifest.bytes().len() as u64);
            }
            DocState::Supplied(_) => {}
        }
    }
}

/// A cursor over the children of a document.
#[derive(Debug)]
pub(super) struct Cursor {
    manifest: Manifest,
    pub(super) path: Path,
    next: usize,
}

impl Cursor {
    pub(super) fn new(manifest: Manifest, path: Path) -> Self {
        Self { manifest, path, next: 0 }
    }

    /// Returns the next child and its position. The children of an image are returned only with `blobs`.
    pub(super) fn advance(&mut self, blobs: bool) -> Option<(DescriptorRef<'_>, Path)> {
        if self.manifest.kind() == Kind::Image && !blobs {
            return None;
        }
        let index = self.next;
        let (_, child) = self.manifest.child(index)?;
        self.next += 1;
        let mut path = self.path.clone();
        path.push(index);
        Some((child, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;
    use crate::server::content::Content as _;
    use crate::server::memory::{Flavour, Memory};

    #[test]
    fn another_document_than_the_requested_one_is_refused() {
        let mut memory = Memory::new();
        let [asked, other] = ["arm64", "amd64"].map(|architecture| {
            let platform = format!("linux/{architecture}").parse().unwrap();
            memory.add_image(Flavour::OCI, Some(platform), &[])
        });
        let manifest = Manifest::verified(memory.bytes(&other.digest).unwrap(), &other, None).unwrap();
        let mut documents = Documents::default();
        for (computed, is_refused) in [(&asked.digest, false), (&other.digest, true)] {
            let Wanted { ticket, .. } = documents.request(asked.clone(), Path::new());
            documents.supply_verified(ticket, computed, manifest.clone());
            let refused = match documents.take(&asked.digest) {
                Some(Supplied::Failed(error)) => {
                    matches!(error.cause(), Cause::Misbehaved(Misbehaviour::WrongDigest { .. }))
                }
                _ => false,
            };
            assert_eq!(refused, is_refused);
        }
    }
}
