//! Blob: fetches one blob into the operation's sink.

use std::sync::Arc;

use crate::error::{Error, InvalidRequest};
use crate::op::ask::StoreContent;
use crate::op::deliver::Deliver;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::location::Locations;
use crate::op::operation::{Admission, BlobFetch, Fetch, FetchKind, Fetched, OpOutput, Operation};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::Reference;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Fetches the blob with the digest of a reference.
pub(crate) fn named(target: Arc<Target>, reference: &Reference, size: Option<u64>) -> Box<dyn Operation> {
    match reference.digest() {
        Some(digest) => of_digest(target, digest, size),
        None => Box::new(Deliver::failed(Error::new(InvalidRequest::BlobWithoutDigest))),
    }
}

/// Fetches the blob of a descriptor. Embedded content needs no request.
pub(crate) fn described(target: Arc<Target>, descriptor: &Descriptor) -> Box<dyn Operation> {
    match descriptor.embedded().filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => {
            let descriptor =
                Descriptor::new(MediaType::OCTET_STREAM, descriptor.digest.clone(), descriptor.size);
            Box::new(Deliver::content(descriptor, StoreContent::Bytes(bytes)))
        }
        None => of_digest(target, &descriptor.digest, Some(descriptor.size)),
    }
}

/// Fetches a blob. Empty content needs no request.
fn of_digest(target: Arc<Target>, digest: &Digest, size: Option<u64>) -> Box<dyn Operation> {
    let Some(algorithm) = digest.algorithm() else {
        return Box::new(Deliver::failed(Error::new(InvalidRequest::UnknownAlgorithm(digest.clone()))));
    };
    if size.is_none_or(|size| size == 0) && Digest::of(algorithm, b"") == *digest {
        return Box::new(Deliver::nothing());
    }
    let kind = FetchKind::Blob(Box::new(BlobFetch {
        digest: digest.clone(),
        size,
        locations: Locations::of(&[], false),
        resume: None,
        feeds_from: None,
        // A caller's sink may be a pipe.
        may_restart: false,
        discard: false,
        has_others: false,
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
