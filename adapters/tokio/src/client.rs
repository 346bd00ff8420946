//! The client: one method a verb.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{Descriptor, Error, Event, Finding, Manifest, Platform, Reference, Session, WalkOptions};
use oci_proto_credentials::Store;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::call::Call;
use crate::carrying::Rules;
use crate::driver::{Shared, State};
use crate::hooks::Hooks;
use crate::{BlobReader, BuildError, Builder, HyperTransport, Transport, Walk, blob};

/// A client of OCI registries.
///
/// Cheap to clone; clones are one client. Its calls run at the same time. Dropping a call cancels it.
/// Dropping the last clone, with the last of its calls, ends its tasks and closes its connections.
///
/// # Panics
/// Calls panic where they are polled outside a tokio runtime, or on one without I/O or time.
pub struct Client<T: Transport = HyperTransport> {
    shared: Arc<Shared<T>>,
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
}

impl<T: Transport> Client<T> {
    pub(crate) fn over(
        session: Session,
        credentials: Store,
        transport: T,
        timeout: Option<Duration>,
        rules: Rules,
        hooks: Hooks,
    ) -> Self {
        let (credentials, rules) = (Arc::new(credentials), Arc::new(rules));
        let state = Mutex::new(State::new(session, transport));
        let epoch = Instant::now();
        Self { shared: Arc::new(Shared { epoch, timeout, credentials, rules, hooks, state }) }
    }

    /// Says what a reference names. With a platform, that is the manifest that fits it best in the index
    /// that the reference names.
    ///
    /// # Errors
    /// The registry lacks it, refuses it, breaks a rule, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation, and nothing is lost.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Descriptor, Error> {
        let mut call = Call::start(self.shared.clone(), |session| session.resolve(reference, platform));
        let mut resolved = None;
        loop {
            match call.event().await? {
                Event::Resolved(descriptor) => resolved = Some(descriptor),
                Event::Done => return Ok(resolved.expect("a session resolves before it is done")),
                _ => {}
            }
        }
    }

    /// Reads the manifest that a reference names, verified, with the descriptor that names it.
    ///
    /// # Errors
    /// The registry lacks it, refuses it, breaks a rule, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation, and nothing is lost.
    pub async fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        let mut call = Call::start(self.shared.clone(), |session| session.manifest(reference, platform));
        let mut found = None;
        loop {
            match call.event().await? {
                Event::Manifest(descriptor, manifest) => found = Some((descriptor, manifest)),
                Event::Done => return Ok(found.expect("a session tells the manifest before it is done")),
                _ => {}
            }
        }
    }

    /// Walks everything under a reference: a stream of nodes, in the depth-first pre-order of the documents.
    pub fn walk(&self, reference: &Reference, options: WalkOptions) -> Walk<T> {
        let reference = reference.clone();
        Walk::new(Call::later(self.shared.clone(), move |session| session.walk(&reference, options)))
    }

    /// Takes everything under a reference into a layout on disk, and makes it a root there, under the reference's
    /// tag if it has one; returns the root's descriptor.
    ///
    /// What the layout has already is not fetched, and partial blobs are gone on with.
    ///
    /// # Errors
    /// Something under the reference is missing or wrong, the registry cannot be reached, or the layout cannot be
    /// written. What was written stays, for the next pull to go on with.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation; the layout stays valid.
    #[cfg(feature = "pull")]
    pub async fn pull(
        &self,
        reference: &Reference,
        mirror: oci_proto_layout::LayoutDestination,
        options: oci_proto::PullOptions,
    ) -> Result<Descriptor, oci_proto_layout::PullError> {
        let call = Call::start(self.shared.clone(), |session| session.pull(reference, options));
        crate::pull::pull(call, mirror, reference.tag().map(Into::into)).await
    }

    /// Fetches and verifies everything under a reference, blobs included, and tells all that is missing or wrong.
    /// With a platform, only what fits it best.
    ///
    /// # Errors
    /// The root cannot be had, or the registry cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation.
    pub async fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        mut found: impl FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        let mut call = Call::start(self.shared.clone(), |session| session.check(reference, platform));
        let mut root = None;
        loop {
            match call.event().await? {
                Event::Resolved(descriptor) => root = Some(descriptor),
                Event::Finding(finding) => found(finding),
                Event::Done => return Ok(root.expect("a session resolves before it is done")),
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
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The writer then has an unknown part of the blob's
    /// beginning.
    pub async fn blob_to(
        &self,
        reference: &Reference,
        size: Option<u64>,
        writer: impl AsyncWrite,
    ) -> Result<u64, Error> {
        let call = Call::start(self.shared.clone(), |session| session.blob(reference, size));
        blob::write(call, writer).await
    }

    /// Writes the blob that a descriptor names into `writer`, from the repository of `reference`.
    ///
    /// As [`blob_to`](Self::blob_to); content that the descriptor itself carries needs no request.
    ///
    /// # Errors
    /// As [`blob_to`](Self::blob_to).
    ///
    /// # Cancel safety
    /// As [`blob_to`](Self::blob_to).
    pub async fn described_blob_to(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        writer: impl AsyncWrite,
    ) -> Result<u64, Error> {
        let call = Call::start(self.shared.clone(), |session| session.described_blob(reference, descriptor));
        blob::write(call, writer).await
    }

    /// Reads a blob as it arrives. The reference has a digest. `size`, where known, bounds the blob.
    pub fn blob(&self, reference: &Reference, size: Option<u64>) -> BlobReader<T> {
        let reference = reference.clone();
        BlobReader::new(Call::later(self.shared.clone(), move |session| session.blob(&reference, size)))
    }

    /// Reads the blob that a descriptor names as it arrives, from the repository of `reference`. Content that
    /// the descriptor itself carries needs no request.
    pub fn described_blob(&self, reference: &Reference, descriptor: &Descriptor) -> BlobReader<T> {
        let (reference, descriptor) = (reference.clone(), descriptor.clone());
        let start = move |session: &mut Session| session.described_blob(&reference, &descriptor);
        BlobReader::new(Call::later(self.shared.clone(), start))
    }

    /// Reads a blob of at most `limit` bytes, verified. The reference has a digest. A `size` beyond the limit
    /// fails without a request.
    ///
    /// # Errors
    /// As [`blob_to`](Self::blob_to), or the blob is larger than `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation, and nothing is lost.
    pub async fn blob_bytes(
        &self,
        reference: &Reference,
        size: Option<u64>,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = Call::start(self.shared.clone(), |session| session.blob(reference, size));
        blob::collect(call, size, limit).await
    }

    /// Reads the blob that a descriptor names, of at most `limit` bytes, from the repository of `reference`.
    ///
    /// As [`blob_bytes`](Self::blob_bytes); content that the descriptor itself carries needs no request.
    ///
    /// # Errors
    /// As [`blob_bytes`](Self::blob_bytes).
    ///
    /// # Cancel safety
    /// As [`blob_bytes`](Self::blob_bytes).
    pub async fn described_blob_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = Call::start(self.shared.clone(), |session| session.described_blob(reference, descriptor));
        blob::collect(call, Some(descriptor.size), limit).await
    }

    /// How many HTTP requests this client and its clones have sent.
    pub fn requests(&self) -> u64 {
        self.shared.rules.requests.load(Ordering::Relaxed)
    }
}

impl<T: Transport> Clone for Client<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Transport> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("requests", &self.requests()).finish_non_exhaustive()
    }
}
