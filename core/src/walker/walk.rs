//! The walk of a tree of documents: order, visited set, budgets. It knows no HTTP.
//!
//! [`Walker::want`] says which manifest is to be fetched next, [`Walker::supply`] takes it, and
//! [`Walker::next_step`] yields the nodes in the depth-first pre-order of the documents, whatever the order
//! in which manifests are supplied. Manifests are wanted ahead of that order, up to a window.
//!
//! ```text
//!   want() -> Wanted --- fetch ---> supply(ticket, ..)
//!                                        |
//!   next_step() <- WalkStep::Node in pre-order <--+   WalkStep::Blocked until the next one in order is supplied
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::error::{Error, InvalidRequest, LimitExceeded, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::walker::documents::{Cursor, Documents, Path, Supplied};
use crate::walker::node::{Found, Node, Ticket, WalkOptions, WalkStep, Wanted};

/// A walk in progress.
#[derive(Debug)]
pub struct Walker {
    rules: Rules,
    /// Manifests that are wanted or supplied, and not yet reported.
    documents: Documents,
    /// What has been reported.
    seen: BTreeMap<Digest, Seen>,
    /// The node whose turn it is.
    head: Option<Head>,
    /// The documents above the head, each with the next of its children.
    stack: Vec<Cursor>,
    nodes: u64,
    bytes: u64,
    state: State,
}

#[derive(Debug)]
struct Rules {
    blobs: bool,
    strict: bool,
    /// Whether images are fetched; where they are not, they are leaves.
    images: bool,
    window: usize,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    Walking,
    Finished,
    Failed(Error),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    size: u64,
    /// Whether it was asked for as a manifest. A leaf that another document calls a manifest is not
    /// a repetition: what lies under it has not been walked.
    fetched: bool,
}

#[derive(Debug)]
struct Head {
    descriptor: Descriptor,
    path: Path,
}

impl Rules {
    fn fetches(&self, kind: Kind) -> bool {
        match kind {
            Kind::Index => true,
            Kind::Image => self.images,
            Kind::Other => false,
        }
    }
}

impl Walker {
    /// Walks everything under `root`.
    ///
    /// At most `window` manifests are wanted, or supplied and not yet reported, at any time.
    pub fn new(root: Descriptor, options: &WalkOptions, limits: &Limits, window: usize) -> Self {
        Self::with_rules(
            root,
            Rules {
                blobs: options.blobs,
                strict: options.strict,
                images: true,
                window: window.max(1),
                limits: limits.clone(),
            },
        )
    }

    /// Walks the indexes under `root` alone: images are leaves.
    pub(crate) fn of_indexes(root: Descriptor, limits: &Limits, window: usize) -> Self {
        let rules = Rules {
            blobs: false,
            strict: false,
            images: false,
            window: window.max(1),
            limits: limits.clone(),
        };
        Self::with_rules(root, rules)
    }

    fn with_rules(root: Descriptor, rules: Rules) -> Self {
        Self {
            rules,
            documents: Documents::default(),
            seen: BTreeMap::new(),
            head: Some(Head { descriptor: root, path: Path::new() }),
            stack: Vec::new(),
            nodes: 0,
            bytes: 0,
            state: State::Walking,
        }
    }

    /// The next manifest to fetch; `None` while there is none, or the window is full.
    pub fn want(&mut self) -> Option<Wanted> {
        if !matches!(self.state, State::Walking) {
            return None;
        }
        // The node whose turn it is never waits for a place in the window.
        if let Some(Head { descriptor, path }) = &self.head
            && matches!(self.find(descriptor, path.len()), Ok(ControlFlow::Continue(())))
            && !self.documents.carry(descriptor, path)
            && !self.documents.holds(descriptor)
        {
            return Some(self.documents.order(descriptor.clone(), path.clone()));
        }
        let Self { rules, documents, seen, .. } = self;
        if documents.len() >= rules.window || documents.bytes() >= rules.limits.walk_ahead_bytes {
            return None;
        }
        let (descriptor, path) = documents.next_ahead(|child, depth| {
            let fetched = seen.get(child.digest()).is_some_and(|seen| seen.fetched);
            !fetched
                && rules.fetches(child.media_type().kind())
                && depth as u64 <= u64::from(rules.limits.walk_depth)
                && child.size() <= rules.limits.manifest_bytes
                && child.digest().algorithm().is_some()
                // What is carried is used when its turn comes, so that no order of answers matters.
                && child.data().is_none()
        })?;
        Some(documents.order(descriptor, path))
    }

    /// Takes a wanted manifest's bytes, and the media type that they came with, if any.
    ///
    /// The bytes are verified against the descriptor: wrong ones fail the walk when their turn comes.
    /// An unknown or repeated ticket is ignored.
    pub fn supply(&mut self, ticket: Ticket, bytes: bytes::Bytes, content_type: Option<&str>) {
        self.documents.supply(ticket, bytes, content_type);
    }

    /// Takes the news that a wanted manifest does not exist.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        self.documents.settle(ticket, Supplied::Missing);
    }

    /// Takes the reason why a wanted manifest cannot be had; it fails the walk when its turn comes.
    pub fn supply_error(&mut self, ticket: Ticket, error: Error) {
        self.documents.settle(ticket, Supplied::Failed(error));
    }

    /// Takes a wanted manifest that was verified as it arrived.
    pub(crate) fn supply_manifest(&mut self, ticket: Ticket, manifest: Manifest) {
        self.documents.settle(ticket, Supplied::Manifest(manifest));
    }

    /// Takes the root's manifest, which was verified as it arrived, before anything is wanted.
    pub(crate) fn supply_root(&mut self, manifest: Manifest) {
        if let Some(Wanted { ticket, .. }) = self.want() {
            self.supply_manifest(ticket, manifest);
        }
    }

    /// What comes next in the order.
    ///
    /// # Errors
    ///
    /// The walk failed: a bound was met, or what is next in the order cannot be had. It stays failed.
    pub fn next_step(&mut self) -> Result<WalkStep, Error> {
        match &self.state {
            State::Walking => {}
            State::Finished => return Ok(WalkStep::Finished),
            State::Failed(error) => return Err(error.clone()),
        }
        let step = self.step();
        match &step {
            Ok(WalkStep::Finished) => self.state = State::Finished,
            Err(error) => {
                self.state = State::Failed(error.clone());
                self.documents = Documents::default();
                self.stack.clear();
            }
            Ok(_) => {}
        }
        step
    }

    fn step(&mut self) -> Result<WalkStep, Error> {
        while self.head.is_none() {
            let Some(cursor) = self.stack.last_mut() else { return Ok(WalkStep::Finished) };
            if let Some((child, path)) = cursor.advance(self.rules.blobs) {
                self.head = Some(Head { descriptor: child.to_owned(), path });
            } else if let Some(cursor) = self.stack.pop() {
                self.documents.passed(&cursor.path);
            }
        }
        let Some(Head { descriptor, path }) = &self.head else { return Ok(WalkStep::Finished) };
        let known = self.find(descriptor, path.len())?;
        let limit = self.rules.limits.walk_nodes;
        if self.nodes >= limit {
            return Err(Error::of_document(&descriptor.digest, LimitExceeded::WalkNodes(limit)));
        }
        let found = match known {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) => {
                // What is carried need not be waited for, and counts even where the registry lacks it.
                let held = self.documents.carry(descriptor, path) || self.documents.holds(descriptor);
                match if held { self.take_supplied()? } else { None } {
                    Some(found) => found,
                    None => return Ok(WalkStep::Blocked),
                }
            }
        };
        let Some(Head { descriptor, path }) = self.head.take() else { return Ok(WalkStep::Finished) };
        self.nodes += 1;
        let fetched = matches!(found, Found::Manifest(_) | Found::Missing);
        self.seen
            .entry(descriptor.digest.clone())
            .and_modify(|seen| seen.fetched |= fetched)
            .or_insert(Seen { size: descriptor.size, fetched });
        let depth = u32::try_from(path.len()).unwrap_or(u32::MAX);
        let kind = descriptor.media_type.kind();
        if let Found::Manifest(manifest) = &found {
            self.stack.push(Cursor::new(manifest.clone(), path));
        }
        Ok(WalkStep::Node(Box::new(Node { depth, descriptor, kind, found })))
    }

    /// What is known of a node without its bytes.
    fn find(&self, descriptor: &Descriptor, depth: usize) -> Result<ControlFlow<Found>, Error> {
        let fetches = self.rules.fetches(descriptor.media_type.kind());
        let Descriptor { digest, size, .. } = descriptor;
        if let Some(seen) = self.seen.get(digest) {
            if seen.size != *size {
                let (digest, first, second) = (digest.clone(), seen.size, *size);
                return Err(Error::new(Misbehaviour::Contradiction { digest, first, second }));
            }
            if seen.fetched || !fetches {
                return Ok(ControlFlow::Break(Found::Repeated));
            }
        }
        if !fetches {
            return Ok(ControlFlow::Break(Found::Leaf));
        }
        let limits = &self.rules.limits;
        let exceeded = if depth as u64 > u64::from(limits.walk_depth) {
            LimitExceeded::WalkDepth(limits.walk_depth)
        } else if *size > limits.manifest_bytes {
            LimitExceeded::ManifestBytes(limits.manifest_bytes)
        } else if self.bytes.saturating_add(*size) > limits.walk_bytes {
            LimitExceeded::WalkBytes(limits.walk_bytes)
        } else if digest.algorithm().is_none() {
            return Err(Error::of_document(digest, InvalidRequest::UnknownAlgorithm(digest.clone())));
        } else {
            return Ok(ControlFlow::Continue(()));
        };
        Err(Error::of_document(digest, exceeded))
    }

    /// Takes the head's document out of those that were supplied, if it is there.
    fn take_supplied(&mut self) -> Result<Option<Found>, Error> {
        let Some(Head { descriptor: Descriptor { digest, .. }, .. }) = &self.head else { return Ok(None) };
        match self.documents.take(digest) {
            None => Ok(None),
            Some(Supplied::Manifest(manifest)) => {
                self.bytes = self.bytes.saturating_add(manifest.bytes().len() as u64);
                Ok(Some(Found::Manifest(manifest)))
            }
            Some(Supplied::Missing) if self.rules.strict => {
                Err(Error::new(Misbehaviour::Missing(digest.clone())))
            }
            Some(Supplied::Missing) => Ok(Some(Found::Missing)),
            Some(Supplied::Failed(error)) => Err(error),
        }
    }
}
