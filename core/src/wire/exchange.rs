//! One HTTP round trip, as an owned value that a driver carries out.
//!
//! The states of a round trip are types: an [`Exchange`] is not sent yet, [`Awaiting`] has no head
//! yet, [`Receiving`] takes the body, and a [`Completion`] is over. Each step consumes the one before.
//!
//! ```text
//! Exchange --split--> Awaiting --head--> Receiving --finish--> Completion
//!                        |                   |                     ^
//!                        +------ fail -------+------ fail ---------+
//! ```

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, response};

use crate::error::fault::{Fault, FaultKind};
use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::header::url;
use crate::manifest::Manifest;
use crate::types::digest::Digest;
use crate::types::id::{ExchangeId, OpId};
use crate::types::token::TokenAnswer;
use crate::wire::exchange::blob::{BlobBody, BlobWant};
use crate::wire::exchange::manifest::{ManifestBody, ManifestWant};
use crate::wire::head::refuse_encoding;
use crate::wire::request::Payload;
use crate::wire::status::{Class, RequestKind};

pub(crate) mod blob;
pub(crate) mod manifest;

/// One HTTP round trip that the session asks for.
#[must_use = "the session waits for the exchange's completion"]
pub struct Exchange {
    pub(crate) request: Request<Payload>,
    pub(crate) awaiting: Awaiting,
}

impl Exchange {
    /// The exchange's name, as [`Output::Abort`](crate::Output::Abort) gives it.
    pub fn id(&self) -> ExchangeId {
        self.awaiting.id
    }

    /// The operation that the exchange serves; none for one that serves several.
    pub fn op(&self) -> Option<OpId> {
        self.awaiting.op
    }

    /// Whether a success's body belongs in the operation's sink. This is known before the request is
    /// sent, so that a driver can have whoever owns the sink carry the exchange out.
    pub fn has_sink(&self) -> bool {
        matches!(&self.awaiting.want, Want::Blob(want) if !want.discard)
    }

    /// The request to send, with an absolute URL, and what takes its answer.
    ///
    /// A driver sends the request as it is: it adds Host and the framing of the body, and no more.
    pub fn split(self) -> (Request<Payload>, Awaiting) {
        (self.request, self.awaiting)
    }
}

impl fmt::Debug for Exchange {
    /// Leaves out the headers and the query's values, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = format!("{} {}", self.request.method(), url::redacted(self.request.uri()));
        f.debug_struct("Exchange").field("id", &self.id()).field("request", &asked).finish_non_exhaustive()
    }
}

/// An exchange whose answer has not begun.
#[derive(Debug)]
#[must_use = "the session waits for the exchange's completion"]
pub struct Awaiting {
    pub(crate) id: ExchangeId,
    pub(crate) op: Option<OpId>,
    pub(crate) kind: RequestKind,
    pub(crate) want: Want,
    pub(crate) error_bytes: u64,
}

/// What a success's content is for.
#[derive(Debug)]
pub(crate) enum Want {
    /// Its description alone: the request is a HEAD.
    Head,
    /// A manifest.
    Manifest(ManifestWant),
    /// A blob, or the rest of one.
    Blob(Box<BlobWant>),
    /// A token, of at most so many bytes of answer.
    Token(u64),
}

impl Awaiting {
    /// Takes the head of the final response (not of a 1xx one).
    pub fn head(self, head: &response::Parts) -> Receiving {
        let headers = &head.headers;
        let settled = |answer| Ok(Body::Unwanted(answer));
        let body = match (self.kind.classify(head.status), self.want) {
            (Class::Content, Want::Head) => settled(Answer::Described),
            (Class::Content, Want::Manifest(want)) => {
                ManifestBody::new(want, headers).map(|body| Body::Manifest(Box::new(body)))
            }
            (Class::Content, Want::Blob(want)) => BlobBody::whole(want, headers).map(Body::Blob),
            (Class::Content, Want::Token(limit)) => {
                refuse_encoding(headers).map(|()| Body::Token(Collected::new(limit))).map_err(Cause::from)
            }
            (Class::Part, Want::Blob(want)) if want.sink.offset > 0 => {
                BlobBody::part(want, headers).map(Body::Blob)
            }
            (Class::NothingLeft, Want::Blob(want)) => match BlobBody::nothing_left(want, headers) {
                Some(answer) => answer.map(Body::Unwanted).map_err(Cause::from),
                None => Ok(Body::Refusal(Collected::new(self.error_bytes))),
            },
            (Class::Redirect, _) => settled(Answer::Refused(Bytes::new())),
            // A part was not asked for.
            (Class::Part | Class::Meaningless, _) => Err(Misbehaviour::Status(head.status).into()),
            _ if self.kind.method() == Method::HEAD => settled(Answer::Refused(Bytes::new())),
            _ => Ok(Body::Refusal(Collected::new(self.error_bytes))),
        };
        let body = body.unwrap_or_else(|cause| Body::Unwanted(Answer::Broken(cause)));
        Receiving { id: self.id, status: head.status, headers: head.headers.clone(), body }
    }

    /// The request could not be carried out, or its answer never began.
    pub fn fail(self, fault: Fault) -> Completion {
        Completion { id: self.id, head: None, answer: Answer::Broken(fault.into()) }
    }
}

/// An exchange whose answer's body is arriving.
#[must_use = "the session waits for the exchange's completion"]
pub struct Receiving {
    id: ExchangeId,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// The head, or the body so far, has settled the answer.
    Unwanted(Answer),
    /// The body of an answer that says no.
    Refusal(Collected),
    Manifest(Box<ManifestBody>),
    Blob(BlobBody),
    Token(Collected),
}

impl fmt::Debug for Receiving {
    /// Leaves the headers out, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Bytes up to a limit. They may hold a secret.
struct Collected {
    bytes: Vec<u8>,
    limit: usize,
}

impl Collected {
    fn new(limit: u64) -> Self {
        Self { bytes: Vec::new(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Keeps what there is room for; says whether that was all.
    fn push(&mut self, chunk: &[u8]) -> bool {
        let room = self.limit.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        chunk.len() <= room
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Receiving {
    /// Where the body's bytes belong; `None` if nowhere outside.
    pub fn sink(&self) -> Option<Sink> {
        match &self.body {
            Body::Blob(body) => body.sink().cloned(),
            _ => None,
        }
    }

    /// Whether the body is of any use. Where it is not, the driver drops it and calls [`finish`](Self::finish).
    pub fn wants_body(&self) -> bool {
        !matches!(self.body, Body::Unwanted(_))
    }

    /// Takes the next bytes of the body and returns those of them that belong in the sink.
    ///
    /// # Errors
    ///
    /// The rest of the body is refused: it is too long, or nobody wants it. The driver stops reading,
    /// and calls [`finish`](Self::finish); the completion knows why.
    pub fn push<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], Refused> {
        let refusal = match &mut self.body {
            Body::Unwanted(_) => return Err(Refused),
            // The beginning of the body says what there is to say.
            Body::Refusal(body) => return if body.push(chunk) { Ok(&[]) } else { Err(Refused) },
            Body::Token(body) => {
                if body.push(chunk) {
                    return Ok(&[]);
                }
                LimitExceeded::TokenBytes(body.limit as u64).into()
            }
            Body::Manifest(body) => match body.push(chunk) {
                Ok(()) => return Ok(&[]),
                Err(refusal) => refusal,
            },
            Body::Blob(body) => {
                let (deliver, refusal) = body.push(chunk);
                if let Some(refusal) = refusal {
                    self.body = Body::Unwanted(Answer::Broken(refusal));
                }
                return Ok(deliver);
            }
        };
        self.body = Body::Unwanted(Answer::Broken(refusal));
        Err(Refused)
    }

    /// The body ended as HTTP says it should, or was refused, or is not wanted.
    pub fn finish(self) -> Completion {
        let answer = match self.body {
            Body::Unwanted(answer) => answer,
            Body::Refusal(body) => Answer::Refused(body.bytes.into()),
            Body::Token(body) => TokenAnswer::parse(&body.bytes)
                .map_or_else(|e| Answer::Broken(Misbehaviour::Token(e).into()), Answer::Token),
            Body::Manifest(body) => {
                body.finish(&self.headers).unwrap_or_else(|misbehaviour| Answer::Broken(misbehaviour.into()))
            }
            Body::Blob(body) => body.finish(),
        };
        Completion { id: self.id, head: Some((self.status, self.headers)), answer }
    }

    /// The body broke off, or its sink failed.
    pub fn fail(self, fault: Fault) -> Completion {
        let answer = match self.body {
            // What was known before the fault stays true, unless the sink does not have it.
            Body::Unwanted(_) | Body::Blob(_) if fault.kind() == FaultKind::Sink => {
                Answer::Broken(fault.into())
            }
            Body::Unwanted(answer) => answer,
            Body::Refusal(body) => Answer::Refused(body.bytes.into()),
            Body::Manifest(_) | Body::Token(_) => Answer::Broken(fault.into()),
            Body::Blob(body) => body.fail(fault.into()),
        };
        Completion { id: self.id, head: Some((self.status, self.headers)), answer }
    }
}

/// Where a body's bytes belong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sink {
    /// The operation whose sink it is.
    pub op: OpId,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes, where it is known.
    pub size: Option<u64>,
    /// How many of the content's bytes the sink has had before this exchange. In a pull it may be 0 again, where
    /// the content begins anew, since what there was of it is wrong, or from another place: the sink drops that.
    pub offset: u64,
}

/// The rest of a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the response is not wanted")]
#[non_exhaustive]
pub struct Refused;

/// How an exchange ended, to be handed to [`Session::complete`](crate::Session::complete).
#[must_use = "the session waits for it"]
pub struct Completion {
    pub(crate) id: ExchangeId,
    /// The response's status and headers, if it began.
    pub(crate) head: Option<(StatusCode, HeaderMap)>,
    pub(crate) answer: Answer,
}

impl Completion {
    /// The exchange that ended.
    pub fn id(&self) -> ExchangeId {
        self.id
    }
}

impl fmt::Debug for Completion {
    /// Leaves the headers out, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.head.as_ref().map(|(status, _)| status);
        f.debug_struct("Completion").field("id", &self.id).field("status", &status).finish_non_exhaustive()
    }
}

/// What an exchange brought.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The head of a success that has no body to read.
    Described,
    /// A manifest, read and verified, and its digest.
    Manifest(Digest, Manifest),
    /// A blob that the sink has had all of, verified.
    Blob,
    /// What the sink has had of a blob is right as far as it goes, and this is why it goes no further.
    Part(Box<BlobWant>, Cause),
    /// A token.
    Token(TokenAnswer),
    /// An answer that says no, or elsewhere, and the beginning of its body.
    Refused(Bytes),
    /// Nothing that can be used.
    Broken(Cause),
}
