//! Authentication, per registry and repository: from a request's first 401 to an accepted credential.
//!
//! 1. A request is sent without credentials until its registry answers 401, and [`Auth::challenged`] stores the
//!    challenge for the registry's origin and the repository.
//! 2. If no login is known, [`Auth::authorize`] queues a question for the driver, and [`Auth::answered`] stores
//!    the login and resumes all requests that waited for it.
//! 3. For a Bearer challenge, [`Auth::authorize`] uses a cached token that covers the need, or returns a
//!    [`TokenRequest`], which the session sends like any other request.
//! 4. [`Auth::fetched`] caches the token and resumes the requests that waited for it, or fails them and keeps
//!    no state if the token request failed.
//!    If the token server refuses a login that is older than the request, the flow starts over with step 2.
//! 5. [`Auth::authorize`] remembers when the credential in its header was obtained: if the registry rejects it,
//!    [`Auth::challenged`] drops it and the flow starts over, unless it is newer than the request's last 401.
//!
//! Source: RFC 9110, section 11; RFC 7617; Docker's pages on token authentication and `OAuth2`.

pub(crate) mod credentials;
pub(crate) mod logins;
#[cfg(test)]
mod tests;
pub(crate) mod token_request;
mod tokens;
mod waiting;

use std::collections::{BTreeMap, VecDeque};

use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::auth::credentials::{Credentials, CredentialsQuery};
use crate::auth::logins::{Credential, Logins, ProtectionSpace, Scheme};
use crate::auth::token_request::TokenRequest;
use crate::auth::tokens::{TokenKey, Tokens};
use crate::auth::waiting::{Awaited, Waiting};
use crate::config::Config;
use crate::error::fault::Fault;
use crate::error::{Cause, Error, Refusal};
use crate::types::id::{Ids, QueryId, TaskId};
use crate::types::scope::Scope;
use crate::types::time::Time;
use crate::types::token::TokenAnswer;
use crate::wire::origin;
use crate::wire::origin::{Origin, TokenServers};
use crate::wire::target::Target;

/// The logins and tokens of a session, and the requests that wait for them.
#[derive(Debug)]
pub(crate) struct Auth {
    logins: Logins,
    tokens: Tokens,
    requests: BTreeMap<TaskId, RequestState>,
    waiting: Waiting,
    /// The questions without an answer.
    asked: BTreeMap<QueryId, (ProtectionSpace, CredentialsQuery)>,
    /// The questions that have not been handed to the driver.
    to_ask: VecDeque<QueryId>,
    /// A logical clock that orders events.
    clock: u64,
    max_challenges: u32,
    token_servers: TokenServers,
}

/// The authentication state of one request, across its attempts.
#[derive(Debug)]
struct RequestState {
    space: ProtectionSpace,
    /// The time of its first attempt with a known challenge. A login that was obtained before may have expired.
    since: u64,
    /// The credential of the last attempt.
    proof: Option<Proof>,
    /// The number of 401 responses since the last progress.
    challenges: u32,
    /// The scope in its last challenge. Requests to one repository may require different ones.
    scope: Option<Scope>,
    /// The time of the last 401, and the response.
    challenged: Option<(u64, Refusal)>,
    /// Whether it requires more access than other requests to its target. Its failure says nothing about theirs.
    requires_more: bool,
}

/// The credential in an Authorization header, with the time at which it was obtained.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Login(u64),
    Token(u64),
}

/// The next step of a request.
#[derive(Debug)]
pub(crate) enum Authorization {
    /// Send the request, with this Authorization header if there is one.
    Send(Option<HeaderValue>),
    /// The request waits for a login or a token. There may be a new [question](Auth::next_question).
    Wait,
    /// The request waits for this new token request with this id.
    Fetch(TaskId, Box<TokenRequest>),
    /// The registry rejected the request, and no login is available.
    Refuse(Refusal),
}

impl Auth {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            logins: Logins::new(limits.tokens),
            tokens: Tokens::new(limits.tokens),
            requests: BTreeMap::new(),
            waiting: Waiting::default(),
            asked: BTreeMap::new(),
            to_ask: VecDeque::new(),
            clock: 0,
            max_challenges: limits.challenges,
            token_servers: TokenServers::of(config),
        }
    }

    /// Decides how an attempt of `request` is authorized, and whether it can be sent now. `origin` is
    /// the origin to which it is sent; after a redirect, it differs from the target's. `extra` is the access
    /// that the request requires besides that of the target.
    pub(crate) fn authorize(
        &mut self,
        request: TaskId,
        target: &Target,
        extra: Option<&Scope>,
        origin: &Origin,
        ids: &mut Ids,
        now: Time,
    ) -> Authorization {
        let used = self.tick();
        let space = &ProtectionSpace::of(target);
        let may_authorize = origin::may_authorize(&space.origin, origin);
        let credential = may_authorize.then(|| self.logins.credential(space, used)).flatten();
        let Some(credential) = credential else {
            if let Some(state) = self.requests.get_mut(&request) {
                state.proof = None;
            }
            return Authorization::Send(None);
        };
        let state = self.requests.entry(request).or_insert_with(|| RequestState::new(space.clone(), used));
        (state.proof, state.requires_more) = (None, extra.is_some());
        match credential {
            Credential::Unknown => {
                let query = ids.query();
                self.ask(query, target, space);
                self.waiting.join(request, Awaited::Login(query));
                Authorization::Wait
            }
            Credential::Asked(query) => {
                self.waiting.join(request, Awaited::Login(query));
                Authorization::Wait
            }
            Credential::Missing => match self.last_refusal(request) {
                Some(refusal) => {
                    self.logins.forget(space);
                    Authorization::Refuse(refusal)
                }
                None => Authorization::Send(None),
            },
            Credential::Login { header, obtained } => {
                state.proof = Some(Proof::Login(obtained));
                Authorization::Send(Some(header))
            }
            Credential::Token { realm, service, credentials, scope } => {
                // Another request may have been challenged since with another scope. More than the challenge
                // asks for may be denied.
                let challenged = state.scope.as_ref().unwrap_or(scope);
                let mut scope = target.scope(challenged);
                if let Some(extra) = extra {
                    scope.merge(extra);
                }
                let key = TokenKey {
                    registry: space.origin.clone(),
                    realm: realm.clone(),
                    service: service.to_owned(),
                    credentials: credentials.cloned(),
                    scope,
                };
                if let Some(token) = self.tokens.find(&key, now) {
                    state.proof = Some(Proof::Token(token.obtained));
                    Authorization::Send(Some(token.header.clone()))
                } else if let Some(fetch) = self.tokens.find_pending(&key) {
                    self.waiting.join(request, Awaited::Token(fetch));
                    Authorization::Wait
                } else {
                    let fetch = ids.task();
                    self.tokens.begin(fetch, key.clone());
                    self.waiting.join(request, Awaited::Token(fetch));
                    Authorization::Fetch(fetch, Box::new(TokenRequest::new(key)))
                }
            }
        }
    }

    /// Handles the registry's 401 response to `request` from the URL `from`; `in_use` is the number of targets in the
    /// session. On success, the request must be authorized again; otherwise it fails.
    pub(crate) fn challenged(
        &mut self,
        request: TaskId,
        target: &Target,
        from: &Uri,
        mut refusal: Refusal,
        headers: &HeaderMap,
        in_use: usize,
    ) -> Result<(), Cause> {
        let now = self.tick();
        let new = || RequestState::new(ProtectionSpace::of(target), now);
        let state = self.requests.entry(request).or_insert_with(new);
        let space = &state.space;
        let mut scheme = Scheme::of_challenge(from, headers, &self.token_servers)?;
        let is_newer = |obtained| state.challenged.as_ref().is_some_and(|(last, _)| *last < obtained);
        let fresh_is_refused = match state.proof {
            Some(Proof::Token(obtained)) => {
                self.tokens.remove(obtained);
                is_newer(obtained)
            }
            Some(Proof::Login(obtained)) => is_newer(obtained),
            None => false,
        };
        refusal.challenged |= state.proof.is_some();
        // Another one may have replaced it meanwhile.
        let refused = match state.proof {
            Some(Proof::Login(obtained)) => self
                .logins
                .login_since(space)
                .filter(|(_, known)| *known == obtained)
                .map(|(login, _)| login.clone()),
            _ => None,
        };
        // A 401 without a supported scheme may follow an earlier challenge.
        if fresh_is_refused || scheme.is_none() && !self.logins.is_challenged(space) {
            refusal.with_login = self.logins.has_login(space);
            if !state.requires_more {
                self.logins.refused(space, refused.as_ref());
                self.logins.forget(space);
            }
            return Err(refusal.into());
        }
        if let Some(Scheme::Bearer { scope, .. }) = &mut scheme {
            state.scope = Some(scope.clone());
            if state.requires_more {
                // Other requests do not need that access.
                *scope = Scope::default();
            }
        }
        self.logins.challenged(space, scheme, refused.as_ref(), now, in_use);
        state.challenges += 1;
        if state.challenges >= self.max_challenges {
            refusal.with_login = self.logins.has_login(space);
            return Err(refusal.into());
        }
        state.challenged = Some((now, refusal));
        Ok(())
    }

    /// Returns the next question for the driver.
    pub(crate) fn next_question(&mut self) -> Option<(QueryId, CredentialsQuery)> {
        let query = self.to_ask.pop_front()?;
        let (_, question) = self.asked.get(&query)?;
        Some((query, question.clone()))
    }

    pub(crate) fn has_question(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// Returns the number of questions without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Queues all unanswered questions again, because the driver that received them is gone.
    pub(crate) fn ask_again(&mut self) {
        self.to_ask = self.asked.keys().copied().collect();
    }

    /// Handles the driver's answer to a question. Returns the requests that waited for it; each is
    /// authorized again or fails. An answer to a question that is not open is ignored.
    pub(crate) fn answered(
        &mut self,
        query: QueryId,
        found: Result<Option<Credentials>, Fault>,
    ) -> Vec<(TaskId, Result<(), Cause>)> {
        let Some((space, question)) = self.asked.remove(&query) else { return Vec::new() };
        self.to_ask.retain(|queued| *queued != query);
        let waiting = self.waiting.take(Awaited::Login(query)).into_iter();
        let found = match found {
            Ok(found) => found,
            Err(fault) => {
                self.logins.failed(&space, question.is_refused);
                return waiting.map(|request| (request, Err(fault.clone().into()))).collect();
            }
        };
        let obtained = self.tick();
        self.logins.answered(&space, found, obtained);
        if !matches!(self.logins.credential(&space, obtained), Some(Credential::Missing)) {
            return waiting.map(|request| (request, Ok(()))).collect();
        }
        // One answer serves all waiting requests; none asks again. A request without a 401 of its own
        // is sent.
        let resumed = waiting.map(|request| {
            (request, self.last_refusal(request).map_or(Ok(()), |refusal| Err(refusal.into())))
        });
        let resumed = resumed.collect();
        self.logins.forget(&space);
        resumed
    }

    /// Handles the outcome of a token request; `in_use` is the number of targets in the session.
    /// Returns the requests that waited for it; each is authorized again or fails.
    pub(crate) fn fetched(
        &mut self,
        fetch: TaskId,
        outcome: Result<&TokenAnswer, &Error>,
        now: Time,
        in_use: usize,
    ) -> Vec<(TaskId, Result<(), Error>)> {
        let waiting = self.waiting.take(Awaited::Token(fetch)).into_iter();
        match outcome {
            Ok(answer) => {
                let obtained = self.tick();
                self.tokens.store(fetch, answer, obtained, now, in_use);
                waiting.map(|request| (request, Ok(()))).collect()
            }
            Err(error) => {
                let sent = self.tokens.abandon(fetch).and_then(|key| key.credentials);
                let refused = sent.filter(|_| error.status() == Some(StatusCode::UNAUTHORIZED));
                let waiting: Vec<_> =
                    waiting.map(|request| (request, self.is_stale(request, refused.as_ref()))).collect();
                let mut settled = Vec::with_capacity(waiting.len());
                for (request, is_stale) in waiting {
                    if let Some(state) = self.requests.get(&request).filter(|state| !state.requires_more) {
                        self.logins.refused(&state.space, refused.as_ref());
                        if !is_stale {
                            self.logins.forget(&state.space);
                        }
                    }
                    settled.push((request, if is_stale { Ok(()) } else { Err(error.clone()) }));
                }
                settled
            }
        }
    }

    /// Returns the requests that wait for a token request.
    pub(crate) fn waiting_for(&self, fetch: TaskId) -> impl Iterator<Item = TaskId> {
        self.waiting.queue(Awaited::Token(fetch))
    }

    /// Returns whether a login is known for the registry of `target`.
    pub(crate) fn has_login(&self, target: &Target) -> bool {
        self.logins.has_login(&ProtectionSpace::of(target))
    }

    /// Returns the login for the registry of `target`, if one is known.
    pub(crate) fn login(&self, target: &Target) -> Option<&Credentials> {
        self.logins.login(&ProtectionSpace::of(target))
    }

    /// Records that the registry accepted the credential of `request` for part of its content. A later
    /// 401 means that the credential has expired.
    pub(crate) fn progressed(&mut self, request: TaskId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.challenges = 0;
            state.challenged = None;
        }
    }

    /// Removes a request that has ended or was cancelled. Returns the token request that only it waited
    /// for, which must be cancelled.
    pub(crate) fn release(&mut self, request: TaskId) -> Option<TaskId> {
        self.requests.remove(&request);
        let Some(Awaited::Token(fetch)) = self.waiting.leave(request) else { return None };
        if self.waiting_for(fetch).next().is_some() {
            return None;
        }
        self.tokens.abandon(fetch);
        Some(fetch)
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn ask(&mut self, query: QueryId, target: &Target, space: &ProtectionSpace) {
        let is_refused = self.logins.asked(space, query);
        let (registry, repository) = (target.registry.clone(), target.repository.clone());
        let question = CredentialsQuery { registry, repository, is_refused };
        self.asked.insert(query, (space.clone(), question));
        self.to_ask.push_back(query);
    }

    /// Returns whether another login may serve a request, because the refused one is older than the request, or was
    /// replaced meanwhile.
    fn is_stale(&self, request: TaskId, refused: Option<&Credentials>) -> bool {
        let (Some(state), Some(refused)) = (self.requests.get(&request), refused) else { return false };
        let known = self.logins.login_since(&state.space);
        !state.requires_more
            && known.is_none_or(|(login, obtained)| login != refused || obtained < state.since)
    }

    /// Takes the registry's last 401 response to `request`, which is final because there is no login.
    fn last_refusal(&mut self, request: TaskId) -> Option<Refusal> {
        let state = self.requests.get_mut(&request)?;
        let (_, mut refusal) = state.challenged.take()?;
        refusal.with_login = self.logins.has_login(&state.space);
        Some(refusal)
    }
}

impl RequestState {
    fn new(space: ProtectionSpace, since: u64) -> Self {
        Self { space, since, proof: None, challenges: 0, scope: None, challenged: None, requires_more: false }
    }
}
