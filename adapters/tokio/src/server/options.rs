//! The options of a server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use oci_proto::Digest;
use oci_proto_common::LONGEST_TIMEOUT;

use crate::server::access::{AccessHook, AccessRecord};
use crate::server::blobs::BlobError;
use crate::server::login::{Login, LoginHook};
use crate::server::tls::Identity;

/// The default maximum number of connections.
const CONNECTIONS: usize = 512;
/// The default timeout of a connection.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The number of logins that are checked at once.
const LOGINS: usize = 8;

type BlobHook = Arc<dyn Fn(&BlobError) + Send + Sync>;

/// The options of a server.
///
/// A connection occupies about 100 KiB, also if the client sends nothing, and up to 200 KiB and an open file more while it
/// transfers a blob. Of the manifests that are received at the same time, at most 32 may be larger than 64 KiB, and others
/// wait. Those that are stored stay in memory.
#[derive(Clone)]
pub struct Options {
    pub(super) connections: usize,
    pub(super) connections_per_address: Option<usize>,
    pub(super) timeout: Duration,
    on_blob_error: Option<BlobHook>,
    on_access: Option<AccessHook>,
    login: Option<LoginHook>,
    pub(super) identity: Option<Identity>,
    pub(super) is_local: bool,
}

impl Options {
    /// Sets the maximum number of connections; further ones wait to be accepted. The default is 512.
    #[must_use]
    pub fn connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Sets the maximum number of connections from one address; further ones are closed with status 429. The
    /// default is half of [`connections`](Self::connections). All IPv6 addresses with the same first 64 bits
    /// count as one.
    ///
    /// Behind a reverse proxy all connections have the address of the proxy: set both to the same number.
    #[must_use]
    pub fn connections_per_address(self, connections: usize) -> Self {
        Self { connections_per_address: Some(connections), ..self }
    }

    /// Sets the time after which a client is disconnected that has sent no complete head of a request, has sent less
    /// than 16 KiB of a body that the server waits for, or has taken less than 16 KiB of a response that waits for it.
    /// A manifest larger than 64 KiB has twice the timeout to arrive. The default is 30 seconds, the maximum a year.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(LONGEST_TIMEOUT), ..self }
    }

    /// Serves over TLS, with this identity. A client has the [`timeout`](Self::timeout) for its handshake.
    #[must_use]
    pub fn tls(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Refuses requests for other host names than `localhost` and those below it, and requests of web pages of other
    /// origins that write: see [`Server::refuse_foreign`](oci_proto::server::Server::refuse_foreign). It is meant for a
    /// server on a loopback address without logins.
    #[must_use]
    pub fn local_hosts_only(self) -> Self {
        Self { is_local: true, ..self }
    }

    /// Sets a hook that checks logins. It gets the header Authorization of each request that has one, and may block: it
    /// is called on blocking threads, eight at a time.
    ///
    /// Without a hook, the header is ignored. If the hook panics, the login is refused.
    #[must_use]
    pub fn authenticate(self, hook: impl Fn(&HeaderValue) -> Login + Send + Sync + 'static) -> Self {
        Self { login: Some(LoginHook::new(hook, LOGINS)), ..self }
    }

    /// Sets a hook for each request and its response, for a log. It should return quickly.
    #[must_use]
    pub fn on_access(self, hook: impl Fn(&AccessRecord) + Send + Sync + 'static) -> Self {
        Self { on_access: Some(Arc::new(hook)), ..self }
    }

    /// Sets a hook for blobs that cannot be read, for a log. It should return quickly.
    #[must_use]
    pub fn on_blob_error(self, hook: impl Fn(&BlobError) + Send + Sync + 'static) -> Self {
        Self { on_blob_error: Some(Arc::new(hook)), ..self }
    }

    pub(super) fn access_hook(&self) -> Option<AccessHook> {
        self.on_access.clone()
    }

    pub(super) fn login_hook(&self) -> Option<&LoginHook> {
        self.login.as_ref()
    }

    pub(super) fn report(&self, digest: Digest, error: io::Error) {
        if let Some(hook) = &self.on_blob_error {
            hook(&BlobError::new(digest, error));
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: None,
            timeout: TIMEOUT,
            on_blob_error: None,
            on_access: None,
            login: None,
            identity: None,
            is_local: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connections", &self.connections)
            .field("connections_per_address", &self.connections_per_address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
