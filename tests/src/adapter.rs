//! Both adapters behind one trait, so that each test covers both.

use std::fmt;
use std::io::{self};
use std::num::NonZeroUsize;
use std::sync::Arc;

use oci_proto::{
    Descriptor, Error, Finding, Manifest, MediaType, Node, Platform, PullOptions, Reference, Referrer,
    Registry, Repository, Stored, Tag, WalkOptions,
};
use oci_proto_common::{
    BlobSource, Metrics, Settings, StreamOptions, TransferOptions, TreeSource, UploadOptions,
};
use oci_proto_tokio::layout::{LayoutDestination, PullError};
use tokio::io::AsyncRead;

/// The operations of both adapters.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// The adapter's name, as for `ocip --adapter`.
    fn name(&self) -> &'static str;

    /// Resolves a reference to its descriptor.
    ///
    /// # Errors
    /// The adapter's.
    fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error>;

    /// Reads a manifest.
    ///
    /// # Errors
    /// The adapter's.
    fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error>;

    /// Walks a tree, and passes each node to `take` as it arrives.
    ///
    /// # Errors
    /// The adapter's.
    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error>;

    /// Verifies everything under a reference, and passes each finding to `take` as it arrives.
    ///
    /// # Errors
    /// The adapter's.
    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error>;

    /// Pulls everything under a reference into a layout on disk.
    ///
    /// # Errors
    /// The adapter's.
    fn pull(
        &self,
        reference: &Reference,
        mirror: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, PullError>;

    /// Writes a blob.
    ///
    /// # Errors
    /// The adapter's.
    fn blob_to(&self, of: Blob<'_>, writer: &mut dyn Writer) -> Result<u64, Error>;

    /// Reads a blob of at most `limit` bytes.
    ///
    /// # Errors
    /// The adapter's.
    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error>;

    /// Reads a blob to its end.
    ///
    /// # Errors
    /// The reader's.
    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>>;

    /// Uploads a blob from a source.
    ///
    /// # Errors
    /// The adapter's.
    fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        options: UploadOptions,
    ) -> Result<Stored, Error>;

    /// Uploads a stream from a reader.
    ///
    /// # Errors
    /// The adapter's.
    fn upload_stream(
        &self,
        reference: &Reference,
        reader: &mut dyn Reader,
        options: StreamOptions,
    ) -> Result<Descriptor, Error>;

    /// Uploads a stream through a writer, in parts.
    ///
    /// # Errors
    /// The writer's.
    fn blob_write(
        &self,
        reference: &Reference,
        parts: &mut dyn Iterator<Item = Vec<u8>>,
        options: StreamOptions,
    ) -> io::Result<Descriptor>;

    /// Pushes a tree.
    ///
    /// # Errors
    /// The adapter's.
    fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: Arc<dyn TreeSource>,
        options: TransferOptions,
    ) -> Result<(), Error>;

    /// Copies a tree.
    ///
    /// # Errors
    /// The adapter's.
    fn copy(&self, from: &Reference, to: &Reference, options: TransferOptions) -> Result<Descriptor, Error>;

    /// Pushes a document.
    ///
    /// # Errors
    /// The adapter's.
    fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error>;

    /// Sets tags.
    ///
    /// # Errors
    /// The adapter's.
    fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error>;

    /// Writes to the writer of a blob and drops it. The client then lives on until `until` is true, or for ten
    /// seconds.
    ///
    /// # Errors
    /// The writer's.
    fn blob_abandon(&self, reference: &Reference, bytes: &[u8], until: &dyn Fn() -> bool) -> io::Result<()>;

    /// Lets the client work in the background until this is true, but at most 20 s.
    fn work_until(&self, until: &dyn Fn() -> bool);

    /// Lists the tags of a repository, and returns the number of entries that were left out.
    ///
    /// # Errors
    /// The adapter's.
    fn tags(
        &self,
        reference: &Reference,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Tag),
    ) -> Result<u64, Error>;

    /// Returns whether the registry accepted a login.
    ///
    /// # Errors
    /// The adapter's.
    fn check_access(&self, registry: &Registry) -> Result<bool, Error>;

    /// Lists the repositories of a registry, and returns the number of entries that were left out.
    ///
    /// # Errors
    /// The adapter's.
    fn repositories(
        &self,
        registry: &Registry,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Repository),
    ) -> Result<u64, Error>;

    /// Lists the referrers of a manifest.
    ///
    /// # Errors
    /// The adapter's.
    fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer),
    ) -> Result<(), Error>;

    /// Deletes a tag or a manifest, or a blob.
    ///
    /// # Errors
    /// The adapter's.
    fn delete(&self, reference: &Reference, is_blob: bool) -> Result<(), Error>;

    /// Returns whether the registry has a manifest, or a blob.
    ///
    /// # Errors
    /// The adapter's.
    fn exists(&self, reference: &Reference, is_blob: bool) -> Result<bool, Error>;

    /// The number of requests sent, as counted by the adapter.
    fn requests(&self) -> u64 {
        self.metrics().requests
    }

    /// What the client has done so far.
    fn metrics(&self) -> Metrics;

    /// All nodes of a walk.
    ///
    /// # Errors
    /// The adapter's.
    fn walk(&self, reference: &Reference, options: WalkOptions) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        self.each(reference, options, &mut |node| nodes.push(node))?;
        Ok(nodes)
    }

    /// Downloads a blob through a writer.
    ///
    /// # Errors
    /// The adapter's.
    fn blob(&self, reference: &Reference, size: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.blob_to(Blob::Named(reference, size), &mut bytes)?;
        Ok(bytes)
    }
}

/// The two ways to identify a blob.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are only two ways")]
pub enum Blob<'a> {
    /// Its repository and digest, and its size if known.
    Named(&'a Reference, Option<u64>),
    /// Its repository and its descriptor.
    Described(&'a Reference, &'a Descriptor),
}

/// A writer for either adapter.
pub trait Writer: io::Write + tokio::io::AsyncWrite + Send + Unpin {}
impl<W: io::Write + tokio::io::AsyncWrite + Send + Unpin> Writer for W {}

/// A reader for either adapter.
pub trait Reader: io::Read + AsyncRead + Send + Unpin {}
impl<R: io::Read + AsyncRead + Send + Unpin> Reader for R {}

/// Builds a new client.
pub type Make = fn(&Settings) -> Box<dyn Adapter>;
