//! The news of an operation.

use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::header::warning::Warning;
use crate::manifest::Manifest;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::walker::finding::Finding;
use crate::walker::node::Node;

/// What happens in an operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The reference names this.
    Resolved(Descriptor),
    /// The manifest that was asked for, and its descriptor.
    Manifest(Descriptor, Manifest),
    /// The next node of a walk.
    Node(Node),
    /// All of a blob's content, which needed no request: it belongs in the operation's sink.
    Data(Bytes),
    /// A pull is about to fetch this: what is there of it already, [`Session::held`](crate::Session::held) says.
    Wanted(Descriptor),
    /// The sink of this blob of a pull has had all of it, and it is right.
    Verified(Digest),
    /// This content is to be kept: everything that it names is there.
    Store(Descriptor, Bytes),
    /// This layer may not be distributed, and is left out.
    Skipped(Descriptor),
    /// A check found this wrong.
    Finding(Finding),
    /// A request failed and is tried again.
    Retry(Retry),
    /// The registry wants the user to know this. Comes once for each text.
    Warning(Warning),
    /// The operation ended well. Its last event.
    Done,
    /// The operation failed. Its last event.
    Failed(Error),
}

/// What a driver has of some content that a pull wants.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "an answer is the driver's to make, and these are all")]
pub enum Held {
    /// Nothing.
    Nothing,
    /// A document's bytes, which are verified. No use for other content, which counts as not there.
    Document(Bytes),
    /// All of a blob: the driver vouches for it.
    Whole,
    /// The beginning of a blob.
    Part {
        /// How many bytes.
        offset: u64,
        /// Has had just these.
        hasher: Hasher,
    },
}

/// A request that failed and is tried again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// What failed.
    pub error: Error,
    /// How long until it is tried again.
    pub delay: Duration,
    /// How many tries have failed, since there was progress.
    pub failed: u32,
}
