//! A registry as a value, without a socket.

use bytes::Bytes;
use http::{Request, Response, request};

use crate::server::begin::Begun;
use crate::server::body::{Body, Unavailable};
use crate::server::effect::{Effect, Failure, Reply};
use crate::server::incoming::Incoming;
use crate::server::machine::Server;
use crate::server::policy::Policy;
use crate::server::storage::{MemoryStorage, Storage};
use crate::types::time::Time;

/// A registry as a value: a [`Server`] and its [`Storage`], which answer whole requests.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use oci_proto::Time;
/// use oci_proto::server::{EmbeddedRegistry, Policy};
///
/// let mut registry = EmbeddedRegistry::in_memory(Policy::open(), 1);
/// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// let push = Request::put("/v2/team/app/manifests/1.0").header("Host", "localhost").body(Bytes::from(index))?;
/// assert_eq!(registry.respond(Time::ZERO, push).status(), 201);
///
/// let pull = Request::get("/v2/team/app/manifests/1.0").header("Host", "localhost").body(Bytes::new())?;
/// assert_eq!(registry.respond(Time::ZERO, pull).body(), index);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EmbeddedRegistry<S = MemoryStorage> {
    server: Server,
    storage: S,
}

impl EmbeddedRegistry {
    /// Creates an empty registry in memory. See [`Server::with_policy`].
    pub fn in_memory(policy: Policy, seed: u64) -> Self {
        Self::new(Server::with_policy(policy, seed), MemoryStorage::new())
    }
}

impl<S: Storage> EmbeddedRegistry<S> {
    /// Creates a registry with what the server and its storage have.
    pub fn new(server: Server, storage: S) -> Self {
        Self { server, storage }
    }

    /// Returns the server and its storage.
    pub fn into_parts(self) -> (Server, S) {
        (self.server, self.storage)
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Time, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        if Server::is_read(&head.method) {
            return self.read(&head, self.server.respond(&head));
        }
        let reply = match self.server.begin(now, &head) {
            Begun::Reply(reply) => reply,
            Begun::Receive(incoming) => self.receive(now, incoming, &body),
        };
        let response = self.settle(reply);
        self.read(&head, response)
    }

    /// Ends the uploads whose last request was too long ago.
    pub fn expire_uploads(&mut self, now: Time) {
        for (repository, upload) in self.server.expire_uploads(now) {
            // Without it, the storage keeps bytes that nobody can reach until the next restart.
            let _ = self.storage.apply(&[(&repository, &[Effect::EndUpload(upload)])]);
        }
    }

    fn receive(&mut self, now: Time, mut incoming: Incoming, body: &Bytes) -> Reply {
        match self.store(&mut incoming, body) {
            Ok(()) => self.server.finish(now, incoming),
            Err(failure) => self.server.interrupted(now, incoming, Some(failure)),
        }
    }

    fn store(&mut self, incoming: &mut Incoming, body: &Bytes) -> Result<(), Failure> {
        let place = incoming.place().map(|(upload, offset)| (upload.clone(), offset));
        if let (Some((upload, _)), Some(range)) = (&place, incoming.stored()) {
            self.storage.read_upload(upload, range, &mut |bytes| incoming.push_stored(bytes))?;
        }
        // A body that is too large has its response, and is not stored.
        let is_taken = incoming.push(body).is_ok();
        let Some((upload, offset)) = place.filter(|_| is_taken && !body.is_empty()) else { return Ok(()) };
        self.storage.write(incoming.repository(), &upload, offset, body)?;
        self.storage.sync(&upload)
    }

    fn settle(&mut self, reply: Reply) -> Response<Body> {
        let Some((repository, effects)) = reply.effects() else { return reply.done() };
        match self.storage.apply(&[(repository, effects)]) {
            Ok(()) => {
                self.server.commit(&reply);
                reply.done()
            }
            Err(failure) => {
                self.server.roll_back(&reply);
                reply.failed(failure)
            }
        }
    }

    /// Reads the body of a response.
    fn read(&self, head: &request::Parts, response: Response<Body>) -> Response<Bytes> {
        let (parts, body) = response.into_parts();
        let (digest, range) = match body {
            Body::Empty => return Response::from_parts(parts, Bytes::new()),
            Body::Bytes(bytes) => return Response::from_parts(parts, bytes),
            Body::Blob { digest, range } => (digest, range),
        };
        let repository = Server::repository(head);
        let read = repository.map_or(Err(Unavailable::Missing), |of| self.storage.read(&of, &digest, range));
        match read {
            Ok(bytes) => Response::from_parts(parts, bytes),
            Err(reason) => Server::respond_without(head, &digest, reason).map(|body| match body {
                Body::Bytes(bytes) => bytes,
                Body::Empty | Body::Blob { .. } => Bytes::new(),
            }),
        }
    }
}
