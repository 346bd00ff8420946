//! Access tokens: the cache, and the tokens being fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderValue, Uri};

use crate::auth::credentials;
use crate::auth::credentials::Credentials;
use crate::types::id::TaskId;
use crate::types::scope::Scope;
use crate::types::time::Time;
use crate::types::token::TokenAnswer;
use crate::wire::origin::Origin;

/// The properties that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey {
    pub(crate) registry: Origin,
    pub(crate) realm: Realm,
    pub(crate) service: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) scope: Scope,
}

/// The URL of a token server, checked by [`origin::realm`](crate::wire::origin::realm).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm(pub(crate) Uri);

impl Ord for Realm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PartialOrd for Realm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl TokenKey {
    /// Returns whether a token with this key is valid for a request that requires `need`.
    fn serves(&self, need: &Self) -> bool {
        self.registry == need.registry
            && self.realm == need.realm
            && self.service == need.service
            && self.credentials == need.credentials
            && self.scope.covers(&need.scope)
    }
}

/// The tokens of a session.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The cached tokens, by the time at which they were obtained.
    cached: BTreeMap<u64, (TokenKey, Token)>,
    cached_for: ByResource<u64>,
    by_renewal: BTreeSet<(Time, u64)>,
    /// The tokens being fetched, by token request.
    pending: BTreeMap<TaskId, TokenKey>,
    pending_for: ByResource<TaskId>,
    max: usize,
}

#[derive(Debug)]
pub(crate) struct Token {
    /// The Authorization header, marked as sensitive.
    pub(crate) header: HeaderValue,
    pub(crate) obtained: u64,
    /// `None` if the driver's clock is at its maximum. A token that expired at once would be fetched in an
    /// endless loop.
    renew_at: Option<Time>,
}

impl Token {
    fn is_valid(&self, now: Time) -> bool {
        self.renew_at.is_none_or(|renew_at| now < renew_at)
    }
}

impl Tokens {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            cached: BTreeMap::new(),
            cached_for: ByResource::default(),
            by_renewal: BTreeSet::new(),
            pending: BTreeMap::new(),
            pending_for: ByResource::default(),
            max: max.max(1),
        }
    }

    /// Returns the newest cached token that is valid for the request and has not expired.
    pub(crate) fn find(&self, need: &TokenKey, now: Time) -> Option<&Token> {
        let ids = self.cached_for.candidates(&need.scope).rev();
        let mut candidates = ids.filter_map(|id| self.cached.get(&id));
        let (_, token) = candidates.find(|(key, token)| token.is_valid(now) && key.serves(need))?;
        Some(token)
    }

    /// Returns the first pending token request whose token will be valid for the request.
    pub(crate) fn find_pending(&self, need: &TokenKey) -> Option<TaskId> {
        let mut fetches = self.pending_for.candidates(&need.scope);
        fetches.find(|fetch| self.pending.get(fetch).is_some_and(|key| key.serves(need)))
    }

    /// Records that a token is being fetched.
    pub(crate) fn begin(&mut self, fetch: TaskId, key: TokenKey) {
        self.pending_for.insert(&key.scope, fetch);
        self.pending.insert(fetch, key);
    }

    /// Records that a token is no longer being fetched, and returns its key. The next request that requires it starts a
    /// new fetch.
    pub(crate) fn abandon(&mut self, fetch: TaskId) -> Option<TokenKey> {
        self.take_pending(fetch)
    }

    /// Caches a fetched token and evicts the oldest if there are too many. There is room for at least
    /// `in_use` tokens, one for each target in the session, so that none evicts another's.
    pub(crate) fn store(
        &mut self,
        fetch: TaskId,
        answer: &TokenAnswer,
        obtained: u64,
        now: Time,
        in_use: usize,
    ) {
        let Some(key) = self.take_pending(fetch) else { return };
        let Some(header) = credentials::bearer(&answer.token) else { return };
        while let Some((renew_at, expired)) = self.by_renewal.first().copied()
            && renew_at <= now
        {
            self.remove(expired);
        }
        let same = |id: &u64| self.cached.get(id).is_some_and(|(cached, _)| *cached == key);
        let same = self.cached_for.candidates(&key.scope).find(same);
        if let Some(same) = same {
            self.remove(same);
        }
        while self.cached.len() >= self.max.max(in_use)
            && let Some(oldest) = self.cached.keys().next().copied()
        {
            self.remove(oldest);
        }
        // Renew a little early: a request takes time to arrive, and clocks differ.
        let early = (answer.lifetime / 10).min(Duration::from_secs(30));
        let renew_at = Some(now + answer.lifetime.saturating_sub(early)).filter(|renew_at| *renew_at > now);
        self.cached_for.insert(&key.scope, obtained);
        self.by_renewal.extend(renew_at.map(|renew_at| (renew_at, obtained)));
        self.cached.insert(obtained, (key, Token { header, obtained, renew_at }));
    }

    /// Removes a token that has expired, or that a registry rejected.
    pub(crate) fn remove(&mut self, obtained: u64) {
        if let Some((key, token)) = self.cached.remove(&obtained) {
            self.cached_for.remove(&key.scope, obtained);
            if let Some(renew_at) = token.renew_at {
                self.by_renewal.remove(&(renew_at, obtained));
            }
        }
    }

    fn take_pending(&mut self, fetch: TaskId) -> Option<TokenKey> {
        let key = self.pending.remove(&fetch)?;
        self.pending_for.remove(&key.scope, fetch);
        Some(key)
    }
}

/// Indexes ids by the resources of their scopes: a session may have tokens for thousands of repositories.
#[derive(Debug)]
struct ByResource<Id>(BTreeMap<String, BTreeSet<Id>>);

impl<Id: Ord + Copy> ByResource<Id> {
    /// Contains all ids: every scope covers an empty one.
    const ANY: &str = "";

    fn insert(&mut self, scope: &Scope, id: Id) {
        for resource in scope.resources().chain([Self::ANY]) {
            self.0.entry(resource.to_owned()).or_default().insert(id);
        }
    }

    fn remove(&mut self, scope: &Scope, id: Id) {
        for resource in scope.resources().chain([Self::ANY]) {
            if let Some(ids) = self.0.get_mut(resource) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.0.remove(resource);
                }
            }
        }
    }

    /// Returns the ids, in order, whose scopes may cover this one.
    fn candidates(&self, scope: &Scope) -> impl DoubleEndedIterator<Item = Id> {
        let resource = scope.resources().next().unwrap_or(Self::ANY);
        self.0.get(resource).into_iter().flatten().copied()
    }
}

impl<Id> Default for ByResource<Id> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}
