//! The methods that write to registries.

use std::sync::Arc;

use oci_proto::{Descriptor, Error, Manifest, Reference, Session, Stored, Tag};
use oci_proto_common::{
    Artifact, AttachError, BlobSource, OneBlob, ProgressHook, StreamOptions, TransferOptions, TreeSource,
    UploadOptions,
};
use tokio::io::AsyncRead;

use crate::call::Call;
use crate::client::Client;
use crate::stream::{self, BlobWriter};
use crate::upload;

impl Client {
    /// Uploads a blob to the repository of `reference`. Returns how it came to be there.
    ///
    /// Nothing is sent if the repository has the blob, or if the registry mounts it from the repository in
    /// `options`. The source is read on blocking threads and verified while it is sent: content that does not
    /// match the descriptor is never stored. An interrupted upload resumes where the registry says.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use oci_proto_tokio::oci_proto::{Algorithm, MediaType, Stored};
    /// use oci_proto_tokio::{FileSource, UploadOptions};
    ///
    /// let file = FileSource::open("layer.tar")?;
    /// let descriptor = file.describe(MediaType::OCTET_STREAM, Algorithm::Sha256)?;
    /// let repository = "registry.example/app".parse()?;
    /// match client.upload(&repository, &descriptor, file, UploadOptions::default()).await? {
    ///     Stored::Existing => println!("the registry has {} already", descriptor.digest),
    ///     _ => println!("stored {}", descriptor.digest),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the registry refuses the blob, violates the protocol, or cannot be reached. If the
    /// source cannot be read or is not what the descriptor says, the error is a
    /// [`FaultKind::Storage`](oci_proto::FaultKind::Storage) that names the digest.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the upload, also at the registry if the client lives on. A read of the source
    /// that is in progress ends later.
    pub async fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: impl BlobSource + 'static,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        let begin = |session: &mut Session| session.upload(reference, descriptor, options.mount.as_ref());
        let call = Call::start(self.shared.clone(), "upload", begin);
        let sent = upload::send(call, Some(Arc::new(OneBlob::new(source))), options.progress).await?;
        let (_, stored) = sent.last();
        Ok(stored)
    }

    /// Pushes everything under `root` to the repository of `reference`, and names the root with its tag, if it has
    /// one.
    ///
    /// Nothing that the repository has is sent again. The tree, such as an image layout on disk, is read on blocking
    /// threads and verified while it is sent. A document is stored after everything that it refers
    /// to, and the root last, so a push that fails leaves nothing that refers to missing content.
    ///
    /// With [`PushOptions::referrers`](oci_proto::PushOptions::referrers), everything that
    /// [`TreeSource::referrers`](crate::TreeSource::referrers) finds for the tree, such as signatures, is sent too.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use oci_proto_tokio::TransferOptions;
    /// use oci_proto_tokio::oci_proto::server::Memory;
    ///
    /// let (tree, root) = Memory::sample();
    /// client.push(&root, &"registry.example/app:1.0".parse()?, tree, TransferOptions::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if content is missing in the tree or is not what its descriptor says, if the registry refuses
    /// the content, violates the protocol, or cannot be reached, or if `reference` has another digest than the root.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the push, and its uploads at the registry if the client lives on. The next push
    /// sends only what is missing.
    pub async fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: impl TreeSource + 'static,
        options: TransferOptions,
    ) -> Result<(), Error> {
        let TransferOptions { push, progress, .. } = options;
        let call = Call::start(self.shared.clone(), "push", |session| session.push(root, reference, push));
        upload::send(call, Some(Arc::new(tree)), progress).await.map(drop)
    }

    /// Copies everything under `from` to the repository of `to`, and names the root with its tag, if it has one.
    /// Returns the root's descriptor.
    ///
    /// Within a registry, blobs are mounted. Between registries they are streamed, with flat memory; nothing is stored
    /// on this machine. Nothing that the destination has is sent again.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use oci_proto_tokio::TransferOptions;
    ///
    /// let (from, to) = ("docker.io/library/alpine:3.20".parse()?, "registry.example/alpine:3.20".parse()?);
    /// let root = client.copy(&from, &to, TransferOptions::default()).await?;
    /// println!("copied {}", root.digest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if content under `from` is missing or invalid, if a registry refuses a request, violates the
    /// protocol, or cannot be reached, or if `to` has another digest than the root.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the copy, and its uploads at the registry if the client lives on. The next copy
    /// sends only what is missing.
    pub async fn copy(
        &self,
        from: &Reference,
        to: &Reference,
        options: TransferOptions,
    ) -> Result<Descriptor, Error> {
        let TransferOptions { push, progress, .. } = options;
        let call = Call::start(self.shared.clone(), "copy", |session| session.copy(from, to, push));
        let sent = upload::send(call, None, progress).await?;
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
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (_, manifest) = client.manifest(&"registry.example/app:1.0".parse()?, None).await?;
    /// let tags = vec!["1".parse()?];
    /// client.push_manifest(&"registry.example/app:1.0.1".parse()?, &manifest, tags).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`push`](Self::push).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The document may be stored.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        let begin = |session: &mut Session| session.push_manifest(reference, manifest.clone(), tags);
        let sent = upload::send(
            Call::start(self.shared.clone(), "push_manifest", begin),
            None,
            ProgressHook::default(),
        );
        Ok(sent.await?.last())
    }

    /// Sets tags for the document that `reference` names, in the same repository. Returns its descriptor.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.tag(&"registry.example/app:1.0".parse()?, vec!["latest".parse()?]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the repository does not have the document, or if the registry refuses a tag, violates the
    /// protocol, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. Some tags may be set.
    pub async fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        let call = Call::start(self.shared.clone(), "tag", |session| session.tag(reference, tags));
        let sent = upload::send(call, None, ProgressHook::default()).await?;
        Ok(sent.root())
    }

    /// Pushes an artifact with the document that `subject` names as its subject, to the same repository, by its digest.
    /// Returns its descriptor, with which registries list it among the referrers of the subject. With a platform in
    /// the options, the subject is the image in an index that matches it best.
    ///
    /// If the registry does not list referrers, the artifact is added to the index of the subject's referrers.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use oci_proto_tokio::{Artifact, TransferOptions};
    ///
    /// let mut sbom = Artifact::new("application/spdx+json".parse()?);
    /// sbom.add_file("sbom.spdx.json", "application/spdx+json".parse()?)?;
    /// let image = "registry.example/app:1.0".parse()?;
    /// let attached = client.attach(&image, sbom, TransferOptions::default()).await?;
    /// println!("attached {}", attached.digest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the repository does not have the subject, if a file of the artifact has changed, if its
    /// manifest would be too large, or if the registry refuses it, violates the protocol, or cannot be reached.
    ///
    /// # Cancel safety
    /// See [`push`](Self::push).
    pub async fn attach(
        &self,
        subject: &Reference,
        artifact: Artifact,
        options: TransferOptions,
    ) -> Result<Descriptor, AttachError> {
        let resolved = self.resolve(subject, options.push.platform.as_ref()).await?;
        let (root, tree) = artifact.build(Some(&resolved))?;
        self.push(&root, &subject.at(root.digest.clone()), tree, options).await?;
        Ok(root)
    }

    /// Uploads everything that `reader` returns, as one blob, to the repository of `reference`. Returns its
    /// descriptor, whose media type is `application/octet-stream`.
    ///
    /// The bytes are hashed while they are sent, in chunks of
    /// [`Limits::chunk_bytes`](oci_proto::Limits::chunk_bytes) or as much as the registry demands. One chunk is
    /// held until the registry has acknowledged it, and the next one is read meanwhile.
    ///
    /// ```no_run
    /// # async fn example(client: oci_proto_tokio::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use oci_proto_tokio::StreamOptions;
    ///
    /// let repository = "registry.example/app".parse()?;
    /// let blob = client.upload_stream(&repository, tokio::io::empty(), StreamOptions::default()).await?;
    /// println!("{} has {} bytes", blob.digest, blob.size);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the reader fails, as a [`FaultKind::Storage`](oci_proto::FaultKind::Storage), or if the
    /// registry refuses the blob, violates the protocol, has lost bytes that it had acknowledged, or cannot be reached.
    /// docker-registry 2.8 loses them if a connection breaks in the middle of a chunk.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the upload, also at the registry if the client lives on. Bytes that were read
    /// are lost.
    pub async fn upload_stream(
        &self,
        reference: &Reference,
        reader: impl AsyncRead,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        let begin = |session: &mut Session| session.upload_stream(reference, options.algorithm);
        stream::upload(Call::start(self.shared.clone(), "upload_stream", begin), reader, options.progress)
            .await
    }

    /// Returns a writer of a blob in the repository of `reference`. The blob exists once the writer is
    /// [finished](BlobWriter::finish).
    pub fn blob_writer(&self, reference: &Reference, options: StreamOptions) -> BlobWriter {
        let (reference, algorithm) = (reference.clone(), options.algorithm);
        let begin = move |session: &mut Session| session.upload_stream(&reference, algorithm);
        BlobWriter::new(Call::later(self.shared.clone(), "upload_stream", begin), options.progress)
    }
}
