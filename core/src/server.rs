//! A read-only registry as a state machine.
//!
//! A [`Server`] knows which repositories there are, what their tags name, and every manifest and
//! blob under those. It answers a request's head with a response that is complete but for the bytes
//! of blobs: those stay where they are, and [`Body::Blob`] says which of them the adapter sends.
//! There is no I/O here: whatever speaks HTTP asks [`Server::respond`].
//!
//! It implements the end-points of the distribution specification's Pull category, and the listing
//! of tags and of referrers. Nothing can be pushed or deleted through it.
//!
//! ```
//! use oci_proto::server::{Body, Memory, Server};
//!
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
//!
//! let (head, ()) = http::Request::get("/v2/demo/manifests/latest").body(())?.into_parts();
//! let response = server.respond(&head);
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["docker-content-digest"], root.digest.to_string());
//! assert!(matches!(response.body(), Body::Bytes(document) if document.len() as u64 == root.size));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: distribution-spec 1.1, end-points 1, 2, 3, 8a, 8b, 12a and 12b.

pub(crate) mod add;
pub(crate) mod holdings;
pub(crate) mod memory;
pub(crate) mod precondition;
pub(crate) mod refusal;
pub(crate) mod respond;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use http::{Response, request};

use crate::limits::Limits;
use crate::server::holdings::Holdings;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};

pub use crate::server::add::{AddError, AddProblem};
pub use crate::server::memory::{Flavour, Memory};

/// A read-only registry: what it holds, and how it answers.
#[derive(Clone, Debug, Default)]
pub struct Server {
    repositories: BTreeMap<Repository, Holdings>,
}

impl Server {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `root`, and every manifest and blob under it, into `repository`, where `tag` then names it.
    ///
    /// Documents are read, verified, and kept in memory. Blobs are named: `content` says that they are
    /// there and how long they are, and nothing of them is read. A tag that is already there moves.
    /// What was added before stays, and can be asked for by digest.
    ///
    /// A subject is not followed, since it may be missing by rule (image-spec, manifest.md). A layer
    /// that may not be distributed is left out where `content` lacks it. An entry of an index that is
    /// neither an image nor an index is not read; it is served both as a manifest and as a blob.
    ///
    /// The bounds on depth, number and bytes are the defaults of [`Limits`], so that
    /// what is added can be walked.
    ///
    /// # Errors
    /// Content is missing or not what its descriptor says, a document is refused, or the tree is
    /// too deep or too large. The server is then as it was.
    pub fn add(
        &mut self,
        repository: &Repository,
        tag: Option<&Tag>,
        root: &Descriptor,
        content: &(impl Content + ?Sized),
    ) -> Result<(), AddError> {
        let gathered = add::gather(root, content, &Limits::default())?;
        let holdings = self.repositories.entry(repository.clone()).or_default();
        holdings.merge(gathered);
        if let Some(tag) = tag {
            holdings.tags.insert(tag.clone(), root.digest.clone());
        }
        Ok(())
    }

    /// Takes a manifest or a blob out of one repository, where it is unknown from then on, though
    /// documents, or a tag, may still name it. Returns whether it was there.
    pub fn remove(&mut self, repository: &Repository, digest: &Digest) -> bool {
        self.repositories.get_mut(repository).is_some_and(|holdings| {
            let manifest = holdings.manifests.remove(digest).is_some();
            let blob = holdings.blobs.remove(digest).is_some();
            manifest || blob
        })
    }

    /// Answers a request.
    ///
    /// Every answer says its Content-Length, except 304, and every refusal carries the error body of the
    /// specification. A client's Accept header changes nothing: what is stored is what is served, as
    /// registries do. Methods other than GET and HEAD are refused with 405.
    pub fn respond(&self, head: &request::Parts) -> Response<Body> {
        respond::respond(self, head)
    }
}

/// What a response carries as its body. The head's Content-Length always says how long that is,
/// except that in an answer to HEAD it says how long the answer to GET would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an adapter that cannot send a body breaks the response")]
pub enum Body {
    /// Nothing: the answer to HEAD, among others.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// A part of a blob, which the adapter reads where the blob is kept.
    Blob {
        /// The blob.
        digest: Digest,
        /// Which of its bytes: from `start` up to and without `end`.
        range: Range<u64>,
    },
}

impl Body {
    /// How many bytes the body has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob { range, .. } => range.end.saturating_sub(range.start),
        }
    }
}

/// Where content is kept.
pub trait Content {
    /// All bytes of some content, if it is there. Asked for documents only, once their size is known to
    /// be what it should be.
    fn bytes(&self, digest: &Digest) -> Option<Bytes>;

    /// The size in bytes of some content, if it is there.
    fn size(&self, digest: &Digest) -> Option<u64>;
}
