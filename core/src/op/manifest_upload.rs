//! The upload of one document under its digest or its tags, and its entry in the list of referrers.
//!
//! A registry that knows subjects lists a document with a subject by itself. For any other, the client keeps an
//! index under a tag made from the subject's digest. Several clients may write that index at the same time, so
//! it is written under the condition that it has not changed, and read again until it has the entry: registries
//! may ignore conditions. The list is looked at even if the registry has the document already, since an earlier
//! upload may have been interrupted in between.
//!
//! Source: distribution-spec, end-7, "Pushing Manifests with Subject" and "Referrers Tag Schema"; RFC 9110,
//! section 13.1.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;
use crate::error::{Error, Misbehaviour};
use crate::manifest::Manifest;
use crate::op::event::Stored;
use crate::op::operation::{Call, Failed, Recipient, Reply};
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::MediaType;
use crate::types::reference::name::Tag;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::Endpoint;
use crate::wire::head::announced_digest;
use crate::wire::list::referrers::{ReferrersPage, fallback_tag};
use crate::wire::list::referrers_index::ReferrersIndex;
use crate::wire::request::Payload;
use crate::wire::status::{Class, RequestKind, get_decides};
use crate::wire::target::Target;

/// The upload of one document.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts about the upload")]
pub(crate) struct ManifestUpload {
    target: Arc<Target>,
    digest: Digest,
    manifest: Manifest,
    subject: Option<Digest>,
    /// Whether it is known to be in the list of its subject's referrers.
    is_listed: bool,
    /// Whether the registry has answered with such a list.
    has_list: bool,
    /// The tags to look at first. One that names the document already is not set again.
    unchecked: VecDeque<Tag>,
    /// The tags to set.
    tags: VecDeque<Tag>,
    /// Whether the document must be stored, if no tag stores it.
    by_digest: bool,
    /// Whether the registry has the document.
    is_stored: bool,
    /// Whether it was sent.
    has_sent: bool,
    /// Whether the registry is asked for what it says that it has stored.
    verifies: bool,
    /// The tags that were set, until they are verified.
    set: Vec<Tag>,
    /// The number of times that it was not found.
    looks: u32,
    step: Step,
    is_waiting: bool,
    after: Option<Failed>,
    /// The number of times that the fallback index was written.
    written: u32,
    /// Whether the last write of that index succeeded.
    was_written: bool,
    limits: Bounds,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    attempts: u32,
    list_bytes: u64,
}

#[derive(Debug)]
enum Step {
    /// Looks at the tags, or at the digest if there are none.
    Look,
    Put,
    /// Looks at the tag that the registry has refused to set. It may name the document because of an earlier PUT,
    /// whose response was lost, and be immutable.
    LookAgain(Error),
    /// Looks at what was stored.
    Verify,
    /// Asks whether the registry lists referrers.
    AskForReferrers,
    /// Reads the fallback index.
    ReadIndex,
    /// Writes it, if it is still the version that was read.
    WriteIndex(Bytes, Version),
    Done(Stored),
    Failed(Error),
}

/// The version of the fallback index that was read.
#[derive(Debug)]
enum Version {
    Missing,
    /// Its `ETag`.
    Tagged(HeaderValue),
    Unknown,
}

/// The smallest number of times that the fallback index is written before the upload fails.
const WRITES: u32 = 8;

/// The number of times that stored content is looked for: some registries show it after a while.
pub(crate) const LOOKS: u32 = 3;

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

impl ManifestUpload {
    /// Creates the upload of a document under these tags, or under its digest if there are none. A tag that occurs
    /// twice is set once.
    pub(crate) fn new(
        target: Arc<Target>,
        digest: Digest,
        manifest: Manifest,
        tags: Vec<Tag>,
        verifies: bool,
        config: &Config,
    ) -> Self {
        let subject = manifest.subject().map(|subject| subject.digest().clone());
        let mut unchecked = VecDeque::new();
        for tag in tags {
            if !unchecked.contains(&tag) {
                unchecked.push_back(tag);
            }
        }
        let limits =
            Bounds { attempts: config.limits.max_attempts.max(WRITES), list_bytes: config.limits.list_bytes };
        Self {
            target,
            digest,
            manifest,
            is_listed: subject.is_none(),
            has_list: false,
            subject,
            verifies,
            set: Vec::new(),
            looks: 0,
            by_digest: unchecked.is_empty(),
            unchecked,
            tags: VecDeque::new(),
            is_stored: false,
            has_sent: false,
            step: Step::Look,
            is_waiting: false,
            after: None,
            written: 0,
            was_written: false,
            limits,
        }
    }

    /// Returns the next request, or `None` while one is under way. Before everything that the document refers to
    /// is stored, pass `may_store` as false: then the registry is only asked what it has.
    pub(crate) fn next_call(&mut self, may_store: bool) -> Option<Call> {
        if self.is_waiting || !(may_store || matches!(self.step, Step::Look)) {
            return None;
        }
        let digest = || TagOrDigest::Digest(self.digest.clone());
        let mut call = match &self.step {
            Step::Look => self.head(self.unchecked.front())?,
            Step::Put => {
                let tag = self.tags.front().map(|tag| TagOrDigest::Tag(tag.clone()));
                let (name, tags) = match tag {
                    Some(tag) if self.puts_tags() => (tag, Vec::new()),
                    Some(_) => (digest(), self.tags.iter().take(Endpoint::MAX_TAGS).cloned().collect()),
                    None => (digest(), Vec::new()),
                };
                let mut call = Call::new(RequestKind::PutManifest, self.manifest_at(name, tags)?);
                call.payload = Payload::Bytes(self.manifest.bytes().clone());
                set_type(&mut call.headers, self.manifest.media_type());
                call
            }
            Step::LookAgain(_) => self.head(self.tags.front())?,
            Step::Verify => self.head(self.set.first())?,
            Step::AskForReferrers => {
                let subject = self.subject.clone()?;
                let endpoint = Endpoint::Referrers(self.target.repository.clone()?, subject, None, None);
                let body_limit = Some(self.limits.list_bytes);
                Call { body_limit, ..Call::new(RequestKind::ListReferrers, Recipient::Endpoint(endpoint)) }
            }
            Step::ReadIndex => {
                let tag = fallback_tag(self.subject.as_ref()?);
                let to = self.manifest_at(TagOrDigest::Tag(tag), Vec::new())?;
                Call { body_limit: Some(self.limits.list_bytes), ..Call::new(RequestKind::GetManifest, to) }
            }
            Step::WriteIndex(index, version) => {
                let tag = fallback_tag(self.subject.as_ref()?);
                let mut call =
                    Call::new(RequestKind::PutManifest, self.manifest_at(TagOrDigest::Tag(tag), Vec::new())?);
                call.payload = Payload::Bytes(index.clone());
                set_type(&mut call.headers, &MediaType::OCI_INDEX);
                match version {
                    Version::Missing => _ = call.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
                    Version::Tagged(version) => _ = call.headers.insert(IF_MATCH, version.clone()),
                    Version::Unknown => {}
                }
                call
            }
            Step::Done(_) | Step::Failed(_) => return None,
        };
        call.after = self.after.take();
        self.is_waiting = true;
        Some(call)
    }

    /// Returns the next request if it is another attempt after a failure.
    pub(crate) fn next_attempt(&mut self, may_store: bool) -> Option<Call> {
        if self.after.is_some() { self.next_call(may_store) } else { None }
    }

    /// Takes the outcome of the request.
    pub(crate) fn settle(&mut self, outcome: Result<Reply, Error>) {
        self.is_waiting = false;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                // The registry's response to the PUT decides, and explains why.
                let is_refused = error.status().is_some() || get_decides(error.cause());
                return match &self.step {
                    Step::Look if is_refused => self.looked(false),
                    Step::Put if error.status().is_some() && self.puts_tags() && !self.tags.is_empty() => {
                        self.step = Step::LookAgain(error);
                    }
                    Step::LookAgain(refused) => self.step = Step::Failed(refused.clone()),
                    _ => self.step = Step::Failed(error),
                };
            }
        };
        match &self.step {
            Step::Look => {
                let is_same = self.is_same(&reply, self.unchecked.is_empty());
                self.looked(is_same);
            }
            Step::Put if reply.class == Class::Done => self.stored(&reply),
            Step::Put if reply.error.is_some() && self.puts_tags() && !self.tags.is_empty() => {
                self.step = Step::LookAgain(reply.into_error());
            }
            Step::LookAgain(_) if self.is_same(&reply, false) => self.tag_set(),
            Step::LookAgain(refused) => self.step = Step::Failed(refused.clone()),
            Step::Verify => self.verified(reply),
            Step::AskForReferrers => self.answered_about_referrers(reply),
            Step::ReadIndex => self.read_index(reply),
            Step::WriteIndex(..) => self.wrote_index(reply),
            Step::Put | Step::Done(_) | Step::Failed(_) => self.step = Step::Failed(reply.into_error()),
        }
    }

    /// Returns how the upload ended, once it has.
    pub(crate) fn ended(&self) -> Option<Result<Stored, &Error>> {
        match &self.step {
            Step::Done(stored) => Some(Ok(*stored)),
            Step::Failed(error) => Some(Err(error)),
            _ => None,
        }
    }

    /// Returns whether the registry has the document already, once that is known.
    pub(crate) fn exists(&self) -> Option<bool> {
        match &self.step {
            Step::Look => None,
            _ => Some(self.is_stored),
        }
    }

    pub(crate) fn subject(&self) -> Option<&Digest> {
        self.subject.as_ref()
    }

    /// Returns the subject if the next request is about the list of its referrers. Only one upload at a time may look at
    /// the list of a subject and change it: another one would overwrite its entry.
    pub(crate) fn lists_under(&self) -> Option<&Digest> {
        let lists = matches!(self.step, Step::AskForReferrers | Step::ReadIndex | Step::WriteIndex(..));
        self.subject.as_ref().filter(|_| lists && !self.is_waiting)
    }

    /// Returns whether the registry was seen to list referrers.
    pub(crate) fn has_list(&self) -> bool {
        self.has_list
    }

    /// Takes it that the registry lists the document, instead of that request.
    pub(crate) fn with_list(&mut self) {
        if self.lists_under().is_some() {
            self.listed();
        }
    }

    /// Asks what a tag names, or without one whether the document is there.
    fn head(&self, tag: Option<&Tag>) -> Option<Call> {
        let digest = || TagOrDigest::Digest(self.digest.clone());
        let name = tag.cloned().map_or_else(digest, TagOrDigest::Tag);
        Some(Call::new(RequestKind::HeadManifest, self.manifest_at(name, Vec::new())?))
    }

    fn manifest_at(&self, name: TagOrDigest, tags: Vec<Tag>) -> Option<Recipient> {
        Some(Recipient::Endpoint(Endpoint::Manifest(self.target.repository.clone()?, name, tags, None)))
    }

    /// Takes the result of a look at the first unchecked tag, or at the digest.
    fn looked(&mut self, is_same: bool) {
        self.is_stored |= is_same;
        if let Some(tag) = self.unchecked.pop_front()
            && !is_same
        {
            self.tags.push_back(tag);
        }
        if self.unchecked.is_empty() {
            self.continue_after_put();
        }
    }

    fn continue_after_put(&mut self) {
        let is_missing = self.by_digest && !self.is_stored;
        self.step = if is_missing || !self.tags.is_empty() {
            Step::Put
        } else if self.verifies && self.has_sent {
            Step::Verify
        } else if !self.is_listed {
            Step::AskForReferrers
        } else {
            Step::Done(if self.has_sent { Stored::Sent } else { Stored::Existing })
        };
    }

    /// Whether tags are set one by one. Only a PUT by digest names an algorithm other than the usual one, and it may
    /// set tags too.
    fn puts_tags(&self) -> bool {
        self.digest.algorithm() == Some(Algorithm::Sha256) || self.has_sent
    }

    /// Returns whether a response to HEAD describes the document. Without a digest, `default` decides.
    fn is_same(&self, reply: &Reply, default: bool) -> bool {
        let announced = announced_digest(&reply.headers).ok().flatten();
        reply.class == Class::Content && announced.map_or(default, |announced| self.has_digest(&announced))
    }

    /// Returns whether the document has this digest, whatever its algorithm.
    fn has_digest(&self, digest: &Digest) -> bool {
        let computed = digest.algorithm().map(|algorithm| Digest::of(algorithm, self.manifest.bytes()));
        *digest == self.digest || computed.as_ref() == Some(digest)
    }

    /// Takes the response to a successful PUT.
    fn stored(&mut self, reply: &Reply) {
        match announced_digest(&reply.headers) {
            Err(misbehaviour) => return self.step = Step::Failed(reply.misbehaved(misbehaviour)),
            Ok(Some(computed)) if computed.algorithm().is_some() && !self.has_digest(&computed) => {
                let expected = self.digest.clone();
                let wrong = Misbehaviour::WrongDigest { expected, computed };
                return self.step = Step::Failed(reply.misbehaved(wrong));
            }
            Ok(_) => {}
        }
        self.is_listed |= reply.headers.contains_key(OCI_SUBJECT);
        if !self.puts_tags() {
            // Tags that the response does not list were not set.
            let listed: Vec<&str> = tags_in(&reply.headers).collect();
            let is_set = |tag: &Tag| listed.contains(&tag.as_str());
            self.set.extend(self.tags.iter().filter(|tag| is_set(tag)).cloned());
            self.tags.retain(|tag| !is_set(tag));
            (self.is_stored, self.has_sent) = (true, true);
            return self.continue_after_put();
        }
        self.tag_set();
    }

    /// Continues after the first tag was set, or the document was stored without one.
    fn tag_set(&mut self) {
        self.set.extend(self.tags.pop_front());
        (self.is_stored, self.has_sent) = (true, true);
        self.continue_after_put();
    }

    /// Takes the response to a look at what was stored.
    fn verified(&mut self, reply: Reply) {
        if self.is_same(&reply, true) {
            if !self.set.is_empty() {
                self.set.remove(0);
            }
            (self.verifies, self.looks) = (!self.set.is_empty(), 0);
            return self.continue_after_put();
        }
        let error = not_stored(reply, &self.digest);
        let is_missing = error.status().is_none();
        self.looks += 1;
        if is_missing && self.looks < LOOKS {
            self.after = Some(Failed { error, count: self.looks });
        } else {
            self.step = Step::Failed(error);
        }
    }

    /// Some registries list referrers without the header.
    fn answered_about_referrers(&mut self, reply: Reply) {
        let is_list = || ReferrersPage::parse(reply.body.clone(), &reply.headers).is_ok();
        match reply.class {
            Class::Content if is_list() => {
                self.has_list = true;
                self.listed();
            }
            // Without the right to list referrers, the response to the request for the index decides.
            _ if reply.error.as_ref().is_none_or(|error| error.status().is_some()) => {
                self.step = Step::ReadIndex;
            }
            _ => self.step = Step::Failed(reply.into_error()),
        }
    }

    fn listed(&mut self) {
        self.is_listed = true;
        self.continue_after_put();
    }

    fn read_index(&mut self, reply: Reply) {
        let not_found = reply.error.as_ref().is_some_and(Error::is_not_found);
        let (body, version) = match reply.class {
            Class::Content => (Some(reply.body.clone()), version(&reply.headers)),
            _ if not_found => (None, Version::Missing),
            _ => return self.step = Step::Failed(reply.into_error()),
        };
        let Some(subject) = &self.subject else { return self.listed() };
        let read = |body| ReferrersIndex::read(subject, body, &reply.headers);
        let index = match body.map(read).transpose() {
            Ok(index) => index.unwrap_or_default(),
            Err(problem) => return self.step = Step::Failed(reply.misbehaved(problem)),
        };
        if index.has(&self.digest) {
            return self.listed();
        }
        if self.written >= self.limits.attempts {
            return self.step = Step::Failed(overwritten(&reply, "other clients overwrite"));
        }
        if self.was_written {
            self.was_written = false;
            let error = overwritten(&reply, "another client overwrote");
            self.after = Some(Failed { error, count: self.written });
        }
        self.step = match index.with(&self.digest, &self.manifest) {
            Ok(bytes) => Step::WriteIndex(bytes, version),
            Err(problem) => Step::Failed(reply.misbehaved(problem)),
        };
    }

    fn wrote_index(&mut self, reply: Reply) {
        const PRECONDITION_FAILED: u16 = 412;
        self.written += 1;
        let lost = reply.error.as_ref().and_then(Error::status).is_some_and(|s| s == PRECONDITION_FAILED);
        if reply.class != Class::Done && !lost {
            return self.step = Step::Failed(reply.into_error());
        }
        self.was_written = !lost;
        if lost {
            self.after = Some(Failed { error: reply.into_error(), count: self.written });
        }
        // Another client may have written it at the same time.
        self.step = Step::ReadIndex;
    }
}

/// Returns the error of an index under the fallback tag that has lost the entry of the document.
fn overwritten(index: &Reply, by: &str) -> Error {
    let problem = format!("{by} the entry of this document under the fallback tag");
    index.misbehaved(Misbehaviour::List { of: ReferrersPage::OF, problem })
}

/// Returns the error of a response that shows that content is missing, although the registry has stored it.
pub(crate) fn not_stored(reply: Reply, digest: &Digest) -> Error {
    let is_missing = reply.error.as_ref().is_none_or(Error::is_not_found);
    if is_missing { reply.misbehaved(Misbehaviour::NotStored(digest.clone())) } else { reply.into_error() }
}

/// Returns the version of a document. A weak validator cannot be compared in a condition.
///
/// Source: RFC 9110, section 13.1.1.
fn version(headers: &HeaderMap) -> Version {
    let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.map_or(Version::Unknown, |tag| Version::Tagged(tag.clone()))
}

fn set_type(headers: &mut HeaderMap, media_type: &MediaType) {
    if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
        headers.insert(CONTENT_TYPE, value);
    }
}

/// Returns the tags that a PUT by digest has set.
fn tags_in(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(OCI_TAG).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
