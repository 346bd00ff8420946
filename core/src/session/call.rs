//! The calls of a session as values, for a recorder.

use std::num::NonZeroUsize;

use crate::error::fault::Fault;
use crate::manifest::Manifest;
use crate::op::pull::PullOptions;
use crate::op::transfer::options::PushOptions;
use crate::session::output::{Answer, Output};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Algorithm;
use crate::types::id::{ExchangeId, Ids, OpId, QueryId};
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;
use crate::types::time::Time;
use crate::walker::node::WalkOptions;
use crate::wire::exchange::completion::Completion;

/// Sees each call of a session.
pub(crate) trait Observer: Send + Sync {
    /// Takes note of a call.
    fn note(&mut self, call: Call<'_>);
}

/// A call of a session.
pub(crate) enum Call<'a> {
    /// The start of the operation with this number.
    Start(u64, &'a Start),
    /// A poll, with its output.
    Poll(Time, &'a mut Output),
    Complete(Time, &'a mut Completion),
    Lost(Time, ExchangeId, &'a Fault),
    Answer(Time, QueryId, &'a Answer),
    Abandon(Time),
    Deadline(OpId, Time),
    Fail(OpId, &'a Fault),
    Cancel(OpId),
    Pause(OpId),
    Resume(OpId),
}

impl Call<'_> {
    /// Returns whether the id that it refers to, if any, was allocated by `ids`.
    pub(crate) fn is_of(&self, ids: &Ids) -> bool {
        match self {
            Self::Start(..) | Self::Poll(..) | Self::Abandon(_) => true,
            Self::Complete(_, completion) => completion.id.is_of(ids),
            Self::Lost(_, exchange, _) => exchange.is_of(ids),
            Self::Answer(_, query, _) => query.is_of(ids),
            Self::Deadline(op, _)
            | Self::Fail(op, _)
            | Self::Cancel(op)
            | Self::Pause(op)
            | Self::Resume(op) => op.is_of(ids),
        }
    }
}

/// The start of an operation: a variant for each method of a session that starts one, with its arguments.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Resolve(Reference, Option<Platform>),
    Manifest(Reference, Option<Platform>),
    Walk(Reference, WalkOptions),
    Pull(Reference, PullOptions),
    Check(Reference, Option<Platform>),
    Blob(Reference, Option<u64>),
    DescribedBlob(Reference, Descriptor),
    Upload(Reference, Descriptor, Option<Repository>),
    UploadStream(Reference, Algorithm),
    Push(Descriptor, Reference, PushOptions),
    Copy(Reference, Reference, PushOptions),
    PushManifest(Reference, Manifest, Vec<Tag>),
    Tag(Reference, Vec<Tag>),
    Tags(Reference, Option<NonZeroUsize>),
    CheckAccess(Registry),
    Repositories(Registry, Option<NonZeroUsize>),
    Referrers(Reference, Option<MediaType>),
    Delete(Reference),
    DeleteBlob(Reference),
    Exists(Reference),
    BlobExists(Reference),
}
