//! Response bodies.

use std::ops::Range;

use bytes::Bytes;

use crate::types::digest::Digest;

/// The body of a response. The Content-Length header is its length, except in a response to HEAD, where
/// it is the length of the response to GET.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an adapter that cannot send a body breaks the response")]
pub enum Body {
    /// No body, as in a response to HEAD.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// Part of a blob, which the adapter reads from its storage. If it cannot,
    /// [`Server::respond_without`](crate::server::Server::respond_without) has the response to send instead.
    Blob {
        /// The blob.
        digest: Digest,
        /// The byte range, end exclusive. In a response to HEAD it is empty, and at the end of the range that a
        /// response to GET has: the adapter only confirms that the blob extends to there.
        range: Range<u64>,
    },
}

/// The reason why a blob cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "404 and 500")]
pub enum Unavailable {
    /// The storage does not have it.
    Missing,
    /// The storage cannot read it, or has another size.
    Unreadable,
}

impl Body {
    /// Returns the length of the body in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob { range, .. } => range.end.saturating_sub(range.start),
        }
    }
}
