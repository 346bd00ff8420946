//! Both adapters behind one face, so that each test is of both.

use std::fmt;

use futures_util::TryStreamExt as _;
use oci_proto::{Descriptor, Error, Manifest, Node, Platform, Reference, WalkOptions};
use tokio::runtime::{self, Runtime};

/// The verbs that both adapters have.
pub trait Adapter: fmt::Debug {
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
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Manifest), Error>;

    /// Walks to the end.
    ///
    /// # Errors
    /// The adapter's.
    fn walk(&self, reference: &Reference, options: WalkOptions) -> Result<Vec<Node>, Error>;

    /// Downloads a blob through a writer.
    ///
    /// # Errors
    /// The adapter's.
    fn blob(&self, reference: &Reference, size: Option<u64>) -> Result<Vec<u8>, Error>;

    /// The requests that it has sent, by its own count.
    fn requests(&self) -> u64;
}

/// A fresh client on each adapter.
///
/// # Panics
/// A client cannot be built.
pub fn adapters() -> [Box<dyn Adapter>; 2] {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let tokio = Tokio { client: oci_proto_tokio::Client::new().expect("a client is built"), runtime };
    let ureq = Ureq { client: oci_proto_ureq::Client::new().expect("a client is built") };
    [Box::new(tokio), Box::new(ureq)]
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

    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Manifest), Error> {
        self.runtime.block_on(self.client.manifest(reference, None))
    }

    fn walk(&self, reference: &Reference, options: WalkOptions) -> Result<Vec<Node>, Error> {
        self.runtime.block_on(self.client.walk(reference, options).try_collect())
    }

    fn blob(&self, reference: &Reference, size: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.runtime.block_on(self.client.blob_to(reference, size, &mut bytes))?;
        Ok(bytes)
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

    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Manifest), Error> {
        self.client.manifest(reference, None)
    }

    fn walk(&self, reference: &Reference, options: WalkOptions) -> Result<Vec<Node>, Error> {
        self.client.walk(reference, options).collect()
    }

    fn blob(&self, reference: &Reference, size: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.client.blob_to(reference, size, &mut bytes)?;
        Ok(bytes)
    }

    fn requests(&self) -> u64 {
        self.client.requests()
    }
}
