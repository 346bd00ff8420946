//! The values in an operation's questions and their answers.

use bytes::Bytes;

use crate::manifest::Manifest;
use crate::types::digest::Hasher;

/// The part of some content that a driver already holds.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "drivers construct it")]
pub enum Held {
    /// Nothing.
    Nothing,
    /// The bytes of a document, which the core verifies. For a blob, the same as
    /// [`Nothing`](Self::Nothing).
    Document(Bytes),
    /// The whole blob. The driver guarantees its integrity; the core does not verify it.
    Whole,
    /// The first bytes of a blob.
    Part {
        /// The number of bytes.
        offset: u64,
        /// The hasher over exactly these bytes.
        hasher: Hasher,
    },
}

/// The source of the bytes that a driver is asked to store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is another way to store, which every driver must know")]
pub enum StoreContent {
    /// A document, verified and parsed.
    Document(Manifest),
    /// Other content, verified.
    Bytes(Bytes),
    /// The operation's sink for this digest, which has received all bytes, verified. Only publishing the
    /// content under its digest remains.
    Sink,
}
