//! A read-only registry as a state machine.
//!
//! A [`Server`] stores repositories, their tags and manifests, and the sizes of their blobs. It answers a
//! request's head with a complete response, except for the bytes of blobs: these stay in the caller's
//! storage, and [`Body::Blob`] tells the adapter which bytes to send. The server performs no I/O; an
//! HTTP adapter calls [`Server::respond`].
//!
//! It implements the endpoints of the distribution specification's Pull category and the listing of
//! tags and referrers. It does not support push or delete.
//!
//! ```
//! use oci_proto::server::{Body, Memory, Server};
//!
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
//!
//! let request = http::Request::get("/v2/demo/manifests/latest").header("Host", "localhost");
//! let (head, ()) = request.body(())?.into_parts();
//! let response = server.respond(&head);
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["docker-content-digest"], root.digest.to_string());
//! assert!(matches!(response.body(), Body::Bytes(document) if document.len() as u64 == root.size));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: distribution-spec 1.1, end-1, end-2, end-3, end-8a, end-8b, end-12a and end-12b.

pub(crate) mod add;
pub(crate) mod body;
pub(crate) mod content;
pub(crate) mod error_response;
pub(crate) mod holdings;
pub(crate) mod memory;
pub(crate) mod precondition;
pub(crate) mod respond;

use std::collections::BTreeMap;

use http::{Response, request};

use crate::limits::Limits;
use crate::server::add::{IfMissing, gather};
use crate::server::holdings::Holdings;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};

pub use crate::server::add::{AddError, AddProblem};
pub use crate::server::body::{Body, Unavailable};
pub use crate::server::content::Content;
pub use crate::server::memory::{Flavour, Memory};

/// A read-only registry.
#[derive(Clone, Debug, Default)]
pub struct Server {
    repositories: BTreeMap<Repository, Holdings>,
}

impl Server {
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `root`, and all manifests and blobs under it, to `repository`, and sets `tag` to it.
    ///
    /// Documents are verified, parsed and kept in memory. Blobs are not read: `content` confirms that
    /// they exist and returns their sizes. An existing tag is moved. Content that was added earlier
    /// stays available by digest.
    ///
    /// A subject is not followed, since the specification allows it to be missing (image-spec,
    /// manifest.md). A non-distributable layer is skipped if `content` lacks it. An index entry that is
    /// neither an image nor an index is not read; it is served both as a manifest and as a blob.
    ///
    /// The limits on depth, nodes and bytes are the defaults of [`Limits`], so every added tree can be
    /// walked.
    ///
    /// # Errors
    /// Fails if content is missing or does not match its descriptor, if a document is invalid, or if
    /// the tree is too deep or too large. The server is then unchanged.
    pub fn add(
        &mut self,
        repository: &Repository,
        tag: Option<&Tag>,
        root: &Descriptor,
        content: &(impl Content + ?Sized),
    ) -> Result<(), AddError> {
        let gathered = gather([root], content, &Limits::default(), IfMissing::Fail)?;
        let holdings = self.repositories.entry(repository.clone()).or_default();
        holdings.merge(gathered.holdings);
        if let Some(tag) = tag {
            holdings.tags.insert(tag.clone(), root.digest.clone());
        }
        Ok(())
    }

    /// Adds many roots like [`add`](Self::add), even if content is missing, such as some platforms of an index.
    ///
    /// Returns an error for each content that is missing; it is answered with 404, and so is the tag of a root that
    /// is missing. Content that several roots share is read once, and the limits apply to the content that a root
    /// adds to the earlier ones.
    ///
    /// # Errors
    /// Those of [`add`](Self::add), except for missing content. The server is then unchanged.
    pub fn add_sparse<'a>(
        &mut self,
        repository: &Repository,
        roots: impl IntoIterator<Item = (Option<&'a Tag>, &'a Descriptor)>,
        content: &(impl Content + ?Sized),
    ) -> Result<Vec<AddError>, AddError> {
        let mut tags = Vec::new();
        let roots = roots.into_iter().inspect(|(tag, root)| tags.extend(tag.map(|tag| (tag, &root.digest))));
        let roots = roots.map(|(_, root)| root);
        let gathered = gather(roots, content, &Limits::default(), IfMissing::Skip)?;
        let holdings = self.repositories.entry(repository.clone()).or_default();
        holdings.merge(gathered.holdings);
        for (tag, digest) in tags {
            if holdings.manifests.contains_key(digest) {
                holdings.tags.insert(tag.clone(), digest.clone());
            }
        }
        Ok(gathered.missing)
    }

    /// Removes a manifest or a blob from one repository, even if documents or a tag still refer to it.
    /// Returns whether it was present.
    pub fn remove(&mut self, repository: &Repository, digest: &Digest) -> bool {
        self.repositories.get_mut(repository).is_some_and(|holdings| holdings.remove(digest))
    }

    /// Answers a request.
    ///
    /// Every response except 304 has a Content-Length, and every error response has the error body of
    /// the specification. The Accept header is ignored: like other registries, the server returns
    /// manifests as stored. Methods other than GET and HEAD are answered with 405. A request of HTTP/1.1
    /// without a Host header, unless its target names the host, or any request with two, is answered with 400.
    pub fn respond(&self, head: &request::Parts) -> Response<Body> {
        respond::respond(&self.repositories, head)
    }

    /// Answers a request whose response has a [`Body::Blob`] that cannot be read: 404 if it is missing, or 500.
    ///
    /// `head` is that of the request, and `digest` that of the blob.
    pub fn respond_without(head: &request::Parts, digest: &Digest, reason: Unavailable) -> Response<Body> {
        respond::respond_without(head, digest, reason)
    }

    /// Returns the response for a new connection from an address that has too many: 429, with a Retry-After of
    /// a second. It does not depend on a request.
    pub fn too_many_connections() -> Response<Body> {
        respond::too_many_connections()
    }
}
