//! One thing to fetch, over all the requests that it takes.

use http::{Method, Uri};

use crate::auth;
use crate::auth::credentials::{Credentials, CredentialsQuery};
use crate::auth::scope::Scope;
use crate::auth::token::TokenKey;
use crate::auth::{Present, Shown, Site};
use crate::error::{Error, Refusal};
use crate::op::{At, Fetch, What};
use crate::session::Session;
use crate::session::lanes::Job;
use crate::types::digest::{Algorithm, Hasher};
use crate::types::id::{ExchangeId, OpId, QueryId};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(pub(super) u64);

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
    /// How many 401s there were since there was progress.
    pub(super) challenges: u32,
    /// The last of those, and when it was, on the clock of [`auth::Auth`].
    pub(super) challenged: Option<(u64, Refusal)>,
    pub(super) shown: Option<Shown>,
    /// What the answer may say again of that.
    pub(super) echo: Redactor,
    /// How far a blob has come.
    pub(super) part: Option<Box<BlobWant>>,
}

pub(super) enum Purpose {
    Fetch { op: OpId, fetch: Fetch },
    Token { key: TokenKey, waiting: Vec<TaskId> },
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
    /// Until the driver says which login there is.
    NeedsLogin(Site),
    /// Until a token is there.
    NeedsToken(TaskId),
}

impl Task {
    pub(super) fn op(&self) -> Option<OpId> {
        match &self.purpose {
            Purpose::Fetch { op, .. } => Some(*op),
            Purpose::Token { .. } => None,
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
        let id = self.begin(Purpose::Fetch { op, fetch }, kind, home, origin, part);
        self.ops.get_mut(&op)?.tasks.insert(id);
        Some(id)
    }

    /// Makes a task of a token that a request needs, unless one that serves is on its way.
    fn begin_token(&mut self, key: TokenKey, waiting: TaskId) -> Option<TaskId> {
        let on_its_way = self.fetching.iter().find(|(fetched, _)| fetched.serves(&key)).map(|(_, id)| *id);
        if let Some(id) = on_its_way
            && let Some(Task { purpose: Purpose::Token { waiting: all, .. }, .. }) = self.tasks.get_mut(&id)
        {
            all.push(waiting);
            return Some(id);
        }
        let refresh = matches!(key.credentials, Some(Credentials::Identity(_)));
        let kind = if refresh { RequestKind::PostToken } else { RequestKind::GetToken };
        let home = if refresh { key.realm.0.clone() } else { request::token_uri(&key) };
        let origin = Origin::of(&home)?;
        let purpose = Purpose::Token { key: key.clone(), waiting: vec![waiting] };
        let id = self.begin(purpose, kind, home, origin.clone(), None);
        self.fetching.insert(key, id);
        self.lanes.push(&origin, Job::Task(id));
        Some(id)
    }

    fn begin(
        &mut self,
        purpose: Purpose,
        kind: RequestKind,
        home: Uri,
        origin: Origin,
        part: Option<Box<BlobWant>>,
    ) -> TaskId {
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let task = Task {
            purpose,
            place: TaskState::Queued,
            kind,
            target: home.clone(),
            home,
            origin,
            redirects: 0,
            failed: 0,
            challenges: 0,
            challenged: None,
            shown: None,
            echo: Redactor::default(),
            part,
        };
        self.tasks.insert(id, task);
        id
    }

    /// Makes the next exchange of a task; `None` where something else comes first.
    pub(super) fn send(&mut self, id: TaskId) -> Option<Exchange> {
        let authorization = match self.present(id)? {
            Present::Nothing => None,
            Present::NoLogin => {
                let site = self.site_of(id)?;
                if self.give_up(id) {
                    self.auth.forget(&site);
                    return None;
                }
                None
            }
            Present::This(shown, header) => {
                self.tasks.get_mut(&id)?.shown = Some(shown);
                Some(header)
            }
            Present::Ask => {
                self.ask_for_login(id);
                return None;
            }
            Present::Asked => {
                let site = self.site_of(id)?;
                self.tasks.get_mut(&id)?.place = TaskState::NeedsLogin(site);
                return None;
            }
            Present::Fetch(key) => {
                let token = self.begin_token(*key, id)?;
                self.tasks.get_mut(&id)?.place = TaskState::NeedsToken(token);
                return None;
            }
        };
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        let limits = &self.config.limits;
        let task = self.tasks.get_mut(&id)?;
        let (accepting, want) = match (&task.purpose, &task.part) {
            (Purpose::Token { .. }, _) => (Accepting::Token, Want::Token(limits.token_bytes)),
            (Purpose::Fetch { .. }, Some(part)) => {
                (Accepting::Blob(part.sink.offset), Want::Blob(part.clone()))
            }
            (Purpose::Fetch { fetch, .. }, None) => {
                (Accepting::Manifest, manifest_want(fetch, limits.manifest_bytes))
            }
        };
        let mut request = request::build(&self.config, task.kind.method(), task.target.clone(), accepting);
        match &task.purpose {
            Purpose::Token {
                key: TokenKey { credentials: Some(Credentials::Identity(token)), .. }, ..
            } if task.kind != RequestKind::PostToken => {
                // What helpers call the name of a refresh token is what such servers know.
                insert(&mut request, auth::basic(Credentials::IDENTITY_USER, token));
            }
            Purpose::Token { key, .. } => match &key.credentials {
                Some(Credentials::Basic { username, password }) => {
                    insert(&mut request, auth::basic(username, password));
                }
                Some(Credentials::Identity(token)) => request::refresh(&mut request, key, token),
                _ => {}
            },
            Purpose::Fetch { .. } => insert(&mut request, authorization),
        }
        let awaiting =
            Awaiting { id: exchange, op: task.op(), kind: task.kind, want, error_bytes: limits.error_bytes };
        task.echo = match &task.purpose {
            Purpose::Token {
                key: TokenKey { credentials: Some(Credentials::Identity(token)), .. }, ..
            } => Redactor::of(&request, Some(token)),
            _ => Redactor::of(&request, None),
        };
        task.place = TaskState::Out(exchange);
        self.lanes.sent(&task.origin);
        self.out.insert(exchange, id);
        Some(Exchange { request, awaiting })
    }

    /// What the task's next request is to show.
    fn present(&mut self, id: TaskId) -> Option<Present> {
        let task = self.tasks.get_mut(&id)?;
        task.shown = None;
        let Some(running) = task.op().and_then(|op| self.ops.get(&op)) else { return Some(Present::Nothing) };
        if !origin::may_authorize(&running.origin, &task.origin) {
            return Some(Present::Nothing);
        }
        let site = (running.origin.clone(), running.repository.clone());
        Some(self.auth.present(&site, &Scope::pull(&running.repository), self.now))
    }

    /// The registry and repository of a task's operation.
    pub(super) fn site_of(&self, id: TaskId) -> Option<Site> {
        let running = self.ops.get(&self.tasks.get(&id)?.op()?)?;
        Some((running.origin.clone(), running.repository.clone()))
    }

    fn ask_for_login(&mut self, id: TaskId) {
        let Some(site) = self.site_of(id) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(running) = task.op().and_then(|op| self.ops.get(&op)) else { return };
        task.place = TaskState::NeedsLogin(site.clone());
        let query = QueryId(self.next_query);
        self.next_query += 1;
        self.auth.asked(&site, query);
        let asked =
            CredentialsQuery { registry: running.registry.clone(), repository: running.repository.clone() };
        self.queries.push_back((query, asked.clone()));
        self.asked.insert(query, (site, asked));
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

fn insert(request: &mut http::Request<request::Payload>, authorization: Option<http::HeaderValue>) {
    if let Some(value) = authorization {
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
    }
}
