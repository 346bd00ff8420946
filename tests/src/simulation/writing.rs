//! The operations that write to a registry, or list its content.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use bytes::Bytes;
use oci_proto::server::Content as _;
use oci_proto::{
    Algorithm, Descriptor, Digest, Evidence, Kind, Manifest, MediaType, OpId, PushOptions, Reference,
};

use crate::simulation::choices::Choices;
use crate::simulation::content::Content;
use crate::simulation::ledger::Account;
use crate::simulation::model;
use crate::simulation::registry::Registry;
use crate::simulation::state::Simulation;
use crate::simulation::store::{REPOSITORIES, referrer};
use crate::simulation::world::{REGISTRIES, World};

/// An operation that writes to a registry, or lists its content.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Its destination.
    pub(super) registry: usize,
    pub(super) repository: &'static str,
    /// The tags of its root: none are shared with other operations.
    pub(super) tags: Vec<String>,
    pub(super) job: Job,
    /// The entries of its list when it started.
    pub(super) listed: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Job {
    /// From the driver, with or without its referrers.
    Push {
        root: Descriptor,
        referrers: bool,
    },
    /// From a registry, with or without its referrers.
    Copy {
        from: usize,
        root: Descriptor,
        referrers: bool,
    },
    /// Whether it may be mounted.
    Upload(Descriptor, bool),
    Stream(Algorithm, Bytes),
    /// A document with a subject.
    Attach(Bytes),
    Tags(Option<NonZeroUsize>),
    Referrers,
}

impl Written {
    /// Decides on an operation.
    pub(super) fn draw(
        simulation: &Simulation<'_, World<'_>>,
        content: &Content,
        choices: &mut Choices<'_>,
    ) -> Self {
        let whom = usize::from(choices.byte());
        let (registry, repository) = (whom % REGISTRIES.len(), REPOSITORIES[whom / 5 % 2]);
        let number = simulation.answers.ledger.len();
        let mut tags = vec![format!("tag{number}")];
        if whom / 10 % 4 == 3 {
            tags.push(format!("also{number}"));
        }
        let what = usize::from(choices.byte());
        let root = root(content, choices);
        let referrers = what / 16 % 2 == 1;
        let job = match what % 16 {
            0..4 => Job::Push { root, referrers },
            4 => Job::Copy { from: registry, root, referrers },
            5..9 => Job::Copy { from: usize::from(choices.byte()) % REGISTRIES.len(), root, referrers },
            9 | 10 => {
                let blobs = content.blobs();
                match blobs.get(what / 16 % blobs.len().max(1)) {
                    Some((digest, size)) => {
                        let blob = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), *size);
                        Job::Upload(blob, what / 16 % 2 == 1)
                    }
                    None => Job::Push { root, referrers },
                }
            }
            11 | 12 => {
                let size = [700, 0, 3000, 1, 256, 1500][choices.below(6)];
                let mark = u8::try_from(number % 251).expect("the number is small");
                let bytes = (0..size).map(|at: usize| at.to_le_bytes()[0] ^ mark);
                let algorithm = [Algorithm::Sha256, Algorithm::Sha512][what / 16 % 2];
                Job::Stream(algorithm, bytes.collect())
            }
            13 => Job::Attach(referrer(&content.root.digest, &format!("new{number}"))),
            14 => Job::Tags(NonZeroUsize::new(what / 16 % 4)),
            _ => Job::Referrers,
        };
        Self { registry, repository, tags, job, listed: BTreeSet::new() }
    }

    /// Starts the operation, and watches it.
    pub(super) fn start(&self, simulation: &mut Simulation<'_, World<'_>>, content: &Content) -> OpId {
        let base = format!("{}/{}", REGISTRIES[self.registry], self.repository);
        let reference = |text: &str| -> Reference { text.parse().expect("the reference is valid") };
        let to = reference(&format!("{base}:{}", self.tags[0]));
        let more = || self.tags[1..].iter().map(|tag| tag.parse().expect("the tag is valid"));
        let mut options = PushOptions::default();
        options.tags = more().collect();
        let session = &mut simulation.session;
        let op = match &self.job {
            Job::Push { root, referrers } => {
                options.referrers = *referrers;
                session.push(root, &to, options)
            }
            Job::Copy { from, root, referrers } => {
                options.referrers = *referrers;
                let from = format!("{}/{}", REGISTRIES[*from], Registry::REPOSITORY);
                let is_all = root.digest == content.root.digest;
                let name = if is_all { format!(":{}", Registry::TAG) } else { format!("@{}", root.digest) };
                let from = from + &name;
                session.copy(&reference(&from), &to, options)
            }
            Job::Upload(blob, mounts) => {
                let from = mounts.then(|| Registry::REPOSITORY.parse().expect("the repository is valid"));
                session.upload(&to, blob, from.as_ref())
            }
            Job::Stream(algorithm, _) => session.upload_stream(&to, *algorithm),
            Job::Attach(document) => {
                let manifest = Manifest::read(document.clone(), Evidence::default());
                let manifest = manifest.expect("the document is valid");
                session.push_manifest(&to.at(Digest::of(Algorithm::Sha256, document)), manifest, Vec::new())
            }
            Job::Tags(page) => session.tags(&to, *page),
            Job::Referrers => session.referrers(&to.at(content.root.digest.clone()), None),
        };
        simulation.trace.note(simulation.now, || format!("{op:?}: {to} {:?}", self.job));
        let world = &mut simulation.answers;
        let store = &world.stores[self.registry];
        let (blobs, documents) = (store.blobs(self.repository), store.documents(self.repository));
        let mut account = Account::new(self.repository, blobs, documents);
        match &self.job {
            Job::Push { root, referrers } | Job::Copy { root, referrers, .. } => {
                (account.tags, account.root) = (self.tags.clone(), Some(root.digest.clone()));
                if *referrers {
                    account.after_root = model::above_root(&content.under(root));
                }
            }
            Job::Stream(_, bytes) => _ = world.streams.insert(op, (bytes.clone(), 0)),
            _ => {}
        }
        let after_root = account.after_root.clone();
        world.ledger.insert(op, account);
        if let Job::Copy { from, .. } = self.job {
            world.secrets.start(op, &[self.registry, from]);
            simulation.watch_copy(op, after_root);
        } else {
            world.secrets.start(op, &[self.registry]);
            simulation.watch_with(op, after_root);
        }
        op
    }

    /// Whether it sends a tree.
    pub(super) fn is_transfer(&self) -> bool {
        matches!(self.job, Job::Push { .. } | Job::Copy { .. })
    }

    /// The referrers that it sends.
    pub(super) fn referrers(&self, content: &Content) -> Vec<Descriptor> {
        match &self.job {
            Job::Push { root, referrers: true } | Job::Copy { root, referrers: true, .. } => {
                model::referrers(&content.whole().under(root)).expect("the whole content is complete")
            }
            _ => Vec::new(),
        }
    }

    /// The entries that its list has now.
    pub(super) fn entries(&self, world: &World<'_>, content: &Content) -> BTreeSet<String> {
        let store = &world.stores[self.registry];
        match self.job {
            Job::Tags(_) => store.tags(self.repository),
            Job::Referrers => store.referrers(self.repository, &content.root.digest),
            _ => BTreeSet::new(),
        }
    }
}

/// A document of the content: an image, an index, or everything.
fn root(content: &Content, choices: &mut Choices<'_>) -> Descriptor {
    let drawn = usize::from(choices.byte());
    let is_document = |built: &&Descriptor| {
        built.media_type.kind() != Kind::Other && content.memory.bytes(&built.digest).is_some()
    };
    let documents: Vec<&Descriptor> = content.built.iter().filter(is_document).collect();
    let found = documents.get(drawn / 4 % documents.len().max(1)).filter(|_| drawn % 4 > 0);
    let mut root = found.map_or(&content.root, |found| *found).clone();
    root.data = None;
    root
}
