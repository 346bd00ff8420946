//! The interface of all operations, with its types.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::error::Error;
use crate::manifest::Manifest;
use crate::op::ask::{Held, StoreContent};
use crate::op::event::Event;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::walker::node::Ticket;
use crate::walker::walk::Walker;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

#[cfg(feature = "scripted")]
use crate::wire::endpoint::Endpoint;
#[cfg(feature = "scripted")]
use crate::wire::request::Payload;
#[cfg(feature = "scripted")]
use crate::wire::status::RequestKind;

/// An operation in progress.
///
/// An operation does not deal with exchanges, logins, redirects, retries or limits on requests. It returns
/// the [`Fetch`] that it needs next, takes outcomes in any order, and returns events and questions.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    /// Returns the repositories of its fetches, in a fixed order.
    fn targets(&self) -> &[Arc<Target>];

    /// Returns the next fetch from a target at `origin`, or `None` if none is due there.
    fn next_fetch(&mut self, origin: &Origin) -> Option<Admission>;

    /// Takes the outcome of a fetch.
    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>);

    /// Returns the next event or question, or `None` until another fetch is settled or another question is
    /// answered. `Done` or `Failed` is the last event.
    fn next_output(&mut self) -> Option<OpOutput>;

    /// Takes the answer to [`OpOutput::Held`].
    fn held(&mut self, descriptor: &Descriptor, held: Held) {
        let _ = (descriptor, held);
    }

    /// Takes the answer to [`OpOutput::Store`].
    fn stored(&mut self, digest: &Digest) {
        let _ = digest;
    }
}

/// An output of an operation.
#[derive(Debug)]
pub(crate) enum OpOutput {
    /// An event for the caller.
    Event(Event),
    /// Asks how much of this content the driver holds.
    Held(Descriptor),
    /// Asks the driver to store this content.
    Store(Descriptor, StoreContent),
}

/// One fetch, or two that must be sent together.
#[derive(Debug)]
pub(crate) enum Admission {
    One(Fetch),
    /// Two halves. Neither is sent before there are slots for both.
    #[cfg_attr(not(any(feature = "scripted", test)), expect(dead_code, reason = "no operation copies yet"))]
    Pair(Box<(Fetch, Fetch)>),
}

/// Something to fetch from a repository.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) target: Arc<Target>,
    pub(crate) kind: FetchKind,
    /// Identifies the fetch when it is settled, if the operation has several in progress.
    pub(crate) ticket: Option<Ticket>,
    /// Whether a lookup searches this for a platform. Its outcome may arrive when the search is over.
    pub(crate) is_search: bool,
}

impl Fetch {
    /// Fetches the manifest of a descriptor.
    pub(crate) fn described(target: &Arc<Target>, descriptor: Descriptor, ticket: Option<Ticket>) -> Self {
        let expected = Expected {
            digest: Some(descriptor.digest.clone()),
            size: Some(descriptor.size),
            media_type: Some(descriptor.media_type),
        };
        let name = TagOrDigest::Digest(descriptor.digest);
        Self {
            target: target.clone(),
            kind: FetchKind::Manifest { method: Method::GET, name, expected },
            ticket,
            is_search: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum FetchKind {
    /// A manifest by GET, or its headers by HEAD.
    Manifest { method: Method, name: TagOrDigest, expected: Expected },
    /// The config of an image, a small blob that the core keeps.
    Config(Box<Descriptor>),
    /// A blob, into the operation's sink.
    Blob(Box<BlobFetch>),
    /// A request with a payload. The body of a success is not read.
    #[cfg(feature = "scripted")]
    Call(Box<Call>),
}

/// A request with a payload.
#[cfg(feature = "scripted")]
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kind: RequestKind,
    pub(crate) endpoint: Endpoint,
    pub(crate) payload: Payload,
}

/// A blob to fetch.
#[derive(Clone, Debug)]
pub(crate) struct BlobFetch {
    pub(crate) digest: Digest,
    pub(crate) size: Option<u64>,
    pub(crate) location: BlobLocation,
    /// Fallback locations, in the order in which they are tried.
    pub(crate) fallbacks: VecDeque<BlobLocation>,
    /// The number of bytes that the sink holds, and the hasher over them.
    pub(crate) resume: Option<(u64, Hasher)>,
    /// Whether the session may start over, once, if bytes that arrived earlier are wrong.
    pub(crate) may_restart: bool,
    /// Whether the blob is only verified and its bytes are dropped.
    pub(crate) discard: bool,
}

impl BlobFetch {
    /// Returns the fetch that follows this failed one, at the next location, if there is one.
    pub(crate) fn fall_back(&self, error: &Error) -> Option<Self> {
        if !error.is_not_found() && !self.location.is_url() {
            return None;
        }
        let mut next = self.clone();
        next.location = next.fallbacks.pop_front()?;
        Some(next)
    }
}

/// The location of a blob.
#[derive(Clone, Debug)]
pub(crate) enum BlobLocation {
    /// The blobs endpoint of the repository.
    Blobs,
    /// The manifests endpoint of the repository.
    Manifests,
    /// A URL in a document.
    Url(String),
}

impl BlobLocation {
    pub(crate) fn is_url(&self) -> bool {
        matches!(self, Self::Url(_))
    }
}

/// The expected properties of a manifest, from a descriptor or from the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
    pub(crate) media_type: Option<MediaType>,
}

/// The result of a fetch.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The headers of a response to HEAD or to a call.
    Head(HeaderMap),
    /// A manifest or a config, verified and parsed, and its digest.
    Manifest(Digest, Manifest),
    /// A whole blob, which the sink has received, verified.
    Blob,
}

/// Hands the outcome of a fetch to the walker.
pub(crate) fn supply(walker: &mut Walker, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
    let Some(ticket) = ticket else { return };
    match outcome {
        Ok(Fetched::Manifest(digest, manifest)) => walker.supply_manifest(ticket, &digest, manifest),
        Ok(Fetched::Head(_) | Fetched::Blob) => {}
        Err(error) if error.is_not_found() => walker.supply_missing(ticket),
        Err(error) => walker.supply_error(ticket, error),
    }
}
