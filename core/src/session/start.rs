//! The operations that a session can start: one constructor each.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::config::Config;
use crate::error::{Error, InvalidRequest};
use crate::manifest::Manifest;
use crate::op::access::Access;
use crate::op::blob;
use crate::op::blob_upload::state::BlobUpload;
use crate::op::check::check;
use crate::op::delete::Delete;
use crate::op::deliver::Deliver;
use crate::op::exists::Exists;
use crate::op::lookup::Lookup;
use crate::op::names::{repositories, tags};
use crate::op::operation::Operation;
use crate::op::pull::{PullOptions, pull};
use crate::op::put_manifest;
use crate::op::referrers::Referrers;
use crate::op::resolve::{manifest, resolve};
use crate::op::rooted::Rooted;
use crate::op::transfer;
use crate::op::transfer::options::PushOptions;
use crate::op::upload::Upload;
use crate::op::walk::walk;
use crate::registries::{MirrorPlace, Place, Route};
use crate::session::call::Start;
use crate::session::running::Running;
use crate::session::state::Session;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Algorithm;
use crate::types::id::OpId;
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;
use crate::walker::node::WalkOptions;
use crate::wire::endpoint::Endpoint;
use crate::wire::target::{Mirror, Target};

impl Session {
    /// Resolves `reference` to its descriptor, with a HEAD request if that is enough.
    ///
    /// With a platform, an index resolves to the image that matches the platform best, nested indexes
    /// included. An image resolves to itself. The operation ends with
    /// [`Event::Resolved`](crate::Event::Resolved) and [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-3.
    pub fn resolve(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        self.note_start(|| Start::Resolve(reference.clone(), platform.cloned()));
        self.start_at(reference, Use::Pull, |_, at, config| {
            Box::new(resolve(Lookup::new(at.target, &at.reference, platform, false, config)))
        })
    }

    /// Fetches and verifies the manifest of `reference`.
    ///
    /// With a platform, fetches the best match, as [`resolve`](Self::resolve) does. The operation reports
    /// [`Event::Resolved`](crate::Event::Resolved), hands the manifest over with
    /// [`Question::Store`](crate::Question::Store), and ends with [`Event::Done`](crate::Event::Done) once
    /// that is answered.
    ///
    /// Source: distribution-spec, end-3.
    pub fn manifest(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        self.note_start(|| Start::Manifest(reference.clone(), platform.cloned()));
        self.start_at(reference, Use::Pull, |_, at, config| {
            Box::new(manifest(Lookup::new(at.target, &at.reference, platform, true, config)))
        })
    }

    /// Walks everything under `reference`.
    ///
    /// The operation reports [`Event::Resolved`](crate::Event::Resolved) for the root, then an
    /// [`Event::Node`](crate::Event::Node) for each node, and [`Event::Done`](crate::Event::Done). Nodes
    /// are in depth-first pre-order, independent of the order of responses.
    ///
    /// Source: distribution-spec, end-3.
    pub fn walk(&mut self, reference: &Reference, options: WalkOptions) -> OpId {
        self.note_start(|| Start::Walk(reference.clone(), options.clone()));
        self.start_at(reference, Use::Pull, |_, at, config| {
            Box::new(walk(at.target, &at.reference, options, config))
        })
    }

    /// Pulls everything under `reference`, including blobs. Repeated content is pulled once.
    ///
    /// The operation reports [`Event::Resolved`](crate::Event::Resolved) for the root. For all other
    /// content, [`Question::Held`](crate::Question::Held) asks how much the driver already holds. Each blob
    /// is fetched by exchanges with its own sink. [`Question::Store`](crate::Question::Store) asks to
    /// publish each blob whose sink is complete, and hands over each document after all content that it
    /// refers to is stored. [`Event::Done`](crate::Event::Done) follows the answer for the root.
    ///
    /// With [`PullOptions::referrers`], [`Event::Referrers`](crate::Event::Referrers) reports the referrers of the tree,
    /// whose content is asked for, fetched and stored in the same way, before the root unless it refers to the root.
    ///
    /// Source: distribution-spec, end-2, end-3 and end-12a; image-spec, image-layout.md.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one call")]
    pub fn pull(&mut self, reference: &Reference, options: PullOptions) -> OpId {
        self.note_start(|| Start::Pull(reference.clone(), options.clone()));
        self.start_at(reference, Use::Pull, |_, at, config| {
            Box::new(pull(at.target, &at.reference, &options, config))
        })
    }

    /// Fetches and verifies everything under `reference`, including blobs, and continues after a problem.
    ///
    /// With a platform, checks only the image that matches it best. The operation reports
    /// [`Event::Resolved`](crate::Event::Resolved) for the root, an
    /// [`Event::Finding`](crate::Event::Finding) for each problem, and [`Event::Done`](crate::Event::Done).
    /// It fails if the root cannot be fetched or the registry cannot be reached.
    ///
    /// Source: distribution-spec, end-2 and end-3.
    pub fn check(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        self.note_start(|| Start::Check(reference.clone(), platform.cloned()));
        self.start_at(reference, Use::Registry, |_, at, config| {
            Box::new(check(at.target, &at.reference, platform, config))
        })
    }

    /// Fetches the blob with the digest of `reference` into the operation's sink.
    ///
    /// `size` is the expected size in bytes; it is checked before and while the body is read. The operation
    /// ends with [`Event::Done`](crate::Event::Done) once the sink has received the whole blob and it is
    /// verified.
    ///
    /// Source: distribution-spec, end-2.
    pub fn blob(&mut self, reference: &Reference, size: Option<u64>) -> OpId {
        self.note_start(|| Start::Blob(reference.clone(), size));
        self.start_at(reference, Use::Pull, |_, at, _| blob::named(at.target, &at.reference, size))
    }

    /// Fetches the blob of `descriptor` from the repository of `reference`.
    ///
    /// Like [`blob`](Self::blob). If the descriptor embeds the content,
    /// [`Question::Store`](crate::Question::Store) hands it over and no request is sent.
    pub fn described_blob(&mut self, reference: &Reference, descriptor: &Descriptor) -> OpId {
        self.note_start(|| Start::DescribedBlob(reference.clone(), descriptor.clone()));
        self.start_at(reference, Use::Pull, |_, at, _| blob::described(at.target, descriptor))
    }

    /// Uploads a blob to the repository of `reference`, from the operation's source: content that the driver
    /// can read from any position.
    ///
    /// Nothing is sent if the repository has the blob, or if the registry mounts it from the repository
    /// `mount`. The source is verified while it is sent, so content that does not match the descriptor is never
    /// stored. An upload that is interrupted resumes. [`Event::Acknowledged`](crate::Event::Acknowledged)
    /// reports progress, and the operation ends with [`Event::Stored`](crate::Event::Stored) and
    /// [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, "Pushing blobs".
    pub fn upload(
        &mut self,
        reference: &Reference,
        descriptor: &Descriptor,
        mount: Option<&Repository>,
    ) -> OpId {
        self.note_start(|| Start::Upload(reference.clone(), descriptor.clone(), mount.cloned()));
        let mount = self.mounted(reference, mount);
        self.start_at(reference, Use::Push, |id, at, config| {
            let upload = BlobUpload::known(id, at.target.clone(), descriptor, mount, config);
            Box::new(Upload::new(at.target, descriptor.media_type.clone(), upload))
        })
    }

    /// Uploads a stream to the repository of `reference`: a blob whose size and digest are known at its end.
    ///
    /// [`Question::Read`](crate::Question::Read) asks for its bytes. They are sent in chunks, each of which is
    /// held in memory until the registry has acknowledged it. An upload that is interrupted resumes; it fails if
    /// the registry has lost bytes that it had acknowledged. The operation reports and ends like
    /// [`upload`](Self::upload).
    ///
    /// Source: distribution-spec, "Pushing a blob in chunks".
    pub fn upload_stream(&mut self, reference: &Reference, algorithm: Algorithm) -> OpId {
        self.note_start(|| Start::UploadStream(reference.clone(), algorithm));
        self.start_at(reference, Use::Push, |id, at, config| {
            let upload = BlobUpload::stream(id, at.target.clone(), algorithm, config);
            Box::new(Upload::new(at.target, MediaType::OCTET_STREAM, upload))
        })
    }

    /// Pushes the tree under `root` to the repository of `reference`, and names the root with its tag, if it has
    /// one.
    ///
    /// [`Question::Document`](crate::Question::Document) asks for each image and index, and the content of blobs
    /// is read from the operation's source. Content that the repository has is not sent again. An
    /// [`Event::Stored`](crate::Event::Stored) reports each content, the root last, before
    /// [`Event::Done`](crate::Event::Done). A document is stored after everything that it refers to, so a push
    /// that fails leaves nothing that refers to missing content.
    ///
    /// With [`PushOptions::referrers`], [`Question::Referrers`](crate::Question::Referrers) asks for the referrers of each
    /// document, which are sent in the same way.
    ///
    /// Source: distribution-spec, "Push".
    pub fn push(&mut self, root: &Descriptor, reference: &Reference, options: PushOptions) -> OpId {
        self.note_start(|| Start::Push(root.clone(), reference.clone(), options.clone()));
        let options = PushOptions { mount: self.mounted(reference, options.mount.as_ref()), ..options };
        self.start_at(reference, Use::Push, |id, at, config| {
            Box::new(transfer::push(id, at.target, root.clone(), &at.reference, options, config))
        })
    }

    /// Copies everything under `from` to the repository of `to`, and names the root with its tag, if it has one.
    ///
    /// The operation reports [`Event::Resolved`](crate::Event::Resolved) for the root, and then like
    /// [`push`](Self::push). Within a registry, blobs are mounted. Between registries, the download of a blob and
    /// its upload are sent together: the driver passes the bytes for the [`Sink`](crate::Sink) of one to the
    /// [`Source`](crate::Source) of the other, which have the same operation and digest.
    ///
    /// Source: distribution-spec, "Pull" and "Push".
    pub fn copy(&mut self, from: &Reference, to: &Reference, options: PushOptions) -> OpId {
        self.note_start(|| Start::Copy(from.clone(), to.clone(), options.clone()));
        let options = PushOptions { mount: self.mounted(to, options.mount.as_ref()), ..options };
        let source = self.locate(from, Use::Pull);
        self.start_at(to, Use::Push, |id, to, config| match source {
            Ok(from) => {
                let (targets, names) = ([from.target, to.target], [&from.reference, &to.reference]);
                Box::new(transfer::copy(id, targets, names, options, config))
            }
            Err(error) => Box::new(Deliver::failed(error)),
        })
    }

    /// Pushes one document to the repository of `reference`, under its tag and under further ones, or under its
    /// digest alone.
    ///
    /// What the document refers to must be there: registries refuse a document otherwise. A tag that names the
    /// document already is not set again. If the document has a subject and the registry does not list referrers,
    /// it is added to the index of the subject's referrers. The operation ends with
    /// [`Event::Stored`](crate::Event::Stored) and [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-7, "Referrers Tag Schema".
    pub fn push_manifest(&mut self, reference: &Reference, manifest: Manifest, tags: Vec<Tag>) -> OpId {
        self.note_start(|| Start::PushManifest(reference.clone(), manifest.clone(), tags.clone()));
        self.start_at(reference, Use::Push, |_, at, config| {
            put_manifest::put_manifest(at.target, &at.reference, manifest, tags, config)
        })
    }

    /// Sets tags for the document that `reference` names, in the same repository.
    ///
    /// The operation reports [`Event::Resolved`](crate::Event::Resolved) for the document, and ends with
    /// [`Event::Stored`](crate::Event::Stored) and [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-3 and end-7.
    pub fn tag(&mut self, reference: &Reference, tags: Vec<Tag>) -> OpId {
        self.note_start(|| Start::Tag(reference.clone(), tags.clone()));
        self.start_at(reference, Use::Push, |_, at, config| {
            let lookup = Lookup::new(at.target, &at.reference, None, true, config);
            Box::new(put_manifest::tag(lookup, tags, config))
        })
    }

    /// Lists the tags of the repository of `reference`.
    ///
    /// The operation reports [`Event::Tags`](crate::Event::Tags) for each page, then
    /// [`Event::LeftOut`](crate::Event::LeftOut) if entries are not valid tags, and
    /// [`Event::Done`](crate::Event::Done). Each tag is reported once, in the registry's order. The next page is
    /// requested once the tags of the previous one were reported. `page_size` is the maximum number of tags on a page;
    /// `None` leaves it to the registry, which may also ignore it.
    ///
    /// Source: distribution-spec, end-8a and end-8b.
    pub fn tags(&mut self, reference: &Reference, page_size: Option<NonZeroUsize>) -> OpId {
        self.note_start(|| Start::Tags(reference.clone(), page_size));
        let n = page_size.map(NonZeroUsize::get);
        self.start_at(reference, Use::Registry, |_, at, config| {
            Box::new(tags(at.target, at.reference.repository(), n, &config.limits))
        })
    }

    /// Finds out whether a registry speaks the protocol, and accepts the login that the driver supplies if it asks for
    /// one.
    ///
    /// The operation reports [`Event::Accepted`](crate::Event::Accepted), then [`Event::Done`](crate::Event::Done).
    /// A registry that serves everyone asks for no login, and some accept any login here and refuse it later.
    ///
    /// Source: distribution-spec, end-1.
    pub fn check_access(&mut self, registry: &Registry) -> OpId {
        self.note_start(|| Start::CheckAccess(registry.clone()));
        let op = match self.locate_registry(registry) {
            Ok(target) => Box::new(Access::new(target)) as Box<dyn Operation>,
            Err(error) => Box::new(Deliver::failed(error)),
        };
        self.start(op)
    }

    /// Lists the repositories of a registry. Many registries do not offer this, or only to administrators.
    ///
    /// The operation reports [`Event::Repositories`](crate::Event::Repositories) for each page, and otherwise
    /// behaves like [`tags`](Self::tags).
    ///
    /// Source: Docker's registry API, "Listing Repositories"; it is not in the specification.
    pub fn repositories(&mut self, registry: &Registry, page_size: Option<NonZeroUsize>) -> OpId {
        self.note_start(|| Start::Repositories(registry.clone(), page_size));
        let n = page_size.map(NonZeroUsize::get);
        let op = match self.locate_registry(registry) {
            Ok(target) => Box::new(repositories(target, n, &self.config.limits)) as Box<dyn Operation>,
            Err(error) => Box::new(Deliver::failed(error)),
        };
        self.start(op)
    }

    /// Lists the manifests whose subject is the manifest of `reference`, all of them or those of one artifact
    /// type.
    ///
    /// A tag is resolved first, which reports [`Event::Resolved`](crate::Event::Resolved). The operation then
    /// reports [`Event::Referrers`](crate::Event::Referrers) for each page, and
    /// [`Event::Done`](crate::Event::Done). If the registry does not list referrers, the index under the fallback
    /// tag is read. A manifest without referrers, or that does not exist, has an empty list.
    ///
    /// Source: distribution-spec, end-12a and end-12b, and "Referrers Tag Schema".
    pub fn referrers(&mut self, reference: &Reference, artifact_type: Option<&MediaType>) -> OpId {
        self.note_start(|| Start::Referrers(reference.clone(), artifact_type.cloned()));
        let artifact_type = artifact_type.cloned();
        self.start_at(reference, Use::Registry, |_, Located { target, reference }, config| {
            let (repository, limits) = (reference.repository().clone(), config.limits.clone());
            if let Some(subject) = reference.digest() {
                let subject = subject.clone();
                return Box::new(Referrers::new(target, repository, subject, artifact_type, &limits));
            }
            let lookup = Lookup::new(target.clone(), &reference, None, false, config);
            Box::new(Rooted::new(lookup, move |root, _| {
                Box::new(Referrers::new(target, repository, root.digest, artifact_type, &limits))
            }))
        })
    }

    /// Deletes the tag of `reference`, or the manifest if the reference has a digest.
    ///
    /// Deleting a manifest also removes all tags that name it. Deleting a tag removes nothing else; many registries
    /// do not allow it, and the operation then fails, without deleting the manifest. The operation ends with
    /// [`Event::Done`](crate::Event::Done), or fails with an error for which
    /// [`is_not_found`](crate::Error::is_not_found) is true if there is nothing to delete.
    ///
    /// Source: distribution-spec, end-9.
    pub fn delete(&mut self, reference: &Reference) -> OpId {
        self.note_start(|| Start::Delete(reference.clone()));
        self.start_at(reference, Use::Registry, |_, at, _| {
            Box::new(Delete::new(at.target, manifest_of(&at.reference)))
        })
    }

    /// Deletes the blob with the digest of `reference`.
    ///
    /// Manifests that refer to the blob stay. The operation ends like [`delete`](Self::delete).
    ///
    /// Source: distribution-spec, end-10.
    pub fn delete_blob(&mut self, reference: &Reference) -> OpId {
        self.note_start(|| Start::DeleteBlob(reference.clone()));
        self.start_at(reference, Use::Registry, |_, at, _| match blob_of(&at.reference) {
            Ok(endpoint) => Box::new(Delete::new(at.target, endpoint)),
            Err(error) => Box::new(Deliver::failed(error)),
        })
    }

    /// Finds out whether the registry has the manifest of `reference`, without fetching it.
    ///
    /// The operation reports [`Event::Exists`](crate::Event::Exists) and [`Event::Done`](crate::Event::Done).
    /// Content of a repository that does not exist does not exist either.
    ///
    /// Source: distribution-spec, end-3.
    pub fn exists(&mut self, reference: &Reference) -> OpId {
        self.note_start(|| Start::Exists(reference.clone()));
        self.start_at(reference, Use::Registry, |_, at, _| {
            Box::new(Exists::manifest(at.target, manifest_of(&at.reference)))
        })
    }

    /// Finds out whether the repository of `reference` has the blob with its digest, without fetching it.
    ///
    /// Like [`exists`](Self::exists).
    ///
    /// Source: distribution-spec, end-2.
    pub fn blob_exists(&mut self, reference: &Reference) -> OpId {
        self.note_start(|| Start::BlobExists(reference.clone()));
        self.start_at(reference, Use::Registry, |_, at, _| match blob_of(&at.reference) {
            Ok(endpoint) => Box::new(Exists::blob(at.target, endpoint)),
            Err(error) => Box::new(Deliver::failed(error)),
        })
    }

    /// Starts an operation at the place of a reference, or one that fails if the configuration of registries does not
    /// permit it.
    fn start_at(
        &mut self,
        reference: &Reference,
        purpose: Use,
        begin: impl FnOnce(OpId, Located, &Config) -> Box<dyn Operation>,
    ) -> OpId {
        let id = self.ids.op();
        let op = match self.locate(reference, purpose) {
            Ok(located) => begin(id, located, &self.config),
            Err(error) => Box::new(Deliver::failed(error)),
        };
        self.start_as(id, op)
    }

    fn locate(&self, reference: &Reference, purpose: Use) -> Result<Located, Error> {
        let invalid = |error| Error::new(InvalidRequest::Route(error));
        let Route { primary, mirrors } = self.config.registries.route(reference).map_err(invalid)?;
        let mut target = self.target(&primary);
        match purpose {
            Use::Pull => {
                let mirror = |mirror: MirrorPlace| Mirror {
                    target: Arc::new(self.target(&mirror.place)),
                    has_tags: mirror.has_tags,
                };
                target.mirrors = mirrors.into_iter().map(mirror).collect();
            }
            Use::Push => target.is_written = true,
            Use::Registry => {}
        }
        Ok(Located { reference: primary.reference, target: Arc::new(target) })
    }

    fn locate_registry(&self, registry: &Registry) -> Result<Arc<Target>, Error> {
        let insecure = self.config.registries.route_to_registry(registry);
        let insecure = insecure.map_err(|error| Error::new(InvalidRequest::Route(error)))?;
        let is_plain = insecure || self.config.plain_http.allows(registry.api_host());
        Ok(Arc::new(Target::to_registry(registry, is_plain)))
    }

    fn target(&self, place: &Place) -> Target {
        let (registry, repository) = (place.reference.registry(), place.reference.repository());
        let is_plain = place.insecure || self.config.plain_http.allows(registry.api_host());
        Target::to_repository(registry, repository, is_plain)
    }

    /// Returns where the repository is from which a blob is to be mounted, if it is in the registry of the destination.
    fn mounted(&self, reference: &Reference, mount: Option<&Repository>) -> Option<Repository> {
        let registries = &self.config.registries;
        let from = reference.moved_to(reference.registry().clone(), mount?.clone()).ok()?;
        let [from, to] = [&from, reference].map(|reference| registries.route(reference).ok());
        let (from, to) = (from?.primary.reference, to?.primary.reference);
        (from.registry() == to.registry()).then(|| from.repository().clone())
    }

    pub(super) fn start(&mut self, op: Box<dyn Operation>) -> OpId {
        let id = self.ids.op();
        self.start_as(id, op)
    }

    fn start_as(&mut self, id: OpId, op: Box<dyn Operation>) -> OpId {
        let running = Running::new(op);
        self.targets += running.targets;
        self.ops.insert(id, running);
        self.wake(id);
        id
    }
}

/// What an operation does with a reference.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// Reads content, also from mirrors.
    Pull,
    /// Asks or changes the registry itself.
    Registry,
    /// Writes content to the registry itself.
    Push,
}

/// A reference at the place of its content.
struct Located {
    reference: Reference,
    target: Arc<Target>,
}

/// Returns the endpoint of a manifest, by its digest if the reference has one.
fn manifest_of(reference: &Reference) -> Endpoint {
    Endpoint::Manifest(reference.repository().clone(), reference.exact_name(), Vec::new(), None)
}

/// Returns the endpoint of the blob with the digest of a reference.
fn blob_of(reference: &Reference) -> Result<Endpoint, Error> {
    let digest = reference.digest().ok_or_else(|| Error::new(InvalidRequest::BlobWithoutDigest))?;
    Ok(Endpoint::Blob(reference.repository().clone(), digest.clone()))
}
