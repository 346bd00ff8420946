//! The bytes of a stream that the registry has not acknowledged.

use std::ops::Range;

use bytes::Bytes;

use crate::types::digest::{Algorithm, Hasher};

/// A stream, which is read once and hashed while it is read.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) algorithm: Algorithm,
    /// The hasher over all bytes that were read.
    pub(super) hasher: Hasher,
    /// The position of the first held byte.
    pub(super) start: u64,
    /// The bytes that are not acknowledged.
    pub(super) held: Bytes,
    pub(super) has_ended: bool,
    /// Whether the next bytes were asked for.
    pub(super) is_asked: bool,
}

impl Stream {
    pub(super) fn end(&self) -> u64 {
        self.start + self.held.len() as u64
    }

    /// Returns whether it holds at least this many bytes, or all.
    pub(super) fn has(&self, least: u64) -> bool {
        self.has_ended || self.held.len() as u64 >= least
    }

    /// Returns the held bytes in a range of the content.
    pub(super) fn slice(&self, range: &Range<u64>) -> Bytes {
        slice(&self.held, self.start, range)
    }

    /// Drops the bytes before a position.
    pub(super) fn acknowledge(&mut self, position: u64) {
        self.held = self.slice(&(position..self.end()));
        self.start = position;
    }
}

/// Returns the bytes of a range of some content. The first of `bytes` has the position `start`.
pub(super) fn slice(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let at = |position: u64| {
        usize::try_from(position.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len())
    };
    bytes.slice(at(range.start)..at(range.end))
}
