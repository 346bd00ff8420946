//! Pull: everything under a reference, each content once, in an order that leaves no gap.
//!
//! Documents are read in the order of the walk, and asked for ahead of it. Blobs are fetched as they become
//! known, the largest of those that wait first. A document is to be stored when all that it names is there, and
//! so the root is the last one: whoever stops in between has nothing that names what is not there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::error::{Cause, Error, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::event::{Event, Held};
use crate::op::lookup::Lookup;
use crate::op::{At, BlobFetch, Fetch, Fetched, What};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::Kind;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::node::{Found, Node, WalkOptions, WalkStep, Wanted};
use crate::walker::walk::Walker;

/// What a pull takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// Takes only what fits this platform best.
    pub platform: Option<Platform>,
    /// Takes layers that may not be distributed too, from where their descriptors say that they are.
    pub foreign: bool,
}

#[derive(Debug)]
pub(crate) struct Pull {
    options: PullOptions,
    limits: Limits,
    window: usize,
    events: VecDeque<Event>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Finds the root.
    Lookup(Box<Lookup>),
    Mirror(Box<Mirror>),
}

impl Pull {
    pub(crate) fn new(reference: &Reference, options: PullOptions, limits: &Limits, window: usize) -> Self {
        let lookup = Lookup::new(reference, options.platform.as_ref(), true, limits, window);
        let (limits, state) = (limits.clone(), State::Lookup(Box::new(lookup)));
        Self { options, limits, window, events: VecDeque::new(), state }
    }

    pub(super) fn next_fetch(&mut self) -> Option<Fetch> {
        match &mut self.state {
            State::Lookup(lookup) => lookup.next_fetch(),
            State::Mirror(mirror) => mirror.next_fetch(),
        }
    }

    pub(super) fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>) {
        match &mut self.state {
            State::Lookup(lookup) => lookup.settle(fetch.ticket, outcome),
            State::Mirror(mirror) => mirror.settle(fetch, outcome, &mut self.events),
        }
    }

    /// Takes what the driver has of some content that was wanted.
    pub(crate) fn held(&mut self, digest: &Digest, held: Held) {
        if let State::Mirror(mirror) = &mut self.state {
            mirror.held(digest, held, &mut self.events);
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            match &mut self.state {
                State::Lookup(lookup) => match lookup.take_found()? {
                    Ok((root, manifest)) => {
                        self.events.push_back(Event::Resolved(root.clone()));
                        let mirror = Mirror::new(root, manifest, &self.options, &self.limits, self.window);
                        self.state = State::Mirror(Box::new(mirror));
                    }
                    Err(error) => self.events.push_back(Event::Failed(error)),
                },
                State::Mirror(mirror) => mirror.go_on(&mut self.events),
            }
        }
        self.events.pop_front()
    }
}

#[derive(Debug)]
struct Mirror {
    foreign: bool,
    root: Digest,
    tree: Walker,
    /// Whether the walk is at its end.
    walked: bool,
    /// The documents above the place that the walk has come to.
    above: Vec<Digest>,
    /// Documents that were read, and are not to be stored yet.
    documents: BTreeMap<Digest, Document>,
    /// What documents wait for, and which ones: once for each time that they name it.
    waiting: BTreeMap<Digest, Vec<Digest>>,
    /// Content that is there, or is left out.
    done: BTreeSet<Digest>,
    /// What the driver was asked whether it has it.
    asked: BTreeMap<Digest, Asked>,
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
    /// How many of its children are not there.
    missing: usize,
    /// Whether the walk is still below it.
    open: bool,
}

#[derive(Debug)]
enum Asked {
    Document(Wanted),
    Blob(Descriptor, VecDeque<At>),
}

impl Mirror {
    fn new(
        root: Descriptor,
        manifest: Option<Manifest>,
        options: &PullOptions,
        limits: &Limits,
        window: usize,
    ) -> Self {
        let walk = WalkOptions { blobs: true, strict: true, platform: None };
        let mut tree = Walker::new(root.clone(), &walk, limits, window);
        if let Some(manifest) = manifest {
            tree.supply_root(manifest);
        }
        Self {
            foreign: options.foreign,
            root: root.digest,
            tree,
            walked: false,
            above: Vec::new(),
            documents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            done: BTreeSet::new(),
            asked: BTreeMap::new(),
            manifests: VecDeque::new(),
            blobs: BTreeMap::new(),
        }
    }

    fn next_fetch(&mut self) -> Option<Fetch> {
        // Documents first: they tell what else there is.
        if let Some(wanted) = self.manifests.pop_front() {
            return Some(Fetch::described(wanted.descriptor, Some(wanted.ticket)));
        }
        let (_, blob) = self.blobs.pop_first()?;
        Some(Fetch { what: What::Blob(Box::new(blob)), ticket: None })
    }

    /// Walks on as far as documents are known, and asks for what is wanted next.
    fn go_on(&mut self, events: &mut VecDeque<Event>) {
        while !self.walked {
            match self.tree.next_step() {
                Ok(WalkStep::Node(node)) => self.visit(*node, events),
                Ok(WalkStep::Blocked) => break,
                Ok(WalkStep::Finished) => {
                    self.walked = true;
                    self.close(0, events);
                }
                Err(error) => return events.push_back(Event::Failed(error)),
            }
            if !events.is_empty() {
                return;
            }
        }
        while let Some(wanted) = self.tree.want() {
            let descriptor = wanted.descriptor.clone();
            self.asked.insert(descriptor.digest.clone(), Asked::Document(wanted));
            events.push_back(Event::Wanted(descriptor));
        }
    }

    fn visit(&mut self, node: Node, events: &mut VecDeque<Event>) {
        let Node { depth, descriptor, found, .. } = node;
        self.close(depth as usize, events);
        let digest = descriptor.digest.clone();
        let parent = self.above.last().cloned();
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
                self.above.push(digest.clone());
                let document = Document { descriptor, manifest, missing: 0, open: true };
                self.documents.insert(digest, document);
            }
            Found::Leaf => self.want_blob(descriptor, parent.as_ref(), events),
            // It is waited for already, or done. A walk that is strict has failed where something is missing.
            Found::Repeated | Found::Missing => {}
        }
    }

    /// The walk has left all documents at this level, and below it.
    fn close(&mut self, level: usize, events: &mut VecDeque<Event>) {
        while self.above.len() > level
            && let Some(digest) = self.above.pop()
        {
            if let Some(document) = self.documents.get_mut(&digest) {
                document.open = false;
            }
            self.store_if_whole(&digest, events);
        }
    }

    fn want_blob(
        &mut self,
        mut descriptor: Descriptor,
        parent: Option<&Digest>,
        events: &mut VecDeque<Event>,
    ) {
        let Descriptor { digest, size, media_type, data, .. } = &mut descriptor;
        let empty = (*size == 0).then(Bytes::new);
        let at_hand = data.take().into_iter().chain(empty).find(|bytes| {
            let same = |algorithm| Digest::of(algorithm, bytes) == *digest;
            bytes.len() as u64 == *size && digest.algorithm().is_some_and(same)
        });
        if let Some(bytes) = at_hand {
            let digest = digest.clone();
            events.push_back(Event::Store(descriptor, bytes));
            return self.is_done(&digest, events);
        }
        let document = parent.and_then(|parent| self.documents.get(parent));
        let mut places = VecDeque::new();
        if media_type.is_nondistributable()
            && let Some(document) = document
        {
            let urls = urls(&document.manifest, digest);
            if !urls.is_empty() && !self.foreign {
                let digest = digest.clone();
                events.push_back(Event::Skipped(descriptor));
                return self.is_done(&digest, events);
            }
            places.extend(urls.into_iter().map(At::Url));
        }
        // What an index names is a manifest to a registry, whatever its type, and sometimes a blob.
        if document.is_some_and(|document| document.manifest.kind() == Kind::Index) {
            places.push_back(At::Manifests);
        }
        places.push_back(At::Blobs);
        self.asked.insert(digest.clone(), Asked::Blob(descriptor.clone(), places));
        events.push_back(Event::Wanted(descriptor));
    }

    fn held(&mut self, digest: &Digest, held: Held, events: &mut VecDeque<Event>) {
        match (self.asked.remove(digest), held) {
            (Some(Asked::Document(wanted)), Held::Document(bytes)) => {
                self.tree.supply(wanted.ticket, bytes, None);
            }
            (Some(Asked::Document(wanted)), _) => self.manifests.push_back(wanted),
            (Some(Asked::Blob(..)), Held::Whole) => self.is_done(digest, events),
            (Some(Asked::Blob(descriptor, places)), Held::Part { offset, hasher }) => {
                self.queue(&descriptor, places, Some((offset, hasher)), events);
            }
            (Some(Asked::Blob(descriptor, places)), Held::Nothing | Held::Document(_)) => {
                self.queue(&descriptor, places, None, events);
            }
            (None, _) => {}
        }
    }

    fn queue(
        &mut self,
        descriptor: &Descriptor,
        mut places: VecDeque<At>,
        had: Option<(u64, Hasher)>,
        events: &mut VecDeque<Event>,
    ) {
        let Descriptor { digest, size, .. } = descriptor.clone();
        if let Some((offset, hasher)) = &had
            && *offset == size
            && hasher.clone().finish() == digest
        {
            events.push_back(Event::Verified(digest.clone()));
            return self.is_done(&digest, events);
        }
        let had = had.filter(|(offset, _)| *offset < size);
        if let Some(at) = places.pop_front() {
            let blob = BlobFetch {
                digest: digest.clone(),
                size: Some(size),
                at,
                or_at: places,
                had,
                discard: false,
            };
            self.blobs.insert((Reverse(size), digest), blob);
        }
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, events: &mut VecDeque<Event>) {
        let What::Blob(blob) = &fetch.what else { return self.tree.take(fetch.ticket, outcome) };
        let Err(error) = outcome else {
            events.push_back(Event::Verified(blob.digest.clone()));
            return self.is_done(&blob.digest, events);
        };
        let mut again = (**blob).clone();
        let wrong = matches!(error.cause(), Cause::Misbehaved(Misbehaviour::WrongDigest { .. }));
        if wrong && again.had.take().is_some() {
            // What was there before may be what is wrong.
        } else if let Some(at) = again.or_at.pop_front().filter(|_| error.is_not_found() || blob.at.is_url())
        {
            again.at = at;
        } else {
            return events.push_back(Event::Failed(error));
        }
        self.blobs.insert((Reverse(again.size.unwrap_or_default()), again.digest.clone()), again);
    }

    /// Some content is there, or left out.
    fn is_done(&mut self, digest: &Digest, events: &mut VecDeque<Event>) {
        if !self.done.insert(digest.clone()) {
            return;
        }
        for parent in self.waiting.remove(digest).unwrap_or_default() {
            if let Some(document) = self.documents.get_mut(&parent) {
                document.missing -= 1;
                self.store_if_whole(&parent, events);
            }
        }
    }

    fn store_if_whole(&mut self, digest: &Digest, events: &mut VecDeque<Event>) {
        if !self.documents.get(digest).is_some_and(|document| !document.open && document.missing == 0) {
            return;
        }
        if let Some(Document { descriptor, manifest, .. }) = self.documents.remove(digest) {
            events.push_back(Event::Store(descriptor, manifest.bytes().clone()));
            self.is_done(digest, events);
            if *digest == self.root {
                events.push_back(Event::Done);
            }
        }
    }
}

/// The most places outside of its registry where a layer is asked for. Documents name one or two; each costs a
/// set of tries.
const MAX_URLS: usize = 8;

/// Where a document says that some content can be had.
fn urls(manifest: &Manifest, digest: &Digest) -> Vec<String> {
    let layer = manifest.entries().find(|layer| layer.digest() == digest);
    layer.map(|layer| layer.urls().take(MAX_URLS).map(str::to_owned).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::evidence::Evidence;

    #[test]
    fn a_layer_is_asked_for_at_a_few_places() {
        let digest: Digest = format!("sha256:{}", "1".repeat(64)).parse().unwrap();
        let urls_of = |count: usize| {
            let named = vec!["\"https://h.example/\""; count].join(",");
            let blob = format!(r#""mediaType":"a/b","digest":"{digest}","size":1"#);
            let image = format!(
                r#"{{"schemaVersion":2,"config":{{{blob}}},"layers":[{{{blob},"urls":[{named}]}}]}}"#
            );
            let content_type = Some("application/vnd.oci.image.manifest.v1+json");
            let manifest = Manifest::read(image.into(), Evidence { content_type, ..Evidence::default() });
            urls(&manifest.unwrap(), &digest).len()
        };
        assert_eq!([0, 1, 8, 9, 1000].map(urls_of), [0, 1, 8, 8, 8]);
    }
}
