//! What a pool knows of origins: their connections of type `C` with HTTP/1.1, those with HTTP/2, and the requests that wait.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use oci_proto::Reach;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::fault::ConnectError;
use crate::pool::shared::Shared;

/// The number of servers of which a pool remembers that their HTTP/2 does not work.
const MAX_HTTP1_ONLY: usize = 256;
/// How long it remembers that: a network that broke the first connection may have been the reason.
const HTTP1_ONLY_FOR: Duration = Duration::from_secs(600);

pub(super) struct State<C> {
    pub(super) origins: HashMap<Key, Origin<C>>,
    /// Servers that offer HTTP/2 without speaking it, and since when that is known.
    pub(super) http1_only: BTreeMap<String, Instant>,
}

/// Connections are driven by the runtime that opened them, and belong to the reach of the exchanges that they serve.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) runtime: runtime::Id,
    pub(super) reach: Reach,
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

pub(super) struct Origin<C> {
    pub(super) runtime: Handle,
    /// The number of requests that use or await a connection.
    pub(super) requests: usize,
    /// The number of connections with HTTP/1.1, and of those that are being established.
    pub(super) connections: usize,
    /// The number of connections that are being established.
    pub(super) connecting: usize,
    /// Whether the server speaks HTTP/1.1, so that each request needs a connection of its own.
    pub(super) is_exclusive: bool,
    /// Whether the server has ever answered with HTTP/2.
    pub(super) has_answered: bool,
    /// Connections with HTTP/1.1, the one that became idle last at the end.
    pub(super) idle: Vec<(Instant, C)>,
    /// The connection with HTTP/2.
    pub(super) shared: Option<Shared>,
    /// The time since which there has been no request.
    pub(super) unused: Instant,
    /// Whether a task closes idle connections.
    pub(super) is_watched: bool,
    pub(super) waiting: VecDeque<oneshot::Sender<Result<Lease<C>, ConnectError>>>,
}

/// A connection for one request.
pub(super) enum Lease<C> {
    Exclusive { connection: C, is_new: bool },
    Shared { connection: Shared, is_new: bool },
}

impl<C> State<C> {
    /// Removes an origin without requests and connections. It is to be dropped after the lock is released: the last
    /// handle of a runtime owns callbacks of the user.
    #[must_use]
    pub(super) fn forget_if_unused(&mut self, key: &Key) -> Option<Origin<C>> {
        if self.origins.get(key)?.is_unused() { self.origins.remove(key) } else { None }
    }

    /// Returns whether HTTP/2 is offered to a server.
    pub(super) fn allows_http2(&self, key: &Key) -> bool {
        let failed = self.http1_only.get(key.authority.as_str());
        failed.is_none_or(|since| since.elapsed() > HTTP1_ONLY_FOR)
    }

    /// Remembers that a server does not speak HTTP/2.
    pub(super) fn avoid_http2(&mut self, key: &Key) {
        // Redirects and realms may name any number of servers.
        if self.http1_only.len() >= MAX_HTTP1_ONLY {
            self.http1_only.clear();
        }
        self.http1_only.insert(key.authority.as_str().to_owned(), Instant::now());
    }
}

impl Key {
    pub(super) fn uri(&self) -> Uri {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query("/")
            .build()
            .expect("the parts come from a URL")
    }
}

impl<C> Origin<C> {
    pub(super) fn new(runtime: Handle, key: &Key) -> Self {
        let is_plain = key.scheme != Scheme::HTTPS;
        Self {
            runtime,
            requests: 0,
            connections: 0,
            connecting: 0,
            // Without TLS, the two sides agree on nothing else.
            is_exclusive: is_plain || !cfg!(feature = "http2"),
            has_answered: false,
            idle: Vec::new(),
            shared: None,
            unused: Instant::now(),
            is_watched: false,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.requests == 0 && self.connections == 0 && self.shared.is_none()
    }

    /// Takes the request that has waited longest.
    pub(super) fn next_waiting(&mut self) -> Option<oneshot::Sender<Result<Lease<C>, ConnectError>>> {
        while let Some(waiting) = self.waiting.pop_front() {
            if !waiting.is_closed() {
                return Some(waiting);
            }
        }
        None
    }
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self { origins: HashMap::new(), http1_only: BTreeMap::new() }
    }
}
