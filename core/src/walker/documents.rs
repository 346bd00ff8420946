//! The manifests that a walk has asked for and not yet reported.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Cause, Error, Misbehaviour};
use crate::manifest::evidence::Evidence;
use crate::manifest::{DescriptorRef, Manifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::{Kind, MediaType};
use crate::walker::node::{Ticket, Wanted};

/// A place in the order: which child at each level.
pub(super) type Path = Vec<usize>;

#[derive(Debug, Default)]
pub(super) struct Documents {
    docs: BTreeMap<Digest, Doc>,
    tickets: BTreeMap<Ticket, Digest>,
    next_ticket: u64,
    /// Those whose children may be wanted ahead of the order.
    ahead: BTreeMap<Path, Cursor>,
    /// Bytes of those that were supplied and not yet taken.
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

/// What came of a document.
#[derive(Debug)]
pub(super) enum Supplied {
    Manifest(Manifest),
    Missing,
    Failed(Error),
}

impl Documents {
    /// How many are wanted, or supplied and not yet taken.
    pub(super) fn len(&self) -> usize {
        self.docs.len()
    }

    /// The bytes of those that were supplied and not yet taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the document is wanted or supplied under the same claims of size and type.
    pub(super) fn holds(&self, descriptor: &Descriptor) -> bool {
        self.docs
            .get(&descriptor.digest)
            .is_some_and(|doc| doc.size == descriptor.size && doc.media_type == descriptor.media_type)
    }

    /// Wants a document.
    pub(super) fn order(&mut self, descriptor: Descriptor, path: Path) -> Wanted {
        let ticket = self.insert(&descriptor, path);
        Wanted { ticket, descriptor }
    }

    /// Takes the document from its descriptor's own data, if that is there and agrees.
    pub(super) fn carry(&mut self, descriptor: &Descriptor, path: &Path) -> bool {
        let Descriptor { digest, size, media_type, data, .. } = descriptor;
        let Some(data) = data else { return false };
        let Ok(manifest) = read(digest, *size, media_type, data.clone(), None) else { return false };
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
        // Claims that differ from those of an earlier order replace it: its bytes would be refused.
        if let Some(earlier) = self.docs.insert(descriptor.digest.clone(), doc) {
            self.forget(&earlier);
        }
        ticket
    }

    /// Takes bytes, which are verified against what was wanted.
    pub(super) fn supply(&mut self, ticket: Ticket, bytes: Bytes, content_type: Option<&str>) {
        let Some((digest, doc)) = self.tickets.get(&ticket).and_then(|d| self.docs.get_key_value(d)) else {
            return;
        };
        let supplied = match read(digest, doc.size, &doc.media_type, bytes, content_type) {
            Ok(manifest) => Supplied::Manifest(manifest),
            Err(cause) => Supplied::Failed(Error::of_document(digest, cause)),
        };
        self.settle(ticket, supplied);
    }

    /// Takes what came of a document. An unknown or repeated ticket is ignored.
    pub(super) fn settle(&mut self, ticket: Ticket, supplied: Supplied) {
        let Some(doc) = self.tickets.remove(&ticket).and_then(|digest| self.docs.get_mut(&digest)) else {
            return;
        };
        if let Supplied::Manifest(manifest) = &supplied {
            self.bytes += manifest.bytes().len() as u64;
            if manifest.kind() == Kind::Index {
                self.ahead.insert(doc.path.clone(), Cursor::new(manifest.clone(), doc.path.clone()));
            }
        }
        doc.state = DocState::Supplied(supplied);
    }

    /// Takes what came of the document, if anything did.
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

    /// The next child ahead of the order that is not known yet, and that `wants` says yes to.
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

    /// All children of the document at `path` have had their turn.
    pub(super) fn passed(&mut self, path: &Path) {
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

/// A document, and the next of its children.
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

    /// The next child and its place; of an image only with `blobs`.
    pub(super) fn advance(&mut self, blobs: bool) -> Option<(DescriptorRef<'_>, Path)> {
        let index = self.next;
        let child = match self.manifest.kind() {
            Kind::Index => self.manifest.entry(index),
            Kind::Image if blobs && index == 0 => self.manifest.config(),
            Kind::Image if blobs => self.manifest.entry(index - 1),
            Kind::Image | Kind::Other => None,
        }?;
        self.next += 1;
        let mut path = self.path.clone();
        path.push(index);
        Some((child, path))
    }
}

/// Verifies and reads a manifest's bytes.
fn read(
    digest: &Digest,
    size: u64,
    media_type: &MediaType,
    bytes: Bytes,
    content_type: Option<&str>,
) -> Result<Manifest, Cause> {
    let received = bytes.len() as u64;
    if received > size {
        return Err(Misbehaviour::TooLong { expected: size }.into());
    }
    if received < size {
        return Err(Misbehaviour::TooShort { expected: size, received }.into());
    }
    let algorithm = digest.algorithm().unwrap_or(Algorithm::Sha256);
    let computed = Digest::of(algorithm, &bytes);
    if computed != *digest {
        return Err(Misbehaviour::WrongDigest { expected: digest.clone(), computed }.into());
    }
    Ok(Manifest::read(bytes, Evidence { content_type, expected: Some(media_type) })
        .map_err(Misbehaviour::from)?)
}
