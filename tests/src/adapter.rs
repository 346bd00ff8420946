//! Both adapters behind one trait, so that each test covers both.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oci_proto::{
    Descriptor, Error, Finding, Manifest, MediaType, Node, Platform, PullOptions, Reference, Referrer,
    Registry, Repository, Stored, Tag, WalkOptions,
};
use oci_proto_common::{
    BlobSource, Metrics, Settings, StreamOptions, TransferOptions, TreeSource, UploadOptions,
};
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::layout::{LayoutDestination, PullError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{self, Runtime};

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

/// The constructor of each adapter, with its name.
pub const MAKERS: [(&str, Make); 2] = [("tokio", tokio), ("ureq", ureq)];

/// The default settings, without credentials.
pub fn settings() -> Settings {
    Settings::default().credentials(Store::none())
}

/// A new client of each adapter.
///
/// # Panics
/// A client cannot be built.
pub fn adapters() -> [Box<dyn Adapter>; 2] {
    adapters_with(&settings())
}

/// A new client of each adapter, with the same settings.
///
/// # Panics
/// A client cannot be built.
pub fn adapters_with(settings: &Settings) -> [Box<dyn Adapter>; 2] {
    MAKERS.map(|(_, make)| make(settings))
}

fn tokio(settings: &Settings) -> Box<dyn Adapter> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let client = oci_proto_tokio::Client::with_settings(settings.clone()).expect("a client is built");
    Box::new(Tokio { client, runtime })
}

fn ureq(settings: &Settings) -> Box<dyn Adapter> {
    let client = oci_proto_ureq::Client::with_settings(settings.clone()).expect("a client is built");
    Box::new(Ureq { client })
}

#[derive(Debug)]
struct Tokio {
    client: oci_proto_tokio::Client,
    runtime: Runtime,
}

impl Tokio {
    fn list<T: Unpin>(
        &self,
        mut list: oci_proto_tokio::List<T>,
        take: &mut dyn FnMut(T),
    ) -> Result<u64, Error> {
        self.runtime.block_on(async {
            while let Some(entry) = list.try_next().await? {
                take(entry);
            }
            Ok(list.left_out())
        })
    }
}

impl Adapter for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.resolve(reference, platform))
    }

    fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        self.runtime.block_on(self.client.manifest(reference, platform))
    }

    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let mut walk = self.client.walk(reference, options);
            while let Some(node) = walk.try_next().await? {
                take(node);
            }
            Ok(())
        })
    }

    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.check(reference, platform, take))
    }

    fn pull(
        &self,
        reference: &Reference,
        mirror: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, PullError> {
        self.runtime.block_on(self.client.pull(reference, mirror, options))
    }

    fn blob_to(&self, of: Blob<'_>, writer: &mut dyn Writer) -> Result<u64, Error> {
        self.runtime.block_on(async {
            match of {
                Blob::Named(reference, size) => self.client.blob_to(reference, size, writer).await,
                Blob::Described(reference, descriptor) => {
                    self.client.described_blob_to(reference, descriptor, writer).await
                }
            }
        })
    }

    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.runtime.block_on(async {
            match of {
                Blob::Named(reference, size) => self.client.blob_bytes(reference, size, limit).await,
                Blob::Described(reference, descriptor) => {
                    self.client.described_blob_bytes(reference, descriptor, limit).await
                }
            }
        });
        bytes.map(Into::into)
    }

    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>> {
        async fn all(mut reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await?;
            Ok(bytes)
        }
        self.runtime.block_on(all(match of {
            Blob::Named(reference, size) => self.client.blob(reference, size),
            Blob::Described(reference, descriptor) => self.client.described_blob(reference, descriptor),
        }))
    }

    fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        self.runtime.block_on(self.client.upload(reference, descriptor, source, options))
    }

    fn upload_stream(
        &self,
        reference: &Reference,
        reader: &mut dyn Reader,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.upload_stream(reference, reader, options))
    }

    fn blob_write(
        &self,
        reference: &Reference,
        parts: &mut dyn Iterator<Item = Vec<u8>>,
        options: StreamOptions,
    ) -> io::Result<Descriptor> {
        self.runtime.block_on(async {
            let mut writer = self.client.blob_writer(reference, options);
            for part in parts {
                writer.write_all(&part).await?;
            }
            writer.finish().await.map_err(io::Error::other)
        })
    }

    fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: Arc<dyn TreeSource>,
        options: TransferOptions,
    ) -> Result<(), Error> {
        self.runtime.block_on(self.client.push(root, reference, tree, options))
    }

    fn copy(&self, from: &Reference, to: &Reference, options: TransferOptions) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.copy(from, to, options))
    }

    fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        self.runtime.block_on(self.client.push_manifest(reference, manifest, tags))
    }

    fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.tag(reference, tags))
    }

    fn blob_abandon(&self, reference: &Reference, bytes: &[u8], until: &dyn Fn() -> bool) -> io::Result<()> {
        self.runtime.block_on(async {
            let mut writer = self.client.blob_writer(reference, StreamOptions::default());
            writer.write_all(bytes).await?;
            Ok::<_, io::Error>(())
        })?;
        self.work_until(until);
        Ok(())
    }

    fn work_until(&self, until: &dyn Fn() -> bool) {
        self.runtime.block_on(async {
            for _ in 0..10_000 {
                if until() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }

    fn tags(
        &self,
        reference: &Reference,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Tag),
    ) -> Result<u64, Error> {
        self.list(self.client.tags(reference, page_size), take)
    }

    fn check_access(&self, registry: &Registry) -> Result<bool, Error> {
        self.runtime.block_on(self.client.check_access(registry))
    }

    fn repositories(
        &self,
        registry: &Registry,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Repository),
    ) -> Result<u64, Error> {
        self.list(self.client.repositories(registry, page_size), take)
    }

    fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer),
    ) -> Result<(), Error> {
        self.list(self.client.referrers(reference, artifact_type), take).map(drop)
    }

    fn delete(&self, reference: &Reference, is_blob: bool) -> Result<(), Error> {
        self.runtime.block_on(async {
            if is_blob {
                self.client.delete_blob(reference).await
            } else {
                self.client.delete(reference).await
            }
        })
    }

    fn exists(&self, reference: &Reference, is_blob: bool) -> Result<bool, Error> {
        self.runtime.block_on(async {
            if is_blob {
                self.client.blob_exists(reference).await
            } else {
                self.client.exists(reference).await
            }
        })
    }

    fn metrics(&self) -> Metrics {
        self.client.metrics()
    }
}

#[derive(Debug)]
struct Ureq {
    client: oci_proto_ureq::Client,
}

impl Adapter for Ureq {
    fn name(&self) -> &'static str {
        "ureq"
    }

    fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        self.client.resolve(reference, platform)
    }

    fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        self.client.manifest(reference, platform)
    }

    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error> {
        self.client.walk(reference, options).try_for_each(|node| node.map(&mut *take))
    }

    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        self.client.check(reference, platform, take)
    }

    fn pull(
        &self,
        reference: &Reference,
        mirror: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, PullError> {
        self.client.pull(reference, mirror, options)
    }

    fn blob_to(&self, of: Blob<'_>, writer: &mut dyn Writer) -> Result<u64, Error> {
        match of {
            Blob::Named(reference, size) => self.client.blob_to(reference, size, writer),
            Blob::Described(reference, descriptor) => {
                self.client.described_blob_to(reference, descriptor, writer)
            }
        }
    }

    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = match of {
            Blob::Named(reference, size) => self.client.blob_bytes(reference, size, limit),
            Blob::Described(reference, descriptor) => {
                self.client.described_blob_bytes(reference, descriptor, limit)
            }
        };
        bytes.map(Into::into)
    }

    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>> {
        let mut reader = match of {
            Blob::Named(reference, size) => self.client.blob(reference, size),
            Blob::Described(reference, descriptor) => self.client.described_blob(reference, descriptor),
        };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        self.client.upload(reference, descriptor, source, options)
    }

    fn upload_stream(
        &self,
        reference: &Reference,
        reader: &mut dyn Reader,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        self.client.upload_stream(reference, reader, options)
    }

    fn blob_write(
        &self,
        reference: &Reference,
        parts: &mut dyn Iterator<Item = Vec<u8>>,
        options: StreamOptions,
    ) -> io::Result<Descriptor> {
        let mut writer = self.client.blob_writer(reference, options);
        for part in parts {
            writer.write_all(&part)?;
        }
        writer.finish().map_err(io::Error::other)
    }

    fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: Arc<dyn TreeSource>,
        options: TransferOptions,
    ) -> Result<(), Error> {
        self.client.push(root, reference, &tree, options)
    }

    fn copy(&self, from: &Reference, to: &Reference, options: TransferOptions) -> Result<Descriptor, Error> {
        self.client.copy(from, to, options)
    }

    fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        self.client.push_manifest(reference, manifest, tags)
    }

    fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        self.client.tag(reference, tags)
    }

    fn blob_abandon(&self, reference: &Reference, bytes: &[u8], until: &dyn Fn() -> bool) -> io::Result<()> {
        let mut writer = self.client.blob_writer(reference, StreamOptions::default());
        writer.write_all(bytes)?;
        drop(writer);
        self.work_until(until);
        Ok(())
    }

    fn work_until(&self, until: &dyn Fn() -> bool) {
        for _ in 0..10_000 {
            if until() {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn tags(
        &self,
        reference: &Reference,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Tag),
    ) -> Result<u64, Error> {
        take_all(self.client.tags(reference, page_size), take)
    }

    fn check_access(&self, registry: &Registry) -> Result<bool, Error> {
        self.client.check_access(registry)
    }

    fn repositories(
        &self,
        registry: &Registry,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Repository),
    ) -> Result<u64, Error> {
        take_all(self.client.repositories(registry, page_size), take)
    }

    fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer),
    ) -> Result<(), Error> {
        take_all(self.client.referrers(reference, artifact_type), take).map(drop)
    }

    fn delete(&self, reference: &Reference, is_blob: bool) -> Result<(), Error> {
        if is_blob { self.client.delete_blob(reference) } else { self.client.delete(reference) }
    }

    fn exists(&self, reference: &Reference, is_blob: bool) -> Result<bool, Error> {
        if is_blob { self.client.blob_exists(reference) } else { self.client.exists(reference) }
    }

    fn metrics(&self) -> Metrics {
        self.client.metrics()
    }
}

fn take_all<T>(mut list: oci_proto_ureq::List<T>, take: &mut dyn FnMut(T)) -> Result<u64, Error> {
    for entry in &mut list {
        take(entry?);
    }
    Ok(list.left_out())
}
