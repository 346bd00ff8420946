//! The schemes that registries ask for, and the logins that the driver found, by origin and repository.

use std::collections::BTreeMap;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use crate::auth::credentials;
use crate::auth::credentials::Credentials;
use crate::auth::scope::Scope;
use crate::auth::tokens::{Realm, TokenKey};
use crate::config::PlainHttp;
use crate::error::Misbehaviour;
use crate::header::challenge::Challenge;
use crate::types::id::QueryId;
use crate::types::reference::name::Repository;
use crate::wire::origin;
use crate::wire::origin::Origin;

/// The reach of a challenge and of a login: one repository of one registry.
///
/// Source: RFC 9110, section 11.5, which leaves the division to the server; registries grant by repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProtectionSpace {
    pub(crate) origin: Origin,
    pub(crate) repository: Repository,
}

/// The protection spaces whose registries have sent a challenge.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(super) spaces: BTreeMap<ProtectionSpace, Protection>,
    max: usize,
}

#[derive(Debug)]
pub(super) struct Protection {
    scheme: Scheme,
    login: Login,
    last_used: u64,
}

#[derive(Debug)]
enum Login {
    Unknown,
    Asked(QueryId),
    /// The driver's answer: a login, or none.
    Known {
        found: Option<Credentials>,
        obtained: u64,
    },
}

/// The credential for a request to a protection space, or the way to one.
#[derive(Debug)]
pub(crate) enum Credential {
    /// The registry has sent no challenge.
    NotNeeded,
    /// The driver has not been asked for a login.
    Unknown,
    /// The driver has been asked, and has not answered.
    Asked(QueryId),
    /// There is no login, or none that suits the scheme.
    Missing,
    /// The login itself.
    Login { header: HeaderValue, obtained: u64 },
    /// A token.
    Token(Box<TokenKey>),
}

impl Logins {
    pub(crate) fn new(max: usize) -> Self {
        Self { spaces: BTreeMap::new(), max: max.max(1) }
    }

    /// The credential for a request that needs `need`.
    pub(crate) fn credential(&mut self, space: &ProtectionSpace, need: &Scope, used: u64) -> Credential {
        let Some(protection) = self.spaces.get_mut(space) else { return Credential::NotNeeded };
        protection.last_used = used;
        let (found, obtained) = match &protection.login {
            Login::Unknown => return Credential::Unknown,
            Login::Asked(query) => return Credential::Asked(*query),
            Login::Known { found, obtained } => (found, *obtained),
        };
        let header = match (&protection.scheme, found) {
            (_, Some(Credentials::Bearer(token))) => credentials::bearer(token),
            (Scheme::Basic, Some(Credentials::Basic { username, password })) => {
                credentials::basic(username, password)
            }
            (Scheme::Basic, Some(Credentials::Identity(_)) | None) => None,
            (Scheme::Bearer { realm, service, scope }, found) => {
                let mut wanted = need.clone();
                wanted.merge(scope);
                return Credential::Token(Box::new(TokenKey {
                    registry: space.origin.clone(),
                    realm: realm.clone(),
                    service: service.clone(),
                    credentials: found.clone(),
                    scope: wanted,
                }));
            }
        };
        header.map_or(Credential::Missing, |header| Credential::Login { header, obtained })
    }

    /// Takes a challenge; `None` keeps the scheme that the registry asked for before. `refused` says when the login
    /// was obtained that the challenge refuses, if it refuses one. Among so many operations that are `alive`, none
    /// takes the place of another's.
    pub(crate) fn challenged(
        &mut self,
        space: &ProtectionSpace,
        scheme: Option<Scheme>,
        refused: Option<u64>,
        used: u64,
        alive: usize,
    ) {
        self.make_room(space, alive);
        let new = Protection { scheme: Scheme::Basic, login: Login::Unknown, last_used: used };
        let protection = self.spaces.entry(space.clone()).or_insert(new);
        if let Some(scheme) = scheme {
            protection.scheme = scheme;
        }
        // Another request may have led to a new login since.
        if let Some(refused) = refused
            && matches!(protection.login, Login::Known { obtained, .. } if obtained == refused)
        {
            protection.login = Login::Unknown;
        }
    }

    /// The driver is asked for the login.
    pub(crate) fn asked(&mut self, space: &ProtectionSpace, query: QueryId) {
        if let Some(protection) = self.spaces.get_mut(space) {
            protection.login = Login::Asked(query);
        }
    }

    /// The driver has answered.
    pub(crate) fn answered(&mut self, space: &ProtectionSpace, found: Option<Credentials>, obtained: u64) {
        if let Some(protection) = self.spaces.get_mut(space) {
            protection.login = Login::Known { found, obtained };
        }
    }

    /// Whether the registry has sent a challenge.
    pub(crate) fn is_challenged(&self, space: &ProtectionSpace) -> bool {
        self.spaces.contains_key(space)
    }

    pub(crate) fn has_login(&self, space: &ProtectionSpace) -> bool {
        let login = self.spaces.get(space).map(|protection| &protection.login);
        matches!(login, Some(Login::Known { found: Some(_), .. }))
    }

    /// Forgets the challenge and the login: the next request is sent without credentials. A space whose question is
    /// open is kept, since the answer may be good.
    pub(crate) fn forget(&mut self, space: &ProtectionSpace) {
        if self.spaces.get(space).is_some_and(|protection| !protection.is_asked()) {
            self.spaces.remove(space);
        }
    }

    /// Forgets the challenge and the login, even if its question is open.
    pub(crate) fn remove(&mut self, space: &ProtectionSpace) {
        self.spaces.remove(space);
    }

    /// Evicts the least recently used space if there are too many. A space whose question is open keeps its place,
    /// and takes none from others: its operation may be over.
    fn make_room(&mut self, space: &ProtectionSpace, alive: usize) {
        if self.spaces.contains_key(space) {
            return;
        }
        loop {
            let idle = || self.spaces.iter().filter(|(_, protection)| !protection.is_asked());
            if idle().count() < self.max.max(alive) {
                break;
            }
            let oldest = idle().min_by_key(|(_, protection)| protection.last_used);
            let Some(oldest) = oldest.map(|(space, _)| space.clone()) else { break };
            self.spaces.remove(&oldest);
        }
    }
}

impl Protection {
    fn is_asked(&self) -> bool {
        matches!(self.login, Login::Asked(_))
    }
}

/// The authentication scheme of a challenge, with the parameters that a request for a token needs.
#[derive(Debug)]
pub(crate) enum Scheme {
    Bearer { realm: Realm, service: String, scope: Scope },
    Basic,
}

/// The longest name of a service that is kept, in bytes; a longer one is left out. It is a host's as a rule.
const MAX_SERVICE_LEN: usize = 4 << 10;

impl Scheme {
    /// Chooses among the challenges of a 401: Bearer before Basic. `None` if it offers neither.
    pub(crate) fn of_challenge(
        registry: &Origin,
        headers: &HeaderMap,
        plain_http: PlainHttp,
    ) -> Result<Option<Self>, Misbehaviour> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        let challenges = Challenge::parse_all(values)?;
        let basic = challenges.iter().any(|challenge| challenge.is("basic"));
        let Some(bearer) = challenges.iter().find(|challenge| challenge.is("bearer")) else {
            return Ok(basic.then_some(Self::Basic));
        };
        match origin::realm(registry, bearer.param("realm").unwrap_or_default(), plain_http) {
            Ok(realm) => Ok(Some(Self::Bearer {
                realm: Realm(realm),
                service: bearer
                    .param("service")
                    .filter(|name| name.len() <= MAX_SERVICE_LEN)
                    .unwrap_or_default()
                    .to_owned(),
                scope: Scope::parse(bearer.param("scope").unwrap_or_default()),
            })),
            Err(_) if basic => Ok(Some(Self::Basic)),
            Err(misbehaviour) => Err(misbehaviour),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_of_a_service_is_left_out() {
        let registry = Origin::of(&"https://registry.example/".parse().unwrap()).unwrap();
        for (len, kept) in [(MAX_SERVICE_LEN, MAX_SERVICE_LEN), (MAX_SERVICE_LEN + 1, 0)] {
            let text = format!(r#"Bearer realm="https://auth.example/",service="{}""#, "s".repeat(len));
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            let scheme = Scheme::of_challenge(&registry, &headers, PlainHttp::Never).unwrap();
            let Some(Scheme::Bearer { service, .. }) = scheme else { panic!("{scheme:?}") };
            assert_eq!(service.len(), kept);
        }
    }
}
