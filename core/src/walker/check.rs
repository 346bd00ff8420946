//! The check of everything under some roots. It knows no HTTP, and no files.
//!
//! A [`Walker`](crate::Walker) stops at what is wrong; an [`Checker`] notes it and goes on.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use crate::layout;
use crate::limits::Limits;
use crate::manifest::evidence::Evidence;
use crate::manifest::{DescriptorRef, Manifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::{Kind, MediaType};
use crate::walker::finding::{Finding, Problem};
use crate::walker::position::{Part, Position};

/// A check in progress: each document and each blob under some roots, once, whatever is wrong with others.
///
/// [`next_item`](Self::next_item) says what is to be read, in any number at a time. A document goes back with
/// its bytes, to [`document`](Self::document). A blob is verified by who reads it. What cannot be had, or is
/// wrong, goes to [`wrong`](Self::wrong); what is right is dropped. [`next_finding`](Self::next_finding) yields
/// what was found.
///
/// A subject is not followed, since it may be missing by rule (image-spec, manifest.md); neither is a layer that
/// may not be distributed missed where it is not there.
#[derive(Debug)]
pub struct Checker {
    limits: Limits,
    /// The next one is the last.
    waiting: Vec<Item>,
    known: BTreeMap<Digest, Known>,
    claims: u64,
    /// Whether there was one claim too many.
    full: bool,
    bytes: u64,
    findings: VecDeque<Finding>,
}

/// Something that a check wants read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Item {
    /// What is to be read.
    pub descriptor: Descriptor,
    /// What it is to the check.
    pub role: Role,
    place: Position,
    depth: u32,
}

impl Item {
    /// Whether an index names it.
    pub(crate) fn is_entry(&self) -> bool {
        matches!(self.place, Position::Within { part: Part::Entry(_), .. })
    }
}

/// What an [`Item`] is to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a third role is another duty of every driver")]
pub enum Role {
    /// Its bytes, no more than its size, go to [`Checker::document`], which verifies them.
    Document,
    /// Its size and its digest are to be verified, and its bytes are nobody's business.
    Blob,
}

/// What was said of some content so far.
#[derive(Debug)]
struct Known {
    size: u64,
    contradicted: bool,
    blob: bool,
    /// The types that it is to be read as.
    documents: Vec<MediaType>,
}

impl Known {
    fn new(size: u64) -> Self {
        Self { size, contradicted: false, blob: false, documents: Vec::new() }
    }
}

impl Checker {
    /// A check of nothing yet. Of the limits, those on manifests and on walks bound it; that on nodes counts
    /// content once, however often it is named.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            waiting: Vec::new(),
            known: BTreeMap::new(),
            claims: 0,
            full: false,
            bytes: 0,
            findings: VecDeque::new(),
        }
    }

    /// Checks what is under this root too.
    pub fn add_root(&mut self, root: Descriptor) {
        self.add(root, Position::Root, 0);
    }

    /// Checks what is under this entry of a layout's `index.json` too; its number begins at 0. An entry that
    /// does not say its type is a document if it reads as one.
    pub fn add_layout_entry(&mut self, number: usize, entry: &layout::Entry) {
        self.add(entry.descriptor().clone(), Position::Layout(number), 0);
    }

    /// The next thing to read; none while there is nothing more to ask for.
    pub fn next_item(&mut self) -> Option<Item> {
        self.waiting.pop()
    }

    /// Whether there is something left to ask for.
    pub(crate) fn has_items(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next thing that was found wrong.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// Takes what was found wrong outside of what the check itself reads.
    pub fn note(&mut self, finding: Finding) {
        self.findings.push_back(finding);
    }

    /// Takes what is wrong with an item.
    pub fn wrong(&mut self, item: Item, problem: Problem, detail: impl fmt::Display) {
        let Item { descriptor, role, place, .. } = item;
        let excused =
            problem == Problem::Missing && role == Role::Blob && descriptor.media_type.is_nondistributable();
        if !excused {
            self.find(descriptor.digest, problem, &place, detail);
        }
    }

    /// Takes a document's bytes, and the media type that they came with, if any; verifies and reads them.
    pub fn document(&mut self, item: Item, bytes: Bytes, content_type: Option<&str>) {
        let Item { descriptor, ref place, depth, .. } = item;
        let Descriptor { digest, size, media_type, .. } = &descriptor;
        let found = bytes.len() as u64;
        if found != *size {
            let detail = format_args!("the descriptor says {size} bytes, and there are {found}");
            return self.find(digest.clone(), Problem::WrongSize, place, detail);
        }
        let computed = Digest::of(digest.algorithm().unwrap_or(Algorithm::Sha256), &bytes);
        if computed != *digest {
            let detail = format_args!("its content is that of {computed}");
            return self.find(digest.clone(), Problem::WrongContent, place, detail);
        }
        let read = if media_type.is_generic() {
            match layout::typed(descriptor.clone(), bytes.clone()) {
                Ok(typed) if typed.media_type.kind() == Kind::Other => return,
                Ok(_) => Manifest::read(bytes, Evidence::default()),
                Err(refused) => Err(refused),
            }
        } else {
            Manifest::read(bytes, Evidence { content_type, expected: Some(media_type) })
        };
        match read {
            Ok(manifest) => self.add_all_of(&manifest, digest, depth.saturating_add(1)),
            Err(refused) => self.find(digest.clone(), Problem::Malformed, place, refused),
        }
    }

    fn add_all_of(&mut self, manifest: &Manifest, digest: &Digest, depth: u32) {
        // The first of them is to be the last that waits.
        let first = self.waiting.len();
        let mut add = |part, descriptor: DescriptorRef<'_>| {
            let place = Position::Within { document: digest.clone(), part };
            self.add(descriptor.to_owned(), place, depth);
        };
        if let Some(config) = manifest.config().filter(|_| manifest.kind() == Kind::Image) {
            add(Part::Config, config);
        }
        let part = if manifest.kind() == Kind::Image { Part::Layer } else { Part::Entry };
        for (n, entry) in manifest.entries().enumerate() {
            add(part(n), entry);
        }
        if let Some(added) = self.waiting.get_mut(first..) {
            added.reverse();
        }
    }

    /// Lets a descriptor wait, if there is news in it.
    fn add(&mut self, mut descriptor: Descriptor, place: Position, depth: u32) {
        let data = descriptor.data.take();
        let Descriptor { digest, size, media_type, .. } = &descriptor;
        if let Some(data) = data
            && let Some(algorithm) = digest.algorithm()
            && (data.len() as u64 != *size || Digest::of(algorithm, &data) != *digest)
        {
            let detail = "the data that the descriptor carries is not what it names";
            self.find(digest.clone(), Problem::Contradiction, &place, detail);
        }
        let untyped_root = depth == 0 && media_type.is_generic() && *size <= self.limits.manifest_bytes;
        let role = if media_type.kind() != Kind::Other || untyped_root { Role::Document } else { Role::Blob };
        if !self.is_news(&descriptor, role, &place) {
            return;
        }
        if digest.algorithm().is_none() {
            let detail = "its digest's algorithm is not sha256, sha384 or sha512";
            return self.find(digest.clone(), Problem::Unverifiable, &place, detail);
        }
        if role == Role::Document
            && let Err(over) = self.afford(*size, depth)
        {
            return self.find(digest.clone(), Problem::Limit, &place, over);
        }
        self.waiting.push(Item { descriptor, role, place, depth });
    }

    /// Whether a descriptor says what none has said before, and can be right, and there is room for it.
    fn is_news(&mut self, descriptor: &Descriptor, role: Role, place: &Position) -> bool {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        if let Some(known) = self.known.get_mut(digest) {
            if known.size != *size {
                if !std::mem::replace(&mut known.contradicted, true) {
                    let detail = format!("the descriptor says {size} bytes, and another one {}", known.size);
                    self.find(digest.clone(), Problem::Contradiction, place, detail);
                }
                return false;
            }
            let old = match role {
                // Who reads a document verifies it.
                Role::Blob => known.blob || !known.documents.is_empty(),
                Role::Document => known.documents.contains(media_type),
            };
            if old {
                return false;
            }
        }
        let limit = self.limits.walk_nodes;
        if self.claims == limit {
            if !std::mem::replace(&mut self.full, true) {
                let detail = format_args!("there are more than {limit} contents, and it is not looked into");
                self.find(digest.clone(), Problem::Limit, place, detail);
            }
            return false;
        }
        self.claims += 1;
        let known = self.known.entry(digest.clone()).or_insert_with(|| Known::new(*size));
        match role {
            Role::Blob => known.blob = true,
            Role::Document => known.documents.push(media_type.clone()),
        }
        true
    }

    /// Whether a document is within the bounds; which it is not, else.
    fn afford(&mut self, size: u64, depth: u32) -> Result<(), String> {
        let Limits { manifest_bytes, walk_depth, walk_bytes, .. } = self.limits;
        if depth > walk_depth {
            return Err(format!("it is more than {walk_depth} levels below its root, and not looked into"));
        }
        if size > manifest_bytes {
            return Err(format!("the document has more than {manifest_bytes} bytes, and is not looked into"));
        }
        let bytes = self.bytes.saturating_add(size);
        if bytes > walk_bytes {
            let documents = "with it the documents have more than";
            return Err(format!("{documents} {walk_bytes} bytes in all, and it is not looked into"));
        }
        self.bytes = bytes;
        Ok(())
    }

    fn find(&mut self, digest: Digest, problem: Problem, place: &Position, detail: impl fmt::Display) {
        self.note(Finding::new(Some(digest), problem, format_args!("{place}: {detail}")));
    }
}

#[cfg(test)]
mod tests;
