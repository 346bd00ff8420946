//! One HTTP round trip, as an owned value that a driver carries out.
//!
//! Each state of a round trip is a type: an [`Exchange`] has not been sent, [`Awaiting`] waits for the
//! response, [`Receiving`] takes its body, and a [`Completion`] is the end. Each transition consumes the
//! previous state. If the request has a payload, a [`Sending`] checks it while it is sent.
//!
//! ```text
//! Exchange --split--> Awaiting --head--> Receiving --finish--> Completion
//!              |         |                   |                     ^
//!              |         +------ fail -------+------ fail ---------+
//!              +----> Sending (push, push, ..., finish)
//! ```

use std::fmt;
use std::time::Duration;

use http::Request;
use http::uri::Authority;

use crate::types::id::{ExchangeId, OpId};
use crate::wire::exchange::awaiting::Awaiting;
use crate::wire::exchange::reach::Reach;
use crate::wire::exchange::sending::Sending;
use crate::wire::exchange::sink::Sink;
use crate::wire::exchange::summary::RequestSummary;
use crate::wire::exchange::transcript::{Keep, Kept};
use crate::wire::request::{Payload, Source};

pub(crate) mod awaiting;
pub(crate) mod blob;
pub(crate) mod completion;
pub(crate) mod manifest;
pub(crate) mod reach;
pub(crate) mod receiving;
pub(crate) mod sending;
pub(crate) mod sink;
pub(crate) mod summary;
pub(crate) mod transcript;
pub(crate) mod want;

/// An HTTP round trip for the driver to carry out.
#[must_use = "the session waits for the exchange's completion"]
pub struct Exchange {
    pub(crate) request: Request<Payload>,
    pub(crate) sending: Option<Sending>,
    pub(crate) awaiting: Awaiting,
    /// The size of the blob that the request completes, or 0.
    pub(crate) completes: u64,
    /// Whether its session replays a recording, and accepts omitted bytes by their recorded digest.
    pub(crate) is_replay: bool,
    /// Whether the session built the URL, so that no server chose the values in its query.
    pub(crate) has_own_url: bool,
}

impl Exchange {
    /// Returns the id, which [`Output::Abort`](crate::Output::Abort) refers to.
    pub fn id(&self) -> ExchangeId {
        self.awaiting.id
    }

    /// Returns the operation that the exchange serves, or `None` if it may serve several.
    pub fn op(&self) -> Option<OpId> {
        self.awaiting.op
    }

    /// Returns the request. It has an absolute URL and all headers except Host and those of the
    /// connection.
    pub fn request(&self) -> &Request<Payload> {
        &self.request
    }

    /// Returns the request as logs may show it.
    pub fn summary(&self) -> RequestSummary {
        RequestSummary {
            method: self.request.method().clone(),
            url: self.request.uri().clone(),
            kind: self.awaiting.kind.url_kind(),
            is_own: self.has_own_url,
        }
    }

    /// Returns the sink for the body of a successful response, or `None` if the core keeps the body. The
    /// sink is known before the request is sent, so that a driver can hand the exchange to the owner of the
    /// sink.
    pub fn sink(&self) -> Option<&Sink> {
        self.awaiting.sink()
    }

    /// Returns the source of the payload, or `None` if the payload is empty or in memory.
    pub fn source(&self) -> Option<&Source> {
        match self.request.body() {
            Payload::Source(source) => Some(source),
            Payload::Empty | Payload::Bytes(_) => None,
        }
    }

    /// Returns the addresses that the driver may connect to. [`Awaiting::connected`] checks an address.
    pub fn reach(&self) -> Reach {
        self.awaiting.reach
    }

    /// Returns the time that the server may take to process the request before it responds, besides the driver's
    /// own limit. It is not zero for a request that completes a blob, since registries check the digest of all of it.
    pub fn processing_time(&self) -> Duration {
        /// The bytes of a blob that a registry checks or moves within a second, at least.
        const PER_SECOND: u64 = 32 << 20;
        Duration::from_secs(self.completes / PER_SECOND)
    }

    /// Keeps a transcript of the response, for
    /// [`Completion::take_transcript`](crate::Completion::take_transcript). By default none is kept.
    pub fn keep_transcript(&mut self, keep: Keep) {
        self.awaiting.kept = Some(Kept { keep, url: Box::new(self.request.uri().clone()) });
    }

    /// Splits the exchange into the request, the check of its payload, and the state that waits for the
    /// response.
    ///
    /// A driver sends the request unchanged, and adds only Host and the headers of the connection. The
    /// [`Sending`] is `None` if and only if the payload is [`Payload::Empty`].
    pub fn split(self) -> (Request<Payload>, Option<Sending>, Awaiting) {
        (self.request, self.sending, self.awaiting)
    }
}

impl fmt::Debug for Exchange {
    /// Omits the headers, and of the URL all but its origin: a redirect's path may hold secrets too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.request.uri();
        let (scheme, host) =
            (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", Authority::as_str));
        let asked = format!("{} {scheme}://{host}", self.request.method());
        f.debug_struct("Exchange").field("id", &self.id()).field("request", &asked).finish_non_exhaustive()
    }
}
