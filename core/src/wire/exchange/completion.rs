//! The end of an exchange.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::Cause;
use crate::error::fault::FaultKind;
use crate::manifest::Manifest;
use crate::types::digest::Digest;
use crate::types::id::ExchangeId;
use crate::types::token::TokenAnswer;
use crate::wire::exchange::sending::Sent;
use crate::wire::exchange::transcript::Transcript;
use crate::wire::exchange::want::BlobWant;

/// The end of an exchange, for [`Session::complete`](crate::Session::complete).
#[must_use = "the session waits for it"]
pub struct Completion {
    pub(crate) id: ExchangeId,
    /// The response's status and headers, if it began.
    pub(crate) head: Option<(StatusCode, HeaderMap)>,
    pub(crate) outcome: Outcome,
    /// Whether the server's address is known not to be public.
    pub(crate) is_private: bool,
    /// The progress of the payload, set when its [`Sending`](crate::Sending) is dropped.
    sent: Arc<OnceLock<Sent>>,
    transcript: Option<Box<Transcript>>,
}

impl Completion {
    pub(crate) fn new(
        id: ExchangeId,
        head: Option<(StatusCode, HeaderMap)>,
        outcome: Outcome,
        sent: Arc<OnceLock<Sent>>,
        transcript: Option<Box<Transcript>>,
    ) -> Self {
        Self { id, head, outcome, is_private: false, sent, transcript }
    }

    /// Sets whether the server's address is known not to be public.
    pub(crate) fn of_server(mut self, is_private: bool) -> Self {
        self.is_private = is_private;
        self
    }

    /// Returns the id of the exchange.
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// Returns the status of the response, if it began.
    pub fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(|(status, _)| *status)
    }

    /// Returns the kind of the driver's fault, if that ended the exchange early.
    pub fn fault(&self) -> Option<FaultKind> {
        match &self.outcome {
            Outcome::Partial(_, Cause::Transport(fault)) | Outcome::Failed(Cause::Transport(fault)) => {
                Some(fault.kind())
            }
            _ => None,
        }
    }

    /// Takes the transcript, if [`Exchange::keep_transcript`](crate::Exchange::keep_transcript) was called.
    /// A recorder takes it before it hands the completion to the session.
    pub fn take_transcript(&mut self) -> Option<Transcript> {
        let mut transcript = *self.transcript.take()?;
        let Sent { bytes, wrong_source, .. } = self.payload();
        (transcript.sent, transcript.wrong_source) = (bytes, wrong_source);
        Some(transcript)
    }

    /// Returns the number of payload bytes that were passed to [`Sending`](crate::Sending), or 0 if the
    /// [`Sending`](crate::Sending) was not dropped yet.
    pub fn sent(&self) -> u64 {
        self.payload().bytes
    }

    /// Returns the progress of the payload. Nothing counts as sent if there is none, or if its
    /// [`Sending`](crate::Sending) was not dropped yet.
    pub(crate) fn payload(&self) -> Sent {
        self.sent.get().cloned().unwrap_or_default()
    }
}

impl fmt::Debug for Completion {
    /// Omits the headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.head.as_ref().map(|(status, _)| status);
        f.debug_struct("Completion").field("id", &self.id).field("status", &status).finish_non_exhaustive()
    }
}

/// The result of an exchange.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A success whose body is not read.
    Head,
    /// A success, and its body.
    Body(Bytes),
    /// A manifest, verified and parsed, and its digest.
    Manifest(Digest, Manifest),
    /// A whole blob, which the sink has received, verified.
    Blob(Digest),
    /// A whole blob, which an upload has received. The upload verifies it.
    Delivered(Digest),
    /// The first bytes of a blob, to be resumed, and the reason why it is incomplete.
    Partial(Box<BlobWant>, Cause),
    /// Another part of a blob than the requested one.
    WrongPart(Cause),
    /// A token.
    Token(TokenAnswer),
    /// An error response or a redirect, with the beginning of its body.
    Refused(Bytes),
    /// No usable response.
    Failed(Cause),
}
