//! Turns a fetch into a task, and a task into its next request.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};

use crate::auth::Authorization;
use crate::auth::token_request::TokenRequest;
use crate::op::operation::{Call, Fetch, FetchKind};
use crate::session::lists::is_pair;
use crate::session::state::Session;
use crate::session::task::{Purpose, Task, TaskState};
use crate::types::id::TaskId;
use crate::wire::exchange::Exchange;
use crate::wire::exchange::awaiting::Awaiting;
use crate::wire::exchange::reach::Reach;
use crate::wire::exchange::receiving::BodyBounds;
use crate::wire::exchange::sending::Sending;
use crate::wire::exchange::want::{ManifestWant, Want};
use crate::wire::origin::Origin;
use crate::wire::request::{self, Accepting};
use crate::wire::status::RequestKind;

impl Session {
    /// Creates the task for a token request.
    fn begin_token(&mut self, id: TaskId, token: Box<TokenRequest>) {
        let (kind, start_uri) = (token.kind(), token.uri());
        // A realm is an absolute URL.
        let Some(origin) = Origin::of(&start_uri) else { return };
        self.tasks.insert(id, Task::new(Purpose::Token(token), kind, start_uri, origin, None));
        self.queue(id);
    }

    /// Creates the next exchange of a task, or returns `None` if the task must wait or has failed.
    pub(super) fn send(&mut self, id: TaskId) -> Option<Exchange> {
        let permit = self.permit(id).continue_value()?;
        self.dispatch(id, permit)
    }

    /// Creates the exchanges of a pair, if there are slots for both and neither waits for a login or a
    /// token. The second exchange goes to the outbox.
    pub(super) fn send_pair(&mut self, first: TaskId, second: TaskId) -> Option<Exchange> {
        let mut permits = [None, None];
        for (id, permit) in [first, second].into_iter().zip(&mut permits) {
            *permit = self.permit(id).continue_value();
            // If one of them has failed, the other is an ordinary task.
            if !is_pair(&self.tasks, first, second) {
                return None;
            }
        }
        let [Some(permit), Some(other_permit)] = permits else {
            self.lanes.forget_pair(first);
            return None;
        };
        let origin_of = |id| self.tasks.get(&id).map(|task| task.origin.clone());
        let (a, b) = (origin_of(first)?, origin_of(second)?);
        if !self.lanes.admits_pair((first, &a), (second, &b), &self.config.limits, self.now) {
            return None;
        }
        for id in [first, second] {
            if let Some(half) = &mut self.tasks.get_mut(&id)?.half {
                half.admitted = true;
            }
        }
        let exchange = self.dispatch(first, permit);
        let other = self.dispatch(second, other_permit);
        self.outbox.extend(other);
        exchange
    }

    /// Decides how the task's next request is sent, or breaks if it cannot be sent now.
    fn permit(&mut self, id: TaskId) -> ControlFlow<(), Permit> {
        let Some(task) = self.tasks.get(&id) else { return ControlFlow::Break(()) };
        match self.addresses.reach(task, self.config.allow_private_addresses) {
            Ok(reach) => self.authorize(id).map_continue(|authorization| Permit { reach, authorization }),
            Err(misbehaviour) => {
                self.fail_or_fetch_whole(id, misbehaviour.into());
                ControlFlow::Break(())
            }
        }
    }

    /// Returns the Authorization header of the task's next request, if any, or breaks if the request
    /// cannot be sent now.
    fn authorize(&mut self, id: TaskId) -> ControlFlow<(), Option<HeaderValue>> {
        let Some(task) = self.tasks.get(&id) else { return ControlFlow::Break(()) };
        let Some(fetch) = task.fetch() else {
            // A token request contains its own login.
            return ControlFlow::Continue(None);
        };
        let scope = fetch.call().and_then(|call| call.scope.as_ref());
        // The author of a document chooses the URLs in it, which may name the registry itself.
        if task.kind == RequestKind::GetElsewhere {
            return ControlFlow::Continue(None);
        }
        match self.auth.authorize(id, &fetch.target, scope, &task.origin, &mut self.ids, self.now) {
            Authorization::Send(header) => return ControlFlow::Continue(header),
            Authorization::Wait => self.wait(id),
            Authorization::Fetch(fetch, token) => {
                self.wait(id);
                self.begin_token(fetch, token);
            }
            Authorization::Refuse(refusal) => self.fail_task(id, refusal.into()),
        }
        ControlFlow::Break(())
    }

    fn wait(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = TaskState::Waiting;
        }
    }

    fn dispatch(&mut self, id: TaskId, Permit { reach, authorization }: Permit) -> Option<Exchange> {
        let limits = &self.config.limits;
        let task = self.tasks.get_mut(&id)?;
        let (mut prefix, mut completes) = (None, 0);
        let (request, want) = match &task.purpose {
            Purpose::Token(token) => {
                (token.build(&self.config, task.uri.clone()), Want::Token(limits.token_bytes))
            }
            Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch) => {
                let (accepting, want) = match (&task.part, &fetch.kind) {
                    (Some(part), _) => (Accepting::Blob(part.start()), Want::Blob(part.clone())),
                    (None, FetchKind::Call(call)) => (call_accepting(call.kind), call_want(call)),
                    (None, FetchKind::Config(_)) => {
                        (Accepting::Blob(0), manifest_want(fetch, limits.manifest_bytes))
                    }
                    (None, _) => (Accepting::Manifest, manifest_want(fetch, limits.manifest_bytes)),
                };
                let mut request =
                    request::build(&self.config, task.kind.method(), task.uri.clone(), accepting);
                if let FetchKind::Call(call) = &fetch.kind {
                    *request.body_mut() = call.payload.clone();
                    let described = call.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
                    request.headers_mut().extend(described);
                    prefix.clone_from(&call.prefix);
                    completes = call.completes;
                }
                // The author of a document chooses the URLs in it.
                if task.is_at_registry() && task.kind != RequestKind::GetElsewhere {
                    self.config.headers.add_to(request.headers_mut(), &fetch.target.registry);
                }
                task.authorization.clone_from(&authorization);
                if let Some(value) = authorization {
                    request.headers_mut().insert(AUTHORIZATION, value);
                }
                (request, want)
            }
        };
        let mut request = request;
        request::set_content_length(&mut request);
        let exchange = self.ids.exchange();
        let sent = Arc::default();
        let sending = Sending::of(request.body(), prefix, Arc::clone(&sent));
        let awaiting = Awaiting {
            id: exchange,
            op: task.op(),
            kind: task.kind,
            want,
            reach,
            is_private: false,
            bounds: BodyBounds { error_bytes: limits.error_bytes, drain_bytes: limits.drain_bytes },
            sent,
            kept: None,
        };
        task.state = TaskState::InFlight(exchange);
        let kept = task.half.as_mut().and_then(|half| half.slot.take());
        self.lanes.sent(&task.origin, kept.as_ref(), self.now);
        self.in_flight.insert(exchange, id);
        let (is_replay, has_own_url) = (self.is_replay, task.has_own_url());
        Some(Exchange { request, sending, awaiting, completes, is_replay, has_own_url })
    }
}

/// How a request is sent.
struct Permit {
    reach: Reach,
    authorization: Option<HeaderValue>,
}

fn call_accepting(kind: RequestKind) -> Accepting {
    match kind {
        RequestKind::HeadManifest | RequestKind::GetManifest => Accepting::Manifest,
        RequestKind::CheckVersion | RequestKind::ListTags | RequestKind::ListRepositories => Accepting::Json,
        RequestKind::ListReferrers => Accepting::Referrers,
        _ => Accepting::Any,
    }
}

fn call_want(call: &Call) -> Want {
    call.body_limit.map_or(Want::Head, Want::Body)
}

fn manifest_want(fetch: &Fetch, limit: u64) -> Want {
    match &fetch.kind {
        FetchKind::Manifest { method, expected, .. } if *method != Method::HEAD => {
            Want::Manifest(ManifestWant {
                digest: expected.digest.clone(),
                size: expected.size,
                media_type: expected.media_type.clone(),
                is_blob: false,
                limit,
            })
        }
        FetchKind::Config(config) => Want::Manifest(ManifestWant {
            digest: Some(config.digest.clone()),
            size: Some(config.size),
            media_type: Some(config.media_type.clone()),
            is_blob: true,
            limit,
        }),
        _ => Want::Head,
    }
}
