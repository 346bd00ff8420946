//! Push of one document, and further tags for one that a repository has.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::Config;
use crate::error::{Error, InvalidRequest};
use crate::manifest::Manifest;
use crate::op::deliver::Deliver;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::lookup::Lookup;
use crate::op::manifest_upload::ManifestUpload;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation, reply_of};
use crate::op::rooted::Rooted;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest};
use crate::types::reference::Reference;
use crate::types::reference::name::Tag;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Pushes a document under the tag of a reference and under further tags, or under its digest alone.
pub(crate) fn put_manifest(
    target: Arc<Target>,
    reference: &Reference,
    manifest: Manifest,
    more: Vec<Tag>,
    config: &Config,
) -> Box<dyn Operation> {
    let digest = match digest_under(reference, &manifest) {
        Ok(digest) => digest,
        Err(invalid) => return Box::new(Deliver::failed(Error::new(invalid))),
    };
    let descriptor = Descriptor::new(manifest.media_type().clone(), digest, manifest.bytes().len() as u64);
    let tags = reference.tag().cloned().into_iter().chain(more).collect();
    Box::new(PutManifest::new(target, descriptor, manifest, tags, config))
}

/// Returns the digest of a document that is pushed to this reference. If the reference has a digest, it must be the same.
fn digest_under(reference: &Reference, manifest: &Manifest) -> Result<Digest, InvalidRequest> {
    let Some(named) = reference.digest() else {
        return Ok(Digest::of(Algorithm::Sha256, manifest.bytes()));
    };
    let unknown = || InvalidRequest::UnknownAlgorithm(named.clone());
    let root = Digest::of(named.algorithm().ok_or_else(unknown)?, manifest.bytes());
    if root != *named {
        return Err(InvalidRequest::OtherDigest { named: named.clone(), root });
    }
    Ok(root)
}

/// Sets further tags for the document that a lookup finds. The lookup must be one that reads the manifest.
pub(crate) fn tag(lookup: Lookup, tags: Vec<Tag>, config: &Config) -> Rooted {
    let (target, config) = (lookup.target().clone(), config.clone());
    Rooted::with_manifest(lookup, move |root, manifest| {
        Box::new(PutManifest::new(target, root, manifest, tags, &config))
    })
}

/// Pushes a document.
#[derive(Debug)]
struct PutManifest {
    target: Arc<Target>,
    descriptor: Descriptor,
    upload: ManifestUpload,
    events: VecDeque<Event>,
}

impl PutManifest {
    fn new(
        target: Arc<Target>,
        descriptor: Descriptor,
        manifest: Manifest,
        tags: Vec<Tag>,
        config: &Config,
    ) -> Self {
        let digest = descriptor.digest.clone();
        let upload = ManifestUpload::new(target.clone(), digest, manifest, tags, false, config);
        Self { target, descriptor, upload, events: VecDeque::new() }
    }
}

impl Operation for PutManifest {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        let call = self.upload.next_call(true)?;
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        self.upload.settle(reply_of(outcome));
        match self.upload.ended() {
            None => {}
            Some(Err(error)) => self.events.push_back(Event::Failed(error.clone())),
            Some(Ok(stored)) => {
                self.events.push_back(Event::Stored(self.descriptor.clone(), stored));
                self.events.push_back(Event::Done);
            }
        }
    }

    fn next_attempt(&mut self, _: &Fetch, _: &Habits) -> Option<Admission> {
        let call = self.upload.next_attempt(true)?;
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.events.pop_front().map(OpOutput::Event)
    }
}
