//! The order in which the content of a tree may be stored: a document after everything that it refers to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::op::location::Locations;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::walker::node::{Found, Node};

/// The documents and blobs of a walk, with what each document waits for.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Whether the destination keeps documents and blobs apart. Content that occurs as both is stored as both.
    keeps_apart: bool,
    /// The blobs that were reached, if they are kept apart.
    leaves: BTreeSet<Digest>,
    /// The root, while it may have to wait for more than it refers to.
    held: Option<Digest>,
    /// The documents that refer to it, directly or not.
    above_held: BTreeSet<Digest>,
    /// The ancestors of the current node of the walk, root first.
    ancestors: Vec<Digest>,
    /// Documents that were read, but cannot be stored yet.
    documents: BTreeMap<Digest, Document>,
    /// Missing content, with the documents that wait for it, once per reference to it.
    waiting: BTreeMap<Key, Vec<Digest>>,
    /// Content that is stored, or that is skipped.
    done: BTreeSet<Key>,
    /// Content that is skipped.
    skipped: BTreeSet<Digest>,
    /// Documents that can be stored.
    ready: VecDeque<(Descriptor, Manifest)>,
}

/// A digest, and whether it stands for a document that is kept apart from blobs.
type Key = (Digest, bool);

/// A document that was read.
#[derive(Debug)]
struct Document {
    descriptor: Descriptor,
    manifest: Manifest,
    /// The number of references to content that is not stored yet.
    missing: usize,
    /// The number of its children that the walk has visited.
    visited: usize,
    /// Whether the walk is still inside it.
    in_progress: bool,
}

/// A blob that the walk has reached.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) descriptor: Descriptor,
    pub(crate) parent: Option<Digest>,
    /// Whether its parent is an index.
    pub(crate) is_entry: bool,
    /// The external URLs of a non-distributable layer.
    pub(crate) urls: Vec<String>,
}

impl Leaf {
    /// Returns the locations of the blob in a registry.
    pub(crate) fn locations(&self) -> Locations {
        Locations::of(&self.urls, self.is_entry)
    }
}

/// What the walk has reached.
#[derive(Debug)]
pub(crate) enum Visited {
    /// A document that was read.
    Document(Descriptor, Manifest),
    Leaf(Leaf),
    /// Content that is already done or in progress.
    Nothing,
}

impl Order {
    /// Creates the order of content for a registry, which keeps documents and blobs apart.
    pub(crate) fn of_registry() -> Self {
        Self { keeps_apart: true, ..Self::default() }
    }

    /// Keeps a document from being stored until it is released.
    pub(crate) fn hold(&mut self, digest: &Digest) {
        self.held = Some(digest.clone());
    }

    /// Makes the held document wait for another one that was walked, unless that is the held one or refers to it.
    pub(crate) fn hold_for(&mut self, digest: &Digest) {
        let key = self.key(digest, true);
        if let Some(held) = &self.held
            && held != digest
            && !self.done.contains(&key)
            && !self.above_held.contains(digest)
            && let Some(document) = self.documents.get_mut(held)
        {
            document.missing += 1;
            self.waiting.entry(key).or_default().push(held.clone());
        }
    }

    /// Lets the held document be stored, after everything that it waits for.
    pub(crate) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.check_if_whole(&held);
        }
    }

    /// Takes the next node of a strict walk.
    pub(crate) fn visit(&mut self, node: Node) -> Visited {
        let Node { depth, descriptor, found, .. } = node;
        self.leave(depth as usize);
        let digest = descriptor.digest.clone();
        let parent = self.ancestors.last().cloned();
        let is_entry = parent.as_ref().is_some_and(|parent| self.is_index(parent));
        // An earlier descriptor was skipped as non-distributable, but this one requires the content.
        let is_wanted_after_all = matches!(found, Found::Repeated)
            && !descriptor.media_type.is_nondistributable()
            && self.skipped.remove(&digest);
        let mut is_document = descriptor.media_type.kind() != Kind::Other;
        let mut is_new_leaf = is_wanted_after_all || matches!(found, Found::Leaf);
        if self.keeps_apart && !is_document && !self.leaves.contains(&digest) {
            // What repeats a document without being an entry of an index is a blob too.
            is_document = matches!(found, Found::Repeated) && is_entry;
            is_new_leaf |= !is_document;
        }
        let key = self.key(&digest, is_document);
        // Where documents are not kept apart, what names the held one as a blob waits for it too.
        let is_at_or_above_held = self.held.as_ref() == Some(&digest) || self.above_held.contains(&digest);
        if is_at_or_above_held && key == self.key(&digest, true) {
            self.above_held.extend(self.ancestors.iter().cloned());
        }
        if matches!(found, Found::Manifest(_)) || is_wanted_after_all {
            // It may be stored as a blob although the content that it refers to is missing.
            self.done.remove(&key);
        }
        let document = parent.as_ref().and_then(|parent| self.documents.get_mut(parent));
        let number = document.map_or(0, |document| {
            document.visited += 1;
            document.visited - 1
        });
        if let Some(parent) = &parent
            && !self.done.contains(&key)
        {
            self.waiting.entry(key).or_default().push(parent.clone());
            if let Some(document) = self.documents.get_mut(parent) {
                document.missing += 1;
            }
        }
        match found {
            Found::Manifest(manifest) => {
                self.ancestors.push(digest.clone());
                let document = Document {
                    descriptor: descriptor.clone(),
                    manifest: manifest.clone(),
                    missing: 0,
                    visited: 0,
                    in_progress: true,
                };
                self.documents.insert(digest, document);
                Visited::Document(descriptor, manifest)
            }
            Found::Leaf | Found::Repeated if is_new_leaf => {
                if self.keeps_apart {
                    self.leaves.insert(digest);
                }
                Visited::Leaf(self.leaf(descriptor, parent, number, is_entry))
            }
            // A strict walk fails if content is missing.
            Found::Leaf | Found::Repeated | Found::Missing => Visited::Nothing,
        }
    }

    /// Ends the walk.
    pub(crate) fn finish(&mut self) {
        self.leave(0);
    }

    /// Records that some content is stored as a blob.
    ///
    /// If the destination does not keep blobs and documents apart, a document that is yet to be stored is not done by
    /// this: what it refers to may be missing.
    pub(crate) fn done(&mut self, digest: &Digest) {
        if self.keeps_apart || !self.documents.contains_key(digest) {
            self.done_as(self.key(digest, false));
        }
    }

    /// Records that a document is stored.
    pub(crate) fn done_document(&mut self, digest: &Digest) {
        self.done_as(self.key(digest, true));
    }

    fn done_as(&mut self, key: Key) {
        let waiting = self.waiting.remove(&key);
        if !self.done.insert(key) {
            return;
        }
        for parent in waiting.unwrap_or_default() {
            if let Some(document) = self.documents.get_mut(&parent) {
                document.missing -= 1;
                self.check_if_whole(&parent);
            }
        }
    }

    /// Records that some content is skipped.
    pub(crate) fn skip(&mut self, digest: &Digest) {
        self.skipped.insert(digest.clone());
        self.done(digest);
    }

    /// Returns whether documents were read that cannot be stored yet, or were not taken.
    pub(crate) fn has_documents(&self) -> bool {
        !self.documents.is_empty() || !self.ready.is_empty()
    }

    /// Returns the next document that can be stored.
    pub(crate) fn next_ready(&mut self) -> Option<(Descriptor, Manifest)> {
        self.ready.pop_front()
    }

    fn key(&self, digest: &Digest, is_document: bool) -> Key {
        (digest.clone(), self.keeps_apart && is_document)
    }

    fn is_index(&self, digest: &Digest) -> bool {
        self.documents.get(digest).is_some_and(|document| document.manifest.kind() == Kind::Index)
    }

    fn leaf(&self, descriptor: Descriptor, parent: Option<Digest>, number: usize, is_entry: bool) -> Leaf {
        let document = parent.as_ref().and_then(|parent| self.documents.get(parent));
        let urls = match document {
            Some(document) if descriptor.media_type.is_nondistributable() => urls(&document.manifest, number),
            _ => Vec::new(),
        };
        Leaf { descriptor, parent, is_entry, urls }
    }

    /// Closes the documents that the walk has left: those at this level and below.
    fn leave(&mut self, level: usize) {
        while self.ancestors.len() > level
            && let Some(digest) = self.ancestors.pop()
        {
            if let Some(document) = self.documents.get_mut(&digest) {
                document.in_progress = false;
            }
            self.check_if_whole(&digest);
        }
    }

    fn check_if_whole(&mut self, digest: &Digest) {
        if self.held.as_ref() == Some(digest) {
            return;
        }
        if !self.documents.get(digest).is_some_and(|document| !document.in_progress && document.missing == 0)
        {
            return;
        }
        if let Some(Document { descriptor, manifest, .. }) = self.documents.remove(digest) {
            self.ready.push_back((descriptor, manifest));
        }
    }
}

/// The maximum number of external URLs that are tried for a layer. Documents have one or two; each costs a
/// full set of attempts.
const MAX_URLS: usize = 8;

/// Returns the external URLs of a document's layer, up to [`MAX_URLS`].
fn urls(manifest: &Manifest, number: usize) -> Vec<String> {
    let layer = manifest.child(number).filter(|(part, _)| *part != Part::Config);
    layer.map(|(_, layer)| layer.urls().take(MAX_URLS).map(str::to_owned).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::evidence::Evidence;

    #[test]
    fn a_layer_is_tried_at_a_limited_number_of_urls() {
        let digest: Digest = format!("sha256:{}", "1".repeat(64)).parse().unwrap();
        let urls_of = |count: usize| {
            let named = vec!["\"https://h.example/\""; count].join(",");
            let blob = format!(r#""mediaType":"a/b","digest":"{digest}","size":1"#);
            let image = format!(
                r#"{{"schemaVersion":2,"config":{{{blob}}},"layers":[{{{blob},"urls":[{named}]}}]}}"#
            );
            let content_type = Some("application/vnd.oci.image.manifest.v1+json");
            let manifest = Manifest::read(image.into(), Evidence { content_type, ..Evidence::default() });
            urls(&manifest.unwrap(), 1).len()
        };
        assert_eq!([0, 1, 8, 9, 1000].map(urls_of), [0, 1, 8, 8, 8]);
    }
}
