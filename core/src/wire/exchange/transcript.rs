//! The response to an exchange, as plain data.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};

use crate::error::fault::Fault;
use crate::types::digest::Digest;

/// The bodies that a transcript keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Documents, token responses and error responses. For a blob, only its length and digest.
    Documents,
    /// All bodies, including the bytes of blobs. These may be large.
    Everything,
}

/// What a transcript keeps, and the URL that was requested.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) keep: Keep,
    pub(crate) url: Box<Uri>,
}

impl fmt::Debug for Kept {
    /// Omits the URL, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keep.fmt(f)
    }
}

/// The response to an exchange as a driver passed it on: head, body and end.
///
/// [`Exchange::keep_transcript`](crate::Exchange::keep_transcript) makes an exchange keep its transcript,
/// and [`Completion::take_transcript`](crate::Completion::take_transcript) returns it.
/// [`play`](Self::play) plays it to an exchange of another session. A transcript is plain data, so that a
/// recorder can write it as text and read it back.
///
/// A transcript contains the secrets of the response until
/// [`Secrets::transcript`](crate::record::Secrets::transcript) replaces them. Its `Debug` output shows none.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transcript {
    /// The number of bytes of the request's payload that were sent.
    pub sent: u64,
    /// The digest of the payload's source, if [`Sending`](crate::Sending) has refused it for that.
    pub wrong_source: Option<Digest>,
    /// The status and headers of the response, if it began.
    pub head: Option<(StatusCode, HeaderMap)>,
    /// Whether the response is from an address that is not public, as the driver told
    /// [`Awaiting::connected`](crate::Awaiting::connected).
    pub is_private: bool,
    /// The body of the response, as far as it was wanted.
    pub body: RecordedBody,
    /// The fault that ended the exchange; `None` if it was finished.
    pub fault: Option<Fault>,
    /// The URL that was requested, to which URLs in the headers may be relative. It is not part of a recording.
    pub(crate) url: Option<Box<Uri>>,
}

/// The body of a response in a [`Transcript`].
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "recorders must write all variants")]
pub enum RecordedBody {
    /// A body that was not wanted.
    Unread,
    /// The beginning of the body of an error response.
    Refusal(Bytes),
    /// The body of a token response.
    Token(Bytes),
    /// A document.
    Document(Bytes),
    /// A blob, or the rest of one.
    Blob {
        /// The number of bytes received.
        length: u64,
        /// The digest of the content up to here, including the bytes of earlier exchanges and those that the
        /// driver held. Of a blob that feeds an upload, which verifies it, the expected digest.
        digest: Digest,
        /// The bytes received, unless they are omitted.
        bytes: Option<Bytes>,
    },
}

impl Transcript {
    /// Creates the transcript of an exchange that failed before its response began.
    pub fn failed(fault: Fault) -> Self {
        Self {
            sent: 0,
            wrong_source: None,
            head: None,
            is_private: false,
            body: RecordedBody::Unread,
            fault: Some(fault),
            url: None,
        }
    }

    /// Creates the transcript of an exchange with a complete response.
    pub fn answered(status: StatusCode, headers: HeaderMap, body: RecordedBody) -> Self {
        Self {
            sent: 0,
            wrong_source: None,
            head: Some((status, headers)),
            is_private: false,
            body,
            fault: None,
            url: None,
        }
    }
}

impl fmt::Debug for Transcript {
    /// Omits the headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("status", &self.head.as_ref().map(|(status, _)| status))
            .field("body", &self.body)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordedBody {
    /// Omits the bytes, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("Unread"),
            Self::Refusal(bytes) => write!(f, "Refusal({} bytes)", bytes.len()),
            Self::Token(bytes) => write!(f, "Token({} bytes)", bytes.len()),
            Self::Document(bytes) => write!(f, "Document({} bytes)", bytes.len()),
            Self::Blob { length, .. } => write!(f, "Blob({length} bytes)"),
        }
    }
}

/// Records a body as it arrives.
#[derive(Debug)]
pub(crate) struct BodyRecorder {
    kept: Kept,
    body: RecordedBody,
    bytes: Vec<u8>,
}

impl BodyRecorder {
    /// Creates a recorder for bodies of the same variant as `body`, which is empty.
    pub(crate) fn new(kept: Kept, body: RecordedBody) -> Self {
        Self { kept, body, bytes: Vec::new() }
    }

    /// Adds the next bytes.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if let RecordedBody::Blob { length, .. } = &mut self.body {
            *length += chunk.len() as u64;
            if self.kept.keep == Keep::Documents {
                return;
            }
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Records the digest of a blob's content so far.
    pub(crate) fn note_digest(&mut self, so_far: Digest) {
        if let RecordedBody::Blob { digest, .. } = &mut self.body {
            *digest = so_far;
        }
    }

    /// Returns the body, and the URL that was requested.
    pub(crate) fn finish(self) -> (RecordedBody, Box<Uri>) {
        let mut body = self.body;
        match &mut body {
            RecordedBody::Unread => {}
            RecordedBody::Refusal(bytes) | RecordedBody::Token(bytes) | RecordedBody::Document(bytes) => {
                *bytes = self.bytes.into();
            }
            RecordedBody::Blob { bytes, .. } => {
                *bytes = (self.kept.keep == Keep::Everything).then(|| self.bytes.into());
            }
        }
        (body, self.kept.url)
    }
}
