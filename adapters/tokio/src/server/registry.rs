//! A registry that takes pushes.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use oci_proto::server::{Begun, Body, MemoryStorage, Policy, Server, Storage};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::server::body::ResponseBody;
use crate::server::content::send;
use crate::server::listen::{GRACE, listen};
use crate::server::options::Options;
use crate::server::receive::Capacity;
use crate::server::request_body::RequestBody;
use crate::server::shared_storage::SharedStorage;
use crate::server::stored_blob::open;
use crate::server::visit::answer;
use crate::server::writer::{Clock, Receiving, Started, Writer};

/// The part of [`GRACE`] in which what was received is stored.
const SETTLING: Duration = Duration::from_secs(2);

/// A registry that takes pushes: a [`Server`] and its [`Storage`], shared between connections. It is cheap to clone.
///
/// - Reads only lock the server for a moment. They never wait for the storage of a write.
/// - Uploads are written, hashed and synced on blocking threads, in chunks of 64 KiB. A few of those are in memory for
///   each upload.
/// - The effects of all requests that wait are made durable together, by one thread. It ends soon after the last clone is
///   dropped; [`close`](Self::close) waits for that.
/// - Uploads expire a few seconds after the lifetime in the [`Policy`].
///
/// # The storage
/// Each upload and each read uses a clone of the storage. A clone must therefore be a handle of the same storage. For one
/// whose clones are copies, such as [`MemoryStorage`], there is [`SharedStorage`].
pub struct SharedRegistry<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    server: Arc<RwLock<Server>>,
    /// Locked for the time of a clone only.
    storage: Mutex<S>,
    writer: Writer,
    capacity: Capacity,
    /// The number of requests that write.
    writing: watch::Sender<usize>,
}

impl SharedRegistry<SharedStorage<MemoryStorage>> {
    /// Creates an empty registry in memory.
    ///
    /// # Errors
    /// Fails if the system starts no thread.
    pub fn in_memory(policy: Policy) -> io::Result<Self> {
        let server = Server::with_policy(policy, RandomState::new().hash_one(0));
        Self::new(server, SharedStorage::new(MemoryStorage::new()))
    }
}

impl<S: Storage + Clone + Send + 'static> SharedRegistry<S> {
    /// Creates a registry of a server and the storage of its content.
    ///
    /// Uploads that were restored have lived since [`Time::ZERO`](oci_proto::Time::ZERO).
    ///
    /// # Errors
    /// Fails if the system starts no thread.
    pub fn new(server: Server, storage: S) -> io::Result<Self> {
        let server = Arc::new(RwLock::new(server));
        let writer = Writer::start(server.clone(), storage.clone(), Clock::start())?;
        let shared = Shared {
            server,
            storage: Mutex::new(storage),
            writer,
            capacity: Capacity::default(),
            writing: watch::Sender::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves the registry until `shutdown` is ready. Requests in progress then have ten seconds to finish; in this time,
    /// too, what was received is stored. It can be served by several listeners.
    ///
    /// # Errors
    /// Returns an error if the listener fails permanently. A connection that fails or cannot be accepted is not an error.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every connection at once. Bodies that break off by that are stored as
    /// far as they were received.
    pub async fn serve(
        &self,
        listener: TcpListener,
        options: Options,
        shutdown: impl Future,
    ) -> io::Result<()> {
        let mut end = None;
        let shutdown = async {
            shutdown.await;
            end = Some(Instant::now() + GRACE);
        };
        let shared = Arc::new((self.clone(), options));
        let for_requests = shared.clone();
        listen(&shared.1, listener, shutdown, GRACE.saturating_sub(SETTLING), move |peer, request| {
            let shared = for_requests.clone();
            async move { shared.0.answer(&shared.1, Some(peer), request).await }
        })
        .await?;
        if let Some(end) = end {
            self.settle(end).await;
        }
        Ok(())
    }

    /// Answers one request. Use this with your own listener, whose connections you limit.
    ///
    /// # Cancel safety
    /// If the future is dropped, the request breaks off like one whose connection does.
    pub async fn respond<B>(&self, options: &Options, request: Request<B>) -> Response<ResponseBody>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        self.answer(options, None, request).await
    }

    async fn answer<B>(
        &self,
        options: &Options,
        peer: Option<SocketAddr>,
        request: Request<B>,
    ) -> Response<ResponseBody>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        answer(options, peer, request, async |head, mut body| {
            let response = if Server::is_read(&head.method) {
                self.read().respond(&head)
            } else {
                self.write(head.clone(), &mut body, options).await
            };
            let sent = send(options, &head, response, |digest, range| {
                open(self.storage(), Server::repository(&head), digest, range)
            });
            (sent.await, body)
        })
        .await
    }

    /// Answers a request that may write. The request itself is a task, so that it always comes to an end.
    async fn write<B>(&self, head: Parts, body: &mut RequestBody<B>, options: &Options) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    {
        let (begun, wanted) = oneshot::channel();
        let (parts, received) = mpsc::channel(1);
        let (registry, timeout) = (self.clone(), options.timeout);
        let writing = Writing::begin(self.clone());
        let response = tokio::spawn(async move {
            let _writing = writing;
            let receiving = match registry.begin(head).await? {
                Started::Response(response) => return Some(response),
                Started::Receive(receiving) => receiving,
            };
            // If the client is gone, nothing will be received.
            let _ = begun.send(());
            registry.shared.capacity.receive(receiving, registry.storage(), received, timeout).await
        });
        // The body is not read before: the client may wait for the word that it is wanted.
        if wanted.await.is_ok() {
            body.pass_on(parts, options.timeout).await;
        }
        response.await.ok().flatten().unwrap_or_else(broken)
    }

    /// Waits until the storage is closed: until the last clone is dropped, the requests in progress have ended, and what
    /// they change is stored. A directory can then be opened again.
    ///
    /// A clone that is kept, such as that of a server that is not stopped, makes this wait for it.
    ///
    /// # Cancel safety
    /// Dropping the future is the same as dropping the registry.
    pub async fn close(self) {
        let writer = self.shared.writer.clone();
        drop(self);
        writer.close().await;
    }

    async fn begin(&self, head: Parts) -> Option<Started> {
        let Shared { server, writer, .. } = &*self.shared;
        if Server::begins_with_effects(&head.method) {
            return writer.begin(head).await;
        }
        // It need not wait for the effects of others.
        let begun = server.write().unwrap_or_else(PoisonError::into_inner).begin(writer.now(), &head);
        Some(match begun {
            Begun::Reply(reply) => Started::Response(reply.done()),
            Begun::Receive(incoming) => Started::Receive(Receiving::new(incoming, writer.clone())),
        })
    }

    /// Waits until what was received is stored.
    async fn settle(&self, end: Instant) {
        let mut writing = self.shared.writing.subscribe();
        let settled = async {
            // An error is impossible, since `self` has the sender.
            let _ = writing.wait_for(|requests| *requests == 0).await;
            self.shared.writer.settle().await;
        };
        // What is not stored by then is lost, and its clients have been told nothing.
        let _ = timeout_at(end, settled).await;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Server> {
        self.shared.server.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self) -> S {
        self.shared.storage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A request that writes, while it is in progress.
struct Writing<S>(SharedRegistry<S>);

impl<S> Writing<S> {
    fn begin(registry: SharedRegistry<S>) -> Self {
        registry.shared.writing.send_modify(|requests| *requests += 1);
        Self(registry)
    }
}

impl<S> Drop for Writing<S> {
    fn drop(&mut self) {
        self.0.shared.writing.send_modify(|requests| *requests -= 1);
    }
}

/// The response if a thread of the registry has panicked.
fn broken() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

impl<S> Clone for SharedRegistry<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for SharedRegistry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRegistry").finish_non_exhaustive()
    }
}
