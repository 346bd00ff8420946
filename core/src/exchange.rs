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
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode, response};

use crate::error::{Cause, Exceeded, Misbehaviour};
use crate::reply::{Class, classify};
use crate::{Algorithm, Digest, Evidence, Hasher, Manifest, MediaType, OpId};

/// Names an exchange within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// One HTTP round trip that the session asks for.
#[derive(Debug)]
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
        matches!(self.awaiting.want, Want::Blob(_))
    }

    /// The request to send, with an absolute URL, and what takes its answer.
    ///
    /// A driver sends the request as it is: it adds Host and the framing of the body, and no more.
    pub fn split(self) -> (Request<Payload>, Awaiting) {
        (self.request, self.awaiting)
    }
}

/// What a request carries as its body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
}

/// An exchange whose answer has not begun.
#[derive(Debug)]
#[must_use = "the session waits for the exchange's completion"]
pub struct Awaiting {
    pub(crate) id: ExchangeId,
    pub(crate) op: Option<OpId>,
    pub(crate) method: Method,
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
}

#[derive(Debug)]
pub(crate) struct ManifestWant {
    /// What the bytes must be, where that is known.
    pub(crate) digest: Option<Digest>,
    /// The size that a descriptor gives.
    pub(crate) size: Option<u64>,
    /// The media type that a descriptor gives.
    pub(crate) media_type: Option<MediaType>,
    /// The most that is read where no descriptor gives a size.
    pub(crate) limit: u64,
}

#[derive(Debug)]
pub(crate) struct BlobWant {
    pub(crate) sink: Sink,
    /// Over the bytes that the sink has had.
    pub(crate) hasher: Hasher,
    /// The most that is read where the size is not known.
    pub(crate) limit: u64,
}

impl Awaiting {
    /// Takes the head of the final response (not of a 1xx one).
    pub fn head(self, head: &response::Parts) -> Receiving {
        let class = classify(&self.method, head.status);
        let body = match (class, self.want) {
            (Class::Content, Want::Head) => Body::Unwanted(Answer::Described),
            (Class::Content, Want::Manifest(want)) => manifest_body(want, &head.headers),
            (Class::Content, Want::Blob(want)) => blob_body(want, &head.headers),
            (Class::Refusal, _) if self.method != Method::HEAD => {
                Body::Refusal { collected: Vec::new(), limit: self.error_bytes }
            }
            (Class::Refusal, _) => Body::Unwanted(Answer::Refused(Bytes::new())),
            // No request asks for a part yet, so that none can be used.
            (Class::Part | Class::Meaningless, _) => broken(Misbehaviour::Status(head.status)),
        };
        Receiving { id: self.id, status: head.status, headers: head.headers.clone(), body }
    }

    /// The request could not be carried out, or its answer never began.
    pub fn fail(self, fault: Fault) -> Completion {
        Completion { id: self.id, head: None, answer: Answer::Broken(fault.into()) }
    }
}

fn broken(cause: impl Into<Cause>) -> Body {
    Body::Unwanted(Answer::Broken(cause.into()))
}

/// The Content-Length header, where it is there and makes sense; HTTP stacks refuse one that does not.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// A digest that the registry announces and that can be verified. Present but empty counts as absent.
///
/// Source: distribution-spec, "Pulling manifests".
pub(crate) fn announced_digest(headers: &HeaderMap) -> Result<Option<Digest>, Misbehaviour> {
    const NAME: &str = "Docker-Content-Digest";
    let unusable = |problem: String| Misbehaviour::Header { name: NAME, problem };
    let Some(value) = headers.get("docker-content-digest") else { return Ok(None) };
    let text = value.to_str().map_err(|_| unusable("it is not text".to_owned()))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digest: Digest = text.parse().map_err(|e: crate::InvalidDigest| unusable(e.to_string()))?;
    Ok(digest.algorithm().is_some().then_some(digest))
}

pub(crate) fn refuse_encoding(headers: &HeaderMap) -> Result<(), Misbehaviour> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let coding = value.to_str().unwrap_or("bytes that are not text").trim();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            return Err(Misbehaviour::ContentEncoding(coding.chars().take(40).collect()));
        }
    }
    Ok(())
}

fn manifest_body(want: ManifestWant, headers: &HeaderMap) -> Body {
    let announced = match refuse_encoding(headers).and_then(|()| announced_digest(headers)) {
        Ok(announced) => announced,
        Err(misbehaviour) => return broken(misbehaviour),
    };
    if let Some(length) = content_length(headers) {
        if let Some(expected) = want.size.filter(|size| *size != length) {
            return broken(Misbehaviour::WrongSize { expected, announced: length });
        }
        if want.size.is_none() && length > want.limit {
            return broken(Exceeded::ManifestBytes(want.limit));
        }
    }
    // What was asked for decides the algorithm, then what the registry announces.
    let algorithm =
        want.digest.as_ref().or(announced.as_ref()).and_then(Digest::algorithm).unwrap_or(Algorithm::Sha256);
    // A registry may announce another algorithm's digest than the one that was asked for.
    let second = announced.as_ref().and_then(Digest::algorithm).filter(|other| *other != algorithm);
    Body::Manifest(Box::new(ManifestBody {
        collected: Vec::new(),
        hasher: Hasher::new(algorithm),
        second: second.map(Hasher::new),
        announced,
        length: content_length(headers),
        want,
    }))
}

fn blob_body(want: Box<BlobWant>, headers: &HeaderMap) -> Body {
    if let Err(misbehaviour) = refuse_encoding(headers) {
        return broken(misbehaviour);
    }
    let length = content_length(headers);
    let end = match (want.sink.size, length) {
        (Some(expected), Some(announced)) if expected != announced => {
            return broken(Misbehaviour::WrongSize { expected, announced });
        }
        (Some(size), _) => Some(size),
        (None, Some(length)) if length > want.limit => return broken(Exceeded::BlobBytes(want.limit)),
        (None, length) => length,
    };
    Body::Blob { position: want.sink.offset, end, want }
}

/// An exchange whose answer's body is arriving.
#[derive(Debug)]
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
    Refusal {
        collected: Vec<u8>,
        limit: u64,
    },
    Manifest(Box<ManifestBody>),
    Blob {
        want: Box<BlobWant>,
        /// How many of the content's bytes have come, over all its segments.
        position: u64,
        /// Where the content ends, if that is known.
        end: Option<u64>,
    },
}

#[derive(Debug)]
struct ManifestBody {
    want: ManifestWant,
    collected: Vec<u8>,
    hasher: Hasher,
    /// Over the same bytes, where the registry announces another algorithm's digest.
    second: Option<Hasher>,
    announced: Option<Digest>,
    length: Option<u64>,
}

impl Receiving {
    /// Where the body's bytes belong; `None` if nowhere outside.
    pub fn sink(&self) -> Option<Sink> {
        match &self.body {
            Body::Blob { want, .. } => Some(want.sink.clone()),
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
            Body::Refusal { collected, limit } => {
                let room = usize::try_from(*limit).unwrap_or(usize::MAX).saturating_sub(collected.len());
                collected.extend_from_slice(&chunk[..chunk.len().min(room)]);
                // The beginning of the body says what there is to say.
                return if chunk.len() < room { Ok(&[]) } else { Err(Refused) };
            }
            Body::Manifest(body) => match body.push(chunk) {
                Ok(()) => return Ok(&[]),
                Err(refusal) => refusal,
            },
            Body::Blob { want, position, end } => {
                let room = end.unwrap_or(want.limit).saturating_sub(*position);
                // What belongs in the sink does not depend on how the body was cut into chunks.
                let deliver = &chunk[..usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len())];
                want.hasher.update(deliver);
                *position += deliver.len() as u64;
                if deliver.len() < chunk.len() {
                    let too_long = match *end {
                        Some(expected) => Misbehaviour::TooLong { expected }.into(),
                        None => Exceeded::BlobBytes(want.limit).into(),
                    };
                    self.body = Body::Unwanted(Answer::Broken(too_long));
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
            Body::Refusal { collected, .. } => Answer::Refused(collected.into()),
            Body::Manifest(body) => {
                let content_type =
                    self.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("\u{fffd}"));
                body.finish(content_type).unwrap_or_else(|misbehaviour| Answer::Broken(misbehaviour.into()))
            }
            Body::Blob { want, position, end } => finish_blob(want, position, end)
                .unwrap_or_else(|misbehaviour| Answer::Broken(misbehaviour.into())),
        };
        Completion { id: self.id, head: Some((self.status, self.headers)), answer }
    }

    /// The body broke off, or its sink failed.
    pub fn fail(self, fault: Fault) -> Completion {
        let answer = match self.body {
            // What was known before the fault stays true.
            Body::Unwanted(answer) => answer,
            Body::Refusal { collected, .. } => Answer::Refused(collected.into()),
            Body::Manifest(_) | Body::Blob { .. } => Answer::Broken(fault.into()),
        };
        Completion { id: self.id, head: Some((self.status, self.headers)), answer }
    }
}

impl ManifestBody {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        let total = self.collected.len() as u64 + chunk.len() as u64;
        match self.want.size.or(self.length) {
            Some(expected) if total > expected => return Err(Misbehaviour::TooLong { expected }.into()),
            None if total > self.want.limit => return Err(Exceeded::ManifestBytes(self.want.limit).into()),
            _ => {}
        }
        self.hasher.update(chunk);
        if let Some(second) = &mut self.second {
            second.update(chunk);
        }
        self.collected.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self, content_type: Option<&str>) -> Result<Answer, Misbehaviour> {
        let received = self.collected.len() as u64;
        if let Some(expected) = self.want.size.or(self.length).filter(|size| *size != received) {
            return Err(Misbehaviour::TooShort { expected, received });
        }
        let digest = self.hasher.finish();
        if let Some(expected) = self.want.digest.filter(|expected| *expected != digest) {
            return Err(Misbehaviour::WrongDigest { expected, computed: digest });
        }
        let computed = self.second.map_or_else(|| digest.clone(), Hasher::finish);
        if let Some(expected) = self.announced.filter(|expected| *expected != computed) {
            return Err(Misbehaviour::WrongDigest { expected, computed });
        }
        let evidence = Evidence { content_type, expected: self.want.media_type.as_ref() };
        let manifest = Manifest::read(self.collected.into(), evidence)?;
        Ok(Answer::Manifest(digest, manifest))
    }
}

fn finish_blob(want: Box<BlobWant>, received: u64, end: Option<u64>) -> Result<Answer, Misbehaviour> {
    if let Some(expected) = end.filter(|end| *end != received) {
        return Err(Misbehaviour::TooShort { expected, received });
    }
    let computed = want.hasher.finish();
    if computed == want.sink.digest {
        Ok(Answer::Blob)
    } else {
        Err(Misbehaviour::WrongDigest { expected: want.sink.digest, computed })
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
    /// How many of the content's bytes the sink has had before this exchange.
    pub offset: u64,
}

/// The rest of a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the response is not wanted")]
#[non_exhaustive]
pub struct Refused;

/// How an exchange ended, to be handed to [`Session::complete`](crate::Session::complete).
#[derive(Debug)]
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

/// What an exchange brought.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The head of a success that has no body to read.
    Described,
    /// A manifest, read and verified, and its digest.
    Manifest(Digest, Manifest),
    /// A blob that the sink has had all of, verified.
    Blob,
    /// An answer that says no, and the beginning of its body.
    Refused(Bytes),
    /// Nothing that can be used.
    Broken(Cause),
}

/// Why a transport, or a sink, could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    message: String,
}

impl Fault {
    /// A fault in the transport's own words, which must hold no secret: they become part of an error.
    pub fn new(kind: FaultKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// Where the transport failed.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The transport's own words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Connect => "no connection",
            FaultKind::Tls => "no secure connection",
            FaultKind::Timeout => "no answer in time",
            FaultKind::Reset => "the connection broke",
            FaultKind::Sink => "the content could not be written",
            FaultKind::Credentials => "the login could not be looked up",
        };
        write!(f, "{what}: {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// Where a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// No connection: name resolution, routing, refusal, proxy.
    Connect,
    /// No secure connection: certificate, name, protocol.
    Tls,
    /// Nothing arrived in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Reset,
    /// What takes the bytes failed: a full disk, a closed pipe.
    Sink,
    /// A login could not be looked up: a credential helper that fails, a file that cannot be read.
    Credentials,
}
