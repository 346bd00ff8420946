//! The walk of a tree of documents: order, visited set, budgets. It knows no HTTP.
//!
//! [`Tree::want`] says which manifest is to be fetched next, [`Tree::supply`] takes it, and
//! [`Tree::next_step`] yields the nodes in the depth-first pre-order of the documents, whatever the order
//! in which manifests are supplied. Manifests are wanted ahead of that order, up to a window.
//!
//! ```text
//!   want() -> Wanted --- fetch ---> supply(ticket, ..)
//!                                        |
//!   next_step() <- Step::Node in pre-order <--+   Step::Blocked until the next one in order is supplied
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::error::{Cause, Exceeded, Misbehaviour};
use crate::{
    Algorithm, Descriptor, DescriptorRef, Digest, Error, Evidence, Impossible, Kind, Limits, Manifest,
    MediaType, Platform,
};

/// What a walk reports, and how strictly it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkOptions {
    /// Reports the config and the layers of each image too.
    pub blobs: bool,
    /// Fails where the registry lacks a manifest, instead of reporting it as missing.
    pub strict: bool,
    /// Walks only what fits this platform best.
    pub platform: Option<Platform>,
}

/// One place in a tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Node {
    /// Levels below the root, which has 0.
    pub depth: u32,
    /// What the parent (for the root: the registry) says of it.
    pub descriptor: Descriptor,
    /// Index, image or other.
    pub kind: Kind,
    /// What was found there.
    pub found: Found,
}

impl Node {
    /// The artifact type: the document's own, else the descriptor's.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        let own = match &self.found {
            Found::Manifest(manifest) => manifest.artifact_type(),
            _ => None,
        };
        own.or(self.descriptor.artifact_type.as_ref())
    }
}

/// What a walk found in a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// An image or an index, read and verified.
    Manifest(Manifest),
    /// Something that is not read: neither an image nor an index.
    Leaf,
    /// Content that the walk has reported before.
    Repeated,
    /// A manifest that the registry does not have.
    Missing,
}

/// A walk in progress.
#[derive(Debug)]
pub struct Tree {
    rules: Rules,
    /// Manifests that are wanted or supplied, and not yet reported.
    docs: BTreeMap<Digest, Doc>,
    tickets: BTreeMap<Ticket, Digest>,
    next_ticket: u64,
    /// What has been reported.
    seen: BTreeMap<Digest, Seen>,
    /// The node whose turn it is.
    head: Option<Head>,
    /// The documents above the head, each with the next of its children.
    stack: Vec<Cursor>,
    /// Documents whose children may be wanted ahead, by their place in the order.
    ahead: BTreeMap<Path, Cursor>,
    /// Bytes of manifests that were supplied and not yet reported.
    ahead_bytes: u64,
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

/// A place in the order: which child at each level.
type Path = Vec<usize>;

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

#[derive(Debug)]
enum Supplied {
    Manifest(Manifest),
    Missing,
    Failed(Error),
}

#[derive(Debug)]
struct Head {
    descriptor: Descriptor,
    path: Path,
}

#[derive(Debug)]
struct Cursor {
    manifest: Manifest,
    path: Path,
    next: usize,
}

impl Cursor {
    fn advance(&mut self, blobs: bool) -> Option<(DescriptorRef<'_>, Path)> {
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

/// Names a manifest that a [`Tree`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A manifest that a [`Tree`] wants.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted {
    /// Goes back with the manifest.
    pub ticket: Ticket,
    /// What is wanted.
    pub descriptor: Descriptor,
}

/// What comes next in the order.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "the three ways on are the contract, as an iterator's two are")]
pub enum Step {
    /// The next node.
    Node(Box<Node>),
    /// Nothing until a manifest is supplied.
    Blocked,
    /// The tree was walked to its end.
    Finished,
}

impl Tree {
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
            docs: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            seen: BTreeMap::new(),
            head: Some(Head { descriptor: root, path: Path::new() }),
            stack: Vec::new(),
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
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
        if let Some(head) = &self.head
            && matches!(self.find(&head.descriptor, head.path.len()), Ok(ControlFlow::Continue(())))
            && !self.matching_doc(&head.descriptor)
        {
            let (descriptor, path) = (head.descriptor.clone(), head.path.clone());
            if let Some(wanted) = self.order(descriptor, path) {
                return Some(wanted);
            }
        }
        while self.docs.len() < self.rules.window && self.ahead_bytes < self.rules.limits.walk_ahead_bytes {
            let mut entry = self.ahead.first_entry()?;
            let Some((child, path)) = entry.get_mut().advance(false) else {
                entry.remove();
                continue;
            };
            let too_deep = path.len() as u64 > u64::from(self.rules.limits.walk_depth);
            let seen = self.seen.get(child.digest()).is_some_and(|seen| seen.fetched);
            let known = seen || self.docs.contains_key(child.digest());
            let kind = child.media_type().kind();
            let fetched = kind == Kind::Index || kind == Kind::Image && self.rules.images;
            if known || too_deep || !fetched || child.size() > self.rules.limits.manifest_bytes {
                continue;
            }
            let descriptor = child.to_owned();
            if let Some(wanted) = self.order(descriptor, path) {
                return Some(wanted);
            }
        }
        None
    }

    /// Takes a wanted manifest's bytes, and the media type that they came with, if any.
    ///
    /// The bytes are verified against the descriptor: wrong ones fail the walk when their turn comes.
    /// An unknown or repeated ticket is ignored.
    pub fn supply(&mut self, ticket: Ticket, bytes: bytes::Bytes, content_type: Option<&str>) {
        let Some(doc) = self.tickets.get(&ticket).and_then(|digest| self.docs.get_key_value(digest)) else {
            return;
        };
        let (digest, Doc { size, media_type, .. }) = doc;
        let manifest = read(digest, *size, media_type, bytes, content_type);
        self.settle(
            ticket,
            manifest.map_or_else(|cause| Supplied::Failed(Error::new(cause)), Supplied::Manifest),
        );
    }

    /// Takes the news that a wanted manifest does not exist.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        self.settle(ticket, Supplied::Missing);
    }

    /// Takes the reason why a wanted manifest cannot be had; it fails the walk when its turn comes.
    pub fn supply_error(&mut self, ticket: Ticket, error: Error) {
        self.settle(ticket, Supplied::Failed(error));
    }

    /// Takes a wanted manifest that was verified as it arrived.
    pub(crate) fn supply_manifest(&mut self, ticket: Ticket, manifest: Manifest) {
        self.settle(ticket, Supplied::Manifest(manifest));
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
    pub fn next_step(&mut self) -> Result<Step, Error> {
        match &self.state {
            State::Walking => {}
            State::Finished => return Ok(Step::Finished),
            State::Failed(error) => return Err(error.clone()),
        }
        let step = self.step();
        match &step {
            Ok(Step::Finished) => self.state = State::Finished,
            Err(error) => {
                self.state = State::Failed(error.clone());
                self.docs.clear();
                self.ahead.clear();
                self.stack.clear();
            }
            Ok(_) => {}
        }
        step
    }

    fn step(&mut self) -> Result<Step, Error> {
        let blobs = self.rules.blobs;
        while self.head.is_none() {
            let Some(cursor) = self.stack.last_mut() else { return Ok(Step::Finished) };
            match cursor.advance(blobs) {
                Some((child, path)) => {
                    self.head = Some(Head { descriptor: child.to_owned(), path });
                }
                None => drop(self.stack.pop()),
            }
        }
        let Some(head) = &self.head else { return Ok(Step::Finished) };
        let found = match self.find(&head.descriptor, head.path.len())? {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) => {
                if !self.matching_doc(&head.descriptor) {
                    return Ok(Step::Blocked);
                }
                match self.take_supplied()? {
                    Some(found) => found,
                    None => return Ok(Step::Blocked),
                }
            }
        };
        self.nodes += 1;
        if self.nodes > self.rules.limits.walk_nodes {
            return Err(Error::new(Exceeded::WalkNodes(self.rules.limits.walk_nodes)));
        }
        let Some(Head { descriptor, path }) = self.head.take() else { return Ok(Step::Finished) };
        let seen =
            Seen { size: descriptor.size, fetched: matches!(found, Found::Manifest(_) | Found::Missing) };
        self.seen
            .entry(descriptor.digest.clone())
            .and_modify(|earlier| earlier.fetched |= seen.fetched)
            .or_insert(seen);
        let depth = u32::try_from(path.len()).unwrap_or(u32::MAX);
        let kind = descriptor.media_type.kind();
        if let Found::Manifest(manifest) = &found {
            self.stack.push(Cursor { manifest: manifest.clone(), path, next: 0 });
        }
        Ok(Step::Node(Box::new(Node { depth, descriptor, kind, found })))
    }

    /// What is known of a node without its bytes.
    fn find(&self, descriptor: &Descriptor, depth: usize) -> Result<ControlFlow<Found>, Error> {
        let is_fetched = self.is_fetched(descriptor);
        if let Some(seen) = self.seen.get(&descriptor.digest) {
            if seen.size != descriptor.size {
                return Err(Error::new(Misbehaviour::Contradiction {
                    digest: descriptor.digest.clone(),
                    first: seen.size,
                    second: descriptor.size,
                }));
            }
            if seen.fetched || !is_fetched {
                return Ok(ControlFlow::Break(Found::Repeated));
            }
        }
        if !is_fetched {
            return Ok(ControlFlow::Break(Found::Leaf));
        }
        let limits = &self.rules.limits;
        if depth as u64 > u64::from(limits.walk_depth) {
            let digest = descriptor.digest.clone();
            return Err(Error::new(Exceeded::WalkDepth { limit: limits.walk_depth, digest }));
        }
        if descriptor.size > limits.manifest_bytes {
            return Err(Error::new(Exceeded::ManifestBytes(limits.manifest_bytes)));
        }
        if self.bytes.saturating_add(descriptor.size) > limits.walk_bytes {
            return Err(Error::new(Exceeded::WalkBytes(limits.walk_bytes)));
        }
        if descriptor.digest.algorithm().is_none() {
            return Err(Error::new(Impossible::UnknownAlgorithm(descriptor.digest.clone())));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the head's document out of those that were supplied, if it is there.
    fn take_supplied(&mut self) -> Result<Option<Found>, Error> {
        let Some(head) = &self.head else { return Ok(None) };
        let digest = &head.descriptor.digest;
        if !matches!(self.docs.get(digest), Some(Doc { state: DocState::Supplied(_), .. })) {
            return Ok(None);
        }
        match self.docs.remove(digest).map(|doc| doc.state) {
            Some(DocState::Supplied(Supplied::Manifest(manifest))) => {
                let len = manifest.bytes().len() as u64;
                self.ahead_bytes = self.ahead_bytes.saturating_sub(len);
                self.bytes = self.bytes.saturating_add(len);
                Ok(Some(Found::Manifest(manifest)))
            }
            Some(DocState::Supplied(Supplied::Missing)) if self.rules.strict => {
                Err(Error::new(Misbehaviour::Missing(digest.clone())))
            }
            Some(DocState::Supplied(Supplied::Missing)) => Ok(Some(Found::Missing)),
            Some(DocState::Supplied(Supplied::Failed(error))) => Err(error),
            Some(DocState::Wanted(_)) | None => Ok(None),
        }
    }

    fn is_fetched(&self, descriptor: &Descriptor) -> bool {
        match descriptor.media_type.kind() {
            Kind::Index => true,
            Kind::Image => self.rules.images,
            Kind::Other => false,
        }
    }

    /// Whether the document is wanted or supplied under the same claims of size and type.
    fn matching_doc(&self, descriptor: &Descriptor) -> bool {
        self.docs
            .get(&descriptor.digest)
            .is_some_and(|doc| doc.size == descriptor.size && doc.media_type == descriptor.media_type)
    }

    /// Makes a document known: from its descriptor's own data, else as wanted.
    fn order(&mut self, descriptor: Descriptor, path: Path) -> Option<Wanted> {
        // What cannot be verified is not fetched.
        descriptor.digest.algorithm()?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        // Claims that differ from those of an earlier order replace it: its bytes would be refused.
        self.tickets.insert(ticket, descriptor.digest.clone());
        let doc = Doc {
            size: descriptor.size,
            media_type: descriptor.media_type.clone(),
            path,
            state: DocState::Wanted(ticket),
        };
        if let Some(Doc { state, .. }) = self.docs.insert(descriptor.digest.clone(), doc) {
            self.forget(&state);
        }
        let embedded = descriptor.data.as_ref().and_then(|data| {
            read(&descriptor.digest, descriptor.size, &descriptor.media_type, data.clone(), None).ok()
        });
        match embedded {
            Some(manifest) => {
                self.settle(ticket, Supplied::Manifest(manifest));
                None
            }
            None => Some(Wanted { ticket, descriptor }),
        }
    }

    fn forget(&mut self, state: &DocState) {
        match state {
            DocState::Wanted(ticket) => drop(self.tickets.remove(ticket)),
            DocState::Supplied(Supplied::Manifest(manifest)) => {
                self.ahead_bytes = self.ahead_bytes.saturating_sub(manifest.bytes().len() as u64);
            }
            DocState::Supplied(_) => {}
        }
    }

    fn settle(&mut self, ticket: Ticket, supplied: Supplied) {
        let Some(doc) = self.tickets.remove(&ticket).and_then(|digest| self.docs.get_mut(&digest)) else {
            return;
        };
        if let Supplied::Manifest(manifest) = &supplied {
            self.ahead_bytes += manifest.bytes().len() as u64;
            if manifest.kind() == Kind::Index {
                let cursor = Cursor { manifest: manifest.clone(), path: doc.path.clone(), next: 0 };
                self.ahead.insert(doc.path.clone(), cursor);
            }
        }
        doc.state = DocState::Supplied(supplied);
    }
}

/// Verifies and reads a manifest's bytes.
fn read(
    digest: &Digest,
    size: u64,
    media_type: &MediaType,
    bytes: bytes::Bytes,
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
