//! The interface of all operations, with its types.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::error::{Cause, Error, Misbehaviour};
use crate::header::url::redacted;
use crate::manifest::Manifest;
use crate::op::ask::{Held, StoreContent};
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::location::Locations;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::scope::Scope;
use crate::walker::node::Ticket;
use crate::walker::walk::Walker;
use crate::wire::endpoint::Endpoint;
use crate::wire::exchange::sending::Marks;
use crate::wire::origin::Origin;
use crate::wire::request::Payload;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// An operation in progress.
///
/// An operation does not deal with exchanges, logins, redirects, retries or limits on requests. It returns
/// the [`Fetch`] that it needs next, takes outcomes in any order, and returns events and questions.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    /// Returns the repositories of its fetches, in a fixed order.
    fn targets(&self) -> &[Arc<Target>];

    /// Returns the next fetch from a target at `origin`, or `None` if none is due there.
    fn next_fetch(&mut self, origin: &Origin, habits: &Habits) -> Option<Admission>;

    /// Takes the outcome of a fetch. The operation may note the habits of the registry that answered.
    fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>, habits: &mut Habits);

    /// Returns the next attempt at what a settled fetch was for, if that has failed. It is taken at once, so that its
    /// delay counts from the failure.
    fn next_attempt(&mut self, settled: &Fetch, habits: &Habits) -> Option<Admission> {
        let _ = (settled, habits);
        None
    }

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

    /// Takes the answer to [`OpOutput::Document`].
    fn document(&mut self, descriptor: &Descriptor, bytes: Bytes) {
        let _ = (descriptor, bytes);
    }

    /// Takes the answer to [`OpOutput::Referrers`].
    fn referrers(&mut self, subject: &Descriptor, referrers: Vec<Descriptor>) {
        let _ = (subject, referrers);
    }

    /// Takes the answer to [`OpOutput::Read`]. `is_last` says whether the stream ends with these bytes.
    fn read(&mut self, bytes: Bytes, is_last: bool) {
        let _ = (bytes, is_last);
    }

    /// Returns the URLs of the upload sessions that are open, which the session cancels when the operation
    /// ends.
    fn open_uploads(&self) -> Vec<(Arc<Target>, Uri)> {
        Vec::new()
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
    /// Asks the driver for the bytes of this document.
    Document(Descriptor),
    /// Asks the driver for the referrers of this document.
    Referrers(Descriptor),
    /// Asks the driver for the next bytes of a stream, at most this many.
    Read(usize),
}

/// One fetch, or two that must be sent together.
#[derive(Debug)]
pub(crate) enum Admission {
    One(Fetch),
    /// Two halves. Neither is sent before there are slots for both.
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

impl Fetch {
    /// Returns the call, if it is one.
    pub(crate) fn call(&self) -> Option<&Call> {
        match &self.kind {
            FetchKind::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Returns whether a server supplied its URL.
    pub(crate) fn has_supplied_url(&self) -> bool {
        self.call().is_some_and(|call| matches!(call.to, Recipient::Url(_)))
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
    /// A request whose response the operation interprets.
    Call(Box<Call>),
}

/// A request that is not a download. Its [`Reply`] says how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kind: RequestKind,
    pub(crate) to: Recipient,
    /// Headers that describe the payload, and conditions.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// The size of the blob that it completes, or 0.
    pub(crate) completes: u64,
    /// The hasher over the content before the payload's source, if there is one.
    pub(crate) prefix: Option<Hasher>,
    /// The maximum size of the body of a success, in bytes. With `None`, the body is not read.
    pub(crate) body_limit: Option<u64>,
    /// The content that it concerns, for an operation with several.
    pub(crate) content: Option<Digest>,
    /// The access that it requires besides that of its target.
    pub(crate) scope: Option<Scope>,
    /// The failed attempts that it follows, if it is another attempt.
    pub(crate) after: Option<Failed>,
}

/// The URL of a call.
#[derive(Clone, Debug)]
pub(crate) enum Recipient {
    Endpoint(Endpoint),
    /// A URL that the registry supplied, such as that of an upload session.
    Url(Uri),
}

/// Attempts of an operation that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    /// The error of the last one.
    pub(crate) error: Error,
    /// Their number since the last progress. With 0, the next attempt differs and is not delayed.
    pub(crate) count: u32,
}

impl Call {
    pub(crate) fn new(kind: RequestKind, to: Recipient) -> Self {
        Self {
            kind,
            to,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            completes: 0,
            prefix: None,
            body_limit: None,
            content: None,
            scope: None,
            after: None,
        }
    }

    /// Creates the fetch for a call to a repository.
    pub(crate) fn at(self, target: &Arc<Target>, ticket: Option<Ticket>) -> Fetch {
        Fetch { target: target.clone(), kind: FetchKind::Call(Box::new(self)), ticket, is_search: false }
    }
}

/// The response to a call, or its absence.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: RequestKind,
    /// The meaning of the status. [`Class::Trouble`] if there was no response.
    pub(crate) class: Class,
    /// The URL that responded.
    pub(crate) url: Uri,
    /// Whether the registry may have acted on an earlier attempt.
    pub(crate) is_repeated: bool,
    /// Whether there is a login for the target, which the registry has asked for.
    pub(crate) with_login: bool,
    pub(crate) headers: HeaderMap,
    /// The body of a success, if it was wanted.
    pub(crate) body: Bytes,
    /// The number of bytes of the payload that were sent.
    pub(crate) sent: u64,
    /// The hashers over the content that was sent.
    pub(crate) marks: Marks,
    /// The error, unless the call succeeded.
    pub(crate) error: Option<Error>,
}

impl Reply {
    /// Creates the error of this response.
    pub(crate) fn misbehaved(&self, cause: impl Into<Cause>) -> Error {
        Error::of_request(&self.kind.method(), redacted(&self.url, self.kind.url_kind()), 0, cause)
    }

    /// Takes the error of a response that did not succeed, or that the operation does not expect.
    pub(crate) fn into_error(mut self) -> Error {
        self.error.take().unwrap_or_else(|| self.misbehaved(Misbehaviour::Unexpected))
    }
}

/// A blob to fetch.
#[derive(Clone, Debug)]
pub(crate) struct BlobFetch {
    pub(crate) digest: Digest,
    pub(crate) size: Option<u64>,
    pub(crate) locations: Locations,
    /// The number of bytes that the sink holds, and the hasher over them.
    pub(crate) resume: Option<(u64, Hasher)>,
    /// The position of the first byte, if the blob feeds an upload, which verifies it.
    pub(crate) feeds_from: Option<u64>,
    /// Whether the session may start over, once, if bytes that arrived earlier are wrong.
    pub(crate) may_restart: bool,
    /// Whether the blob is only verified and its bytes are dropped.
    pub(crate) discard: bool,
    /// Set by the session when a fetch that feeds an upload has failed at a mirror: another attempt asks another source.
    pub(crate) has_others: bool,
}

impl BlobFetch {
    /// Returns the fetch that follows this failed one, at the next location, if there is one.
    pub(crate) fn fall_back(&self, error: &Error) -> Option<Self> {
        let mut next = self.clone();
        next.locations.fall_back(error).then_some(next)
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
    /// The headers of a response to HEAD.
    Head(HeaderMap),
    /// A manifest or a config, verified and parsed, and its digest.
    Manifest(Digest, Manifest),
    /// A whole blob, which the sink has received, verified.
    Blob,
    /// The response to a call.
    Reply(Box<Reply>),
}

/// Returns the response to a call. The session ends a call with no other outcome.
pub(crate) fn reply_of(outcome: Result<Fetched, Error>) -> Result<Reply, Error> {
    match outcome? {
        Fetched::Reply(reply) => Ok(*reply),
        Fetched::Head(_) | Fetched::Manifest(..) | Fetched::Blob => Err(Error::new(Misbehaviour::Unexpected)),
    }
}

/// Hands the outcome of a fetch to the walker.
pub(crate) fn supply(walker: &mut Walker, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
    let Some(ticket) = ticket else { return };
    match outcome {
        Ok(Fetched::Manifest(digest, manifest)) => walker.supply_manifest(ticket, &digest, manifest),
        Ok(Fetched::Head(_) | Fetched::Blob | Fetched::Reply(_)) => {}
        Err(error) if error.is_not_found() => walker.supply_missing(ticket),
        Err(error) => walker.supply_error(ticket, error),
    }
}
