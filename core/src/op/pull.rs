//! Pull: fetches everything under a reference. Repeated content is fetched once.
//!
//! Documents are fetched ahead of the walk and read in its order. Blobs are fetched as soon as they are
//! known; among those that wait, the largest one is first. A document is stored after all content that it
//! refers to, so the root is stored last. If a pull stops early, no stored document refers to missing
//! content.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Config;
use crate::error::Error;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::op::ask::{Held, StoreContent};
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::lookup::Lookup;
use crate::op::operation::{
    Admission, BlobFetch, BlobLocation, Fetch, FetchKind, Fetched, OpOutput, Operation, supply,
};
use crate::op::rooted::Rooted;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::Kind;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::node::{Found, Node, WalkOptions, WalkStep, Wanted};
use crate::walker::walk::Walker;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// The options of a pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// Pulls only the best match for this platform.
    pub platform: Option<Platform>,
    /// Also pulls non-distributable layers, from the URLs in their descriptors.
    pub foreign: bool,
}

/// Pulls everything under a reference.
pub(crate) fn pull(
    target: Arc<Target>,
    reference: &Reference,
    options: &PullOptions,
    config: &Config,
) -> Rooted {
    let lookup = Lookup::new(target.clone(), reference, options.platform.as_ref(), true, config);
    let (limits, foreign) = (config.limits.clone(), options.foreign);
    Rooted::new(lookup, move |root, manifest| Box::new(Pull::new(target, root, manifest, foreign, &limits)))
}

#[derive(Debug)]
struct Pull {
    target: Arc<Target>,
    foreign: bool,
    root: Digest,
    walker: Walker,
    /// Whether the walk has finished.
    walk_finished: bool,
    /// The ancestors of the current node of the walk, root first.
    ancestors: Vec<Digest>,
    /// Documents that were read, but cannot be stored yet.
    documents: BTreeMap<Digest, Document>,
    /// Missing content, with the documents that wait for it, once per reference to it.
    waiting: BTreeMap<Digest, Vec<Digest>>,
    /// Content that the driver has stored, or that is skipped.
    done: BTreeSet<Digest>,
    /// Content that is skipped.
    skipped: BTreeSet<Digest>,
    /// Blobs that are queued or being fetched into a sink.
    downloads: BTreeMap<Digest, Descriptor>,
    outputs: VecDeque<OpOutput>,
    /// Unanswered [`OpOutput::Held`] questions: documents, and blobs with their locations. A digest may be both.
    asked_documents: BTreeMap<Digest, Wanted>,
    asked_blobs: BTreeMap<Digest, (Descriptor, VecDeque<BlobLocation>)>,
    /// Documents to fetch.
    manifests: VecDeque<Wanted>,
    /// Blobs to fetch, the largest first.
    blobs: BTreeMap<(Reverse<u64>, Digest), BlobFetch>,
}

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

impl Operation for Pull {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        // Documents first: they reveal the rest of the content.
        if let Some(wanted) = self.manifests.pop_front() {
            let fetch = Fetch::described(&self.target, wanted.descriptor, Some(wanted.ticket));
            return Some(Admission::One(fetch));
        }
        let (_, blob) = self.blobs.pop_first()?;
        let kind = FetchKind::Blob(Box::new(blob));
        Some(Admission::One(Fetch { target: self.target.clone(), kind, ticket: None, is_search: false }))
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        let FetchKind::Blob(blob) = &fetch.kind else {
            return supply(&mut self.walker, fetch.ticket, outcome);
        };
        let Err(error) = outcome else {
            if let Some(descriptor) = self.downloads.remove(&blob.digest) {
                self.outputs.push_back(OpOutput::Store(descriptor, StoreContent::Sink));
            }
            return;
        };
        let Some(next) = blob.fall_back(&error) else { return self.fail(error) };
        self.blobs.insert((Reverse(next.size.unwrap_or_default()), next.digest.clone()), next);
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        if self.outputs.is_empty() {
            self.advance_walk();
        }
        self.outputs.pop_front()
    }

    fn held(&mut self, descriptor: &Descriptor, held: Held) {
        let digest = &descriptor.digest;
        if descriptor.media_type.kind() != Kind::Other {
            match (self.asked_documents.remove(digest), held) {
                (Some(wanted), Held::Document(bytes)) => self.walker.supply(wanted.ticket, bytes, None),
                (Some(wanted), _) => self.manifests.push_back(wanted),
                (None, _) => {}
            }
            return;
        }
        let Some((descriptor, locations)) = self.asked_blobs.remove(digest) else { return };
        match held {
            Held::Whole => self.mark_done(digest),
            Held::Part { offset, hasher } => self.queue(&descriptor, locations, Some((offset, hasher))),
            Held::Nothing | Held::Document(_) => self.queue(&descriptor, locations, None),
        }
    }

    fn stored(&mut self, digest: &Digest) {
        self.mark_done(digest);
        if *digest == self.root {
            self.outputs.push_back(OpOutput::Event(Event::Done));
        }
    }
}

impl Pull {
    fn new(
        target: Arc<Target>,
        root: Descriptor,
        manifest: Option<Manifest>,
        foreign: bool,
        limits: &Limits,
    ) -> Self {
        let walk = WalkOptions { blobs: true, strict: true, platform: None };
        let mut walker = Walker::new(root.clone(), &walk, limits, limits.window());
        if let Some(manifest) = manifest {
            walker.supply_root(manifest);
        }
        Self {
            target,
            foreign,
            root: root.digest,
            walker,
            walk_finished: false,
            ancestors: Vec::new(),
            documents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            done: BTreeSet::new(),
            skipped: BTreeSet::new(),
            downloads: BTreeMap::new(),
            outputs: VecDeque::new(),
            asked_documents: BTreeMap::new(),
            asked_blobs: BTreeMap::new(),
            manifests: VecDeque::new(),
            blobs: BTreeMap::new(),
        }
    }

    /// Continues the walk as far as its documents are known, and requests the next ones.
    fn advance_walk(&mut self) {
        while !self.walk_finished {
            match self.walker.next_step() {
                Ok(WalkStep::Node(node)) => self.visit(*node),
                Ok(WalkStep::Blocked) => break,
                Ok(WalkStep::Finished) => {
                    self.walk_finished = true;
                    self.leave(0);
                }
                Err(error) => return self.fail(error),
            }
            if !self.outputs.is_empty() {
                return;
            }
        }
        while let Some(wanted) = self.walker.want() {
            let descriptor = wanted.descriptor.clone();
            self.asked_documents.insert(descriptor.digest.clone(), wanted);
            self.outputs.push_back(OpOutput::Held(descriptor));
        }
    }

    fn visit(&mut self, node: Node) {
        let Node { depth, descriptor, found, .. } = node;
        self.leave(depth as usize);
        let digest = descriptor.digest.clone();
        let parent = self.ancestors.last().cloned();
        // An earlier descriptor was skipped as non-distributable, but this one requires the content.
        let is_wanted_after_all = matches!(found, Found::Repeated)
            && !descriptor.media_type.is_nondistributable()
            && self.skipped.remove(&digest);
        if matches!(found, Found::Manifest(_)) || is_wanted_after_all {
            // It may be stored as a blob although the content that it refers to is missing.
            self.done.remove(&digest);
        }
        let document = parent.as_ref().and_then(|parent| self.documents.get_mut(parent));
        let number = document.map_or(0, |document| {
            document.visited += 1;
            document.visited - 1
        });
        if let Some(parent) = &parent
            && !self.done.contains(&digest)
        {
            self.waiting.entry(digest.clone()).or_default().push(parent.clone());
            if let Some(document) = self.documents.get_mut(parent) {
                document.missing += 1;
            }
        }
        match found {
            Found::Manifest(manifest) => {
                self.ancestors.push(digest.clone());
                let document = Document { descriptor, manifest, missing: 0, visited: 0, in_progress: true };
                self.documents.insert(digest, document);
            }
            Found::Leaf => self.want_blob(descriptor, parent.as_ref(), number),
            Found::Repeated if is_wanted_after_all => self.want_blob(descriptor, parent.as_ref(), number),
            // Repeated content is already done or in progress. A strict walk fails if content is missing.
            Found::Repeated | Found::Missing => {}
        }
    }

    /// Closes the documents that the walk has left: those at this level and below.
    fn leave(&mut self, level: usize) {
        while self.ancestors.len() > level
            && let Some(digest) = self.ancestors.pop()
        {
            if let Some(document) = self.documents.get_mut(&digest) {
                document.in_progress = false;
            }
            self.store_if_whole(&digest);
        }
    }

    /// Wants a blob, which is the child of its parent with this number.
    fn want_blob(&mut self, mut descriptor: Descriptor, parent: Option<&Digest>, number: usize) {
        let Descriptor { digest, size, media_type, data, .. } = &mut descriptor;
        let empty = (*size == 0).then(Bytes::new);
        let embedded = data.take().into_iter().chain(empty).find(|bytes| {
            let same = |algorithm| Digest::of(algorithm, bytes) == *digest;
            bytes.len() as u64 == *size && digest.algorithm().is_some_and(same)
        });
        if let Some(bytes) = embedded {
            self.outputs.push_back(OpOutput::Store(descriptor, StoreContent::Bytes(bytes)));
            return;
        }
        let document = parent.and_then(|parent| self.documents.get(parent));
        let mut locations = VecDeque::new();
        if media_type.is_nondistributable()
            && let Some(document) = document
        {
            let urls = urls(&document.manifest, number);
            if !urls.is_empty() && !self.foreign {
                let digest = digest.clone();
                self.skipped.insert(digest.clone());
                self.outputs.push_back(OpOutput::Event(Event::Skipped(descriptor)));
                return self.mark_done(&digest);
            }
            locations.extend(urls.into_iter().map(BlobLocation::Url));
        }
        // Registries store an entry of an index as a manifest, whatever its type, or as a blob.
        if document.is_some_and(|document| document.manifest.kind() == Kind::Index) {
            locations.push_back(BlobLocation::Manifests);
        }
        locations.push_back(BlobLocation::Blobs);
        self.asked_blobs.insert(digest.clone(), (descriptor.clone(), locations));
        self.outputs.push_back(OpOutput::Held(descriptor));
    }

    fn queue(
        &mut self,
        descriptor: &Descriptor,
        mut locations: VecDeque<BlobLocation>,
        resume: Option<(u64, Hasher)>,
    ) {
        let Descriptor { digest, size, .. } = descriptor.clone();
        if let Some((offset, hasher)) = &resume
            && *offset == size
            && hasher.clone().finish() == digest
        {
            self.outputs.push_back(OpOutput::Store(descriptor.clone(), StoreContent::Sink));
            return;
        }
        let resume = resume.filter(|(offset, _)| *offset < size);
        if let Some(location) = locations.pop_front() {
            let blob = BlobFetch {
                digest: digest.clone(),
                size: Some(size),
                location,
                fallbacks: locations,
                resume,
                may_restart: true,
                discard: false,
            };
            self.downloads.insert(digest.clone(), descriptor.clone());
            self.blobs.insert((Reverse(size), digest), blob);
        }
    }

    /// Records that some content is stored or skipped, and stores the documents that waited for it. A
    /// document that is yet to be stored is not done when it is stored as a blob.
    fn mark_done(&mut self, digest: &Digest) {
        if self.documents.contains_key(digest) || !self.done.insert(digest.clone()) {
            return;
        }
        for parent in self.waiting.remove(digest).unwrap_or_default() {
            if let Some(document) = self.documents.get_mut(&parent) {
                document.missing -= 1;
                self.store_if_whole(&parent);
            }
        }
    }

    fn store_if_whole(&mut self, digest: &Digest) {
        if !self.documents.get(digest).is_some_and(|document| !document.in_progress && document.missing == 0)
        {
            return;
        }
        if let Some(Document { descriptor, manifest, .. }) = self.documents.remove(digest) {
            self.outputs.push_back(OpOutput::Store(descriptor, StoreContent::Document(manifest)));
        }
    }

    fn fail(&mut self, error: Error) {
        self.outputs.push_back(OpOutput::Event(Event::Failed(error)));
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
