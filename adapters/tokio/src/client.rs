//! The client, with a method for each operation that reads.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderValue;
use oci_proto::{
    Answer, Descriptor, Error, Event, FaultKind, Finding, Manifest, Platform, Question, Reference, Session,
    StoreContent, WalkOptions,
};
use oci_proto_common::{
    BuildError, ImageConfigError, MAX_CONFIG_LEN, Metrics, Monitor, Parts, Settings, config_of,
};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::blob::{BlobReader, collect, write};
use crate::call::Call;
use crate::driver::{Shared, State};
use crate::erased::erase;
use crate::fault::Classify;
use crate::mailbox::Message;
use crate::transfer::TransferContext;
use crate::transport::{HyperTransport, Transport};
use crate::walk::Walk;

mod lists;
#[cfg(test)]
mod tests;
mod writing;

/// The User-Agent, unless the settings contain a session configuration.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));

/// A client of OCI registries.
///
/// A client is cheap to clone, and clones share all state. Calls run concurrently. Dropping a call cancels
/// it. When the last clone and the last call are dropped, the client's tasks end and its connections are
/// closed.
///
/// # Panics
/// Calls panic if they are polled outside a tokio runtime.
pub struct Client {
    shared: Arc<Shared>,
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
    /// Returns an error if TLS cannot be set up, or if a proxy or a `registries.conf` in the environment is invalid. A system
    /// without root certificates is not an error, since plain HTTP works there.
    pub fn with_settings(settings: Settings) -> Result<Self, BuildError> {
        let network = settings.network()?;
        let parts = settings.into_parts(USER_AGENT)?;
        let monitor = Arc::<Monitor>::default();
        let transport = HyperTransport::open(network, monitor.clone())?;
        Ok(Self::over(transport, parts, None, monitor))
    }

    /// Creates a client with a custom transport. The settings for proxies, certificates and the connect
    /// timeout have no effect.
    ///
    /// The client has no type parameter for its transport. This costs two allocations per request, and a
    /// virtual call per poll of its response.
    ///
    /// `classify` returns the kind of a transport error. If it returns `None`, the error and its chain of
    /// sources decide: a rustls error, or the word "certificate", is [`FaultKind::Tls`]; an elapsed timer is
    /// [`FaultKind::Timeout`]; a connect error of hyper-util's client is [`FaultKind::Connect`]; anything else
    /// is [`FaultKind::Reset`]. In particular, an [`io::Error`](std::io::Error) does not say whether the
    /// request was sent, so return [`FaultKind::Connect`] for the errors of another transport's connections.
    ///
    /// # Errors
    /// A file with rules for registries is missing or invalid.
    pub fn with_transport(
        settings: Settings,
        transport: impl Transport,
        classify: impl Fn(&(dyn std::error::Error + 'static)) -> Option<FaultKind> + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let parts = settings.into_parts(USER_AGENT)?;
        Ok(Self::over(transport, parts, Some(Box::new(classify)), Arc::default()))
    }

    fn over(
        transport: impl Transport,
        parts: Parts,
        classify: Option<Box<Classify>>,
        monitor: Arc<Monitor>,
    ) -> Self {
        let (transport, idle) = (erase(transport), parts.idle_timeout);
        Self {
            shared: Arc::new(Shared {
                epoch: Instant::now(),
                timeout: parts.timeout,
                credentials: parts.credentials,
                context: Arc::new(TransferContext { transport, idle, classify, monitor }),
                hooks: parts.hooks,
                state: Mutex::new(State::new(parts.session)),
            }),
        }
    }

    /// Resolves a reference to its descriptor. With a platform, an index resolves to the image that matches
    /// the platform best.
    ///
    /// # Errors
    /// Returns an error if the registry does not have the content, refuses the request, violates the
    /// protocol, or cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Descriptor, Error> {
        let call =
            Call::start(self.shared.clone(), "resolve", |session| session.resolve(reference, platform));
        let mut resolved = None;
        call.finish(|event| {
            if let Event::Resolved(descriptor) = event {
                resolved = Some(descriptor);
            }
        })
        .await?;
        Ok(resolved.expect("a session resolves before it is done"))
    }

    /// Fetches and verifies the manifest of a reference. Returns it with its descriptor. With a platform, an
    /// index resolves to the image that matches the platform best.
    ///
    /// # Errors
    /// See [`resolve`](Self::resolve).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        let mut call =
            Call::start(self.shared.clone(), "manifest", |session| session.manifest(reference, platform));
        let mut found = None;
        loop {
            match call.message().await {
                Message::Ask(query, Question::Store { descriptor, content, .. }) => match content {
                    StoreContent::Document(manifest) => {
                        found = Some((descriptor, manifest));
                        call.answer(query, Answer::Stored);
                    }
                    StoreContent::Bytes(_) | StoreContent::Sink => call.decline(query),
                },
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
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn image_config(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Bytes), ImageConfigError> {
        let (root, manifest) = self.manifest(reference, platform).await?;
        let config = config_of(&root, &manifest)?;
        let bytes = self.described_blob_bytes(reference, &config, MAX_CONFIG_LEN).await?;
        Ok((config, bytes))
    }

    /// Walks everything under a reference. Returns a stream of nodes, in depth-first pre-order.
    pub fn walk(&self, reference: &Reference, options: WalkOptions) -> Walk {
        let reference = reference.clone();
        Walk::new(Call::later(self.shared.clone(), "walk", move |session| session.walk(&reference, options)))
    }

    /// Pulls everything under a reference into a layout on disk, and adds it there as a root, named after the
    /// reference's tag if it has one. Returns the root's descriptor.
    ///
    /// Content that the layout already has is not fetched, and partial blobs are resumed. Of existing content,
    /// documents are always verified, and blobs only on request. All content is on disk when the pull ends,
    /// unless the destination is not durable.
    ///
    /// With [`PullOptions::referrers`](oci_proto::PullOptions::referrers), the referrers of the tree, such as signatures,
    /// are pulled too, and become roots without a name.
    ///
    /// # Errors
    /// Returns an error if content under the reference is missing or invalid, if the registry cannot be
    /// reached, or if the layout cannot be written. Content that was written stays, and the next pull reuses
    /// it.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The layout stays valid. It is unlocked once the writes in
    /// progress have ended, which may be after the drop.
    #[cfg(feature = "pull")]
    pub async fn pull(
        &self,
        reference: &Reference,
        destination: oci_proto_layout::LayoutDestination,
        options: oci_proto::PullOptions,
    ) -> Result<Descriptor, oci_proto_layout::PullError> {
        let call = Call::start(self.shared.clone(), "pull", |session| session.pull(reference, options));
        crate::pull::pull(call, destination, reference.tag().map(Into::into)).await
    }

    /// Fetches and verifies everything under a reference, including blobs. Calls `found` for each problem,
    /// and returns the root's descriptor. With a platform, checks only the image that matches it best.
    ///
    /// # Errors
    /// Returns an error if the root cannot be fetched or the registry cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation.
    pub async fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        mut found: impl FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        let call = Call::start(self.shared.clone(), "check", |session| session.check(reference, platform));
        let mut root = None;
        call.finish(|event| match event {
            Event::Resolved(descriptor) => root = Some(descriptor),
            Event::Finding(finding) => found(finding),
            _ => {}
        })
        .await?;
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
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. The writer has received an unknown number of the blob's
    /// first bytes.
    pub async fn blob_to(
        &self,
        reference: &Reference,
        size: Option<u64>,
        writer: impl AsyncWrite,
    ) -> Result<u64, Error> {
        let call = Call::start(self.shared.clone(), "blob", |session| session.blob(reference, size));
        write(call, writer).await
    }

    /// Writes the blob of a descriptor to `writer`, from the repository of `reference`.
    ///
    /// Like [`blob_to`](Self::blob_to). Content that is embedded in the descriptor needs no request.
    ///
    /// # Errors
    /// See [`blob_to`](Self::blob_to).
    ///
    /// # Cancel safety
    /// See [`blob_to`](Self::blob_to).
    pub async fn described_blob_to(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        writer: impl AsyncWrite,
    ) -> Result<u64, Error> {
        let call = Call::start(self.shared.clone(), "described_blob", |session| {
            session.described_blob(reference, descriptor)
        });
        write(call, writer).await
    }

    /// Returns a reader of a blob. The reference must have a digest. `size` is the expected size in bytes.
    pub fn blob(&self, reference: &Reference, size: Option<u64>) -> BlobReader {
        let reference = reference.clone();
        BlobReader::new(Call::later(self.shared.clone(), "blob", move |session| {
            session.blob(&reference, size)
        }))
    }

    /// Returns a reader of the blob of a descriptor, from the repository of `reference`. Content that is
    /// embedded in the descriptor needs no request.
    pub fn described_blob(&self, reference: &Reference, descriptor: &Descriptor) -> BlobReader {
        let (reference, descriptor) = (reference.clone(), descriptor.clone());
        let start = move |session: &mut Session| session.described_blob(&reference, &descriptor);
        BlobReader::new(Call::later(self.shared.clone(), "described_blob", start))
    }

    /// Fetches and verifies a blob of at most `limit` bytes. The reference must have a digest. If `size`
    /// exceeds the limit, no request is sent.
    ///
    /// # Errors
    /// See [`blob_to`](Self::blob_to). Also returns an error if the blob is larger than `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the operation. No state is lost.
    pub async fn blob_bytes(
        &self,
        reference: &Reference,
        size: Option<u64>,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = Call::start(self.shared.clone(), "blob", |session| session.blob(reference, size));
        collect(call, size, limit).await
    }

    /// Fetches and verifies the blob of a descriptor, of at most `limit` bytes, from the repository of
    /// `reference`.
    ///
    /// Like [`blob_bytes`](Self::blob_bytes). Content that is embedded in the descriptor needs no request.
    ///
    /// # Errors
    /// See [`blob_bytes`](Self::blob_bytes).
    ///
    /// # Cancel safety
    /// See [`blob_bytes`](Self::blob_bytes).
    pub async fn described_blob_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let call = Call::start(self.shared.clone(), "described_blob", |session| {
            session.described_blob(reference, descriptor)
        });
        collect(call, Some(descriptor.size), limit).await
    }

    /// Returns whether no operation and no request is in progress.
    ///
    /// An upload that failed or was dropped is cancelled at the registry in the background. A program that is about to
    /// exit may wait, for a short time, until the client is idle.
    pub fn is_idle(&self) -> bool {
        self.shared.lock().session.is_idle()
    }

    /// Returns what this client and its clones have done so far, in numbers.
    pub fn metrics(&self) -> Metrics {
        self.shared.context.monitor.metrics()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}
