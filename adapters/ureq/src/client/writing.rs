//! The methods that write to registries.

use std::io::Read;

use oci_proto::{Descriptor, Error, Manifest, Reference, Stored, Tag};
use oci_proto_common::{
    Artifact, AttachError, BlobSource, OneBlob, ProgressHook, StreamOptions, TransferOptions, TreeSource,
    UploadOptions,
};

use crate::client::Client;
use crate::stream::{self, BlobWriter};
use crate::upload;

impl Client {
    /// Uploads a blob to the repository of `reference`. Returns how it came to be there.
    ///
    /// Nothing is sent if the repository has the blob, or if the registry mounts it from the repository in
    /// `options`. The source is verified while it is sent: content that does not match the descriptor is never
    /// stored. An interrupted upload resumes where the registry says.
    ///
    /// ```no_run
    /// use oci_proto_ureq::oci_proto::{Algorithm, MediaType, Stored};
    /// use oci_proto_ureq::{Client, FileSource, UploadOptions};
    ///
    /// let client = Client::new()?;
    /// let file = FileSource::open("layer.tar")?;
    /// let descriptor = file.describe(MediaType::OCTET_STREAM, Algorithm::Sha256)?;
    /// let repository = "registry.example/app".parse()?;
    /// match client.upload(&repository, &descriptor, file, UploadOptions::default())? {
    ///     Stored::Existing => println!("the registry has {} already", descriptor.digest),
    ///     _ => println!("stored {}", descriptor.digest),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the registry refuses the blob, violates the protocol, or cannot be reached. If the
    /// source cannot be read or is not what the descriptor says, the error is a
    /// [`FaultKind::Storage`](oci_proto::FaultKind::Storage) that names the digest. A failed upload is
    /// cancelled at the registry if the client lives on.
    pub fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: impl BlobSource + 'static,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        let UploadOptions { mount, progress, .. } = options;
        let call = self.call("upload", |session| session.upload(reference, descriptor, mount.as_ref()));
        let sent = upload::send(call, Some(&OneBlob::new(source)), &progress)?;
        let (_, stored) = sent.last();
        Ok(stored)
    }

    /// Pushes everything under `root` to the repository of `reference`, and names the root with its tag, if it has
    /// one.
    ///
    /// Nothing that the repository has is sent again. The tree, such as an image layout on disk, is verified while it is
    /// sent. A document is stored after everything that it refers to, and the root last, so a push that fails leaves
    /// nothing that refers to missing content. The call starts its own threads, one per blob that is sent.
    ///
    /// With [`PushOptions::referrers`](oci_proto::PushOptions::referrers), everything that
    /// [`TreeSource::referrers`](crate::TreeSource::referrers) finds for the tree, such as signatures, is sent too.
    ///
    /// ```no_run
    /// use oci_proto_ureq::{Client, TransferOptions};
    /// use oci_proto_ureq::oci_proto::server::Memory;
    ///
    /// let (tree, root) = Memory::sample();
    /// Client::new()?.push(&root, &"registry.example/app:1.0".parse()?, &tree, TransferOptions::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if content is missing in the tree or is not what its descriptor says, if the registry refuses
    /// the content, violates the protocol, or cannot be reached, or if `reference` has another digest than the root.
    pub fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: &impl TreeSource,
        options: TransferOptions,
    ) -> Result<(), Error> {
        let TransferOptions { push, progress, .. } = options;
        let call = self.call("push", |session| session.push(root, reference, push));
        upload::send(call, Some(tree), &progress).map(drop)
    }

    /// Copies everything under `from` to the repository of `to`, and names the root with its tag, if it has one.
    /// Returns the root's descriptor.
    ///
    /// Within a registry, blobs are mounted. Between registries they are streamed, with flat memory; nothing is stored
    /// on this machine. Nothing that the destination has is sent again.
    ///
    /// ```no_run
    /// use oci_proto_ureq::{Client, TransferOptions};
    ///
    /// let (from, to) = ("docker.io/library/alpine:3.20".parse()?, "registry.example/alpine:3.20".parse()?);
    /// let root = Client::new()?.copy(&from, &to, TransferOptions::default())?;
    /// println!("copied {}", root.digest);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if content under `from` is missing or invalid, if a registry refuses a request, violates the
    /// protocol, or cannot be reached, or if `to` has another digest than the root.
    pub fn copy(
        &self,
        from: &Reference,
        to: &Reference,
        options: TransferOptions,
    ) -> Result<Descriptor, Error> {
        let TransferOptions { push, progress, .. } = options;
        let call = self.call("copy", |session| session.copy(from, to, push));
        let sent = upload::send(call, None, &progress)?;
        Ok(sent.root())
    }

    /// Pushes one document to the repository of `reference`, under its tag and under `tags`, or under its digest
    /// alone. Returns its descriptor, and whether it was sent.
    ///
    /// Registries refuse a document if they lack what it refers to. A tag that names the document already is not set
    /// again. If the document has a subject and the registry does not list referrers, it is added to the index of the
    /// subject's referrers.
    ///
    /// ```no_run
    /// use oci_proto_ureq::Client;
    ///
    /// let client = Client::new()?;
    /// let (_, manifest) = client.manifest(&"registry.example/app:1.0".parse()?, None)?;
    /// client.push_manifest(&"registry.example/app:1.0.1".parse()?, &manifest, vec!["1".parse()?])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        let call =
            self.call("push_manifest", |session| session.push_manifest(reference, manifest.clone(), tags));
        let sent = upload::send(call, None, &ProgressHook::default())?;
        Ok(sent.last())
    }

    /// Sets tags for the document that `reference` names, in the same repository. Returns its descriptor.
    ///
    /// ```no_run
    /// use oci_proto_ureq::Client;
    ///
    /// Client::new()?.tag(&"registry.example/app:1.0".parse()?, vec!["latest".parse()?])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the repository does not have the document, or if the registry refuses a tag, violates the
    /// protocol, or cannot be reached.
    pub fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        let call = self.call("tag", |session| session.tag(reference, tags));
        let sent = upload::send(call, None, &ProgressHook::default())?;
        Ok(sent.root())
    }

    /// Pushes an artifact with the document that `subject` names as its subject, to the same repository, by its digest.
    /// Returns its descriptor, with which registries list it among the referrers of the subject. With a platform in
    /// the options, the subject is the image in an index that matches it best.
    ///
    /// If the registry does not list referrers, the artifact is added to the index of the subject's referrers.
    ///
    /// ```no_run
    /// use oci_proto_ureq::{Artifact, Client, TransferOptions};
    ///
    /// let mut sbom = Artifact::new("application/spdx+json".parse()?);
    /// sbom.add_file("sbom.spdx.json", "application/spdx+json".parse()?)?;
    /// let image = "registry.example/app:1.0".parse()?;
    /// let attached = Client::new()?.attach(&image, sbom, TransferOptions::default())?;
    /// println!("attached {}", attached.digest);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the repository does not have the subject, if a file of the artifact has changed, if its
    /// manifest would be too large, or if the registry refuses it, violates the protocol, or cannot be reached.
    pub fn attach(
        &self,
        subject: &Reference,
        artifact: Artifact,
        options: TransferOptions,
    ) -> Result<Descriptor, AttachError> {
        let resolved = self.resolve(subject, options.push.platform.as_ref())?;
        let (root, tree) = artifact.build(Some(&resolved))?;
        self.push(&root, &subject.at(root.digest.clone()), &tree, options)?;
        Ok(root)
    }

    /// Uploads everything that `reader` returns, as one blob, to the repository of `reference`. Returns its
    /// descriptor, whose media type is `application/octet-stream`.
    ///
    /// The bytes are hashed and sent in chunks of [`Limits::chunk_bytes`](oci_proto::Limits::chunk_bytes) or as
    /// much as the registry demands. One chunk is held until the registry has acknowledged it. The calling thread
    /// reads and sends in turn. [`Settings::timeout`](crate::Settings::timeout) does not interrupt a read.
    ///
    /// ```no_run
    /// use oci_proto_ureq::{Client, StreamOptions};
    ///
    /// let repository = "registry.example/app".parse()?;
    /// let blob = Client::new()?.upload_stream(&repository, std::io::stdin(), StreamOptions::default())?;
    /// println!("{} has {} bytes", blob.digest, blob.size);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the reader fails, as a [`FaultKind::Storage`](oci_proto::FaultKind::Storage), or if the
    /// registry refuses the blob, violates the protocol, has lost bytes that it had acknowledged, or cannot be reached.
    /// docker-registry 2.8 loses them if a connection breaks in the middle of a chunk. A failed upload is cancelled at
    /// the registry if the client lives on.
    pub fn upload_stream(
        &self,
        reference: &Reference,
        reader: impl Read,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        let StreamOptions { algorithm, progress, .. } = options;
        let call = self.call("upload_stream", |session| session.upload_stream(reference, algorithm));
        stream::upload(call, reader, progress)
    }

    /// Returns a writer of a blob in the repository of `reference`. The blob exists once the writer is
    /// [finished](BlobWriter::finish).
    pub fn blob_writer(&self, reference: &Reference, options: StreamOptions) -> BlobWriter {
        let StreamOptions { algorithm, progress, .. } = options;
        let reference = reference.clone();
        BlobWriter::new(
            self.later("upload_stream", move |session| session.upload_stream(&reference, algorithm)),
            progress,
        )
    }
}
