//! The bodies of requests, while they arrive.

use std::ops::Range;

use bytes::BytesMut;
use http::request;

use crate::server::upload::Hash;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::upload_id::UploadId;

/// The body of a request, while it arrives.
///
/// It is independent of its [`Server`](crate::server::Server), so the bytes of several bodies can be taken at the same
/// time:
///
/// 1. If [`stored`](Self::stored) returns a range, read these bytes of the upload, and pass them to
///    [`push_stored`](Self::push_stored).
/// 2. Pass each part of the body to [`push`](Self::push), after it was written to the place that
///    [`place`](Self::place) returned. If `push` fails, read no further.
/// 3. Make the bytes that were written durable.
/// 4. Hand the value to [`Server::finish`](crate::server::Server::finish); or, if the body broke off or the bytes could
///    not be written, to [`Server::interrupted`](crate::server::Server::interrupted).
#[derive(Debug)]
#[must_use = "the request has no response without it"]
pub struct Incoming {
    pub(super) head: Box<request::Parts>,
    pub(super) repository: Repository,
    pub(super) purpose: Purpose,
    /// The number of bytes so far.
    pub(super) received: u64,
    /// The maximum number of bytes.
    pub(super) limit: u64,
    pub(super) is_too_large: bool,
}

#[derive(Debug)]
pub(super) enum Purpose {
    Portion(Portion),
    Manifest {
        name: TagOrDigest,
        tags: Vec<Tag>,
        /// The digest that the manifest must have.
        digest: Option<Digest>,
        bytes: BytesMut,
    },
}

/// Bytes of a blob that are appended to an upload.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) upload: UploadId,
    /// The number of bytes of the upload before them.
    pub(super) start: u64,
    /// The number of bytes that the request announces in Content-Range.
    pub(super) expected: Option<u64>,
    /// The hash of all bytes so far, if they are hashed.
    pub(super) hash: Option<Hash>,
    /// The digest that closes the upload, if the request does.
    pub(super) closes: Option<Digest>,
}

impl Incoming {
    pub(super) fn new(head: &request::Parts, repository: Repository, purpose: Purpose, limit: u64) -> Self {
        Self { head: Box::new(head.clone()), repository, purpose, received: 0, limit, is_too_large: false }
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the upload to which the next bytes belong, and their offset in it. Returns `None` if the value keeps
    /// them: a manifest is read as a whole.
    pub fn place(&self) -> Option<(&UploadId, u64)> {
        match &self.purpose {
            Purpose::Portion(portion) => Some((&portion.upload, portion.start.saturating_add(self.received))),
            Purpose::Manifest { .. } => None,
        }
    }

    /// Returns the bytes of the upload that must be hashed before the body, or `None` if that was done. It occurs if
    /// the upload is closed with a digest of another algorithm than the one it began with, and after a restart.
    pub fn stored(&self) -> Option<Range<u64>> {
        let Purpose::Portion(Portion { hash: Some(hash), start, .. }) = &self.purpose else { return None };
        (self.received == 0 && hash.covers < *start).then_some(hash.covers..*start)
    }

    /// Takes the next bytes of the range that [`stored`](Self::stored) returns.
    pub fn push_stored(&mut self, bytes: &[u8]) {
        let Some(range) = self.stored() else { return };
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        if let Purpose::Portion(Portion { hash: Some(hash), .. }) = &mut self.purpose {
            hash.update(bytes);
        }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// Fails if the body is larger than the server accepts. [`Server::finish`](crate::server::Server::finish) has the
    /// response.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyTooLarge> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.limit || self.is_too_large {
            self.is_too_large = true;
            return Err(BodyTooLarge { limit: self.limit });
        }
        match &mut self.purpose {
            Purpose::Manifest { bytes: body, .. } => body.extend_from_slice(bytes),
            Purpose::Portion(portion) => {
                let at = portion.start.saturating_add(self.received);
                if let Some(hash) = portion.hash.as_mut().filter(|hash| hash.covers == at) {
                    hash.update(bytes);
                }
            }
        }
        self.received = received;
        Ok(())
    }
}

/// The error returned when a body is larger than the server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is larger than the limit of {limit} bytes")]
pub struct BodyTooLarge {
    limit: u64,
}
