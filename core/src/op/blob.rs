//! Blob: one blob into the operation's sink.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::error::{Error, InvalidRequest};
use crate::op::event::Event;
use crate::op::{At, BlobFetch, Fetch, Fetched, What};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::reference::Reference;

#[derive(Debug)]
pub(crate) struct Blob {
    fetch: Option<Fetch>,
    events: VecDeque<Event>,
}

impl Blob {
    /// The blob that a reference names by its digest.
    pub(crate) fn new(reference: &Reference, size: Option<u64>) -> Self {
        match reference.digest() {
            Some(digest) => Self::of_digest(digest, size, None),
            None => Self::failed(InvalidRequest::BlobWithoutDigest),
        }
    }

    /// The blob that a descriptor names.
    pub(crate) fn described(descriptor: &Descriptor) -> Self {
        Self::of_digest(&descriptor.digest, Some(descriptor.size), descriptor.data.as_ref())
    }

    fn of_digest(digest: &Digest, size: Option<u64>, data: Option<&Bytes>) -> Self {
        let Some(algorithm) = digest.algorithm() else {
            return Self::failed(InvalidRequest::UnknownAlgorithm(digest.clone()));
        };
        let holds = |bytes: &[u8]| {
            size.is_none_or(|size| size == bytes.len() as u64) && Digest::of(algorithm, bytes) == *digest
        };
        // Content that is at hand needs no request.
        if let Some(data) = data.filter(|data| holds(data)) {
            return Self { fetch: None, events: [Event::Data(data.clone()), Event::Done].into() };
        }
        if holds(b"") {
            return Self { fetch: None, events: [Event::Done].into() };
        }
        let (digest, at, or_at) = (digest.clone(), At::Blobs, VecDeque::new());
        let what = What::Blob(Box::new(BlobFetch { digest, size, at, or_at, had: None, discard: false }));
        Self { fetch: Some(Fetch { what, ticket: None }), events: VecDeque::new() }
    }

    fn failed(impossible: InvalidRequest) -> Self {
        Self { fetch: None, events: [Event::Failed(Error::new(impossible))].into() }
    }

    pub(super) fn next_fetch(&mut self) -> Option<Fetch> {
        self.fetch.take()
    }

    pub(super) fn settle(&mut self, outcome: Result<Fetched, Error>) {
        self.events.push_back(match outcome {
            Ok(_) => Event::Done,
            Err(error) => Event::Failed(error),
        });
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
