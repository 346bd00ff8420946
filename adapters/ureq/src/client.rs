//! The verbs.
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{
    Config, Descriptor, Error, Event, Manifest, OpId, Platform, Reference, Session, WalkOptions,
};

use crate::call::Call;
use crate::driver::Shared;
use crate::pool::Driver;
use crate::transport::Transport;
use crate::{BlobReader, BuildError, Builder, Walk, blob};

/// A blocking client for registries. Clones share everything.
#[derive(Clone)]
pub struct Client {
    driver: Arc<Driver>,
    timeout: Option<Duration>,
}

impl Client {
    /// A client with the default settings.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A client with other settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(config: Config, transport: Transport, timeout: Option<Duration>) -> Self {
        let threads = config.limits.in_flight.max(1);
        // The one source of randomness that std has.
        let seed = RandomState::new().hash_one(());
        let shared = Shared::new(Session::new(config, seed), transport, threads);
        Self { driver: Arc::new(Driver(shared)), timeout }
    }

    /// What `reference` names: its descriptor. With a platform, that of the manifest that fits it best
    /// in the index that `reference` names.
    ///
    /// # Errors
    /// The registry, the network or the content failed; see [`Error`].
    pub fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        let call = self.call(|session| session.resolve(reference, platform));
        let mut resolved = None;
        loop {
            match call.event() {
                Event::Resolved(descriptor) => resolved = Some(descriptor),
                Event::Done => {
                    return Ok(resolved.expect("a resolution reports what it found before it is done"));
                }
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// The manifest that `reference` names, verified, and its descriptor.
    ///
    /// # Errors
    /// The registry, the network or the content failed; see [`Error`].
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
                Event::Done => return Ok(found.expect("a manifest is reported before its operation is done")),
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Everything under `reference`, in the depth-first pre-order of its documents.
    ///
    /// Nothing is sent before the first call of `next`.
    pub fn walk(&self, reference: &Reference, options: WalkOptions) -> Walk {
        Walk::new(self.clone(), reference.clone(), options)
    }

    /// Writes a blob to `writer`; returns how many bytes. `reference` has a digest; `size`, where it is
    /// known, bounds the blob.
    ///
    /// Bytes are written as they arrive. What an error leaves in `writer` is not verified.
    ///
    /// # Errors
    /// The registry, the network, the content or `writer` failed; see [`Error`].
    pub fn blob_to(
        &self,
        reference: &Reference,
        size: Option<u64>,
        writer: impl Write,
    ) -> Result<u64, Error> {
        blob::write(self.call(|session| session.blob(reference, size)), writer)
    }

    /// A blob to read from. `reference` has a digest; `size`, where it is known, bounds the blob.
    ///
    /// Nothing is sent before the first read.
    pub fn blob(&self, reference: &Reference, size: Option<u64>) -> BlobReader {
        BlobReader::new(self.clone(), reference.clone(), size)
    }

    /// A small blob, verified, of at most `limit` bytes. `reference` has a digest; `size`, where it is
    /// known, bounds the blob too.
    ///
    /// # Errors
    /// The registry, the network or the content failed, or the blob is larger than `limit`; see [`Error`].
    pub fn blob_bytes(&self, reference: &Reference, size: Option<u64>, limit: u64) -> Result<Bytes, Error> {
        blob::collect(self.call(|session| session.blob(reference, size)), size, limit)
    }

    /// How many HTTP requests this client and its clones have sent so far.
    pub fn requests(&self) -> u64 {
        self.driver.0.transport.requests()
    }

    pub(crate) fn call(&self, begin: impl FnOnce(&mut Session) -> OpId) -> Call {
        Call::start(Arc::clone(&self.driver), self.timeout, begin)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("requests", &self.requests()).finish_non_exhaustive()
    }
}
