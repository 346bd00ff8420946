//! The client, with a method for each operation that reads.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use oci_proto::{
    Answer, Descriptor, Error, Event, Finding, Manifest, OpId, Platform, Question, Reference, Session,
    StoreContent, WalkOptions,
};
use oci_proto_common::{BuildError, ImageConfigError, MAX_CONFIG_LEN, Metrics, Settings, config_of};

use crate::blob::{self, BlobReader};
use crate::call::{Call, Later};
use crate::driver::{Driver, Shared};
use crate::state::Message;
use crate::transport::Transport;
use crate::walk::Walk;

mod lists;
mod writing;

/// The User-Agent, unless the settings contain a session configuration.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));

/// A client of OCI registries.
///
/// A client is cheap to clone, and clones share all state. Calls may run on several threads at the same time.
/// When the last clone, [`Walk`], [`BlobReader`] and [`BlobWriter`](crate::BlobWriter) are dropped, the client's
/// threads end and its connections are closed.
#[derive(Clone)]
pub struct Client {
    driver: Arc<Driver>,
    timeout: Option<Duration>,
}

impl Client {
    /// Creates a client with the default settings.
    ///
    /// # Errors
    /// See [`with_settings`](Self::with_settings).
    pub fn new() -> Result<Self, BuildError> {
        Self::with_settings(Settings::default())
    }

    /// Creates a client. Reads the system's root certificates, and the proxies and the rules for registries in the
    /// environment unless the settings contain some.
    ///
    /// # Errors
    /// Returns an error if a proxy or a `registries.conf` in the environment is invalid. A system without root certificates is not
    /// an error, since plain HTTP works there.
    pub fn with_settings(settings: Settings) -> Result<Self, BuildError> {
        let network = settings.network()?;
        let parts = settings.into_parts(USER_AGENT)?;
        let transport = Transport::new(network, &parts.limits, parts.idle_timeout)?;
        let threads = parts.limits.in_flight.max(1);
        let shared = Shared::new(parts.session, parts.credentials, transport, parts.hooks, threads);
        Ok(Self { driver: Arc::new(Driver(shared)), timeout: parts.timeout })
    }

    /// Resolves a reference to its descriptor. With a platform, an index resolves to the image that matches
    /// the platform best.
    ///
    /// # Errors
    /// Returns an error if the registry does not have the content, refuses the request, violates the
    /// protocol, or cannot be reached.
    pub fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        let call = self.call("resolve", |session| session.resolve(reference, platform));
        let mut resolved = None;
        call.finish(|event| {
            if let Event::Resolved(descriptor) = event {
                resolved = Some(descriptor);
            }
        })?;
        Ok(resolved.expect("a session resolves before it is done"))
    }

    /// Fetches and verifies the manifest of a reference. Returns it with its descriptor. With a platform, an
    /// index resolves to the image that matches the platform best.
    ///
    /// # Errors
    /// See [`resolve`](Self::resolve).
    pub fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        let call = self.call("manifest", |session| session.manifest(reference, platform));
        let mut found = None;
        loop {
            match call.message() {
                Message::Ask(
                    query,
                    Question::Store { descriptor, content: StoreContent::Document(manifest), .. },
                ) => {
                    found = Some((descriptor, manifest));
                    call.answer(query, Answer::Stored);
                }
                Message::Event(Event::Done) => {
                    return Ok(found.expect("a session hands the manifest over before it is done"));
                }
                Message::Event(Event::Failed(error)) => return Err(error),
                message => call.ignore(message),
            }
        }
    }

    /// Fetches and verifies the config of an image. Returns its descriptor and its bytes, which are JSON unless the
    /// image is an artifact. With a platform, an index resolves to the image that matches the platform best.
    ///
    /// `ImageConfiguration::from_reader` of the crate `oci-spec` parses the bytes.
    ///
    /// # Errors
    /// Returns an error if the reference names an index and there is no platform, if the config is larger than 16 MiB,
    /// if the registry does not have the content, refuses a request, violates the protocol, or cannot be reached.
    pub fn image_config(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Bytes), ImageConfigError> {
        let (root, manifest) = self.manifest(reference, platform)?;
        let config = config_of(&root, &manifest)?;
        let bytes = self.described_blob_bytes(reference, &config, MAX_CONFIG_LEN)?;
        Ok((config, bytes))
    }

    /// Walks everything under a reference. Returns an iterator of nodes, in depth-first pre-order.
    pub fn walk(&self, reference: &Reference, options: WalkOptions) -> Walk {
        let reference = reference.clone();
        Walk::new(self.later("walk", move |session| session.walk(&reference, options)))
    }

    /// Pulls everything under a reference into a layout on disk, and adds it there as a root, named after the
    /// reference's tag if it has one. Returns the root's descriptor.
    ///
    /// Content that the layout already has is not fetched, and partial blobs are resumed. Of existing content,
    /// documents are always verified, and blobs only on request. All content is on disk when the pull ends,
    /// unless the destination is not durable. The call starts its own threads to write blobs, one per request in
    /// flight.
    ///
    /// With [`PullOptions::referrers`](oci_proto::PullOptions::referrers), the referrers of the tree, such as signatures,
    /// are pulled too, and become roots without a name.
    ///
    /// # Errors
    /// Returns an error if content under the reference is missing or invalid, if the registry cannot be
    /// reached, or if the layout cannot be written. Content that was written stays, and the next pull reuses
    /// it.
    #[cfg(feature = "pull")]
    #[expect(clippy::needless_pass_by_value, reason = "a pull owns its layout")]
    pub fn pull(
        &self,
        reference: &Reference,
        destination: oci_proto_layout::LayoutDestination,
        options: oci_proto::PullOptions,
    ) -> Result<Descriptor, oci_proto_layout::PullError> {
        let call = self.call("pull", |session| session.pull(reference, options));
        let name = reference.tag().map(oci_proto::layout::RefName::from);
        crate::pull::pull(call, &destination, name.as_ref())
    }

    /// Fetches and verifies everything under a reference, including blobs. Calls `found` for each problem,
    /// and returns the root's descriptor. With a platform, checks only the image that matches it best.
    ///
    /// # Errors
    /// Returns an error if the root cannot be fetched or the registry cannot be reached.
    pub fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        mut found: impl FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        let call = self.call("check", |session| session.check(reference, platform));
        let mut root = None;
        call.finish(|event| match event {
            Event::Resolved(descriptor) => root = Some(descriptor),
            Event::Finding(finding) => found(finding),
            _ => {}
        })?;
        Ok(root.expect("a session resolves before it is done"))
    }

    /// Writes a blob to `writer` and flushes it. Returns the number of bytes written.
    ///
    /// The reference must have a digest. `size` is the expected size in bytes. Bytes are written before the
    /// whole blob is verified, so they must be discarded if this fails.
    ///
    /// # Errors
    /// Returns an error if the registry does not have the blob, refuses the request, sends other content, or
    /// cannot be reached, or if the writer fails.
    pub fn blob_to(
        &self,
        reference: &Reference,
        size: Option<u64>,
        writer: impl Write,
    ) -> Result<u64, Error> {
        blob::write(self.call("blob", |session| session.blob(reference, size)), writer)
    }

    /// Writes the blob of a descriptor to `writer`, from the repository of `reference`.
    ///
    /// Like [`blob_to`](Self::blob_to). Content that is embedded in the descriptor needs no request.
    ///
    /// # Errors
    /// See [`blob_to`](Self::blob_to).
    pub fn described_blob_to(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        writer: impl Write,
    ) -> Result<u64, Error> {
        blob::write(
            self.call("described_blob", |session| session.described_blob(reference, descriptor)),
            writer,
        )
    }

    /// Returns a reader of a blob. The reference must have a digest. `size` is the expected size in bytes.
    pub fn blob(&self, reference: &Reference, size: Option<u64>) -> BlobReader {
        let reference = reference.clone();
        BlobReader::new(self.later("blob", move |session| session.blob(&reference, size)))
    }

    /// Returns a reader of the blob of a descriptor, from the repository of `reference`. Content that is
    /// embedded in the descriptor needs no request.
    pub fn described_blob(&self, reference: &Reference, descriptor: &Descriptor) -> BlobReader {
        let (reference, descriptor) = (reference.clone(), descriptor.clone());
        BlobReader::new(
            self.later("described_blob", move |session| session.described_blob(&reference, &descriptor)),
        )
    }

    /// Fetches and verifies a blob of at most `limit` bytes. The reference must have a digest. If `size`
    /// exceeds the limit, no request is sent.
    ///
    /// # Errors
    /// See [`blob_to`](Self::blob_to). Also returns an error if the blob is larger than `limit`.
    pub fn blob_bytes(&self, reference: &Reference, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
        blob::collect(self.call("blob", |session| session.blob(reference, size)), size, limit)
    }

    /// Fetches and verifies the blob of a descriptor, of at most `limit` bytes, from the repository of
    /// `reference`.
    ///
    /// Like [`blob_bytes`](Self::blob_bytes). Content that is embedded in the descriptor needs no request.
    ///
    /// # Errors
    /// See [`blob_bytes`](Self::blob_bytes).
    pub fn described_blob_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = self.call("described_blob", |session| session.described_blob(reference, descriptor));
        blob::collect(call, Some(descriptor.size), limit)
    }

    /// Returns whether no operation and no request is in progress.
    ///
    /// An upload that failed or was dropped is cancelled at the registry in the background. A program that is about to
    /// exit may wait, for a short time, until the client is idle.
    pub fn is_idle(&self) -> bool {
        self.driver.0.lock().session.is_idle()
    }

    /// Returns what this client and its clones have done so far, in numbers.
    pub fn metrics(&self) -> Metrics {
        self.driver.0.transport.monitor().metrics()
    }

    pub(crate) fn call(&self, verb: &'static str, begin: impl FnOnce(&mut Session) -> OpId) -> Call {
        Call::start(Arc::clone(&self.driver), self.timeout, verb, begin)
    }

    /// Returns a function that starts a call.
    fn later(&self, verb: &'static str, begin: impl FnOnce(&mut Session) -> OpId + Send + 'static) -> Later {
        let client = self.clone();
        Box::new(move || client.call(verb, begin))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}
