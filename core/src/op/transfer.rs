//! Transfer: sends a tree to a repository, from the driver or from another repository.
//!
//! Documents are read ahead of the walk and in its order. An image that the destination has is not sent, and
//! neither are its blobs, since a registry stores an image after them. The entries of an index are always
//! looked at. A document is sent after all content that it refers to, and the root last, under its tags. If a
//! transfer stops early, nothing at the destination refers to missing content.
//!
//! If referrers are sent too, those of each document are listed at the source, and walked after the tree. The root
//! waits for them.
//!
//! A blob of another registry is not stored in between: its download and its upload are a pair, and the driver
//! passes the bytes of one to the other. Within a registry, blobs are mounted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

use crate::config::Config;
use crate::error::{Error, InvalidRequest};
use crate::manifest::Manifest;
use crate::op::blob_upload::state::MAX_ABANDONED;
use crate::op::event::{Event, Stored};
use crate::op::habits::Habits;
use crate::op::lookup::Lookup;
use crate::op::operation::{
    Admission, BlobFetch, Call, Fetch, FetchKind, Fetched, OpOutput, Operation, reply_of, supply,
};
use crate::op::order::{Leaf, Order, Visited};
use crate::op::rooted::Rooted;
use crate::op::transfer::blob::Blob;
use crate::op::transfer::document::Document;
use crate::op::transfer::listings::Listings;
use crate::op::transfer::options::{Ends, Naming, PushOptions};
use crate::op::tree_referrers::{AfterWalk, NewReferrers, ReferrersSource, TreeReferrers};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::id::OpId;
use crate::types::media_type::Kind;
use crate::types::reference::Reference;
use crate::types::reference::name::Tag;
use crate::walker::node::{Node, Ticket, WalkOptions, WalkStep, Wanted};
use crate::walker::walk::Walker;
use crate::wire::origin::Origin;
use crate::wire::status::RequestKind;
use crate::wire::target::Target;

mod blob;
mod document;
mod listings;
pub(crate) mod options;

/// Sends the tree under `root` from the driver to a repository.
pub(crate) fn push(
    id: OpId,
    target: Arc<Target>,
    root: Descriptor,
    reference: &Reference,
    options: PushOptions,
    config: &Config,
) -> Transfer {
    let mount = options.mount.clone();
    let ends = Ends { from: None, to: target, mount };
    let naming = Naming::of(reference, &options.tags);
    Transfer::new(id, ends, root, None, naming, options, config)
}

/// Sends the tree under `from` from one repository to another.
pub(crate) fn copy(
    id: OpId,
    [source, target]: [Arc<Target>; 2],
    [from, to]: [&Reference; 2],
    options: PushOptions,
    config: &Config,
) -> Rooted {
    let lookup = Lookup::new(source.clone(), from, options.platform.as_ref(), true, config);
    let is_same = source.registry == target.registry;
    let mount = if is_same { source.repository.clone() } else { options.mount.clone() };
    let ends = Ends {
        from: Some(source.clone()),
        to: target.clone(),
        mount: mount.filter(|mount| Some(mount) != target.repository.as_ref()),
    };
    let (naming, config) = (Naming::of(to, &options.tags), config.clone());
    Rooted::new(lookup, move |root, manifest| {
        Box::new(Transfer::new(id, ends, root, manifest, naming, options, &config))
    })
    .with_targets(vec![source, target])
}

/// Sends a tree to a repository.
#[derive(Debug)]
pub(crate) struct Transfer {
    id: OpId,
    ends: Ends,
    targets: Vec<Arc<Target>>,
    config: Config,
    options: PushOptions,
    root: Digest,
    tags: Vec<Tag>,
    walker: Walker,
    walk_finished: bool,
    order: Order,
    /// Documents to read from the source's registry.
    manifests: VecDeque<Wanted>,
    /// Documents that the driver was asked for.
    asked: BTreeMap<Digest, Wanted>,
    /// Documents that the destination may lack, by their numbers.
    documents: BTreeMap<Ticket, Document>,
    numbers: BTreeMap<Digest, Ticket>,
    /// Documents that may have a request.
    runnable_documents: VecDeque<Ticket>,
    listings: Listings,
    /// Blobs that are being sent.
    blobs: BTreeMap<Digest, Blob>,
    runnable_blobs: VecDeque<Digest>,
    /// Upload sessions that may still be open, although their blobs are stored.
    abandoned: Vec<Uri>,
    /// Blobs to send, the largest first.
    waiting: BTreeMap<(Reverse<u64>, Digest), Leaf>,
    /// Blobs that were queued, or that the destination has. Each is sent once, however often it occurs.
    known_blobs: BTreeSet<Digest>,
    referrers: TreeReferrers,
    outputs: VecDeque<OpOutput>,
}

impl Operation for Transfer {
    fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    fn next_fetch(&mut self, origin: &Origin, habits: &Habits) -> Option<Admission> {
        if let Some(from) = self.ends.from.clone().filter(|from| from.origin == *origin) {
            if let Some(wanted) = self.manifests.pop_front() {
                let fetch = Fetch::described(&from, wanted.descriptor, Some(wanted.ticket));
                return Some(Admission::One(fetch));
            }
            if let Some(call) = self.referrers.next_call() {
                return Some(Admission::One(call.at(&from, None)));
            }
        }
        if self.ends.to.origin != *origin {
            return None;
        }
        // Documents first: they end what was begun, or show that nothing else is needed.
        while let Some(number) = self.runnable_documents.pop_front() {
            if let Some(call) = self.next_document_call(number) {
                return Some(Admission::One(call.at(&self.ends.to, Some(number))));
            }
        }
        loop {
            while let Some(digest) = self.runnable_blobs.pop_front() {
                let Some(blob) = self.blobs.get_mut(&digest) else { continue };
                match blob.next(self.ends.from.as_ref(), habits) {
                    Some(admission) => return Some(admission),
                    // It may end without a request.
                    None if blob.ended().is_some() => self.blob_settled(&digest),
                    None => {}
                }
            }
            self.begin_blob()?;
        }
    }

    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, habits: &mut Habits) {
        match (&fetch.kind, fetch.ticket, outcome) {
            (FetchKind::Blob(blob), _, Err(error)) => self.source_failed(blob, error),
            (FetchKind::Blob(_), ..) => {}
            (FetchKind::Call(call), number, outcome) => {
                let outcome = reply_of(outcome);
                if let Some(number) = number {
                    if let Some(document) = self.documents.get_mut(&number) {
                        document.upload.settle(outcome);
                        self.listings.are_kept |= document.upload.has_list();
                    }
                    return self.document_settled(number);
                }
                let Some(digest) = call.content.clone() else { return };
                if matches!(call.kind, RequestKind::ListReferrers | RequestKind::GetManifest) {
                    return match self.referrers.settle(&digest, outcome) {
                        Ok(new) => self.listed(new),
                        Err(error) => self.fail(error),
                    };
                }
                if let Some(blob) = self.blobs.get_mut(&digest) {
                    blob.settle(outcome, habits);
                }
                self.blob_settled(&digest);
            }
            (_, ticket, outcome) => supply(&mut self.walker, ticket, outcome),
        }
    }

    fn next_attempt(&mut self, settled: &Fetch, habits: &Habits) -> Option<Admission> {
        let digest = match (&settled.kind, settled.ticket) {
            (FetchKind::Call(_), Some(number)) => {
                let document = self.documents.get_mut(&number)?;
                let call = document.upload.next_attempt(document.may_store)?;
                return Some(Admission::One(call.at(&self.ends.to, Some(number))));
            }
            (FetchKind::Call(call), None) => call.content.as_ref()?,
            (FetchKind::Blob(blob), _) => &blob.digest,
            (FetchKind::Manifest { .. } | FetchKind::Config(_), _) => return None,
        };
        self.blobs.get_mut(digest)?.next_attempt(self.ends.from.as_ref(), habits)
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        if self.outputs.is_empty() {
            self.advance_walk();
        }
        while self.outputs.is_empty()
            && let Some((descriptor, _)) = self.order.next_ready()
        {
            self.store(&descriptor.digest);
        }
        self.outputs.pop_front()
    }

    fn document(&mut self, descriptor: &Descriptor, bytes: Bytes) {
        if let Some(wanted) = self.asked.remove(&descriptor.digest) {
            self.walker.supply(wanted.ticket, bytes, None);
        }
    }

    fn referrers(&mut self, subject: &Descriptor, referrers: Vec<Descriptor>) {
        match self.referrers.answered(&subject.digest, referrers) {
            Ok(new) => self.listed(new),
            Err(error) => self.fail(error),
        }
    }

    fn open_uploads(&self) -> Vec<(Arc<Target>, Uri)> {
        let open = self.blobs.values().flat_map(Blob::open_sessions).chain(&self.abandoned);
        open.map(|url| (self.ends.to.clone(), url.clone())).collect()
    }
}

impl Transfer {
    fn new(
        id: OpId,
        ends: Ends,
        root: Descriptor,
        manifest: Option<Manifest>,
        naming: Naming,
        options: PushOptions,
        config: &Config,
    ) -> Self {
        let walk = WalkOptions { blobs: true, strict: true, platform: None };
        let limits = &config.limits;
        let mut walker = Walker::new(root.clone(), &walk, limits, limits.window());
        if let Some(manifest) = manifest {
            walker.supply_root(manifest);
        }
        let targets = ends.from.iter().chain([&ends.to]).cloned().collect();
        let other = naming.digest.clone().filter(|digest| *digest != root.digest);
        let invalid = match other {
            Some(named) => Some(InvalidRequest::OtherDigest { named, root: root.digest.clone() }),
            None if root.media_type.kind() == Kind::Other => {
                Some(InvalidRequest::RootType(root.digest.clone()))
            }
            None => None,
        };
        let failed = |invalid: InvalidRequest| OpOutput::Event(Event::Failed(Error::new(invalid)));
        let outputs = invalid.into_iter().map(failed).collect();
        let mut order = Order::of_registry();
        order.hold(&root.digest);
        let source = match &ends.from {
            _ if !options.referrers => ReferrersSource::Nowhere,
            None => ReferrersSource::Driver,
            Some(from) => from.repository.clone().map_or(ReferrersSource::Nowhere, ReferrersSource::Registry),
        };
        let referrers = TreeReferrers::new(source, limits);
        Self {
            id,
            ends,
            targets,
            config: config.clone(),
            options,
            root: root.digest,
            tags: naming.tags,
            walker,
            walk_finished: false,
            order,
            manifests: VecDeque::new(),
            asked: BTreeMap::new(),
            documents: BTreeMap::new(),
            numbers: BTreeMap::new(),
            runnable_documents: VecDeque::new(),
            listings: Listings::default(),
            blobs: BTreeMap::new(),
            runnable_blobs: VecDeque::new(),
            waiting: BTreeMap::new(),
            abandoned: Vec::new(),
            known_blobs: BTreeSet::new(),
            referrers,
            outputs,
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
            if self.ends.from.is_some() {
                self.manifests.push_back(wanted);
            } else {
                let descriptor = wanted.descriptor.clone();
                self.asked.insert(descriptor.digest.clone(), wanted);
                self.outputs.push_back(OpOutput::Document(descriptor));
            }
        }
    }

    fn visit(&mut self, node: Node) {
        match self.order.visit(node) {
            Visited::Document(descriptor, manifest) => {
                let is_root = descriptor.digest == self.root;
                let tags = if is_root { self.tags.clone() } else { Vec::new() };
                let digest = descriptor.digest.clone();
                let (to, verify) = (&self.ends.to, self.options.verify);
                let question = self.referrers.list(&descriptor);
                let document = Document::new(to, descriptor, manifest, tags, verify, &self.config);
                self.outputs.extend(question);
                let number = Ticket(self.numbers.len() as u64);
                self.numbers.insert(digest, number);
                self.documents.insert(number, document);
                self.runnable_documents.push_back(number);
            }
            Visited::Leaf(leaf) => self.want_blob(leaf),
            Visited::Nothing => {}
        }
    }

    fn listed(&mut self, NewReferrers { unknown, .. }: NewReferrers) {
        self.outputs.extend(unknown.into_iter().map(Event::Skipped).map(OpOutput::Event));
    }

    /// Sends a blob, once it is known that the destination lacks its image.
    fn want_blob(&mut self, leaf: Leaf) {
        if !leaf.urls.is_empty() && !self.options.foreign {
            let digest = leaf.descriptor.digest.clone();
            self.outputs.push_back(OpOutput::Event(Event::Skipped(leaf.descriptor)));
            return self.order.skip(&digest);
        }
        let number = leaf.parent.as_ref().and_then(|parent| self.numbers.get(parent));
        if let Some(document) = number.and_then(|number| self.documents.get_mut(number))
            && document.is_image
        {
            match document.upload.exists() {
                None => return document.blobs.push(leaf),
                Some(true) => return self.blob_exists(leaf.descriptor),
                Some(false) => {}
            }
        }
        self.queue(leaf);
    }

    fn blob_exists(&mut self, descriptor: Descriptor) {
        let digest = descriptor.digest.clone();
        if self.known_blobs.contains(&digest) {
            // It is being sent for another image.
            return;
        }
        self.known_blobs.insert(digest.clone());
        self.outputs.push_back(OpOutput::Event(Event::Stored(plain(descriptor), Stored::Existing)));
        self.order.done(&digest);
    }

    fn queue(&mut self, leaf: Leaf) {
        let digest = leaf.descriptor.digest.clone();
        if self.known_blobs.insert(digest.clone()) {
            self.waiting.insert((Reverse(leaf.descriptor.size), digest), leaf);
        }
    }

    /// Begins to send the next blob. Their number is bounded, since a session may be at another origin.
    fn begin_blob(&mut self) -> Option<()> {
        let limit = self.config.limits.in_flight_per_origin.saturating_mul(2).max(1);
        if self.blobs.len() >= limit {
            return None;
        }
        let ((_, digest), leaf) = self.waiting.pop_first()?;
        let (to, mount) = (&self.ends.to, self.ends.mount.clone());
        let blob = Blob::new(self.id, to, leaf, mount, self.options.verify, &self.config);
        self.blobs.insert(digest.clone(), blob);
        self.runnable_blobs.push_back(digest);
        Some(())
    }

    fn source_failed(&mut self, BlobFetch { digest, has_others, .. }: &BlobFetch, error: Error) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        match blob.source_failed(*has_others, error) {
            Ok(()) => self.blob_settled(digest),
            Err(error) => self.fail(error),
        }
    }

    fn blob_settled(&mut self, digest: &Digest) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        if let Some(bytes) = blob.progress() {
            let event = Event::Acknowledged { digest: Some(digest.clone()), bytes };
            self.outputs.push_back(OpOutput::Event(event));
        }
        // The next blobs would be refused too.
        if blob.is_mount_refused() {
            self.ends.mount = None;
        }
        match blob.ended() {
            None => self.runnable_blobs.push_back(digest.clone()),
            Some(Err(error)) => {
                let error = error.clone();
                self.fail(error);
            }
            Some(Ok(stored)) => {
                if let Some(blob) = self.blobs.remove(digest) {
                    let room = MAX_ABANDONED.saturating_sub(self.abandoned.len());
                    self.abandoned.extend(blob.open_sessions().take(room).cloned());
                    let event = Event::Stored(plain(blob.descriptor), stored);
                    self.outputs.push_back(OpOutput::Event(event));
                }
                self.order.done(digest);
            }
        }
    }

    /// Sends a document, all of whose content is at the destination.
    fn store(&mut self, digest: &Digest) {
        let Some(number) = self.numbers.get(digest).copied() else { return };
        if let Some(document) = self.documents.get_mut(&number) {
            document.may_store = true;
        }
        self.document_settled(number);
    }

    /// Returns the next request of a document, if there is one.
    fn next_document_call(&mut self, number: Ticket) -> Option<Call> {
        let document = self.documents.get_mut(&number)?;
        let subject = document.upload.lists_under().filter(|_| document.may_store).cloned();
        let Some(subject) = subject else { return document.upload.next_call(document.may_store) };
        if self.listings.are_kept {
            document.upload.with_list();
            self.document_settled(number);
            return None;
        }
        if self.listings.begin(subject, number) { document.upload.next_call(true) } else { None }
    }

    fn document_settled(&mut self, number: Ticket) {
        let Some(document) = self.documents.get_mut(&number) else { return };
        if let Some(exists) = document.upload.exists() {
            for leaf in std::mem::take(&mut document.blobs) {
                if exists { self.blob_exists(leaf.descriptor) } else { self.queue(leaf) }
            }
        }
        let Some(document) = self.documents.get_mut(&number) else { return };
        match document.upload.ended() {
            Some(Err(error)) => {
                let error = error.clone();
                self.fail(error);
            }
            Some(Ok(stored)) if document.may_store => {
                let descriptor = document.descriptor.clone();
                let digest = descriptor.digest.clone();
                let subject = document.upload.subject().cloned();
                self.documents.remove(&number);
                if let Some(subject) = subject {
                    self.runnable_documents.extend(self.listings.end(&subject, number));
                }
                self.outputs.push_back(OpOutput::Event(Event::Stored(plain(descriptor), stored)));
                self.order.done_document(&digest);
                // A referrer that refers to the root is stored after it.
                if self.walk_finished && self.documents.is_empty() {
                    self.outputs.push_back(OpOutput::Event(Event::Done));
                }
            }
            _ => self.runnable_documents.push_back(number),
        }
    }

    fn fail(&mut self, error: Error) {
        self.outputs.push_back(OpOutput::Event(Event::Failed(error)));
    }
}

/// Returns a descriptor without the content that it embeds.
fn plain(descriptor: Descriptor) -> Descriptor {
    Descriptor { data: None, ..descriptor }
}
