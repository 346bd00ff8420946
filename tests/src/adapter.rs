//! Both adapters behind one face, so that each test is of both.

mod settings;

use std::fmt;
use std::io::{self, Read as _};

use futures_util::TryStreamExt as _;
use oci_proto::{Descriptor, Error, Finding, Manifest, Node, Platform, PullOptions, Reference, WalkOptions};
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::layout::{LayoutDestination, PullError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::{self, Runtime};

pub use settings::{Hook, Settings};

/// The verbs that both adapters have.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// What the adapter is called, as in `ocip --adapter`.
    fn name(&self) -> &'static str;

    /// Says what a reference names.
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

    /// Walks, and gives each node to `take` as it comes.
    ///
    /// # Errors
    /// The adapter's.
    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error>;

    /// Verifies everything under a reference, and gives each finding to `take` as it comes.
    ///
    /// # Errors
    /// The adapter's.
    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error>;

    /// Takes everything under a reference into a layout on disk.
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

    /// Reads a blob of at most so many bytes.
    ///
    /// # Errors
    /// The adapter's.
    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error>;

    /// Reads a blob to its end.
    ///
    /// # Errors
    /// The reader's.
    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>>;

    /// The requests that it has sent, by its own count.
    fn requests(&self) -> u64;

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

/// What a blob is asked for by.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "these are the two ways")]
pub enum Blob<'a> {
    /// Its repository and digest, and its size where that is known.
    Named(&'a Reference, Option<u64>),
    /// Its repository and its descriptor.
    Described(&'a Reference, &'a Descriptor),
}

/// What either adapter can write to.
pub trait Writer: io::Write + tokio::io::AsyncWrite + Send + Unpin {}
impl<W: io::Write + tokio::io::AsyncWrite + Send + Unpin> Writer for W {}

/// Makes a fresh client.
pub type Make = fn(&Settings) -> Box<dyn Adapter>;

/// What makes a fresh client, by the adapter's name.
pub const MAKERS: [(&str, Make); 2] = [("tokio", tokio), ("ureq", ureq)];

/// A fresh client on each adapter.
///
/// # Panics
/// A client cannot be built.
pub fn adapters() -> [Box<dyn Adapter>; 2] {
    adapters_with(&Settings::default())
}

/// A fresh client on each adapter, with the same settings.
///
/// # Panics
/// A client cannot be built.
pub fn adapters_with(settings: &Settings) -> [Box<dyn Adapter>; 2] {
    MAKERS.map(|(_, make)| make(settings))
}

// Both builders have the same methods, and no trait in common.
macro_rules! build {
    ($builder:expr, $settings:expr) => {{
        let settings = $settings;
        let mut builder = $builder.credentials(settings.credentials.clone().unwrap_or_else(Store::none));
        if let Some(config) = &settings.config {
            builder = builder.config(config.clone());
        }
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(Some(proxy)).expect("the proxy is one");
        }
        if let Some(roots) = &settings.roots {
            builder = builder.add_root_certificates_pem(roots.as_bytes()).expect("the roots are some");
        }
        if let Some(time) = settings.connect_timeout {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = settings.idle_timeout {
            builder = builder.idle_timeout(time);
        }
        if let Some(time) = settings.timeout {
            builder = builder.timeout(time);
        }
        if let Some(hook) = settings.on_retry.clone() {
            builder = builder.on_retry(move |retry| hook.run(retry));
        }
        if let Some(hook) = settings.on_warning.clone() {
            builder = builder.on_warning(move |warning| hook.run(warning));
        }
        builder.build().expect("a client is built")
    }};
}

fn tokio(settings: &Settings) -> Box<dyn Adapter> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    Box::new(Tokio { client: build!(oci_proto_tokio::Client::builder(), settings), runtime })
}

fn ureq(settings: &Settings) -> Box<dyn Adapter> {
    Box::new(Ureq { client: build!(oci_proto_ureq::Client::builder(), settings) })
}

#[derive(Debug)]
struct Tokio {
    client: oci_proto_tokio::Client,
    runtime: Runtime,
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

    fn requests(&self) -> u64 {
        self.client.requests()
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

    fn requests(&self) -> u64 {
        self.client.requests()
    }
}
