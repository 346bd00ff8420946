//! What was seen of an operation, and what each operation is held to whoever answers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oci_proto::{Descriptor, Digest, Event, Finding, Time};
use serde_json::Value;

/// What was seen of an operation.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Watched {
    /// Its events, as transcripts write them.
    pub events: Vec<String>,
    /// What its sinks have had: a blob has one, a pull as many as it fetches.
    pub sinks: BTreeMap<Digest, Vec<u8>>,
    /// What a check found.
    pub findings: Vec<Finding>,
    /// How many requests it sent, but for those that a driver dropped.
    pub requests: usize,
    /// The same, for each last segment of a path.
    pub requests_for: BTreeMap<String, usize>,
    /// Whether it may end for having no time.
    pub has_deadline: bool,
    pub(super) is_paused: bool,
    pub(super) is_over: bool,
    /// When it tries again.
    pub(super) retries: Vec<Time>,
    /// Content that came without a request.
    data: Option<Bytes>,
    /// Sinks whose bytes may come anew, from where a driver was dropped.
    anew: BTreeSet<Digest>,
    /// Sinks that had something before, which may be wrong, or is from another place: all of it may come.
    begun: BTreeSet<Digest>,
    /// The path where each content was asked for last.
    places: BTreeMap<String, String>,
    /// What a pull wants.
    wanted: BTreeSet<Digest>,
    /// Content that was there from before, all of it and right.
    held: BTreeSet<Digest>,
    /// Requests that were dropped, and were not sent again yet.
    dropped: BTreeMap<String, usize>,
    root: Option<Descriptor>,
    /// Content that a pull has, or leaves out.
    kept: BTreeSet<Digest>,
    /// What it stored last.
    last: Option<Digest>,
}

impl Watched {
    /// What the sink of a blob has had.
    pub fn sink(&self) -> &[u8] {
        let sink = self.sinks.values().next().map(Vec::as_slice);
        self.data.as_deref().or(sink).unwrap_or_default()
    }

    /// Whether it ended well.
    pub fn is_done(&self) -> bool {
        self.events.last().is_some_and(|said| said == "done")
    }

    /// What was there from before, all of it and right.
    pub fn held(&self) -> &BTreeSet<Digest> {
        &self.held
    }

    /// What a pull has.
    pub fn kept(&self) -> &BTreeSet<Digest> {
        &self.kept
    }

    pub(super) fn sent(&mut self, name: &str, path: &str) {
        // A pull that does not find a blob in one place begins anew in the next.
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
            self.anew.insert(digest);
        }
    }

    /// All of some content is there from before; a document is to be stored nevertheless.
    pub(super) fn hold(&mut self, digest: &Digest, is_document: bool) {
        self.held.insert(digest.clone());
        if !is_document {
            self.kept.insert(digest.clone());
        }
    }

    /// The beginning of a blob is there from before, and may be wrong.
    pub(super) fn begin(&mut self, digest: &Digest, part: Vec<u8>) {
        if digest.algorithm().is_some_and(|algorithm| Digest::of(algorithm, &part) == *digest) {
            self.held.insert(digest.clone());
        }
        self.sinks.insert(digest.clone(), part);
        self.begun.insert(digest.clone());
    }

    /// A sink gets bytes.
    pub(super) fn deliver(&mut self, digest: &Digest, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).expect("a place in memory");
        let sink = self.sinks.entry(digest.clone()).or_default();
        if at < sink.len() && (self.anew.contains(digest) || at == 0 && self.begun.remove(digest)) {
            sink.truncate(at);
        }
        assert_eq!(at, sink.len(), "the sink of {digest} gets bytes twice, or misses some");
        if !bytes.is_empty() {
            self.anew.remove(digest);
        }
        sink.extend_from_slice(bytes);
    }

    pub(super) fn take(&mut self, event: Event, said: String) {
        match event {
            Event::Done => {
                self.is_over = true;
                if let (Some(root), Some(last)) = (&self.root, &self.last) {
                    assert_eq!(last, &root.digest, "the root is what a pull stores last");
                }
            }
            Event::Failed(_) => self.is_over = true,
            Event::Resolved(root) => self.root = Some(root),
            Event::Wanted(descriptor) => _ = self.wanted.insert(descriptor.digest),
            Event::Data(bytes) => self.data = Some(bytes),
            Event::Verified(digest) => {
                let sink = self.sinks.entry(digest.clone()).or_default();
                let algorithm = digest.algorithm().expect("what is verified can be");
                assert_eq!(Digest::of(algorithm, sink), digest, "the sink has something else");
                self.keep(digest);
            }
            Event::Store(descriptor, bytes) => self.store(&descriptor, &bytes),
            Event::Skipped(descriptor) => self.keep(descriptor.digest),
            Event::Finding(finding) => self.findings.push(finding),
            _ => {}
        }
        self.events.push(said);
    }

    fn keep(&mut self, digest: Digest) {
        assert!(self.kept.insert(digest.clone()), "{digest} comes twice");
        self.last = Some(digest);
    }

    /// A document is stored after all that it names.
    fn store(&mut self, descriptor: &Descriptor, bytes: &Bytes) {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let algorithm = digest.algorithm().expect("what is stored can be verified");
        assert_eq!(
            (&Digest::of(algorithm, bytes), bytes.len() as u64),
            (digest, *size),
            "wrong content is stored"
        );
        if media_type.kind() != oci_proto::Kind::Other {
            let document: Value = serde_json::from_slice(bytes).expect("what is stored was read");
            let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
            let named = list("manifests").into_iter().chain(list("layers"));
            for named in named.chain(document.get("config").cloned()) {
                let named: Digest = named["digest"].as_str().unwrap_or_default().parse().expect("a digest");
                assert!(
                    self.kept.contains(&named),
                    "{digest} is stored, which names {named}, which is not there"
                );
            }
        }
        self.keep(digest.clone());
    }
}
