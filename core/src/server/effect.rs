//! What a request changes, and the response once that is done.

use http::{Method, Response, StatusCode};

use crate::manifest::Manifest;
use crate::server::body::Body;
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::response::finish;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};
use crate::types::upload_id::UploadId;

/// A change of a repository, which the adapter makes in its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The first `size` bytes of an upload become the blob with this digest, and the upload ends. No byte was written
    /// to it if the blob is empty.
    Commit {
        /// The upload.
        upload: UploadId,
        /// The digest of the bytes, which the server has verified.
        digest: Digest,
        /// Their number.
        size: u64,
    },
    /// An upload ends, and its bytes are not needed any more. It may have ended before, or have no bytes.
    EndUpload(UploadId),
    /// The blob of another repository is a blob of this one, too.
    Mount {
        /// The other repository.
        from: Repository,
        /// The digest of the blob.
        digest: Digest,
        /// Its size, in bytes.
        size: u64,
    },
    /// A manifest is stored.
    PutManifest {
        /// Its digest.
        digest: Digest,
        /// The manifest.
        manifest: Manifest,
    },
    /// A tag is set to a manifest, which may have another one so far.
    SetTag(Tag, Digest),
    /// A tag is removed.
    RemoveTag(Tag),
    /// A manifest is removed. A blob with the same digest stays.
    RemoveManifest(Digest),
    /// A blob is removed. A manifest with the same digest stays.
    RemoveBlob(Digest),
}

/// The reply to a request: what it changes, and the response to send then.
///
/// Carry out the effects in order, after those of earlier replies, and make them durable. Then call
/// [`Server::commit`](crate::server::Server::commit), and send the response of [`done`](Self::done). If that fails, call
/// [`Server::roll_back`](crate::server::Server::roll_back), and send the response of [`failed`](Self::failed): the reply
/// has changed nothing then.
///
/// The effects of several replies may be carried out together, and the replies then be committed in order. If that
/// fails, carry out fewer at once, down to single ones, still in order, so that one reply does not fail the others; but
/// see [`needs_earlier`](Self::needs_earlier).
///
/// The response to a request without effects is sent at once.
#[derive(Debug)]
#[must_use = "it has the response, and what to do before it is sent"]
pub struct Reply {
    pub(super) method: Method,
    pub(super) repository: Option<Repository>,
    pub(super) effects: Vec<Effect>,
    pub(super) response: Response<Body>,
    /// The number of the request.
    pub(super) request: u64,
    pub(super) needs_earlier: bool,
}

impl Reply {
    /// Creates the answer to a request that changes nothing.
    pub(super) fn new(method: &Method, response: Response<Body>) -> Self {
        Self {
            method: method.clone(),
            repository: None,
            effects: Vec::new(),
            response,
            request: 0,
            needs_earlier: false,
        }
    }

    /// Creates the answer to a request that changes a repository.
    pub(super) fn with(
        method: &Method,
        repository: Repository,
        effects: Vec<Effect>,
        response: Response<Body>,
    ) -> Self {
        Self { repository: Some(repository), effects, ..Self::new(method, response) }
    }

    /// Creates the answer to a request that is refused.
    pub(super) fn refusal(method: &Method, error: ErrorResponse) -> Self {
        Self::new(method, error.into_response())
    }

    /// Returns what the request changes, with its repository, or `None` if it changes nothing.
    pub fn effects(&self) -> Option<(&Repository, &[Effect])> {
        let repository = self.repository.as_ref()?;
        (!self.effects.is_empty()).then_some((repository, &self.effects))
    }

    /// Returns whether this reply may be wrong if one of those before it fails that were not committed yet, since it
    /// depends on what they change: a deletion, a mount, or a push whose conditions were checked. Treat it as failed, too,
    /// then.
    pub fn needs_earlier(&self) -> bool {
        self.needs_earlier
    }

    /// Returns the response, once the effects are durable.
    pub fn done(self) -> Response<Body> {
        finish(&self.method, self.response)
    }

    /// Returns the response of a request whose effects could not be carried out.
    pub fn failed(self, failure: Failure) -> Response<Body> {
        finish(&self.method, failure.response())
    }
}

/// The reason why the effects of a request could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "507 and 500")]
pub enum Failure {
    /// The storage has no space left.
    Full,
    /// The storage failed otherwise.
    Storage,
}

impl Failure {
    pub(super) fn response(self) -> Response<Body> {
        let (status, message) = match self {
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "the registry has no space left"),
            Self::Storage => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the registry cannot write to its storage; its log has the reason",
            ),
        };
        ErrorResponse::new(status, Code::Unknown, message).into_response()
    }
}
