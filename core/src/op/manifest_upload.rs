//! The upload of one document under its digest or its tags, and its entry in the list of referrers.
//!
//! A registry that knows subjects lists a document with a subject by itself. For any other, the client keeps an
//! index under a tag made from the subject's digest. Several clients may write that index at the same time, so
//! it is read again after it was written, until it has the entry.
//!
//! Source: distribution-spec, end-7, "Pushing Manifests with Subject" and "Referrers Tag Schema".

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;
use crate::error::{Error, Misbehaviour};
use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::op::event::Stored;
use crate::op::operation::{Call, Failed, Recipient, Reply};
use crate::op::referrers_index::ReferrersIndex;
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::{Kind, MediaType};
use crate::types::reference::name::Tag;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::Endpoint;
use crate::wire::head::{announced_digest, content_type};
use crate::wire::list::referrers::fallback_tag;
use crate::wire::request::Payload;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// The upload of one document.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts about the upload")]
pub(crate) struct ManifestUpload {
    target: Arc<Target>,
    digest: Digest,
    manifest: Manifest,
    subject: Option<Digest>,
    /// The tags to look at first. One that names the document already is not set again.
    unchecked: VecDeque<Tag>,
    /// The tags to set.
    tags: VecDeque<Tag>,
    /// Whether the document must be stored, if no tag stores it.
    by_digest: bool,
    /// Whether the registry has the document.
    is_stored: bool,
    has_sent: bool,
    step: Step,
    is_waiting: bool,
    after: Option<Failed>,
    /// The number of times that the fall-back index was written.
    written: u32,
    limits: Bounds,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    attempts: u32,
    list_bytes: u64,
    manifest_bytes: u64,
}

#[derive(Debug)]
enum Step {
    /// Looks at the tags, or at the digest if there are none.
    Look,
    Put,
    /// Asks whether the registry lists referrers.
    AskForReferrers,
    /// Reads the fall-back index.
    ReadIndex,
    /// Writes it, if it is still the version with this `ETag`.
    WriteIndex(Bytes, Option<HeaderValue>),
    Done(Stored),
    Failed(Error),
}

/// The smallest number of times that the fall-back index is written before the upload fails.
const WRITES: u32 = 8;

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

impl ManifestUpload {
    /// Creates the upload of a document under these tags, or under its digest if there are none.
    pub(crate) fn new(
        target: Arc<Target>,
        digest: Digest,
        manifest: Manifest,
        tags: Vec<Tag>,
        config: &Config,
    ) -> Self {
        let subject = manifest.subject().map(|subject| subject.digest().clone());
        let limits = Bounds {
            attempts: config.limits.max_attempts.max(WRITES),
            list_bytes: config.limits.list_bytes.max(1),
            manifest_bytes: config.limits.manifest_bytes.max(1),
        };
        Self {
            target,
            digest,
            manifest,
            subject,
            by_digest: tags.is_empty(),
            unchecked: tags.into(),
            tags: VecDeque::new(),
            is_stored: false,
            has_sent: false,
            step: Step::Look,
            is_waiting: false,
            after: None,
            written: 0,
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
            Step::Look => {
                let name = self.unchecked.front().map_or_else(digest, |tag| TagOrDigest::Tag(tag.clone()));
                Call::new(RequestKind::HeadManifest, self.manifest_at(name, Vec::new())?)
            }
            Step::Put => {
                let tag = self.tags.front().map(|tag| TagOrDigest::Tag(tag.clone()));
                // Only a PUT by digest names the algorithm.
                let is_canonical = self.digest.algorithm() == Some(Algorithm::Sha256);
                let (name, tags) = match tag {
                    Some(tag) if is_canonical || self.is_stored => (tag, Vec::new()),
                    Some(_) => (digest(), self.tags.iter().take(Endpoint::MAX_TAGS).cloned().collect()),
                    None => (digest(), Vec::new()),
                };
                let mut call = Call::new(RequestKind::PutManifest, self.manifest_at(name, tags)?);
                call.payload = Payload::Bytes(self.manifest.bytes().clone());
                set_type(&mut call.headers, self.manifest.media_type());
                call
            }
            Step::AskForReferrers => {
                let subject = self.subject.clone()?;
                let endpoint = Endpoint::Referrers(self.target.repository.clone()?, subject, None);
                let body_limit = self.limits.list_bytes;
                Call { body_limit, ..Call::new(RequestKind::ListReferrers, Recipient::Endpoint(endpoint)) }
            }
            Step::ReadIndex => {
                let tag = fallback_tag(self.subject.as_ref()?);
                let to = self.manifest_at(TagOrDigest::Tag(tag), Vec::new())?;
                Call { body_limit: self.limits.manifest_bytes, ..Call::new(RequestKind::GetManifest, to) }
            }
            Step::WriteIndex(index, version) => {
                let tag = fallback_tag(self.subject.as_ref()?);
                let mut call =
                    Call::new(RequestKind::PutManifest, self.manifest_at(TagOrDigest::Tag(tag), Vec::new())?);
                call.payload = Payload::Bytes(index.clone());
                set_type(&mut call.headers, &MediaType::OCI_INDEX);
                if let Some(version) = version {
                    call.headers.insert(IF_MATCH, version.clone());
                }
                call
            }
            Step::Done(_) | Step::Failed(_) => return None,
        };
        call.after = self.after.take();
        self.is_waiting = true;
        Some(call)
    }

    /// Takes the outcome of the request.
    pub(crate) fn settle(&mut self, outcome: Result<Reply, Error>) {
        self.is_waiting = false;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                // The registry's response to the PUT explains why.
                let is_refused = error.status().is_some() && matches!(self.step, Step::Look);
                return if is_refused { self.looked(false) } else { self.step = Step::Failed(error) };
            }
        };
        match &self.step {
            Step::Look => {
                let announced = announced_digest(&reply.headers).ok().flatten();
                let is_same = match self.unchecked.front() {
                    Some(_) => announced.as_ref() == Some(&self.digest),
                    None => announced.is_none_or(|announced| announced == self.digest),
                };
                self.looked(reply.class == Class::Content && is_same);
            }
            Step::Put if reply.class == Class::Done => self.stored(&reply),
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

    fn manifest_at(&self, name: TagOrDigest, tags: Vec<Tag>) -> Option<Recipient> {
        Some(Recipient::Endpoint(Endpoint::Manifest(self.target.repository.clone()?, name, tags)))
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
        } else {
            Step::Done(if self.has_sent { Stored::Sent } else { Stored::Existing })
        };
    }

    /// Takes the response to a successful PUT.
    fn stored(&mut self, reply: &Reply) {
        match announced_digest(&reply.headers) {
            Err(misbehaviour) => return self.step = Step::Failed(reply.misbehaved(misbehaviour)),
            Ok(Some(computed))
                if computed.algorithm() == self.digest.algorithm() && computed != self.digest =>
            {
                let expected = self.digest.clone();
                let wrong = Misbehaviour::WrongDigest { expected, computed };
                return self.step = Step::Failed(reply.misbehaved(wrong));
            }
            Ok(_) => {}
        }
        let is_canonical = self.digest.algorithm() == Some(Algorithm::Sha256);
        if is_canonical || self.is_stored {
            self.tags.pop_front();
        } else {
            // Tags that the response does not list were not set.
            let set: Vec<&str> = tags_in(&reply.headers).collect();
            self.tags.retain(|tag| !set.contains(&tag.as_str()));
        }
        (self.is_stored, self.has_sent) = (true, true);
        if self.subject.is_some() && !reply.headers.contains_key(OCI_SUBJECT) && self.tags.is_empty() {
            self.step = Step::AskForReferrers;
        } else {
            self.continue_after_put();
        }
    }

    /// Some registries list referrers without the header.
    fn answered_about_referrers(&mut self, reply: Reply) {
        let is_index = || {
            let content_type = content_type(&reply.headers).ok().flatten();
            let evidence = Evidence { content_type, ..Evidence::default() };
            let read = Manifest::read_referrers(reply.body.clone(), evidence);
            read.is_ok_and(|index| index.kind() == Kind::Index)
        };
        self.step = match reply.class {
            Class::Content if is_index() => Step::Done(Stored::Sent),
            Class::Content | Class::Unsupported => Step::ReadIndex,
            // Without the right to list referrers, there is none to read the index either.
            _ => Step::Failed(reply.into_error()),
        };
    }

    fn read_index(&mut self, reply: Reply) {
        let not_found = reply.error.as_ref().is_some_and(Error::is_not_found);
        let (body, version) = match reply.class {
            Class::Content => (Some(reply.body.clone()), reply.headers.get(ETAG).cloned()),
            _ if not_found => (None, None),
            _ => return self.step = Step::Failed(reply.into_error()),
        };
        let read = |body| ReferrersIndex::read(&body, &reply.headers);
        let index = match body.map(read).transpose() {
            Ok(index) => index.unwrap_or_default(),
            Err(problem) => return self.step = Step::Failed(reply.misbehaved(problem)),
        };
        if index.has(&self.digest) {
            return self.step = Step::Done(Stored::Sent);
        }
        if self.written >= self.limits.attempts {
            let of = "index of referrers";
            let problem = "other clients overwrite the entry of this document".to_owned();
            return self.step = Step::Failed(reply.misbehaved(Misbehaviour::List { of, problem }));
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
        if self.written > 1 || lost {
            let error = reply.error.unwrap_or_else(|| {
                let of = "index of referrers";
                let problem = "another client overwrote the entry of this document".to_owned();
                Error::new(Misbehaviour::List { of, problem })
            });
            self.after = Some(Failed { error, count: self.written.min(self.limits.attempts) });
        }
        // Another client may have written it at the same time.
        self.step = Step::ReadIndex;
    }
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
