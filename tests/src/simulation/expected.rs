//! The expectations for an operation: in any case, and if all responses were correct.

use std::collections::BTreeSet;

use oci_proto::server::Content as _;
use oci_proto::{Digest, Limits, OpId, Platform, WalkOptions};

use crate::simulation::content::Content;
use crate::simulation::mirrors::MOST;
use crate::simulation::model;
use crate::simulation::registry::Registry;
use crate::simulation::watched::Watched;
use crate::simulation::world::World;

/// A started operation.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) registry: usize,
    pub(super) what: What,
    /// Whether its repository may have mirrors.
    pub(super) is_mirrored: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Resolve { platform: Option<Platform>, manifest: bool },
    Walk(WalkOptions),
    Pull { referrers: bool },
    Check,
    Blob { digest: Digest, size: u64, is_sized: bool },
}

impl Started {
    /// Compares the observations of the operation with the expectations.
    pub(super) fn check(&self, op: OpId, watched: &Watched, world: &World<'_>, limits: &Limits) {
        let said: Vec<&str> = watched.events.iter().map(String::as_str).collect();
        let news = |said: &&str| !["retry ", "warning ", "mirror "].iter().any(|kind| said.starts_with(kind));
        let said: Vec<&str> = said.into_iter().filter(news).collect();
        let sources = if self.is_mirrored { 1 + MOST } else { 1 };
        let seen = Seen { what: &self.what, watched, said: &said, content: world.content, limits, sources };
        seen.check_requests();
        let not_there = |name| world.not_there.contains(&(op, name));
        seen.check_whatever_happened(|digest| not_there(digest.to_string()) || not_there(String::new()));
        let ended = said.last().is_some_and(|last| *last == "done" || last.starts_with("failed "));
        if ended && !watched.may_end() && world.fault_record.is_right(op, self.registry) {
            seen.check_all_there_is();
        }
    }
}

struct Seen<'a> {
    what: &'a What,
    watched: &'a Watched,
    /// Its events, without retries, mirrors and warnings.
    said: &'a [&'a str],
    content: &'a Content,
    limits: &'a Limits,
    /// The maximum number of registries that are asked for each content.
    sources: usize,
}

impl Seen<'_> {
    /// The maximum number of requests for each target.
    fn check_requests(&self) {
        let Limits { challenges, max_attempts: tries, redirects, .. } = *self.limits;
        // Each sequence of redirects from the first URL is bounded. There are as many sequences as there may
        // be 401s and failures in a row, except for the last of each, which ends the request.
        let for_one = ((challenges + tries - 1) * (redirects + 1)) as usize;
        let mut all = 2 * for_one;
        let mut most = vec![(Registry::TAG.to_owned(), 2 * for_one)];
        let takes_referrers = matches!(self.what, What::Pull { referrers: true });
        let memory = if takes_referrers { &self.content.attached } else { &self.content.memory };
        for (digest, bytes) in memory.contents() {
            // A document is requested by HEAD and GET, and once more if it was selected. A blob is requested
            // again after each attempt that delivered at least half of the rest: from two servers, and again
            // from its start if the held part was corrupt.
            let halves = (u64::BITS - (bytes.len() as u64).leading_zeros()) as usize;
            let times = if self.content.is_document(digest) { 3 } else { 0 } + 3 * (1 + halves);
            // The list of its referrers, and the index under the fallback tag.
            let times = times + if takes_referrers { 2 } else { 0 };
            all += times * for_one;
            most.push((digest.to_string(), times * for_one));
        }
        for (name, most) in most {
            let most = most * self.sources;
            let times = self.watched.requests_for.get(&name).copied().unwrap_or_default();
            assert!(times <= most, "{times} requests for {name}, more than {most}: {:?}", self.said);
        }
        let (times, all) = (self.watched.requests, all * self.sources);
        assert!(times <= all, "{times} requests, more than {all}: {:?}", self.said);
    }

    /// Results are correct, whatever the responses.
    fn check_whatever_happened(&self, is_not_there: impl Fn(&Digest) -> bool) {
        let Self { content, watched, said, .. } = self;
        match self.what {
            What::Blob { digest, .. } => {
                let right = content.memory.bytes(digest).expect("the blob is in the content");
                assert!(!watched.is_done() || watched.sink() == right, "done with wrong content");
                assert!(watched.sink().len() <= right.len().max(1 << 16), "too many bytes in a sink");
            }
            What::Walk(options) => {
                let missing: BTreeSet<Digest> = said.iter().filter_map(|said| missing(said)).collect();
                for digest in &missing {
                    assert!(is_not_there(digest), "no server said that {digest} is missing: {said:?}");
                }
                let model = model::walk(&content.without(missing), options, self.limits);
                let told = if watched.is_done() { said } else { &said[..said.len().saturating_sub(1)] };
                let so_far = &model.events[..told.len().min(model.events.len())];
                assert_eq!(told, so_far, "a walk disagrees with the recursion");
                assert!(
                    !watched.is_done() || told.len() == model.events.len(),
                    "a walk ends early: {said:?}"
                );
            }
            What::Pull { referrers } if watched.is_done() => {
                let whole = content.whole();
                let tree = model::pull(&whole).expect("the whole content is complete");
                if *referrers {
                    // A wrong list of referrers lacks some of them.
                    let all = model::pull_all(&whole).expect("the whole content is complete");
                    assert!(watched.kept().is_superset(&tree), "a finished pull lacks content");
                    assert!(watched.kept().is_subset(&all), "a finished pull has other content");
                } else {
                    assert_eq!(watched.kept(), &tree, "a finished pull has other content");
                }
            }
            _ => {}
        }
    }

    /// If all responses were correct and all failures transient, all available content is delivered.
    fn check_all_there_is(&self) {
        let Self { content, watched, said, .. } = self;
        let failed = |why: &str| {
            let last = said.last().expect("an operation has a last event");
            // The length of wrong content decides which error is found first.
            let why = if why.starts_with("mismatch") { "" } else { why };
            assert!(
                last.starts_with("failed ") && last.contains(why),
                "expected a failure for {why:?}: {said:?}"
            );
        };
        let root = &content.root;
        match self.what {
            What::Resolve { platform: None, manifest } => {
                let resolved = format!("resolved {} {} {}", root.media_type, root.digest, root.size);
                let manifest = manifest
                    .then(|| format!("store {} {} {} as index", root.media_type, root.digest, root.size));
                let expected = [Some(resolved), manifest, Some("done".to_owned())];
                let expected: Vec<String> = expected.into_iter().flatten().collect();
                assert_eq!(said, &expected, "other events than expected");
            }
            What::Resolve { platform: Some(_), .. } | What::Check if self.limits.walk_nodes < 1000 => {}
            What::Resolve { platform: Some(platform), manifest } => match model::choose(content, platform) {
                Ok(None) => failed("no image for platform"),
                Err(why) => failed(why),
                Ok(Some(digest)) => {
                    let chosen: Digest = digest.parse().expect("the digest is valid");
                    let is_right = content.serves(&chosen) == content.memory.bytes(&chosen);
                    if *manifest && !is_right {
                        return failed("");
                    }
                    assert!(said[0].contains(&digest) && watched.is_done(), "expected {digest}: {said:?}");
                }
            },
            What::Walk(options) => {
                let model = model::walk(content, options, self.limits);
                match model.failure {
                    None => assert_eq!(said, &model.events, "a walk is incomplete"),
                    Some(why) => {
                        assert_eq!(&said[..said.len() - 1], &model.events, "a walk is incomplete");
                        failed(why);
                    }
                }
            }
            What::Pull { referrers: true } => {
                match model::pull_all(&content.with(watched.held())) {
                    // The limits apply to the tree and its referrers together.
                    _ if self.limits.walk_nodes < 1000 => {}
                    Some(all) if self.fits() => {
                        assert!(watched.is_done(), "all content is available: {said:?}");
                        assert_eq!(watched.kept(), &all, "a finished pull has other content");
                    }
                    _ => failed(""),
                }
            }
            What::Pull { referrers: false } => match model::pull(&content.with(watched.held())) {
                Some(_) if self.fits() => assert!(watched.is_done(), "all content is available: {said:?}"),
                _ => failed(""),
            },
            What::Check => {
                assert!(watched.is_done(), "{said:?}");
                let found: BTreeSet<Digest> =
                    watched.findings.iter().filter_map(|finding| finding.digest.clone()).collect();
                assert_eq!(found, model::check(content), "other findings than expected: {said:?}");
            }
            What::Blob { digest, size, .. } => {
                let right = content.memory.bytes(digest);
                if *size == 0 || content.serves(digest) == right {
                    assert!(watched.is_done(), "the blob is available: {said:?}");
                } else {
                    failed("");
                }
            }
        }
    }

    /// Whether a walk of the whole tree is within the limits.
    fn fits(&self) -> bool {
        let mut options = WalkOptions::default();
        (options.blobs, options.strict) = (true, true);
        model::walk(&self.content.whole(), &options, self.limits).failure.is_none()
    }
}

/// The digest that a node event reports as missing.
fn missing(said: &str) -> Option<Digest> {
    let node = said.strip_suffix(" missing").filter(|said| said.starts_with("node "))?;
    node.split(' ').nth(3)?.parse().ok()
}
