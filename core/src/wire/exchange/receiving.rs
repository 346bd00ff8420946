//! An exchange that receives the body of its response.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::fault::{Fault, FaultKind};
use crate::error::{LimitExceeded, Misbehaviour};
use crate::types::digest::Digest;
use crate::types::id::ExchangeId;
use crate::types::token::TokenAnswer;
use crate::wire::exchange::blob::BlobBody;
use crate::wire::exchange::completion::{Completion, Outcome};
use crate::wire::exchange::manifest::ManifestBody;
use crate::wire::exchange::sending::Sent;
use crate::wire::exchange::sink::Sink;
use crate::wire::exchange::transcript::{BodyRecorder, Kept, RecordedBody, Transcript};
use crate::wire::head::content_length;

/// An exchange whose response body is arriving.
#[must_use = "the session waits for the exchange's completion"]
pub struct Receiving {
    id: ExchangeId,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    /// The length in bytes up to which an unwanted body is drained; `None` if the connection must be closed.
    drain: Option<u64>,
    sent: Arc<OnceLock<Sent>>,
    /// Whether the server's address is known not to be public.
    is_private: bool,
    /// Set if a transcript is kept.
    recorder: Option<Box<BodyRecorder>>,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// The outcome is known. The rest of the body is not wanted.
    Unwanted(Outcome),
    /// The body of an error response.
    Refusal(Collected),
    Manifest(Box<ManifestBody>),
    Blob(BlobBody),
    Token(Collected),
    /// A list.
    Content(Collected),
}

/// The limits on bodies that are not content, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBounds {
    pub(crate) error_bytes: u64,
    pub(crate) drain_bytes: u64,
}

/// An instruction for the rest of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver cannot handle a connection after an unknown instruction"
)]
pub enum Rest {
    /// Read it, and pass each chunk to [`Receiving::push`].
    Wanted,
    /// Read and drop it if it ends within this many bytes, so that the connection can be reused. Otherwise
    /// close the connection. Then call [`Receiving::finish`].
    Drain(u64),
    /// Close the connection. Then call [`Receiving::finish`].
    Close,
}

impl Receiving {
    pub(crate) fn new(
        id: ExchangeId,
        status: StatusCode,
        headers: HeaderMap,
        body: Body,
        has_body: bool,
        bounds: BodyBounds,
        sent: Arc<OnceLock<Sent>>,
    ) -> Self {
        let fits = content_length(&headers).is_none_or(|length| length <= bounds.drain_bytes);
        // A response to HEAD has no body; its Content-Length is that of a response to GET.
        let drain = if has_body { fits.then_some(bounds.drain_bytes) } else { Some(0) };
        Self { id, status, headers, body, drain, sent, is_private: false, recorder: None }
    }

    /// Sets whether the server's address is known not to be public.
    pub(crate) fn of_server(mut self, is_private: bool) -> Self {
        self.is_private = is_private;
        self
    }

    /// Keeps a transcript.
    pub(crate) fn with_recorder(mut self, kept: Kept) -> Self {
        let body = match &self.body {
            Body::Unwanted(_) => RecordedBody::Unread,
            Body::Refusal(_) => RecordedBody::Refusal(Bytes::new()),
            Body::Token(_) => RecordedBody::Token(Bytes::new()),
            Body::Manifest(_) | Body::Content(_) => RecordedBody::Document(Bytes::new()),
            Body::Blob(body) => RecordedBody::Blob { length: 0, digest: body.digest(), bytes: None },
        };
        self.recorder = Some(Box::new(BodyRecorder::new(kept, body)));
        self
    }

    /// Returns the id of the exchange.
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// Returns the sink for the body, with the offset of the next byte, or `None` if the core keeps the
    /// body.
    pub fn sink(&self) -> Option<&Sink> {
        match &self.body {
            Body::Blob(body) => body.sink(),
            _ => None,
        }
    }

    /// Returns the instruction for the rest of the body. It may change from [`Rest::Wanted`] with each call
    /// of [`push`](Self::push), also if that succeeds.
    pub fn rest(&self) -> Rest {
        match (&self.body, self.drain) {
            (Body::Unwanted(_), Some(bytes)) => Rest::Drain(bytes),
            (Body::Unwanted(_), None) => Rest::Close,
            _ => Rest::Wanted,
        }
    }

    /// Takes the next bytes of the body, in a chunk of any size, and returns the range of them that belong
    /// in the sink. If a blob is too long, the range still ends with its last wanted byte, and
    /// [`rest`](Self::rest) changes.
    ///
    /// # Errors
    /// Returns an error if the body is not wanted, or no longer. The driver must follow
    /// [`rest`](Self::rest) and call [`finish`](Self::finish); the completion contains the cause.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Range<usize>, Refused> {
        if let Some(recorder) = &mut self.recorder {
            match &self.body {
                Body::Unwanted(_) => {}
                // Only the part that is read: a longer text may be parsed differently.
                Body::Refusal(body) => recorder.push(body.kept(chunk)),
                Body::Token(_) | Body::Manifest(_) | Body::Content(_) | Body::Blob(_) => recorder.push(chunk),
            }
        }
        let refusal = match &mut self.body {
            Body::Unwanted(_) => return Err(Refused),
            // The beginning of an error body is enough.
            Body::Refusal(body) => {
                if body.push(chunk) {
                    return Ok(0..0);
                }
                let kept = mem::take(&mut body.bytes);
                self.refuse(Outcome::Refused(kept.into()));
                return Err(Refused);
            }
            Body::Token(body) => {
                if body.push(chunk) {
                    return Ok(0..0);
                }
                LimitExceeded::TokenBytes(body.limit as u64).into()
            }
            Body::Content(body) => {
                if body.push(chunk) {
                    return Ok(0..0);
                }
                LimitExceeded::ListBytes(body.limit as u64).into()
            }
            Body::Manifest(body) => match body.push(chunk) {
                Ok(()) => return Ok(0..0),
                Err(refusal) => refusal,
            },
            Body::Blob(body) => {
                let (deliver, refusal) = body.push(chunk);
                if let Some(refusal) = refusal {
                    self.refuse(Outcome::Failed(refusal));
                }
                return Ok(deliver);
            }
        };
        self.refuse(Outcome::Failed(refusal));
        Err(Refused)
    }

    /// Counts bytes of a blob that a recording omits. `digest` is the digest of the content including them.
    pub(crate) fn assume(&mut self, length: u64, digest: &Digest) {
        if let Body::Blob(body) = &mut self.body
            && let Some(refusal) = body.assume(length, digest)
        {
            self.refuse(Outcome::Failed(refusal));
        }
    }

    /// Takes a recorded error body. Its secrets are replaced by names, which may be longer, so the limit that
    /// applied to the original body does not apply again.
    pub(crate) fn push_refusal(&mut self, recorded: &[u8]) {
        if let Body::Refusal(body) = &mut self.body {
            body.limit = usize::MAX;
        }
        let _ = self.push(recorded);
    }

    /// Returns whether a recording omits some of the blob's bytes so far.
    pub(crate) fn is_assumed(&self) -> bool {
        matches!(&self.body, Body::Blob(body) if body.is_assumed())
    }

    /// Settles the outcome before the end of the body. The connection must be closed.
    fn refuse(&mut self, outcome: Outcome) {
        self.note_digest();
        self.body = Body::Unwanted(outcome);
        self.drain = None;
    }

    fn note_digest(&mut self) {
        if let (Some(recorder), Body::Blob(body)) = (&mut self.recorder, &self.body) {
            recorder.note_digest(body.digest());
        }
    }

    fn transcript(&mut self, fault: Option<&Fault>) -> Option<Box<Transcript>> {
        self.note_digest();
        let (body, url) = self.recorder.take()?.finish();
        let mut transcript = Transcript::answered(self.status, self.headers.clone(), body);
        transcript.fault = fault.cloned();
        transcript.is_private = self.is_private;
        transcript.url = Some(url);
        Some(Box::new(transcript))
    }

    /// Ends the exchange: the body ended as framed, or the rest of it is not wanted.
    pub fn finish(mut self) -> Completion {
        let transcript = self.transcript(None);
        let outcome = match self.body {
            Body::Unwanted(outcome) => outcome,
            Body::Refusal(body) => Outcome::Refused(body.bytes.into()),
            Body::Token(body) => body
                .whole(&self.headers)
                .and_then(|bytes| Ok(TokenAnswer::parse(&bytes)?))
                .map_or_else(|misbehaviour| Outcome::Failed(misbehaviour.into()), Outcome::Token),
            Body::Content(body) => body
                .whole(&self.headers)
                .map_or_else(|misbehaviour| Outcome::Failed(misbehaviour.into()), Outcome::Body),
            Body::Manifest(body) => body.finish(&self.headers).unwrap_or_else(Outcome::Failed),
            Body::Blob(body) => body.finish(),
        };
        Completion::new(self.id, Some((self.status, self.headers)), outcome, self.sent, transcript)
            .of_server(self.is_private)
    }

    /// Ends the exchange: the body was interrupted, or its sink failed.
    pub fn fail(mut self, fault: Fault) -> Completion {
        let transcript = self.transcript(Some(&fault));
        let outcome = match self.body {
            // An outcome that was known before the fault still holds, unless the sink failed.
            Body::Unwanted(_) | Body::Blob(_) if fault.kind() == FaultKind::Storage => {
                Outcome::Failed(fault.into())
            }
            Body::Unwanted(outcome) => outcome,
            Body::Refusal(body) => Outcome::Refused(body.bytes.into()),
            Body::Manifest(_) | Body::Token(_) | Body::Content(_) => Outcome::Failed(fault.into()),
            Body::Blob(body) => body.fail(fault.into()),
        };
        Completion::new(self.id, Some((self.status, self.headers)), outcome, self.sent, transcript)
            .of_server(self.is_private)
    }
}

impl fmt::Debug for Receiving {
    /// Omits the headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The error of [`Receiving::push`] if the rest of a body is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the response is not wanted")]
#[non_exhaustive]
pub struct Refused;

/// Bytes up to a limit. They may contain a secret.
pub(crate) struct Collected {
    bytes: Vec<u8>,
    limit: usize,
}

impl Collected {
    pub(crate) fn new(limit: u64) -> Self {
        Self { bytes: Vec::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Keeps bytes up to the limit. Returns whether all were kept.
    fn push(&mut self, chunk: &[u8]) -> bool {
        let kept = self.kept(chunk);
        let is_whole = kept.len() == chunk.len();
        self.bytes.extend_from_slice(kept);
        is_whole
    }

    /// Returns all bytes of a body that is not to be parsed in part.
    fn whole(self, headers: &HeaderMap) -> Result<Bytes, Misbehaviour> {
        let received = self.bytes.len() as u64;
        match content_length(headers) {
            Some(expected) if received < expected => Err(Misbehaviour::TooShort { expected, received }),
            _ => Ok(self.bytes.into()),
        }
    }

    /// Returns the part of the next chunk within the limit.
    fn kept<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        let room = self.limit.saturating_sub(self.bytes.len());
        &chunk[..chunk.len().min(room)]
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}
