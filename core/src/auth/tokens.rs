//! Access tokens: those that are cached, and those that are being fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderValue, Uri};

use crate::auth::credentials;
use crate::auth::credentials::Credentials;
use crate::auth::scope::Scope;
use crate::types::id::TaskId;
use crate::types::time::Time;
use crate::types::token::TokenAnswer;
use crate::wire::origin::Origin;

/// All that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey {
    pub(crate) registry: Origin,
    pub(crate) realm: Realm,
    pub(crate) service: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) scope: Scope,
}

/// The URL of a token server, which [`origin::realm`](crate::wire::origin::realm) has let pass.
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
    /// Whether a token with this key serves a request that needs `need`.
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
    cached: BTreeMap<TokenKey, Token>,
    /// By token request.
    expected: BTreeMap<TaskId, TokenKey>,
    max: usize,
}

#[derive(Debug)]
pub(crate) struct Token {
    /// Marked as sensitive.
    pub(crate) header: HeaderValue,
    pub(crate) obtained: u64,
    renew_at: Time,
}

impl Tokens {
    pub(crate) fn new(max: usize) -> Self {
        Self { cached: BTreeMap::new(), expected: BTreeMap::new(), max: max.max(1) }
    }

    /// The newest cached token that serves the need and has not expired.
    pub(crate) fn find(&self, need: &TokenKey, now: Time) -> Option<&Token> {
        let serving = self.cached.iter().filter(|(key, token)| now < token.renew_at && key.serves(need));
        serving.map(|(_, token)| token).max_by_key(|token| token.obtained)
    }

    /// The first token request whose token will serve the need.
    pub(crate) fn on_its_way(&self, need: &TokenKey) -> Option<TaskId> {
        self.expected.iter().find(|(_, key)| key.serves(need)).map(|(fetch, _)| *fetch)
    }

    /// A token is being fetched.
    pub(crate) fn expect(&mut self, fetch: TaskId, key: TokenKey) {
        self.expected.insert(fetch, key);
    }

    /// A token is fetched no longer. Nothing is kept of it: the next request that needs it fetches it.
    pub(crate) fn give_up(&mut self, fetch: TaskId) {
        self.expected.remove(&fetch);
    }

    /// Caches a token that was fetched, and evicts the oldest if there are too many. Each of the operations that are
    /// `alive` has room for one, so that none takes the place of another's.
    pub(crate) fn arrived(
        &mut self,
        fetch: TaskId,
        answer: &TokenAnswer,
        obtained: u64,
        now: Time,
        alive: usize,
    ) {
        let Some(key) = self.expected.remove(&fetch) else { return };
        let Some(header) = credentials::bearer(&answer.token) else { return };
        self.cached.retain(|_, token| now < token.renew_at);
        while self.cached.len() >= self.max.max(alive)
            && let Some(oldest) =
                self.cached.iter().min_by_key(|(_, token)| token.obtained).map(|(key, _)| key.clone())
        {
            self.cached.remove(&oldest);
        }
        // A little early: a request takes time to arrive, and clocks differ.
        let early = (answer.lifetime / 10).min(Duration::from_secs(30));
        let renew_at = now + answer.lifetime.saturating_sub(early);
        self.cached.insert(key, Token { header, obtained, renew_at });
    }

    /// Removes a token that a registry refused.
    pub(crate) fn remove(&mut self, obtained: u64) {
        self.cached.retain(|_, token| token.obtained != obtained);
    }
}
