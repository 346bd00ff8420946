//! The connections of the default transport.
//!
//! A connection with HTTP/1.1 carries one request at a time. An origin has at most as many of them as it has requests
//! in flight, and the one that became idle last is used first, so that surplus ones close after a while. A connection
//! with HTTP/2 carries all requests to its origin. Which of the two a server speaks, the first connection tells.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use oci_proto_common::{IDLE_CONNECTION, Monitor};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connector::Connector;
use crate::fault::{BoxError, ConnectError, NotTaken, WithKind, panicked};
use crate::http2_error::Http2Failure;
use crate::payload::Body;
use crate::pool::connection::Connection;
use crate::pool::exclusive::Exclusive;
use crate::pool::failed::Failed;
use crate::pool::origin::{Key, Lease, Origin, State};

mod connection;
mod exclusive;
mod failed;
mod origin;
#[cfg_attr(not(feature = "http2"), path = "pool/no_http2.rs")]
mod shared;
#[cfg(test)]
mod tests;

/// Connections to any number of origins.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    monitor: Arc<Monitor>,
    state: Mutex<State<Leased>>,
    /// The tasks that connect, and those that close idle connections.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A connection with HTTP/1.1, counted as long as it exists.
struct Leased {
    connection: Exclusive,
    #[expect(dead_code, reason = "it counts until it is dropped")]
    counted: Counted,
}

impl Pool {
    pub(crate) fn new(connector: Connector, monitor: Arc<Monitor>) -> Self {
        Self(Arc::new(Inner { connector, monitor, state: Mutex::default(), tasks: Mutex::default() }))
    }

    /// Sends a request, on a new connection if none is free.
    ///
    /// It is sent again only if the connection was in use before and closed before it took any of the request.
    ///
    /// # Panics
    /// If it is polled outside a runtime.
    pub(crate) async fn send(self, mut request: Request<Body>) -> Result<Response<PooledBody>, BoxError> {
        let in_flight = self.0.enter(&request)?;
        loop {
            let (is_new, sent) = match in_flight.connection().await? {
                Lease::Exclusive { mut connection, is_new } => {
                    let sent = connection.connection.send(request).await;
                    if sent.is_ok() {
                        in_flight.put_back_when_ready(connection);
                    }
                    (is_new, sent)
                }
                Lease::Shared { mut connection, is_new } => {
                    let sent = connection.send(request).await;
                    in_flight.note(&sent);
                    (is_new, sent)
                }
            };
            match sent {
                Ok(response) => return Ok(response.map(|body| PooledBody::new(body, in_flight))),
                Err(Failed::NotTaken { request: unsent, .. }) if !is_new => request = *unsent,
                Err(Failed::NotTaken { error, end, .. }) => {
                    return Err(NotTaken(end.reason(error).await).into());
                }
                Err(Failed::Broken(error)) => return Err(error.into()),
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State<Leased>> {
        // Nothing panics while it holds the guard.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    fn enter(self: &Arc<Self>, request: &Request<Body>) -> Result<InFlight, BoxError> {
        let (Some(scheme), Some(authority)) = (request.uri().scheme(), request.uri().authority()) else {
            return Err("the URL of a request is not absolute".into());
        };
        let runtime = Handle::current();
        let reach = request.extensions().get().copied().unwrap_or_default();
        let (scheme, authority) = (scheme.clone(), authority.clone());
        let key = Key { runtime: runtime.id(), reach, scheme, authority };
        let mut state = self.lock();
        state.origins.entry(key.clone()).or_insert_with(|| Origin::new(runtime, &key)).requests += 1;
        drop(state);
        Ok(InFlight { pool: self.clone(), key })
    }

    /// Hands a connection with HTTP/1.1 to the request that has waited longest, or keeps it for the next one.
    fn put(self: &Arc<Self>, key: &Key, mut connection: Leased, mut is_new: bool) {
        loop {
            let mut state = self.lock();
            let Some(origin) = state.origins.get_mut(key) else { return };
            let Some(waiting) = origin.next_waiting() else {
                origin.idle.push((Instant::now(), connection));
                drop(state);
                return self.watch(key);
            };
            drop(state);
            match waiting.send(Ok(Lease::Exclusive { connection, is_new })) {
                Err(Ok(Lease::Exclusive { connection: unused, .. })) => connection = unused,
                _ => return,
            }
            is_new = false;
        }
    }

    /// Establishes as many connections as the waiting requests need.
    fn connect(self: &Arc<Self>, key: &Key) {
        loop {
            let mut state = self.lock();
            let allow_http2 = state.allows_http2(key);
            let Some(origin) = state.origins.get_mut(key) else { return };
            origin.waiting.retain(|waiting| !waiting.is_closed());
            let is_enough = if origin.is_exclusive {
                origin.connections >= origin.requests
            } else {
                origin.connecting > 0
            };
            if is_enough || origin.connecting >= origin.waiting.len() {
                return;
            }
            origin.connections += 1;
            origin.connecting += 1;
            let runtime = origin.runtime.clone();
            drop(state);
            let attempt = Attempt { pool: Arc::downgrade(self), key: Some(key.clone()), allow_http2 };
            let connecting = self.connector.connect(&key.uri(), key.reach, allow_http2);
            let mut opening = Box::pin(async move { Box::pin(Connection::open(connecting.await?)).await });
            self.spawn(&runtime, async move {
                let open = poll_fn(|cx| {
                    let polled = catch_unwind(AssertUnwindSafe(|| opening.as_mut().poll(cx)));
                    polled.unwrap_or_else(|panic| {
                        let fault = panicked(&*panic);
                        Poll::Ready(Err(WithKind::from(fault).into()))
                    })
                });
                attempt.end(open.await);
            });
        }
    }

    fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        // A runtime that has shut down drops the task, here and now.
        let handle = runtime.spawn(task).abort_handle();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let finished: Vec<_> = tasks.extract_if(.., |task| task.is_finished()).collect();
        tasks.push(handle);
        drop(tasks);
        // A task owns a handle of its runtime.
        drop(finished);
    }

    /// Closes connections that have been idle for too long, as long as there are any.
    fn watch(self: &Arc<Self>, key: &Key) {
        let mut state = self.lock();
        let Some(origin) = state.origins.get_mut(key) else { return };
        if mem::replace(&mut origin.is_watched, true) {
            return;
        }
        let runtime = origin.runtime.clone();
        drop(state);
        let mut watch = Watch { pool: Arc::downgrade(self), key: Some(key.clone()) };
        self.spawn(&runtime, async move { watch.run().await });
    }

    /// Closes the connections that have been idle for too long. Returns the time at which the next one will have been.
    fn close_idle(&self, key: &Key) -> Option<Instant> {
        let mut state = self.lock();
        let origin = state.origins.get_mut(key)?;
        let now = Instant::now();
        let is_over = |since: Instant| since + IDLE_CONNECTION <= now;
        let over = origin.idle.iter().take_while(|(since, _)| is_over(*since)).count();
        let closed: Vec<_> = origin.idle.drain(..over).collect();
        let unused = if origin.requests == 0 && is_over(origin.unused) { origin.shared.take() } else { None };
        let oldest = origin.idle.first().map(|(since, _)| *since);
        let shared = origin.shared.as_ref().map(|_| if origin.requests == 0 { origin.unused } else { now });
        let next = [oldest, shared].into_iter().flatten().min().map(|since| since + IDLE_CONNECTION);
        origin.is_watched = next.is_some();
        let forgotten = state.forget_if_unused(key);
        drop(state);
        drop((closed, unused, forgotten));
        next
    }

    /// Forgets the connections of a runtime that has ended.
    fn abandon(&self, key: &Key) {
        let mut state = self.lock();
        let Some(origin) = state.origins.get_mut(key) else { return };
        let ended = (mem::take(&mut origin.idle), origin.shared.take());
        origin.is_watched = false;
        let forgotten = state.forget_if_unused(key);
        drop(state);
        drop((ended, forgotten));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

/// A request in flight.
struct InFlight {
    pool: Arc<Inner>,
    key: Key,
}

impl InFlight {
    async fn connection(&self) -> Result<Lease<Leased>, BoxError> {
        let awaited = {
            let mut closed = Vec::new();
            let mut state = self.pool.lock();
            let origin = state.origins.get_mut(&self.key).expect("an origin with requests is kept");
            if let Some(shared) = &origin.shared {
                if shared.is_usable() {
                    return Ok(Lease::Shared { connection: shared.clone(), is_new: false });
                }
                origin.shared = None;
            }
            while let Some((_, connection)) = origin.idle.pop() {
                if connection.connection.is_usable() {
                    return Ok(Lease::Exclusive { connection, is_new: false });
                }
                closed.push(connection);
            }
            let (tell, told) = oneshot::channel();
            origin.waiting.push_back(tell);
            drop(state);
            drop(closed);
            told
        };
        self.pool.connect(&self.key);
        // An attempt that began earlier may take less, and one that follows a failed one more.
        match timeout(self.pool.connector.timeout(), awaited).await {
            Ok(Ok(connected)) => Ok(connected?),
            Ok(Err(_)) => Err(abandoned().into()),
            Err(_) => Err(self.pool.connector.timed_out()),
        }
    }

    /// Makes a connection available again once the response and the request have ended.
    fn put_back_when_ready(&self, mut connection: Leased) {
        let (pool, key) = (Arc::downgrade(&self.pool), self.key.clone());
        if connection.connection.is_usable() {
            return self.pool.put(&key, connection, false);
        }
        tokio::spawn(async move {
            if connection.connection.ready().await
                && let Some(pool) = pool.upgrade()
            {
                pool.put(&key, connection, false);
            }
        });
    }

    /// Notes whether the server speaks the HTTP/2 that it offered. If it does not, the session repeats the request, and
    /// finds HTTP/1.1.
    fn note<T>(&self, sent: &Result<T, Failed>) {
        let mut state = self.pool.lock();
        let Some(origin) = state.origins.get_mut(&self.key) else { return };
        let Err(failed) = sent else {
            origin.has_answered = true;
            return;
        };
        let needs_http1 = match Http2Failure::of(failed.error()) {
            Http2Failure::NeedsHttp1 => true,
            Http2Failure::Broken => !origin.has_answered,
            Http2Failure::NotProcessed | Http2Failure::Other => false,
        };
        if needs_http1 {
            origin.shared = None;
            origin.is_exclusive = true;
            state.avoid_http2(&self.key);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        let Some(origin) = state.origins.get_mut(&self.key) else { return };
        origin.requests -= 1;
        let must_watch = origin.requests == 0 && origin.shared.is_some();
        if origin.requests == 0 {
            origin.unused = Instant::now();
        }
        let forgotten = state.forget_if_unused(&self.key);
        drop(state);
        drop(forgotten);
        if must_watch {
            self.pool.watch(&self.key);
        }
    }
}

/// An attempt to connect.
struct Attempt {
    pool: Weak<Inner>,
    /// `None` once it has ended.
    key: Option<Key>,
    allow_http2: bool,
}

impl Attempt {
    fn end(mut self, connected: Result<Connection, BoxError>) {
        if let Some(key) = self.key.take() {
            self.settle(&key, connected);
        }
    }

    fn settle(&self, key: &Key, connected: Result<Connection, BoxError>) {
        let Some(pool) = self.pool.upgrade() else { return };
        if connected.is_ok() {
            pool.monitor.connected();
        }
        let mut state = pool.lock();
        let Some(origin) = state.origins.get_mut(key) else { return };
        origin.connecting -= 1;
        match connected {
            Ok(Connection::Exclusive(connection)) => {
                origin.is_exclusive = true;
                drop(state);
                let counted = Counted { pool: self.pool.clone(), key: key.clone() };
                pool.put(key, Leased { connection, counted }, true);
            }
            Ok(Connection::Shared(connection)) => {
                origin.connections -= 1;
                origin.is_exclusive = false;
                origin.shared = Some(connection.clone());
                let must_watch = origin.requests == 0;
                let waiting = mem::take(&mut origin.waiting);
                drop(state);
                if must_watch {
                    pool.watch(key);
                }
                for waiting in waiting {
                    let connection = connection.clone();
                    let _ = waiting.send(Ok(Lease::Shared { connection, is_new: true }));
                }
            }
            Err(error) => {
                origin.connections -= 1;
                let error = ConnectError::from(error);
                // Others wait for their own connections, unless one was to serve all.
                let failed = if origin.is_exclusive {
                    origin.next_waiting().into_iter().collect()
                } else {
                    mem::take(&mut origin.waiting)
                };
                if !self.allow_http2 {
                    // It may have been the reason for the failure.
                    state.http1_only.remove(key.authority.as_str());
                }
                let forgotten = state.forget_if_unused(key);
                drop(state);
                drop(forgotten);
                for waiting in failed {
                    let _ = waiting.send(Err(error.clone()));
                }
            }
        }
        pool.connect(key);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // The runtime has ended.
        if let Some(key) = self.key.take() {
            self.settle(&key, Err(abandoned().into()));
        }
    }
}

/// The task that closes the idle connections of an origin.
struct Watch {
    pool: Weak<Inner>,
    /// `None` once it has ended.
    key: Option<Key>,
}

impl Watch {
    async fn run(&mut self) {
        let mut next = Instant::now() + IDLE_CONNECTION;
        while let Some(key) = &self.key {
            sleep_until(next).await;
            let more = self.pool.upgrade().and_then(|pool| pool.close_idle(key));
            match more {
                Some(more) => next = more,
                None => self.key = None,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The runtime has ended, and its connections with it.
        if let (Some(key), Some(pool)) = (self.key.take(), self.pool.upgrade()) {
            pool.abandon(&key);
        }
    }
}

fn abandoned() -> ConnectError {
    BoxError::from("the attempt was abandoned").into()
}

/// Counts a connection with HTTP/1.1. Its end may let a waiting request open another one.
struct Counted {
    pool: Weak<Inner>,
    key: Key,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.lock();
        let Some(origin) = state.origins.get_mut(&self.key) else { return };
        origin.connections -= 1;
        let forgotten = state.forget_if_unused(&self.key);
        drop(state);
        drop(forgotten);
        pool.connect(&self.key);
    }
}

/// The body of a response from [`HyperTransport`](crate::HyperTransport).
pub struct PooledBody {
    body: hyper::body::Incoming,
    /// `None` at the end.
    in_flight: Option<InFlight>,
}

impl PooledBody {
    fn new(body: hyper::body::Incoming, in_flight: InFlight) -> Self {
        let in_flight = if body.is_end_stream() { None } else { Some(in_flight) };
        Self { body, in_flight }
    }
}

impl http_body::Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.in_flight = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBody").finish_non_exhaustive()
    }
}
