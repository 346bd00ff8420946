//! The operations, one file each: what to fetch next, and what it means.
//!
//! An operation knows nothing of exchanges, or of limits on requests. It says which [`Fetch`] it needs
//! next, takes the outcome of each in any order, and yields its events.

pub(crate) mod blob;
pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod lookup;
pub(crate) mod pull;
pub(crate) mod resolve;
pub(crate) mod walk;

use std::collections::VecDeque;

use http::{HeaderMap, Method};

use crate::error::Error;
use crate::manifest::Manifest;
use crate::op::blob::Blob;
use crate::op::check::Check;
use crate::op::event::Event;
use crate::op::pull::Pull;
use crate::op::resolve::Resolve;
use crate::op::walk::Walk;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::walker::node::Ticket;

/// An operation in progress.
#[derive(Debug)]
pub(crate) enum Op {
    Resolve(Box<Resolve>),
    Walk(Box<Walk>),
    Pull(Box<Pull>),
    Check(Box<Check>),
    Blob(Box<Blob>),
}

impl Op {
    /// The next thing to fetch; `None` while there is nothing more to ask for.
    pub(crate) fn next_fetch(&mut self) -> Option<Fetch> {
        match self {
            Self::Resolve(op) => op.lookup.next_fetch(),
            Self::Walk(op) => op.next_fetch(),
            Self::Pull(op) => op.next_fetch(),
            Self::Check(op) => op.next_fetch(),
            Self::Blob(op) => op.next_fetch(),
        }
    }

    /// Takes the outcome of a fetch.
    pub(crate) fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>) {
        match self {
            Self::Resolve(op) => op.lookup.settle(fetch.ticket, outcome),
            Self::Walk(op) => op.settle(fetch.ticket, outcome),
            Self::Pull(op) => op.settle(fetch, outcome),
            Self::Check(op) => op.settle(fetch, outcome),
            Self::Blob(op) => op.settle(outcome),
        }
    }

    /// The next event; `None` until something more is settled. `Done` or `Failed` is the last.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        match self {
            Self::Resolve(op) => op.next_event(),
            Self::Walk(op) => op.next_event(),
            Self::Pull(op) => op.next_event(),
            Self::Check(op) => op.next_event(),
            Self::Blob(op) => op.next_event(),
        }
    }
}

/// Something to fetch from the operation's repository.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) what: What,
    /// Goes back with the outcome, where several fetches are under way.
    pub(crate) ticket: Option<Ticket>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A manifest by GET, or its description by HEAD.
    Manifest { method: Method, name: TagOrDigest, expected: Expected },
    /// A blob, into the operation's sink.
    Blob(Box<BlobFetch>),
}

/// A blob to fetch.
#[derive(Clone, Debug)]
pub(crate) struct BlobFetch {
    pub(crate) digest: Digest,
    pub(crate) size: Option<u64>,
    pub(crate) at: At,
    /// Where it may be if it is not there.
    pub(crate) or_at: VecDeque<At>,
    /// How many bytes of it the sink has, and the hasher over those.
    pub(crate) had: Option<(u64, Hasher)>,
    /// Whether it is verified alone, and belongs in no sink.
    pub(crate) discard: bool,
}

/// Where a blob is.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// Among the repository's blobs.
    Blobs,
    /// Among its manifests.
    Manifests,
    /// Anywhere: the URL is a document's word.
    Url(String),
}

impl At {
    fn is_url(&self) -> bool {
        matches!(self, Self::Url(_))
    }
}

/// What a descriptor, or the caller, says of a manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
    pub(crate) media_type: Option<MediaType>,
}

/// What a fetch brought.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The headers that describe a manifest.
    Head(HeaderMap),
    /// A manifest, verified and read, and its digest.
    Manifest(Digest, Manifest),
    /// All of a blob, verified; the sink has had it.
    Blob,
}

impl Fetch {
    /// The manifest that a descriptor names.
    fn described(descriptor: Descriptor, ticket: Option<Ticket>) -> Self {
        let expected = Expected {
            digest: Some(descriptor.digest.clone()),
            size: Some(descriptor.size),
            media_type: Some(descriptor.media_type),
        };
        let name = TagOrDigest::Digest(descriptor.digest);
        Self { what: What::Manifest { method: Method::GET, name, expected }, ticket }
    }
}
