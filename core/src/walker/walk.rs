//! The walk of all documents under a root: order, visited set and limits, without I/O.
//!
//! [`Walker::want`] returns the next manifest to fetch, [`Walker::supply`] accepts it, and
//! [`Walker::next_step`] yields the nodes in depth-first pre-order, regardless of the order in which
//! manifests are supplied. Manifests are requested ahead of that order, up to a window.
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
use crate::walker::budget::Budget;
use crate::walker::documents::{Cursor, Documents, Path, Supplied};
use crate::walker::node::{Found, Node, Ticket, WalkOptions, WalkStep, Wanted};

/// A walk in progress.
#[derive(Debug)]
pub struct Walker {
    rules: Rules,
    /// Manifests that are requested or supplied, and not yet reported.
    documents: Documents,
    /// The content that has been reported.
    seen: BTreeMap<Digest, Seen>,
    /// The next node to report.
    head: Option<Head>,
    /// Cursors over the documents above the head.
    stack: Vec<Cursor>,
    budget: Budget,
    state: State,
}

#[derive(Debug)]
struct Rules {
    blobs: bool,
    strict: bool,
    /// Whether images are fetched; otherwise they are leaves.
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
    /// Whether the content was requested as a manifest. A leaf that another document declares as a
    /// manifest is not a repetition, since its children have not been walked.
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
    /// Creates a walk of all content under `root`.
    ///
    /// At most `window` manifests are requested, or supplied and not yet reported, at any time.
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

    /// Creates a walk of the indexes under `root`, with images as leaves.
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
        let budget = Budget::new(&rules.limits);
        Self {
            rules,
            documents: Documents::default(),
            seen: BTreeMap::new(),
            head: Some(Head { descriptor: root, path: Path::new() }),
            stack: Vec::new(),
            budget,
            state: State::Walking,
        }
    }

    /// Returns the next manifest to fetch, or `None` if there is none yet or the window is full.
    pub fn want(&mut self) -> Option<Wanted> {
        if !matches!(self.state, State::Walking) {
            return None;
        }
        // The next node in order is requested even if the window is full.
        if let Some(Head { descriptor, path }) = &self.head
            && matches!(self.find(descriptor, path.len()), Ok(ControlFlow::Continue(())))
            && !self.documents.supply_embedded(descriptor, path)
            && !self.documents.contains(descriptor)
        {
            return Some(self.documents.request(descriptor.clone(), path.clone()));
        }
        let Self { rules, documents, seen, budget, .. } = self;
        if documents.len() >= rules.window || documents.bytes() >= rules.limits.walk_ahead_bytes {
            return None;
        }
        let (descriptor, path) = documents.next_ahead(|child, depth| {
            let fetched = seen.get(child.digest()).is_some_and(|seen| seen.fetched);
            !fetched
                && rules.fetches(child.media_type().kind())
                && budget.allows_document(child.size(), depth as u64).is_ok()
                && child.digest().algorithm().is_some()
                // Embedded data is used in order, so the result does not depend on the order of responses.
                && child.data().is_none()
        })?;
        Some(documents.request(descriptor, path))
    }

    /// Supplies the bytes of a requested manifest. `content_type` is the Content-Type of the response,
    /// if any.
    ///
    /// The bytes are verified against the descriptor. If that fails, the walk fails at this manifest,
    /// in order. An unknown or repeated ticket is ignored.
    pub fn supply(&mut self, ticket: Ticket, bytes: bytes::Bytes, content_type: Option<&str>) {
        self.documents.supply(ticket, bytes, content_type);
    }

    /// Reports that a requested manifest does not exist.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        self.documents.settle(ticket, Supplied::Missing);
    }

    /// Reports that fetching a requested manifest failed. The walk fails at this manifest, in order.
    pub fn supply_error(&mut self, ticket: Ticket, error: Error) {
        self.documents.settle(ticket, Supplied::Failed(error));
    }

    /// Supplies a requested manifest that is already verified, with its digest. The walk fails at it if
    /// another one was requested.
    pub(crate) fn supply_manifest(&mut self, ticket: Ticket, digest: &Digest, manifest: Manifest) {
        self.documents.supply_verified(ticket, digest, manifest);
    }

    /// Supplies the root's manifest, already verified, before anything is requested.
    pub(crate) fn supply_root(&mut self, manifest: Manifest) {
        if let Some(Wanted { ticket, .. }) = self.want() {
            self.documents.settle(ticket, Supplied::Manifest(manifest));
        }
    }

    /// Continues a walk that has finished with the content under another root. Content that was walked is not walked
    /// again, and the limits apply to all roots together.
    pub(crate) fn continue_at(&mut self, root: Descriptor) {
        if matches!(self.state, State::Finished) {
            self.head = Some(Head { descriptor: root, path: Path::new() });
            self.state = State::Walking;
        }
    }

    /// Returns the next step in order.
    ///
    /// # Errors
    ///
    /// Fails if a limit is exceeded or the next manifest in order cannot be obtained. A failed walk
    /// stays failed.
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
                self.documents.finish(&cursor.path);
            }
        }
        let Some(Head { descriptor, path }) = &self.head else { return Ok(WalkStep::Finished) };
        let known = self.find(descriptor, path.len())?;
        let exceeded = |over| Error::of_document(&descriptor.digest, LimitExceeded::from(over));
        self.budget.allows_node().map_err(exceeded)?;
        let found = match known {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) => {
                // Embedded data is available at once, even if the registry lacks the content.
                let is_known =
                    self.documents.supply_embedded(descriptor, path) || self.documents.contains(descriptor);
                match if is_known { self.take_supplied()? } else { None } {
                    Some(found) => found,
                    None => return Ok(WalkStep::Blocked),
                }
            }
        };
        let Some(Head { descriptor, path }) = self.head.take() else { return Ok(WalkStep::Finished) };
        self.budget.spend_node();
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

    /// Returns the result for a node that requires no bytes, or checks that its bytes may be fetched.
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
        if let Err(over) = self.budget.allows_document(*size, depth as u64) {
            return Err(Error::of_document(digest, LimitExceeded::from(over)));
        }
        if digest.algorithm().is_none() {
            return Err(Error::of_document(digest, InvalidRequest::UnknownAlgorithm(digest.clone())));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the head's document if it was supplied.
    fn take_supplied(&mut self) -> Result<Option<Found>, Error> {
        let Some(Head { descriptor: Descriptor { digest, .. }, .. }) = &self.head else { return Ok(None) };
        match self.documents.take(digest) {
            None => Ok(None),
            Some(Supplied::Manifest(manifest)) => {
                self.budget.spend_bytes(manifest.bytes().len() as u64);
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
