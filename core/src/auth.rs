//! Authentication: the trip of every request from its first 401 to the credential that the registry accepts.
//!
//! 1. A request goes out without credentials until its registry answers 401: [`Auth::challenged`] keeps the
//!    challenge for the registry's origin and the repository, and the request is queued again.
//! 2. [`Auth::authorize`] finds the challenge without a login and queues a question for the driver, and
//!    [`Auth::answered`] takes the login and resumes all requests that waited for it.
//! 3. For a Bearer challenge, [`Auth::authorize`] looks for a cached token that covers the need, and returns a
//!    [`TokenRequest`] if there is none; the session sends it like any other request.
//! 4. [`Auth::fetched`] caches the token and resumes the requests that waited for it, and a failed token request
//!    fails them and leaves nothing behind.
//! 5. [`Auth::authorize`] returns the header and remembers when its credential was obtained: if the registry
//!    refuses it, [`Auth::challenged`] drops it and the trip starts over, unless the credential is newer than the
//!    request's last 401.
//!
//! Source: RFC 9110, section 11; RFC 7617; Docker's pages on token authentication and `OAuth2`.

pub(crate) mod credentials;
pub(crate) mod logins;
pub(crate) mod scope;
#[cfg(test)]
mod tests;
pub(crate) mod token_request;
mod tokens;
mod waiting;

use std::collections::{BTreeMap, VecDeque};

use http::{HeaderMap, HeaderValue};

use crate::auth::credentials::{Credentials, CredentialsQuery};
use crate::auth::logins::{Credential, Logins, ProtectionSpace, Scheme};
use crate::auth::scope::Scope;
use crate::auth::token_request::TokenRequest;
use crate::auth::tokens::Tokens;
use crate::auth::waiting::{Awaited, Waiting};
use crate::config::PlainHttp;
use crate::error::fault::Fault;
use crate::error::{Cause, Error, Refusal};
use crate::limits::Limits;
use crate::types::id::{Ids, QueryId, TaskId};
use crate::types::reference::registry::Registry;
use crate::types::time::Time;
use crate::types::token::TokenAnswer;
use crate::wire::origin;
use crate::wire::origin::Origin;

/// All logins and tokens of a session, and the requests that wait for them.
#[derive(Debug)]
pub(crate) struct Auth {
    logins: Logins,
    tokens: Tokens,
    requests: BTreeMap<TaskId, RequestState>,
    waiting: Waiting,
    /// Questions without an answer.
    asked: BTreeMap<QueryId, (ProtectionSpace, CredentialsQuery)>,
    /// Those of them that the driver has yet to be asked.
    to_ask: VecDeque<QueryId>,
    /// Counts events, and so tells which of two came first.
    clock: u64,
    max_challenges: u32,
    plain_http: PlainHttp,
}

/// One request's part in the flow, over all its attempts.
#[derive(Debug)]
struct RequestState {
    space: ProtectionSpace,
    /// The credential in its last attempt.
    proof: Option<Proof>,
    /// Its 401s since there was progress.
    challenges: u32,
    /// When the last of those came, and its answer.
    challenged: Option<(u64, Refusal)>,
}

/// The credential that an Authorization header was made of, and when it was obtained.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Login(u64),
    Token(u64),
}

/// The next step of a request.
#[derive(Debug)]
pub(crate) enum Authorization {
    /// Send it, with this Authorization header if there is one.
    Send(Option<HeaderValue>),
    /// It waits for a login or a token. There may be a new [question](Auth::next_question).
    Wait,
    /// It waits for this token request, which is new and has this id.
    Fetch(TaskId, Box<TokenRequest>),
    /// The registry has refused it, and there is no login to try.
    Refuse(Refusal),
}

/// The destination of a request and its purpose there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) space: &'a ProtectionSpace,
    /// The origin that the request is about to be sent to. After a redirect it is not the registry's.
    pub(crate) origin: &'a Origin,
    pub(crate) need: &'a Scope,
}

impl Auth {
    pub(crate) fn new(limits: &Limits, plain_http: PlainHttp) -> Self {
        Self {
            logins: Logins::new(limits.tokens),
            tokens: Tokens::new(limits.tokens),
            requests: BTreeMap::new(),
            waiting: Waiting::default(),
            asked: BTreeMap::new(),
            to_ask: VecDeque::new(),
            clock: 0,
            max_challenges: limits.challenges,
            plain_http,
        }
    }

    /// Decides how an attempt of `request` is authorized, and whether it can be sent now.
    pub(crate) fn authorize(
        &mut self,
        request: TaskId,
        target: &Target<'_>,
        ids: &mut Ids,
        now: Time,
    ) -> Authorization {
        let used = self.tick();
        let space = target.space;
        let state = self.requests.entry(request).or_insert_with(|| RequestState::new(space.clone()));
        state.proof = None;
        if !origin::may_authorize(&space.origin, target.origin) {
            return Authorization::Send(None);
        }
        match self.logins.credential(space, target.need, used) {
            Credential::NotNeeded => Authorization::Send(None),
            Credential::Unknown => {
                let query = ids.query();
                self.ask(query, target);
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
            Credential::Token(key) => {
                if let Some(token) = self.tokens.find(&key, now) {
                    state.proof = Some(Proof::Token(token.obtained));
                    Authorization::Send(Some(token.header.clone()))
                } else if let Some(fetch) = self.tokens.on_its_way(&key) {
                    self.waiting.join(request, Awaited::Token(fetch));
                    Authorization::Wait
                } else {
                    let fetch = ids.task();
                    self.tokens.expect(fetch, (*key).clone());
                    self.waiting.join(request, Awaited::Token(fetch));
                    Authorization::Fetch(fetch, Box::new(TokenRequest::new(*key)))
                }
            }
        }
    }

    /// Takes the registry's 401 to `request`, where `alive` operations share the session. On success the request
    /// is to be authorized again; otherwise it fails.
    pub(crate) fn challenged(
        &mut self,
        request: TaskId,
        mut refusal: Refusal,
        headers: &HeaderMap,
        alive: usize,
    ) -> Result<(), Cause> {
        let now = self.tick();
        let Some(state) = self.requests.get_mut(&request) else { return Err(refusal.into()) };
        let space = &state.space;
        let scheme = Scheme::of_challenge(&space.origin, headers, self.plain_http)?;
        let is_newer = |obtained| state.challenged.as_ref().is_some_and(|(last, _)| *last < obtained);
        let fresh_is_refused = match state.proof {
            Some(Proof::Token(obtained)) => {
                self.tokens.remove(obtained);
                is_newer(obtained)
            }
            Some(Proof::Login(obtained)) => is_newer(obtained),
            None => false,
        };
        // A registry that names no scheme may have named one before.
        if fresh_is_refused || scheme.is_none() && !self.logins.is_challenged(space) {
            refusal.with_login = self.logins.has_login(space);
            self.logins.forget(space);
            return Err(refusal.into());
        }
        let refused = match state.proof {
            Some(Proof::Login(obtained)) => Some(obtained),
            _ => None,
        };
        self.logins.challenged(space, scheme, refused, now, alive);
        state.challenges += 1;
        if state.challenges >= self.max_challenges {
            refusal.with_login = self.logins.has_login(space);
            return Err(refusal.into());
        }
        state.challenged = Some((now, refusal));
        Ok(())
    }

    /// The next question for the driver.
    pub(crate) fn next_question(&mut self) -> Option<(QueryId, CredentialsQuery)> {
        let query = self.to_ask.pop_front()?;
        let (_, question) = self.asked.get(&query)?;
        Some((query, question.clone()))
    }

    pub(crate) fn has_question(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// Asks all questions without an answer once more: the driver that was asked is gone.
    pub(crate) fn ask_again(&mut self) {
        self.to_ask = self.asked.keys().copied().collect();
    }

    /// Takes the driver's answer to a question. Returns the requests that waited for it: each is authorized again,
    /// or fails. An answer to a question that is not open is ignored.
    pub(crate) fn answered(
        &mut self,
        query: QueryId,
        found: Result<Option<Credentials>, Fault>,
    ) -> Vec<(TaskId, Result<(), Cause>)> {
        let Some((space, _)) = self.asked.remove(&query) else { return Vec::new() };
        self.to_ask.retain(|queued| *queued != query);
        let waiting = self.waiting.take(Awaited::Login(query)).into_iter();
        let found = match found {
            Ok(found) => found,
            Err(fault) => {
                self.logins.remove(&space);
                return waiting.map(|request| (request, Err(fault.clone().into()))).collect();
            }
        };
        let obtained = self.tick();
        self.logins.answered(&space, found, obtained);
        if !matches!(self.logins.credential(&space, &Scope::default(), obtained), Credential::Missing) {
            return waiting.map(|request| (request, Ok(()))).collect();
        }
        // One answer serves all that wait: none of them asks again. A request without a 401 of its own is sent.
        let resumed = waiting.map(|request| {
            (request, self.last_refusal(request).map_or(Ok(()), |refusal| Err(refusal.into())))
        });
        let resumed = resumed.collect();
        self.logins.forget(&space);
        resumed
    }

    /// Takes the end of a token request, where `alive` operations share the session. Returns the requests that
    /// waited for it: each is authorized again, or fails.
    pub(crate) fn fetched(
        &mut self,
        fetch: TaskId,
        outcome: Result<&TokenAnswer, &Error>,
        now: Time,
        alive: usize,
    ) -> Vec<(TaskId, Result<(), Error>)> {
        let waiting = self.waiting.take(Awaited::Token(fetch)).into_iter();
        match outcome {
            Ok(answer) => {
                let obtained = self.tick();
                self.tokens.arrived(fetch, answer, obtained, now, alive);
                waiting.map(|request| (request, Ok(()))).collect()
            }
            Err(error) => {
                self.tokens.give_up(fetch);
                let failed = waiting.map(|request| {
                    if let Some(state) = self.requests.get(&request) {
                        self.logins.forget(&state.space);
                    }
                    (request, Err(error.clone()))
                });
                failed.collect()
            }
        }
    }

    /// The requests that wait for a token request.
    pub(crate) fn waiting_for(&self, fetch: TaskId) -> impl Iterator<Item = TaskId> {
        self.waiting.line(Awaited::Token(fetch))
    }

    /// Whether a login is known for the registry of `request`.
    pub(crate) fn has_login(&self, request: TaskId) -> bool {
        self.requests.get(&request).is_some_and(|state| self.logins.has_login(&state.space))
    }

    /// The registry has accepted the credential of `request` for a part of its content: a later 401 means that the
    /// credential has expired since.
    pub(crate) fn progressed(&mut self, request: TaskId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.challenges = 0;
            state.challenged = None;
        }
    }

    /// Forgets a request that has ended or was cancelled. Returns the token request that only it waited for,
    /// which is to be stopped.
    pub(crate) fn release(&mut self, request: TaskId) -> Option<TaskId> {
        self.requests.remove(&request);
        let Some(Awaited::Token(fetch)) = self.waiting.leave(request) else { return None };
        if self.waiting_for(fetch).next().is_some() {
            return None;
        }
        self.tokens.give_up(fetch);
        Some(fetch)
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn ask(&mut self, query: QueryId, target: &Target<'_>) {
        self.logins.asked(target.space, query);
        let question = CredentialsQuery {
            registry: target.registry.clone(),
            repository: target.space.repository.clone(),
        };
        self.asked.insert(query, (target.space.clone(), question));
        self.to_ask.push_back(query);
    }

    /// The registry's last 401 to `request`, which is final for want of a login.
    fn last_refusal(&mut self, request: TaskId) -> Option<Refusal> {
        let state = self.requests.get_mut(&request)?;
        let (_, mut refusal) = state.challenged.take()?;
        refusal.with_login = self.logins.has_login(&state.space);
        Some(refusal)
    }
}

impl RequestState {
    fn new(space: ProtectionSpace) -> Self {
        Self { space, proof: None, challenges: 0, challenged: None }
    }
}
