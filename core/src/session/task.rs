//! One thing to fetch, over all the requests that it takes.

use http::header::AUTHORIZATION;
use http::{Method, Uri};

use crate::auth::logins::ProtectionSpace;
use crate::auth::scope::Scope;
use crate::auth::token_request::TokenRequest;
use crate::auth::{Authorization, Target};
use crate::error::Error;
use crate::op::{At, Fetch, What};
use crate::session::Session;
use crate::types::digest::{Algorithm, Hasher};
use crate::types::id::{ExchangeId, OpId, TaskId};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::time::Time;
use crate::wire::endpoint::Endpoint;
use crate::wire::exchange::blob::BlobWant;
use crate::wire::exchange::manifest::ManifestWant;
use crate::wire::exchange::{Awaiting, Exchange, Sink, Want};
use crate::wire::origin::Origin;
use crate::wire::redact::Redactor;
use crate::wire::request::Accepting;
use crate::wire::status::RequestKind;
use crate::wire::{origin, request};

pub(super) struct Task {
    pub(super) purpose: Purpose,
    pub(super) place: TaskState,
    pub(super) kind: RequestKind,
    /// The URL that it begins with, and goes back to for another try: signed URLs expire.
    pub(super) home: Uri,
    /// The URL that is asked next, or now.
    pub(super) target: Uri,
    pub(super) origin: Origin,
    /// How often it was redirected from `home`.
    pub(super) redirects: u32,
    /// How many tries have failed since there was progress.
    pub(super) failed: u32,
    /// What the answer may say again of the request's secrets.
    pub(super) echo: Redactor,
    /// How far a blob has come.
    pub(super) part: Option<Box<BlobWant>>,
}

pub(super) enum Purpose {
    Fetch { op: OpId, fetch: Fetch },
    Token(Box<TokenRequest>),
}

/// Where a task is.
#[derive(Clone, Debug)]
pub(super) enum TaskState {
    /// In its origin's lane.
    Queued,
    /// Set aside, since its operation is paused.
    Parked,
    Out(ExchangeId),
    /// Until the next try.
    Asleep(Time),
    /// Until its login or its token is there.
    Waiting,
}

impl Task {
    pub(super) fn op(&self) -> Option<OpId> {
        match &self.purpose {
            Purpose::Fetch { op, .. } => Some(*op),
            Purpose::Token(_) => None,
        }
    }

    /// The next request goes to this URL.
    pub(super) fn turn_to(&mut self, target: Uri) {
        if let Some(origin) = Origin::of(&target) {
            self.origin = origin;
            self.target = target;
        }
    }

    /// The next request begins at the beginning.
    pub(super) fn turn_home(&mut self) {
        self.redirects = 0;
        self.turn_to(self.home.clone());
    }
}

impl Session {
    /// Makes a task of what an operation wants to fetch.
    pub(super) fn begin_fetch(&mut self, op: OpId, fetch: Fetch) -> Option<TaskId> {
        let running = self.ops.get_mut(&op)?;
        let (kind, home, part) = match &fetch.what {
            What::Manifest { method, name, .. } => {
                let endpoint = Endpoint::Manifest(running.repository.clone(), name.clone(), Vec::new());
                (endpoint.request(method)?, running.base.uri(&endpoint), None)
            }
            What::Blob(blob) => {
                let digest = &blob.digest;
                let fresh = || (0, Hasher::new(digest.algorithm().unwrap_or(Algorithm::Sha256)));
                let (offset, hasher) = blob.had.clone().unwrap_or_else(fresh);
                let part = BlobWant {
                    sink: Sink { op, digest: digest.clone(), size: blob.size, offset },
                    hasher,
                    announced: None,
                    limit: self.config.limits.blob_bytes,
                    discard: blob.discard,
                };
                let repository = running.repository.clone();
                let (kind, home) = match &blob.at {
                    At::Blobs => {
                        let endpoint = Endpoint::Blob(repository, digest.clone());
                        (RequestKind::GetBlob, running.base.uri(&endpoint))
                    }
                    At::Manifests => {
                        let name = TagOrDigest::Digest(digest.clone());
                        let endpoint = Endpoint::Manifest(repository, name, Vec::new());
                        (RequestKind::GetManifest, running.base.uri(&endpoint))
                    }
                    At::Url(url) => match origin::elsewhere(&running.origin, url, self.config.plain_http) {
                        Ok(url) => (RequestKind::GetElsewhere, url),
                        Err(misbehaviour) => {
                            running.op.settle(&fetch, Err(Error::new(misbehaviour)));
                            self.wake(op);
                            return None;
                        }
                    },
                };
                (kind, home, Some(Box::new(part)))
            }
        };
        let origin = Origin::of(&home)?;
        let id = self.ids.task();
        self.begin(id, Purpose::Fetch { op, fetch }, kind, home, origin, part);
        self.ops.get_mut(&op)?.tasks.insert(id);
        Some(id)
    }

    /// Makes a task of a token request.
    fn begin_token(&mut self, id: TaskId, token: Box<TokenRequest>) {
        let (kind, home) = (token.kind(), token.uri());
        // A realm is an absolute URL.
        let Some(origin) = Origin::of(&home) else { return };
        self.begin(id, Purpose::Token(token), kind, home, origin, None);
        self.queue(id);
    }

    fn begin(
        &mut self,
        id: TaskId,
        purpose: Purpose,
        kind: RequestKind,
        home: Uri,
        origin: Origin,
        part: Option<Box<BlobWant>>,
    ) {
        let task = Task {
            purpose,
            place: TaskState::Queued,
            kind,
            target: home.clone(),
            home,
            origin,
            redirects: 0,
            failed: 0,
            echo: Redactor::default(),
            part,
        };
        self.tasks.insert(id, task);
    }

    /// Makes the next exchange of a task; `None` where something else comes first.
    pub(super) fn send(&mut self, id: TaskId) -> Option<Exchange> {
        let authorization = match self.authorize(id)? {
            Authorization::Send(header) => header,
            Authorization::Wait => {
                self.tasks.get_mut(&id)?.place = TaskState::Waiting;
                return None;
            }
            Authorization::Fetch(fetch, token) => {
                self.tasks.get_mut(&id)?.place = TaskState::Waiting;
                self.begin_token(fetch, token);
                return None;
            }
            Authorization::Refuse(refusal) => {
                self.fail(id, refusal.into());
                return None;
            }
        };
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        let limits = &self.config.limits;
        let task = self.tasks.get_mut(&id)?;
        let (request, echo, want) = match &task.purpose {
            Purpose::Token(token) => {
                let (request, echo) = token.build(&self.config, task.target.clone());
                (request, echo, Want::Token(limits.token_bytes))
            }
            Purpose::Fetch { fetch, .. } => {
                let (accepting, want) = match &task.part {
                    Some(part) => (Accepting::Blob(part.sink.offset), Want::Blob(part.clone())),
                    None => (Accepting::Manifest, manifest_want(fetch, limits.manifest_bytes)),
                };
                let mut request =
                    request::build(&self.config, task.kind.method(), task.target.clone(), accepting);
                if let Some(value) = authorization {
                    request.headers_mut().insert(AUTHORIZATION, value);
                }
                let echo = Redactor::of(&request, None);
                (request, echo, want)
            }
        };
        let awaiting =
            Awaiting { id: exchange, op: task.op(), kind: task.kind, want, error_bytes: limits.error_bytes };
        task.echo = echo;
        task.place = TaskState::Out(exchange);
        self.lanes.sent(&task.origin);
        self.out.insert(exchange, id);
        Some(Exchange { request, awaiting })
    }

    /// Asks how the task's next request is authorized. A token request carries a login of its own.
    fn authorize(&mut self, id: TaskId) -> Option<Authorization> {
        let task = self.tasks.get(&id)?;
        let Some(op) = task.op() else { return Some(Authorization::Send(None)) };
        let running = self.ops.get(&op)?;
        let target = Target {
            registry: &running.registry,
            space: &ProtectionSpace {
                origin: running.origin.clone(),
                repository: running.repository.clone(),
            },
            origin: &task.origin,
            need: &Scope::pull(&running.repository),
        };
        Some(self.auth.authorize(id, &target, &mut self.ids, self.now))
    }
}

fn manifest_want(fetch: &Fetch, limit: u64) -> Want {
    match &fetch.what {
        What::Manifest { method, expected, .. } if *method != Method::HEAD => Want::Manifest(ManifestWant {
            digest: expected.digest.clone(),
            size: expected.size,
            media_type: expected.media_type.clone(),
            limit,
        }),
        _ => Want::Head,
    }
}
