//! The expectations for operations that write to a registry, or list its content.

use std::collections::BTreeSet;

use oci_proto::server::Content as _;
use oci_proto::{Algorithm, Descriptor, Digest, Limits, OpId, WalkOptions};

use crate::simulation::content::Content;
use crate::simulation::ledger::Account;
use crate::simulation::model;
use crate::simulation::watched::Watched;
use crate::simulation::world::World;
use crate::simulation::writing::{Job, Written};

/// Compares the observations of the operation with the expectations. Returns whether it had to succeed.
pub(super) fn check_written(
    written: &Written,
    op: OpId,
    watched: &Watched,
    world: &World<'_>,
    limits: &Limits,
) -> bool {
    let record = &world.fault_record;
    let from = if let Job::Copy { from, .. } = written.job { from } else { written.registry };
    let is_right = record.is_right(op, written.registry) && record.is_right(op, from);
    let account = &world.ledger[&op];
    let is_expected = is_right && watched.has_ended() && !watched.may_end();
    let referrers = written.referrers(world.content);
    let seen = Seen { written, referrers, account, watched, world, limits };
    seen.check_requests();
    seen.check_tag(is_right);
    if watched.is_done() && is_right {
        seen.check_done();
    }
    if is_right {
        assert_eq!(account.mistake, None, "{:?}", watched.events);
    }
    let must_succeed = is_expected && seen.can_succeed();
    if must_succeed {
        assert!(watched.is_done(), "{:?} must succeed: {:?}", written.job, watched.events);
    }
    let listed: BTreeSet<&String> = watched.listed().iter().collect();
    assert_eq!(listed.len(), watched.listed().len(), "an entry is listed twice: {:?}", watched.listed());
    must_succeed
}

struct Seen<'a> {
    written: &'a Written,
    /// The referrers that it sends.
    referrers: Vec<Descriptor>,
    account: &'a Account,
    watched: &'a Watched,
    world: &'a World<'a>,
    limits: &'a Limits,
}

impl Seen<'_> {
    /// The content that is sent, with its root.
    fn content(&self) -> Option<Content> {
        let (Job::Push { root, .. } | Job::Copy { root, .. }) = &self.written.job else { return None };
        Some(self.world.content.under(root))
    }

    /// All content that it sends.
    fn all(&self) -> BTreeSet<Digest> {
        let Some(content) = self.content().map(|content| content.whole()) else { return BTreeSet::new() };
        let trees = self.referrers.iter().map(|referrer| content.at(referrer)).chain([content.clone()]);
        trees.flat_map(|tree| model::pull(&tree).expect("the whole content is complete")).collect()
    }

    /// The number of requests, and of the bytes that they send, is bounded by the content and the faults.
    fn check_requests(&self) {
        let Account { requests, causes, bytes, blobs, .. } = self.account;
        let memory = &self.world.content.attached;
        let chunk = self.limits.chunk_bytes;
        let digests = self.all();
        // A referrer may have to be entered into an index.
        let mut most = 16 + 3 * self.written.tags.len() + 8 * self.referrers.len();
        for digest in &digests {
            let size = memory.bytes(digest).map_or(0, |bytes| bytes.len() as u64);
            most += 8 + usize::try_from(size / chunk).expect("the number is small");
        }
        most += self.watched.listed().len() + 3000 / usize::try_from(chunk).expect("the number is small");
        let most = most + causes * 24;
        assert!(*requests <= most, "{requests} requests, more than {most}: {:?}", self.watched.events);
        for (digest, sent) in bytes {
            let size = memory.bytes(digest).map_or(0, |bytes| bytes.len() as u64);
            let most = size * (1 + *causes as u64);
            assert!(
                *sent <= most,
                "{sent} bytes of {digest} are sent, more than {most}, for {causes} causes"
            );
            let is_needless = *causes == 0 && blobs.contains(digest) && *sent > 0;
            assert!(!is_needless, "{digest} is sent, although it is there");
        }
    }

    /// The root's tag is set by a transfer that succeeds, after everything else.
    fn check_tag(&self, is_right: bool) {
        let Written { registry, repository, tags, .. } = self.written;
        let Some(root) = &self.account.root else { return };
        let store = &self.world.stores[*registry].registry;
        // A registry computes a digest of its own choice.
        let bytes = self.world.content.memory.bytes(root).expect("the root is in the content");
        let is_root = |digest: &Digest| {
            digest.algorithm().is_some_and(|algorithm| Digest::of(algorithm, &bytes) == *digest)
        };
        for (of, tag, digest) in &store.tags {
            assert!(of != repository || !tags.contains(tag) || is_root(digest), "{tag} named {digest}");
        }
        let is_set = |tag: &String| store.tagged(repository, tag).is_some_and(is_root);
        if self.watched.is_done() && is_right {
            assert!(tags.iter().all(is_set), "not all of {tags:?} are set: {:?}", self.watched.events);
            let last = self.watched.last().expect("a transfer stores the root");
            let is_last = last == root || self.account.after_root.contains(last);
            assert!(is_last, "{last} is stored last, after the root");
        }
        if !self.watched.is_done() && is_right && self.account.causes == 0 && !self.watched.may_end() {
            assert!(
                !tags.iter().any(is_set) || !self.watched.has_ended(),
                "the tag of a failed transfer is set"
            );
        }
    }

    fn check_done(&self) {
        let Written { registry, repository, job, listed, .. } = self.written;
        let store = &self.world.stores[*registry];
        let there = store.contents(repository);
        let lacks = |digest: &Digest| !there.contains(digest);
        match job {
            Job::Push { .. } | Job::Copy { .. } => {
                let all = self.all();
                let missing: Vec<&Digest> = all.iter().filter(|digest| lacks(digest)).collect();
                assert!(
                    missing.is_empty(),
                    "a finished transfer lacks {missing:?}: {:?}",
                    self.watched.events
                );
                for (subject, referrer) in &self.world.content.referrers {
                    let listed =
                        || store.referrers(repository, subject).contains(&referrer.digest.to_string());
                    let is_sent = self.referrers.iter().any(|sent| sent.digest == referrer.digest);
                    assert!(!is_sent || listed(), "a referrer of {subject} is not listed");
                }
            }
            Job::Upload(blob, _) => assert!(!lacks(&blob.digest), "a finished upload is not stored"),
            Job::Stream(algorithm, bytes) => {
                let digest = Digest::of(*algorithm, bytes);
                assert!(!lacks(&digest), "a finished stream is not stored");
                assert_eq!(self.watched.last(), Some(&digest), "a stream has another digest");
            }
            Job::Attach(document) => {
                let digest = Digest::of(Algorithm::Sha256, document);
                let listed = store.referrers(repository, &self.world.content.root.digest);
                assert!(listed.contains(&digest.to_string()), "an attached document is not listed");
            }
            Job::Tags(_) | Job::Referrers => {
                let told: BTreeSet<String> = self.watched.listed().iter().cloned().collect();
                let now = self.written.entries(self.world, self.world.content);
                assert!(told.is_superset(listed), "a list lacks entries: {told:?} of {listed:?}");
                assert!(told.is_subset(&now), "a list has other entries: {told:?} of {now:?}");
            }
        }
    }

    /// Whether it must succeed if all responses are correct, and all failures transient.
    fn can_succeed(&self) -> bool {
        match &self.written.job {
            Job::Push { .. } | Job::Copy { .. } => {
                let content = self.content().expect("a transfer has content");
                // The limits apply to the tree and its referrers together.
                if !self.referrers.is_empty() && self.limits.walk_nodes < 1000 {
                    return false;
                }
                let mut options = WalkOptions::default();
                (options.blobs, options.strict) = (true, true);
                let fits = model::walk(&content.whole(), &options, self.limits).failure.is_none();
                let has_referrers = self.referrers.is_empty() || model::referrers(&content).is_some();
                fits && model::pull(&content).is_some() && has_referrers
            }
            Job::Upload(blob, _) => {
                let content = self.world.content;
                content.serves(&blob.digest) == content.memory.bytes(&blob.digest)
            }
            Job::Stream(..) => {
                // A stream that was sent and forgotten cannot be sent again, and it is sent in chunks alone.
                let store = &self.world.stores[self.written.registry];
                !store.registry.habits.only_whole && self.account.causes == 0
            }
            Job::Attach(_) | Job::Tags(_) | Job::Referrers => true,
        }
    }
}

/// Compares the observations of a second run, after all faults have stopped, with the expectations.
pub(super) fn check_again(
    written: &Written,
    op: OpId,
    watched: &Watched,
    world: &World<'_>,
    limits: &Limits,
) {
    let account = &world.ledger[&op];
    let referrers = written.referrers(world.content);
    let seen = Seen { written, referrers, account, watched, world, limits };
    seen.check_requests();
    seen.check_tag(true);
    assert_eq!(account.mistake, None, "{:?}", watched.events);
    if seen.can_succeed() {
        assert!(watched.is_done(), "a second run of {:?} must succeed: {:?}", written.job, watched.events);
    }
    if watched.is_done() {
        seen.check_done();
    }
    let needless = account.bytes.keys().find(|digest| account.blobs.contains(digest));
    assert_eq!(needless, None, "a second run sends what is there: {:?}", watched.events);
    assert_eq!(account.needless, None, "a second run sends what is there: {:?}", watched.events);
}
