//! Pull: fetches everything under a reference. Repeated content is fetched once.
//!
//! Documents are fetched ahead of the walk and read in its order. Blobs are fetched as soon as they are
//! known; among those that wait, the largest one is first. A document is stored after all content that it
//! refers to, so the root is stored last. If a pull stops early, no stored document refers to missing
//! content.
//!
//! If referrers are pulled too, those of each document are listed at the registry, and walked after the tree. The root
//! waits for them, unless they refer to it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::Config;
use crate::error::Error;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::ask::{Held, StoreContent};
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::location::Locations;
use crate::op::lookup::Lookup;
use crate::op::operation::{
    Admission, BlobFetch, Fetch, FetchKind, Fetched, OpOutput, Operation, Reply, reply_of, supply,
};
use crate::op::order::{Leaf, Order, Visited};
use crate::op::rooted::Rooted;
use crate::op::tree_referrers::{AfterWalk, NewReferrers, ReferrersSource, TreeReferrers};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::Kind;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::node::{Node, WalkOptions, WalkStep, Wanted};
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
    /// Also pulls everything whose subject is in the tree, such as signatures, and what has these as its subject. It
    /// is stored before the root, unless it refers to the root.
    ///
    /// Nothing in the tree refers to a referrer, so [`Event::Referrers`](crate::Event::Referrers) reports each one,
    /// before it is fetched. A referrer whose type is not known is reported as [skipped](crate::Event::Skipped).
    ///
    /// The lists come from the registry itself, or from its fallback tags: a mirror might leave out a signature. The
    /// content of a referrer comes from the mirrors, like that of the tree. A list is a hint: what it names is pulled
    /// even if its subject is another one, so check the subject before relying on it.
    pub referrers: bool,
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
    let repository = reference.repository().clone();
    let source =
        if options.referrers { ReferrersSource::Registry(repository) } else { ReferrersSource::Nowhere };
    let referrers = TreeReferrers::new(source, &limits);
    Rooted::new(lookup, move |root, manifest| {
        Box::new(Pull::new(target, root, manifest, foreign, referrers, &limits))
    })
}

#[derive(Debug)]
struct Pull {
    target: Arc<Target>,
    foreign: bool,
    walker: Walker,
    /// Whether the walk has finished.
    walk_finished: bool,
    order: Order,
    /// Blobs that are queued or being fetched into a sink.
    downloads: BTreeMap<Digest, Descriptor>,
    outputs: VecDeque<OpOutput>,
    /// Unanswered [`OpOutput::Held`] questions: documents, and blobs with their locations. A digest may be both.
    asked_documents: BTreeMap<Digest, Wanted>,
    asked_blobs: BTreeMap<Digest, (Descriptor, Locations)>,
    /// The number of unanswered [`OpOutput::Store`] questions.
    storing: usize,
    referrers: TreeReferrers,
    /// Documents to fetch.
    manifests: VecDeque<Wanted>,
    /// Blobs to fetch, the largest first.
    blobs: BTreeMap<(Reverse<u64>, Digest), BlobFetch>,
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
        if let Some(call) = self.referrers.next_call() {
            return Some(Admission::One(call.at(&self.target, None)));
        }
        let (_, blob) = self.blobs.pop_first()?;
        let kind = FetchKind::Blob(Box::new(blob));
        Some(Admission::One(Fetch { target: self.target.clone(), kind, ticket: None, is_search: false }))
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        let blob = match &fetch.kind {
            FetchKind::Blob(blob) => blob,
            FetchKind::Call(call) => return self.listed(call.content.as_ref(), reply_of(outcome)),
            FetchKind::Manifest { .. } | FetchKind::Config(_) => {
                return supply(&mut self.walker, fetch.ticket, outcome);
            }
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
        let stored = |(descriptor, manifest)| OpOutput::Store(descriptor, StoreContent::Document(manifest));
        let output = self.outputs.pop_front().or_else(|| self.order.next_ready().map(stored));
        self.storing += usize::from(matches!(output, Some(OpOutput::Store(..))));
        let is_over = self.walk_finished && self.storing == 0 && !self.order.has_documents();
        output.or_else(|| is_over.then_some(OpOutput::Event(Event::Done)))
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
            Held::Whole => self.order.done(digest),
            Held::Part { offset, hasher } => self.queue(&descriptor, locations, Some((offset, hasher))),
            Held::Nothing | Held::Document(_) => self.queue(&descriptor, locations, None),
        }
    }

    fn stored(&mut self, digest: &Digest) {
        self.storing = self.storing.saturating_sub(1);
        self.order.done(digest);
    }
}

impl Pull {
    fn new(
        target: Arc<Target>,
        root: Descriptor,
        manifest: Option<Manifest>,
        foreign: bool,
        referrers: TreeReferrers,
        limits: &Limits,
    ) -> Self {
        let mut order = Order::default();
        order.hold(&root.digest);
        let walk = WalkOptions { blobs: true, strict: true, platform: None };
        let mut walker = Walker::new(root, &walk, limits, limits.window());
        if let Some(manifest) = manifest {
            walker.supply_root(manifest);
        }
        Self {
            target,
            foreign,
            walker,
            walk_finished: false,
            order,
            downloads: BTreeMap::new(),
            outputs: VecDeque::new(),
            asked_documents: BTreeMap::new(),
            asked_blobs: BTreeMap::new(),
            storing: 0,
            referrers,
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
                    match self.referrers.continue_walk(&mut self.walker, &mut self.order) {
                        AfterWalk::Referrer => {}
                        AfterWalk::Blocked => break,
                        AfterWalk::Nothing => self.walk_finished = true,
                    }
                }
                Err(error) => return self.fail(self.referrers.explain(error)),
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
        match self.order.visit(node) {
            Visited::Document(descriptor, _) => {
                let question = self.referrers.list(&descriptor);
                self.outputs.extend(question);
            }
            Visited::Leaf(leaf) => self.want_blob(leaf),
            Visited::Nothing => {}
        }
    }

    /// Takes a page of the referrers of a subject.
    fn listed(&mut self, subject: Option<&Digest>, outcome: Result<Reply, Error>) {
        let Some(subject) = subject else { return };
        match self.referrers.settle(subject, outcome) {
            Ok(NewReferrers { walked, unknown }) => {
                let walked = (!walked.is_empty()).then_some(Event::Referrers(walked));
                let events = walked.into_iter().chain(unknown.into_iter().map(Event::Skipped));
                self.outputs.extend(events.map(OpOutput::Event));
            }
            Err(error) => self.fail(error),
        }
    }

    fn want_blob(&mut self, leaf: Leaf) {
        let (locations, mut descriptor) = (leaf.locations(), leaf.descriptor);
        if let Some(bytes) = descriptor.embedded() {
            descriptor.data = None;
            self.outputs.push_back(OpOutput::Store(descriptor, StoreContent::Bytes(bytes)));
            return;
        }
        descriptor.data = None;
        if !leaf.urls.is_empty() && !self.foreign {
            let digest = descriptor.digest.clone();
            self.outputs.push_back(OpOutput::Event(Event::Skipped(descriptor)));
            return self.order.skip(&digest);
        }
        self.asked_blobs.insert(descriptor.digest.clone(), (descriptor.clone(), locations));
        self.outputs.push_back(OpOutput::Held(descriptor));
    }

    fn queue(&mut self, descriptor: &Descriptor, locations: Locations, resume: Option<(u64, Hasher)>) {
        let Descriptor { digest, size, .. } = descriptor.clone();
        if let Some((offset, hasher)) = &resume
            && *offset == size
            && hasher.clone().finish() == digest
        {
            self.outputs.push_back(OpOutput::Store(descriptor.clone(), StoreContent::Sink));
            return;
        }
        let resume = resume.filter(|(offset, _)| *offset < size);
        let blob = BlobFetch {
            digest: digest.clone(),
            size: Some(size),
            locations,
            resume,
            feeds_from: None,
            may_restart: true,
            discard: false,
            has_others: false,
        };
        self.downloads.insert(digest.clone(), descriptor.clone());
        self.blobs.insert((Reverse(size), digest), blob);
    }

    fn fail(&mut self, error: Error) {
        self.outputs.push_back(OpOutput::Event(Event::Failed(error)));
    }
}
