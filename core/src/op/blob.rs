//! Blob: fetches one blob into the operation's sink.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, InvalidRequest};
use crate::op::ask::StoreContent;
use crate::op::deliver::Deliver;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{
    Admission, BlobFetch, BlobLocation, Fetch, FetchKind, Fetched, OpOutput, Operation,
};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::Reference;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Fetches the blob with the digest of a reference.
pub(crate) fn named(target: Arc<Target>, reference: &Reference, size: Option<u64>) -> Box<dyn Operation> {
    match reference.digest() {
        Some(digest) => of_digest(target, digest, size, None),
        None => Box::new(Deliver::failed(Error::new(InvalidRequest::BlobWithoutDigest))),
    }
}

/// Fetches the blob of a descriptor.
pub(crate) fn described(target: Arc<Target>, descriptor: &Descriptor) -> Box<dyn Operation> {
    of_digest(target, &descriptor.digest, Some(descriptor.size), descriptor.data.as_ref())
}

fn of_digest(
    target: Arc<Target>,
    digest: &Digest,
    size: Option<u64>,
    data: Option<&Bytes>,
) -> Box<dyn Operation> {
    let Some(algorithm) = digest.algorithm() else {
        return Box::new(Deliver::failed(Error::new(InvalidRequest::UnknownAlgorithm(digest.clone()))));
    };
    let holds = |bytes: &[u8]| {
        size.is_none_or(|size| size == bytes.len() as u64) && Digest::of(algorithm, bytes) == *digest
    };
    // Embedded or empty content needs no request.
    if let Some(data) = data.filter(|data| holds(data)) {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), data.len() as u64);
        return Box::new(Deliver::content(descriptor, StoreContent::Bytes(data.clone())));
    }
    if holds(b"") {
        return Box::new(Deliver::nothing());
    }
    let (digest, location, fallbacks) = (digest.clone(), BlobLocation::Blobs, VecDeque::new());
    let kind = FetchKind::Blob(Box::new(BlobFetch {
        digest,
        size,
        location,
        fallbacks,
        resume: None,
        // A caller's sink may be a pipe.
        may_restart: false,
        discard: false,
    }));
    let fetch = Fetch { target: target.clone(), kind, ticket: None, is_search: false };
    Box::new(Blob { target, fetch: Some(fetch), outcome: None })
}

#[derive(Debug)]
struct Blob {
    target: Arc<Target>,
    fetch: Option<Fetch>,
    outcome: Option<Event>,
}

impl Operation for Blob {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        self.fetch.take().map(Admission::One)
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        self.outcome = Some(match outcome {
            Ok(_) => Event::Done,
            Err(error) => Event::Failed(error),
        });
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.outcome.take().map(OpOutput::Event)
    }
}
