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
//! ```no_run
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

mod add;
mod memory;

use std::ops::Range;

use bytes::Bytes;
use http::{Response, request};

use crate::{Descriptor, Digest, Repository, Tag};

pub use add::{AddError, AddProblem};
pub use memory::{Flavour, Memory};

/// A read-only registry: what it holds, and how it answers.
#[derive(Clone, Debug, Default)]
pub struct Server {}

impl Server {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `root`, and every manifest and blob under it, into `repository`, where `tag` then names it.
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
        let _ = (repository, tag, root, content);
        todo!()
    }

    /// Answers a request.
    pub fn respond(&self, head: &request::Parts) -> Response<Body> {
        let _ = head;
        todo!()
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

/// Where content is kept.
pub trait Content {
    /// All bytes of some content, if it is there. Asked for manifests only.
    fn bytes(&self, digest: &Digest) -> Option<Bytes>;

    /// The size in bytes of some content, if it is there.
    fn size(&self, digest: &Digest) -> Option<u64>;
}
