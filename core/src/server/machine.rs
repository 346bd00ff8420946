//! The server.

use http::{Method, Response, request};

use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::server::add::{AddError, IfMissing, gather};
use crate::server::begin::Begun;
use crate::server::body::{Body, Unavailable};
use crate::server::content::Content;
use crate::server::effect::{Failure, Reply};
use crate::server::holdings::StoredManifest;
use crate::server::incoming::Incoming;
use crate::server::policy::Policy;
use crate::server::state::State;
use crate::server::{begin, respond};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};
use crate::types::time::Time;
use crate::types::upload_id::UploadId;

/// A registry.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub(super) state: State,
}

impl Server {
    /// Creates an empty registry that is read-only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty registry. The ids of its uploads, which are part of their URLs, are derived from `seed`; choose
    /// it at random.
    pub fn with_policy(policy: Policy, seed: u64) -> Self {
        Self { state: State::new(policy, seed) }
    }

    /// Begins the answer to a request. The extensions of `head` have the [`User`](crate::server::User), if the request
    /// has a login.
    ///
    /// If [`begins_with_effects`](Self::begins_with_effects) is `false`, the request has no effects before
    /// [`finish`](Self::finish), so it may begin while those of others are carried out.
    pub fn begin(&mut self, now: Time, head: &request::Parts) -> Begun {
        begin::begin(&mut self.state, now, head)
    }

    /// Returns whether a request with this method reads, so that [`respond`](Self::respond) answers it.
    pub fn is_read(method: &Method) -> bool {
        respond::is_read(method)
    }

    /// Returns whether [`begin`](Self::begin) may have effects for a request with this method: POST and DELETE.
    pub fn begins_with_effects(method: &Method) -> bool {
        begin::has_effects(method)
    }

    /// Answers a request whose body was received.
    pub fn finish(&mut self, now: Time, incoming: Incoming) -> Reply {
        begin::finish(&mut self.state, now, incoming)
    }

    /// Answers a request whose body broke off, or could not be written because of `failure`.
    ///
    /// Without a failure, the bytes that were received are durable, and the client may continue after them.
    pub fn interrupted(&mut self, now: Time, incoming: Incoming, failure: Option<Failure>) -> Reply {
        begin::interrupted(&mut self.state, now, incoming, failure)
    }

    /// Makes the effects of a reply visible, once they are durable. Those of earlier replies were committed or rolled
    /// back before.
    pub fn commit(&mut self, reply: &Reply) {
        self.state.commit(reply.request);
    }

    /// Forgets the effects of a reply, which have failed.
    pub fn roll_back(&mut self, reply: &Reply) {
        self.state.roll_back(reply.request);
    }

    /// Ends the uploads whose last request was too long ago, and returns them. Their bytes are not needed any more.
    pub fn expire_uploads(&mut self, now: Time) -> Vec<(Repository, UploadId)> {
        let lifetime = self.state.policy.upload_lifetime;
        self.state.uploads.expire(now, lifetime)
    }

    /// Opens an upload again, of which the storage has `size` bytes, after a restart.
    pub fn restore_upload(&mut self, now: Time, repository: Repository, id: UploadId, size: u64) {
        self.state.uploads.restore(now, repository, id, size);
    }

    /// Adds a blob that the storage has, whether a manifest refers to it or not.
    pub fn add_blob(&mut self, repository: &Repository, digest: Digest, size: u64) {
        self.state.repositories.entry(repository.clone()).or_default().blobs.insert(digest, size);
    }

    /// Adds a manifest that the storage has, as it was pushed, and sets these tags to it.
    ///
    /// Nothing that it refers to is visited, since a client may have pushed it before that, or with a wrong size.
    pub fn add_manifest(
        &mut self,
        repository: &Repository,
        digest: &Digest,
        manifest: &Manifest,
        tags: impl IntoIterator<Item = Tag>,
    ) {
        let holdings = self.state.repositories.entry(repository.clone()).or_default();
        holdings.insert_manifest(digest.clone(), StoredManifest::document(digest, manifest));
        holdings.tags.extend(tags.into_iter().map(|tag| (tag, digest.clone())));
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
        let holdings = self.state.repositories.entry(repository.clone()).or_default();
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
        let holdings = self.state.repositories.entry(repository.clone()).or_default();
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
        self.state.repositories.get_mut(repository).is_some_and(|holdings| holdings.remove(digest))
    }

    /// Answers a request that reads: GET or HEAD. Other methods are answered with 405; see [`begin`](Self::begin).
    ///
    /// Every response except 204 and 304 has a Content-Length, and every error response has the error body of
    /// the specification. The Accept header is ignored: like other registries, the server returns
    /// manifests as stored. A request of HTTP/1.1 without a Host header, unless its target names the host, or any
    /// request with two, is answered with 400.
    pub fn respond(&self, head: &request::Parts) -> Response<Body> {
        respond::respond(&self.state, head)
    }

    /// Returns the repository of a request: the one of the blob, if its response has a [`Body::Blob`].
    pub fn repository(head: &request::Parts) -> Option<Repository> {
        respond::repository(head)
    }

    /// Answers a request whose response has a [`Body::Blob`] that cannot be read: 404 if it is missing, or 500.
    ///
    /// `head` is that of the request, and `digest` that of the blob.
    pub fn respond_without(head: &request::Parts, digest: &Digest, reason: Unavailable) -> Response<Body> {
        respond::respond_without(head, digest, reason)
    }

    /// Returns the response to a request with this method whose login is wrong: 401, with a challenge.
    pub fn wrong_login(method: &Method) -> Response<Body> {
        respond::wrong_login(method)
    }

    /// Returns the response for a request that a web page may have sent, if it has to be refused: 421 if its host is
    /// neither an IP address nor `localhost` or a name below it, and 403 if it writes and its page is of another origin.
    ///
    /// An adapter calls it first if the server has no logins and listens on the local machine only: a page in its browser
    /// could reach it, also under a host name of its own.
    pub fn refuse_foreign(head: &request::Parts) -> Option<Response<Body>> {
        respond::foreign(head)
    }

    /// Returns the response for a new connection from an address that has too many: 429, with a Retry-After of
    /// a second. It does not depend on a request.
    pub fn too_many_connections() -> Response<Body> {
        respond::too_many_connections()
    }
}
