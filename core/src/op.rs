//! The operations, one file each: what to fetch next, and what it means.
//!
//! An operation knows nothing of exchanges, or of limits on requests. It says which [`Fetch`] it needs
//! next, takes the outcome of each in any order, and yields its events.

mod blob;
mod lookup;
mod resolve;
mod walk;

use http::{HeaderMap, Method};

pub(crate) use blob::Blob;
pub(crate) use lookup::Lookup;
pub(crate) use resolve::Resolve;
pub(crate) use walk::Walk;

use crate::request::Name;
use crate::tree::Ticket;
use crate::{Descriptor, Digest, Error, Event, Manifest, MediaType};

/// An operation in progress.
#[derive(Debug)]
pub(crate) enum Op {
    Resolve(Box<Resolve>),
    Walk(Box<Walk>),
    Blob(Box<Blob>),
}

impl Op {
    /// The next thing to fetch; `None` while there is nothing more to ask for.
    pub(crate) fn next_fetch(&mut self) -> Option<Fetch> {
        match self {
            Self::Resolve(op) => op.lookup.next_fetch(),
            Self::Walk(op) => op.next_fetch(),
            Self::Blob(op) => op.next_fetch(),
        }
    }

    /// Takes the outcome of a fetch.
    pub(crate) fn settle(&mut self, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
        match self {
            Self::Resolve(op) => op.lookup.settle(ticket, outcome),
            Self::Walk(op) => op.settle(ticket, outcome),
            Self::Blob(op) => op.settle(outcome),
        }
    }

    /// The next event; `None` until something more is settled. `Done` or `Failed` is the last.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        match self {
            Self::Resolve(op) => op.next_event(),
            Self::Walk(op) => op.next_event(),
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
    Manifest { method: Method, name: Name, expected: Expected },
    /// A blob, into the operation's sink.
    Blob { digest: Digest, size: Option<u64> },
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
        let name = Name::Digest(descriptor.digest);
        Self { what: What::Manifest { method: Method::GET, name, expected }, ticket }
    }
}
