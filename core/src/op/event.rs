//! The events of an operation.

use std::time::Duration;

use crate::error::Error;
use crate::header::warning::Warning;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;
use crate::walker::finding::Finding;
use crate::walker::node::Node;
use crate::wire::list::referrers::Referrer;

/// An event of an operation.
///
/// An event needs no answer and carries no content to store. A driver may drop one that its caller does
/// not use. Content is delivered through sinks and [`Question::Store`](crate::Question::Store).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The reference was resolved to this descriptor.
    Resolved(Descriptor),
    /// The next node of a walk, with its document.
    Node(Node),
    /// This content is skipped: a non-distributable layer, or a referrer whose type is not known.
    Skipped(Descriptor),
    /// This content is at the destination of an upload or a push.
    Stored(Descriptor, Stored),
    /// The registry has acknowledged this much of a blob.
    Acknowledged {
        /// The digest of the blob, or `None` for a stream.
        digest: Option<Digest>,
        /// The number of bytes, from the start of the blob. It may decrease if an upload begins again.
        bytes: u64,
    },
    /// A check found this problem.
    Finding(Finding),
    /// The next tags of a list: those of a page that no earlier page has.
    Tags(Vec<Tag>),
    /// The next repositories of a list: those of a page that no earlier page has.
    Repositories(Vec<Repository>),
    /// The next referrers of a list: those of a page that no earlier page has, of the requested type.
    ///
    /// In a pull, referrers that are pulled too ([`PullOptions::referrers`](crate::PullOptions::referrers)), each once.
    /// They may also be in the tree. A driver that keeps only what its roots refer to makes them roots, before the root
    /// of the pull.
    Referrers(Vec<Referrer>),
    /// The list had this many entries that are not valid names, which were left out. It is reported before
    /// [`Done`](Self::Done), unless there are none.
    LeftOut(u64),
    /// Whether the registry has the content.
    Exists(bool),
    /// The registry accepted the client.
    Accepted {
        /// Whether it has asked for a login, and got one. Otherwise it did not check any.
        with_login: bool,
    },
    /// A request failed and will be retried.
    Retry(Retry),
    /// A mirror supplied content of this operation, which is reported once for each mirror, or failed to.
    Mirror(MirrorReport),
    /// The registry sent this warning for the user. Each text is reported once.
    Warning(Warning),
    /// The operation succeeded. This is its last event.
    Done,
    /// The operation failed. This is its last event.
    Failed(Error),
}

/// How content came to be at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "content is there, elsewhere in the registry, or neither")]
pub enum Stored {
    /// It was there before.
    Existing,
    /// The registry mounted it from another repository; no content was sent.
    Mounted,
    /// It was sent.
    Sent,
}

/// What a mirror did with a request for content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MirrorReport {
    /// The registry of the mirror.
    pub registry: Registry,
    /// Its repository.
    pub repository: Repository,
    /// Why it did not supply the content, which is requested from the next mirror, or from the registry itself. `None`
    /// if it did.
    pub error: Option<Error>,
}

/// A request that failed and will be retried.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// The error of the last attempt.
    pub error: Error,
    /// The delay before the next attempt.
    pub delay: Duration,
    /// The number of failed attempts since the last progress. It is 0 if the request is not repeated as it was: a
    /// blob is fetched whole instead of in part, starts over, or is uploaded in another form. Each happens once.
    pub failed: u32,
}
