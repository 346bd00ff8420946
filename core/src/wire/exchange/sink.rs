//! The destination of a response body.

use crate::types::digest::Digest;
use crate::types::id::OpId;

/// The destination of a response body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sink {
    /// The operation that the sink belongs to.
    pub op: OpId,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes, if known.
    pub size: Option<u64>,
    /// The offset in the content of the next byte that [`Receiving::push`](crate::Receiving::push) returns;
    /// before the head, of the first one.
    ///
    /// Within an exchange the offset grows by the bytes returned. The next exchange for the sink continues
    /// at the same offset, except in two cases:
    ///
    /// - An exchange was [lost](crate::Session::lost) or
    ///   [abandoned](crate::Session::abandon_in_flight). The session does not know how many bytes arrived,
    ///   so the next exchange begins where the lost one began.
    /// - The content starts over at 0. In a pull, this happens if the bytes that arrived earlier, or that the
    ///   driver held, were wrong, or if the content is fetched from another location.
    ///
    /// A sink that has more bytes than this must truncate itself to the offset before it takes the next
    /// bytes. A sink that cannot, such as a pipe, must skip the bytes that it already has. Only the bytes
    /// received last are verified, so a sink that skips must compare them, or their hash, with the bytes that
    /// it took before.
    pub offset: u64,
}
