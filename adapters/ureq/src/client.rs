//! The client: one method a verb.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{
    Config, Descriptor, Error, Event, Finding, Manifest, OpId, Platform, Reference, Session, WalkOptions,
};
use oci_proto_credentials::Store;

use crate::call::{Call, Later};
use crate::driver::Shared;
use crate::hooks::Hooks;
use crate::pool::Driver;
use crate::transport::Transport;
use crate::{BlobReader, BuildError, Builder, Walk, blob};

/// A client of OCI registries.
///
/// Cheap to clone; clones are one client. Its calls may run on several threads at the same time. Dropping
/// the last clone, with the last [`Walk`] and [`BlobReader`], ends its threads and closes its connections.
#[derive(Clone)]
pub struct Client {
    driver: Arc<Driver>,
    timeout: Option<Duration>,
}

impl Client {
    /// Makes a client with default settings.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Makes a client with settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(
        config: Config,
        credentials: Store,
        transport: Transport,
        timeout: Option<Duration>,
        hooks: Hooks,
    ) -> Self {
        let threads = config.limits.in_flight.max(1);
        // Seeds nothing but the jitter of retries: the standard library's own source of variety will do.
        let seed = RandomState::new().hash_one(());
        let shared = Shared::new(Session::new(config, seed), credentials, transport, hooks, threads);
        Self { driver: Arc::new(Driver(shared)), timeout }
    }

    /// Says what a reference names. With a platform, that is the manifest that fits it best in the index
    /// that the reference names.
    ///
    /// # Errors
    /// The registry lacks it, refuses it, breaks a rule, or cannot be reached.
    pub fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        let call = self.call(|session| session.resolve(reference, platform));
        let mut resolved = None;
        loop {
            match call.event() {
                Event::Resolved(descriptor) => resolved = Some(descriptor),
                Event::Done => {
                    return Ok(resolved.expect("a session resolves before it is done"));
                }
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Reads the manifest that a reference names, verified, with the descriptor that names it.
    ///
    /// # Errors
    /// The registry lacks it, refuses it, breaks a rule, or cannot be reached.
    pub fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        let call = self.call(|session| session.manifest(reference, platform));
        let mut found = None;
        loop {
            match call.event() {
                Event::Manifest(descriptor, manifest) => found = Some((descriptor, manifest)),
                Event::Done => return Ok(found.expect("a session tells the manifest before it is done")),
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Walks everything under a reference: an iterator of nodes, in the depth-first pre-order of the documents.
    pub fn walk(&self, reference: &Reference, options: WalkOptions) -> Walk {
        let reference = reference.clone();
        Walk::new(self.later(move |session| session.walk(&reference, options)))
    }

    /// Takes everything under a reference into a layout on disk, and makes it a root there, under the reference's
    /// tag if it has one; returns the root's descriptor.
    ///
    /// What the layout has already is not fetched, and partial blobs are gone on with. Blobs are written by threads
    /// of this call's own, as many as there may be requests in flight.
    ///
    /// # Errors
    /// Something under the reference is missing or wrong, the registry cannot be reached, or the layout cannot be
    /// written. What was written stays, for the next pull to go on with.
    #[cfg(feature = "pull")]
    #[expect(clippy::needless_pass_by_value, reason = "a pull has its layout for itself")]
    pub fn pull(
        &self,
        reference: &Reference,
        mirror: oci_proto_layout::LayoutDestination,
        options: oci_proto::PullOptions,
    ) -> Result<Descriptor, oci_proto_layout::PullError> {
        let call = self.call(|session| session.pull(reference, options));
        let name = reference.tag().map(oci_proto::layout::RefName::from);
        crate::pull::pull(&call, &mirror, name.as_ref())
    }

    /// Fetches and verifies everything under a reference, blobs included, and tells all that is missing or wrong.
    /// With a platform, only what fits it best.
    ///
    /// # Errors
    /// The root cannot be had, or the registry cannot be reached.
    pub fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        mut found: impl FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        let call = self.call(|session| session.check(reference, platform));
        let mut root = None;
        loop {
            match call.event() {
                Event::Resolved(descriptor) => root = Some(descriptor),
                Event::Finding(finding) => found(finding),
                Event::Done => return Ok(root.expect("a session resolves before it is done")),
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Writes a blob into `writer`, and flushes it; returns the number of bytes written.
    ///
    /// The reference has a digest. `size`, where known, bounds the blob. Bytes are written before they
    /// are verified as a whole: what was written is the blob only if this succeeds.
    ///
    /// # Errors
    /// The registry lacks it, refuses it, sends something else, or cannot be reached; or the writer fails.
    pub fn blob_to(
        &self,
        reference: &Reference,
        size: Option<u64>,
        writer: impl Write,
    ) -> Result<u64, Error> {
        blob::write(self.call(|session| session.blob(reference, size)), writer)
    }

    /// Writes the blob that a descriptor names into `writer`, from the repository of `reference`.
    ///
    /// As [`blob_to`](Self::blob_to); content that the descriptor itself carries needs no request.
    ///
    /// # Errors
    /// As [`blob_to`](Self::blob_to).
    pub fn described_blob_to(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        writer: impl Write,
    ) -> Result<u64, Error> {
        blob::write(self.call(|session| session.described_blob(reference, descriptor)), writer)
    }

    /// Reads a blob as it arrives. The reference has a digest. `size`, where known, bounds the blob.
    pub fn blob(&self, reference: &Reference, size: Option<u64>) -> BlobReader {
        let reference = reference.clone();
        BlobReader::new(self.later(move |session| session.blob(&reference, size)))
    }

    /// Reads the blob that a descriptor names as it arrives, from the repository of `reference`. Content that
    /// the descriptor itself carries needs no request.
    pub fn described_blob(&self, reference: &Reference, descriptor: &Descriptor) -> BlobReader {
        let (reference, descriptor) = (reference.clone(), descriptor.clone());
        BlobReader::new(self.later(move |session| session.described_blob(&reference, &descriptor)))
    }

    /// Reads a blob of at most `limit` bytes, verified. The reference has a digest. A `size` beyond the limit
    /// fails without a request.
    ///
    /// # Errors
    /// As [`blob_to`](Self::blob_to), or the blob is larger than `limit`.
    pub fn blob_bytes(&self, reference: &Reference, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
        blob::collect(self.call(|session| session.blob(reference, size)), size, limit)
    }

    /// Reads the blob that a descriptor names, of at most `limit` bytes, from the repository of `reference`.
    ///
    /// As [`blob_bytes`](Self::blob_bytes); content that the descriptor itself carries needs no request.
    ///
    /// # Errors
    /// As [`blob_bytes`](Self::blob_bytes).
    pub fn described_blob_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = self.call(|session| session.described_blob(reference, descriptor));
        blob::collect(call, Some(descriptor.size), limit)
    }

    /// How many HTTP requests this client and its clones have sent.
    pub fn requests(&self) -> u64 {
        self.driver.0.transport.requests()
    }

    fn call(&self, begin: impl FnOnce(&mut Session) -> OpId) -> Call {
        Call::start(Arc::clone(&self.driver), self.timeout, begin)
    }

    /// A call that starts when it is first used.
    fn later(&self, begin: impl FnOnce(&mut Session) -> OpId + Send + 'static) -> Later {
        let client = self.clone();
        Box::new(move || client.call(begin))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("requests", &self.requests()).finish_non_exhaustive()
    }
}
