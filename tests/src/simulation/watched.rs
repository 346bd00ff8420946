//! The observations of an operation, with checks that hold for any responses.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oci_proto::{Descriptor, Digest, Event, Finding, Kind, Question, StoreContent, Time};
use serde_json::Value;

/// The observations of an operation.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Watched {
    /// Its events, in the notation of transcripts.
    pub events: Vec<String>,
    /// The bytes of its sinks: a blob has one, a pull one for each blob that it fetches.
    pub sinks: BTreeMap<Digest, Vec<u8>>,
    /// The findings of a check.
    pub findings: Vec<Finding>,
    /// The number of its requests, without those of dropped drivers.
    pub requests: usize,
    /// The same for each last segment of a path.
    pub requests_for: BTreeMap<String, usize>,
    /// Whether its driver ends it.
    ending: Ending,
    pub(super) is_paused: bool,
    pub(super) is_over: bool,
    /// The time of its retry.
    pub(super) retries: Vec<Time>,
    /// Content that needed no request.
    data: Option<Bytes>,
    /// Sinks whose bytes may be delivered again, from the offset at which a driver was dropped.
    redelivered: BTreeSet<Digest>,
    /// Sinks of a pull, whose bytes may be wrong: all may be delivered again, once, and once more from another
    /// location.
    begun: BTreeSet<Digest>,
    /// The path of the last request for each content.
    places: BTreeMap<String, String>,
    /// The content that a pull asked for.
    wanted: BTreeSet<Digest>,
    /// The content that it asked to store.
    storing: BTreeSet<Digest>,
    /// Held content, complete and correct.
    held: BTreeSet<Digest>,
    /// Abandoned requests that were not sent again yet.
    dropped: BTreeMap<String, usize>,
    root: Option<Descriptor>,
    /// The content that a pull has stored or skipped.
    kept: BTreeSet<Digest>,
    /// The content stored last.
    last: Option<Digest>,
    /// Referrers that refer to the root, and are stored after it.
    pub(super) after_root: BTreeSet<Digest>,
    /// The content that was reported as stored at a destination, and whether as a document.
    sent: BTreeSet<(Digest, bool)>,
    /// The entries of a list.
    listed: Vec<String>,
}

/// Whether the driver ends an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Never,
    /// It has set a deadline.
    Perhaps,
    /// It has failed the operation.
    Surely,
}

impl Watched {
    /// Whether its driver may end it, or has ended it.
    pub fn may_end(&self) -> bool {
        self.ending != Ending::Never
    }

    /// The bytes of a blob's sink.
    pub fn sink(&self) -> &[u8] {
        let sink = self.sinks.values().next().map(Vec::as_slice);
        self.data.as_deref().or(sink).unwrap_or_default()
    }

    /// Whether it has succeeded.
    pub fn is_done(&self) -> bool {
        self.events.last().is_some_and(|said| said == "done")
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.events.last().is_some_and(|said| said == "done" || said.starts_with("failed "))
    }

    /// Held content, complete and correct.
    pub fn held(&self) -> &BTreeSet<Digest> {
        &self.held
    }

    /// The content that a pull has.
    pub fn kept(&self) -> &BTreeSet<Digest> {
        &self.kept
    }

    /// The content reported as stored last.
    pub(super) fn last(&self) -> Option<&Digest> {
        self.last.as_ref()
    }

    /// The entries of a list, in order.
    pub(super) fn listed(&self) -> &[String] {
        &self.listed
    }

    pub(super) fn sent(&mut self, name: &str, path: &str) {
        // A pull that does not find a blob at one server starts over at the next.
        let place = self.places.insert(name.to_owned(), path.to_owned());
        if place.is_some_and(|place| place != path)
            && let Ok(digest) = name.parse()
            && self.wanted.contains(&digest)
        {
            self.begun.insert(digest);
        }
        if let Some(dropped) = self.dropped.get_mut(name).filter(|dropped| **dropped > 0) {
            *dropped -= 1;
            return;
        }
        self.requests += 1;
        match self.requests_for.get_mut(name) {
            Some(times) => *times += 1,
            None => _ = self.requests_for.insert(name.to_owned(), 1),
        }
    }

    pub(super) fn dropped(&mut self, name: &str) {
        *self.dropped.entry(name.to_owned()).or_default() += 1;
        if let Ok(digest) = name.parse() {
            self.redelivered.insert(digest);
        }
    }

    /// Records a lost request, whose bytes are delivered again.
    pub(super) fn lost(&mut self, name: &str) {
        if let Ok(digest) = name.parse() {
            self.redelivered.insert(digest);
        }
    }

    /// Records a deadline.
    pub(super) fn may_fail(&mut self) {
        if self.ending == Ending::Never {
            self.ending = Ending::Perhaps;
        }
    }

    /// Records that the driver failed the operation.
    pub(super) fn must_fail(&mut self) {
        if !self.is_over {
            self.ending = Ending::Surely;
        }
    }

    /// Records complete held content; a document is to be stored nevertheless.
    pub(super) fn hold(&mut self, digest: &Digest, is_document: bool) {
        self.held.insert(digest.clone());
        if !is_document {
            self.kept.insert(digest.clone());
        }
    }

    /// Records a held part of a blob, which may be corrupt.
    pub(super) fn begin(&mut self, digest: &Digest, part: Vec<u8>) {
        if digest.algorithm().is_some_and(|algorithm| Digest::of(algorithm, &part) == *digest) {
            self.held.insert(digest.clone());
        }
        self.sinks.insert(digest.clone(), part);
    }

    /// Receives bytes for a sink.
    pub(super) fn deliver(&mut self, digest: &Digest, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).expect("the offset fits in memory");
        let sink = self.sinks.entry(digest.clone()).or_default();
        if at < sink.len() && (self.redelivered.contains(digest) || at == 0 && self.begun.remove(digest)) {
            sink.truncate(at);
        }
        assert_eq!(at, sink.len(), "the sink of {digest} receives bytes twice, or misses some");
        if !bytes.is_empty() {
            self.redelivered.remove(digest);
        }
        sink.extend_from_slice(bytes);
    }

    pub(super) fn take(&mut self, event: Event, said: String) {
        match event {
            Event::Done => {
                self.is_over = true;
                assert!(self.ending != Ending::Surely, "done, although its driver failed it");
                if let (Some(root), Some(last)) = (&self.root, &self.last) {
                    let is_last = *last == root.digest || self.after_root.contains(last);
                    assert!(is_last, "{last} is stored last, after the root");
                }
                // A list keeps nothing.
                let lacks = |listed: &&String| !self.kept.is_empty() && !self.has(listed);
                let missing = self.listed.iter().find(lacks);
                assert_eq!(missing, None, "a finished pull lacks a referrer");
            }
            Event::Failed(_) => self.is_over = true,
            Event::Resolved(root) => self.root = Some(root),
            Event::Skipped(descriptor) => self.keep(descriptor.digest),
            Event::Stored(Descriptor { digest, media_type, .. }, _) => {
                let is_document = media_type.kind() != Kind::Other;
                assert!(
                    self.sent.insert((digest.clone(), is_document)),
                    "{digest} is reported as stored twice"
                );
                self.last = Some(digest);
            }
            Event::Tags(tags) => self.listed.extend(tags.iter().map(ToString::to_string)),
            Event::Referrers(referrers) => {
                let is_late = self.root.as_ref().is_some_and(|root| self.storing.contains(&root.digest));
                assert!(!is_late, "a referrer is found after the root was stored: {said}");
                self.listed.extend(referrers.iter().map(|referrer| referrer.descriptor.digest.to_string()));
            }
            Event::Finding(finding) => self.findings.push(finding),
            _ => {}
        }
        self.events.push(said);
    }

    /// Records a new question.
    pub(super) fn ask(&mut self, question: &Question, asks: String) {
        match question {
            Question::Credentials(_)
            | Question::Document { .. }
            | Question::Referrers { .. }
            | Question::Read { .. } => {}
            Question::Held { descriptor, .. } => {
                self.wanted.insert(descriptor.digest.clone());
                self.begun.insert(descriptor.digest.clone());
            }
            Question::Store { descriptor, content, .. } => {
                match content {
                    StoreContent::Document(manifest) => self.store(descriptor, manifest.bytes()),
                    StoreContent::Bytes(bytes) => {
                        self.store(descriptor, bytes);
                        self.data = Some(bytes.clone());
                    }
                    StoreContent::Sink => {
                        let sink = self.sinks.entry(descriptor.digest.clone()).or_default().clone();
                        self.store(descriptor, &sink);
                    }
                }
                self.events.push(asks);
            }
        }
    }

    /// Records that some content is stored.
    pub(super) fn stored(&mut self, digest: &Digest) {
        self.keep(digest.clone());
    }

    fn has(&self, digest: &str) -> bool {
        digest.parse().is_ok_and(|digest| self.kept.contains(&digest))
    }

    fn keep(&mut self, digest: Digest) {
        assert!(self.kept.insert(digest.clone()), "{digest} is stored twice");
        self.last = Some(digest);
    }

    /// Content to store is correct, and everything that it refers to is stored.
    fn store(&mut self, descriptor: &Descriptor, bytes: &[u8]) {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let algorithm = digest.algorithm().expect("content to store can be verified");
        assert_eq!(
            (&Digest::of(algorithm, bytes), bytes.len() as u64),
            (digest, *size),
            "wrong content is to be stored"
        );
        assert!(self.storing.insert(digest.clone()), "{digest} is to be stored twice");
        if self.root.as_ref().is_some_and(|root| root.digest == *digest) {
            let above: BTreeSet<String> = self.after_root.iter().map(ToString::to_string).collect();
            let missing = self.listed.iter().find(|listed| !above.contains(*listed) && !self.has(listed));
            assert_eq!(missing, None, "the root is to be stored before a referrer");
        }
        // An operation that stores only a manifest does not store what the manifest refers to.
        let is_pull = !(self.wanted.is_empty() && self.kept.is_empty());
        if is_pull && media_type.kind() != Kind::Other {
            let document: Value = serde_json::from_slice(bytes).expect("a document to store was parsed");
            let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
            let named = list("manifests").into_iter().chain(list("layers"));
            for named in named.chain(document.get("config").cloned()) {
                let named: Digest =
                    named["digest"].as_str().unwrap_or_default().parse().expect("a descriptor has a digest");
                assert!(
                    self.kept.contains(&named),
                    "{digest} is to be stored before {named}, to which it refers"
                );
            }
        }
    }
}
