//! A task: one fetch, across all its requests.

use std::sync::Arc;

use http::{HeaderValue, Uri};

use crate::auth::token_request::TokenRequest;
use crate::error::{Cause, Error, Responder};
use crate::header::url;
use crate::op::operation::Fetch;
use crate::types::id::{ExchangeId, OpId, TaskId};
use crate::types::time::Time;
use crate::wire::exchange::want::BlobWant;
use crate::wire::origin::Origin;
use crate::wire::status::RequestKind;
use crate::wire::target::Target;

pub(crate) struct Task {
    pub(crate) purpose: Purpose,
    pub(crate) state: TaskState,
    pub(crate) kind: RequestKind,
    /// The URL of the first request of each attempt. A retry does not reuse the target of a redirect, since
    /// signed URLs expire.
    pub(crate) start_uri: Uri,
    /// The URL of the current or next request.
    pub(crate) uri: Uri,
    /// The origin of `uri`.
    pub(crate) origin: Origin,
    /// The number of redirects since `start_uri`.
    pub(crate) redirects: u32,
    /// The number of failed attempts since the last progress.
    pub(crate) failed: u32,
    /// Whether the server may have acted on an earlier attempt.
    pub(crate) is_repeated: bool,
    /// The Authorization header of the last request.
    pub(crate) authorization: Option<HeaderValue>,
    /// Set while it asks a mirror.
    pub(crate) mirrored: Option<Mirrored>,
    /// The progress of a blob.
    pub(crate) part: Option<Box<BlobWant>>,
    /// Set for one half of a pair.
    pub(crate) half: Option<Half>,
    /// Whether a download supplied its payload, which is therefore sent once.
    pub(crate) is_fed: bool,
}

pub(crate) enum Purpose {
    Fetch {
        op: OpId,
        fetch: Fetch,
    },
    /// Cancels an upload session of an operation that has ended. Nobody waits for it.
    Cleanup(Fetch),
    Token(Box<TokenRequest>),
}

/// The place of a mirror among the sources of a fetch.
#[derive(Clone, Debug)]
pub(crate) struct Mirrored {
    /// The registry itself.
    pub(crate) primary: Arc<Target>,
    /// The index of the mirror.
    pub(crate) index: usize,
}

/// The state of a task.
#[derive(Clone, Debug)]
pub(crate) enum TaskState {
    /// In the lane of its origin.
    Queued,
    /// Not queued, since its operation is paused. Also while the end of its exchange is handled, so that stopping the
    /// task does not end that exchange again.
    Parked,
    /// Its exchange is in flight.
    InFlight(ExchangeId),
    /// Waits until this time for its next attempt.
    Asleep(Time),
    /// Waits for a login or a token.
    Waiting,
    /// Ready, and waits for its other half.
    Paired,
    /// Has delivered all bytes to its other half, which verifies them.
    Delivered,
}

/// The state of one half of a pair.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) other: TaskId,
    /// Whether the pair was sent together. Each half is then retried on its own.
    pub(crate) admitted: bool,
    /// The origin at which a slot is reserved for the next attempt.
    pub(crate) slot: Option<Origin>,
}

impl Half {
    pub(crate) fn of(other: TaskId) -> Self {
        Self { other, admitted: false, slot: None }
    }
}

impl Task {
    pub(crate) fn new(
        purpose: Purpose,
        kind: RequestKind,
        start_uri: Uri,
        origin: Origin,
        part: Option<Box<BlobWant>>,
    ) -> Self {
        Self {
            purpose,
            state: TaskState::Queued,
            kind,
            uri: start_uri.clone(),
            start_uri,
            origin,
            redirects: 0,
            failed: 0,
            is_repeated: false,
            authorization: None,
            mirrored: None,
            part,
            half: None,
            is_fed: false,
        }
    }

    pub(crate) fn op(&self) -> Option<OpId> {
        match &self.purpose {
            Purpose::Fetch { op, .. } => Some(*op),
            Purpose::Token(_) | Purpose::Cleanup(_) => None,
        }
    }

    /// Returns what it fetches, unless that is a token.
    pub(crate) fn fetch(&self) -> Option<&Fetch> {
        match &self.purpose {
            Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch) => Some(fetch),
            Purpose::Token(_) => None,
        }
    }

    /// Returns the origin of the registry that it serves.
    pub(crate) fn registry(&self) -> &Origin {
        match &self.purpose {
            Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch) => &fetch.target.origin,
            Purpose::Token(token) => token.registry(),
        }
    }

    /// Returns whether its next request is sent to that origin.
    pub(crate) fn is_at_registry(&self) -> bool {
        self.origin == *self.registry()
    }

    /// Returns what its operation asked for, at the registry itself.
    pub(crate) fn original_fetch(&self) -> Option<Fetch> {
        let fetch = self.fetch()?.clone();
        let primary = self.mirrored.as_ref().map(|mirrored| Arc::clone(&mirrored.primary));
        Some(Fetch { target: primary.unwrap_or_else(|| Arc::clone(&fetch.target)), ..fetch })
    }

    /// Returns whether its operation interprets the response.
    pub(crate) fn is_call(&self) -> bool {
        self.fetch().is_some_and(|fetch| fetch.call().is_some())
    }

    /// Returns whether the session built the URL of the next request from an endpoint. Otherwise a server or a
    /// document supplied it.
    pub(crate) fn has_own_url(&self) -> bool {
        let is_endpoint = |fetch: &Fetch| !fetch.has_supplied_url() && self.kind != RequestKind::GetElsewhere;
        self.redirects == 0 && matches!(&self.purpose, Purpose::Fetch { fetch, .. } if is_endpoint(fetch))
    }

    /// Returns who responds to the next request.
    pub(crate) fn responder(&self) -> Responder {
        match self.fetch() {
            None => Responder::TokenServer,
            Some(_) if self.is_at_registry() && self.kind != RequestKind::GetElsewhere => Responder::Registry,
            Some(_) => Responder::Elsewhere,
        }
    }

    /// Creates the error of a request.
    pub(crate) fn error(&self, cause: Cause) -> Error {
        let url = url::redacted(&self.uri, self.kind.url_kind());
        let own = if self.has_own_url() {
            // The value of a digest may come from a document.
            let name = url.rfind('/').unwrap_or_default();
            url[name..].find(':').map_or(url.len(), |at| name + at + 1)
        } else {
            0
        };
        Error::of_request(&self.kind.method(), url, own, cause)
    }

    /// Sends the next request to this URL.
    pub(crate) fn set_uri(&mut self, uri: Uri) {
        if let Some(origin) = Origin::of(&uri) {
            self.origin = origin;
            self.uri = uri;
        }
    }

    /// Sends the next request to the initial URL.
    pub(crate) fn reset_uri(&mut self) {
        self.redirects = 0;
        self.set_uri(self.start_uri.clone());
    }
}
