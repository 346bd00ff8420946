//! Access tokens: what a token server answers, and the tokens that are at hand.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderValue, Uri};

use crate::auth::credentials::Credentials;
use crate::auth::scope::Scope;
use crate::types::time::Time;
use crate::types::token::TokenAnswer;
use crate::wire::origin::Origin;

/// What a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey {
    pub(crate) registry: Origin,
    pub(crate) realm: Realm,
    pub(crate) service: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) scope: Scope,
}

/// The URL of a token server, which [`origin::realm`](crate::origin::realm) has let pass.
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
    /// Whether a token with this key serves where `need` is asked for.
    pub(crate) fn serves(&self, need: &Self) -> bool {
        self.registry == need.registry
            && self.realm == need.realm
            && self.service == need.service
            && self.credentials == need.credentials
            && self.scope.covers(&need.scope)
    }
}

/// The tokens that are at hand.
#[derive(Debug)]
pub(crate) struct Tokens {
    held: BTreeMap<TokenKey, Token>,
    max: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Marked as sensitive.
    pub(crate) header: HeaderValue,
    pub(crate) born: u64,
    renew_at: Time,
}

impl Tokens {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: BTreeMap::new(), max: max.max(1) }
    }

    /// A token that serves the need and is still good.
    pub(crate) fn find(&self, need: &TokenKey, now: Time) -> Option<&Token> {
        let serving = self.held.iter().filter(|(key, token)| now < token.renew_at && key.serves(need));
        serving.map(|(_, token)| token).max_by_key(|token| token.born)
    }

    /// Keeps a token; where there are too many, the oldest goes. There is always room for those of all
    /// operations that are alive, so that they do not take it from each other.
    pub(crate) fn insert(&mut self, key: TokenKey, answer: &TokenAnswer, born: u64, now: Time, alive: usize) {
        let Some(header) = super::bearer(&answer.token) else { return };
        self.held.retain(|_, token| now < token.renew_at);
        while self.held.len() >= self.max.max(alive)
            && let Some(oldest) =
                self.held.iter().min_by_key(|(_, token)| token.born).map(|(key, _)| key.clone())
        {
            self.held.remove(&oldest);
        }
        // A little early: what is sent now arrives later, and clocks differ.
        let early = (answer.lifetime / 10).min(Duration::from_secs(30));
        let renew_at = now + answer.lifetime.saturating_sub(early);
        self.held.insert(key, Token { header, born, renew_at });
    }

    /// Drops a token that was refused.
    pub(crate) fn drop(&mut self, born: u64) {
        self.held.retain(|_, token| token.born != born);
    }
}
