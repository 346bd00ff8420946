//! The challenges of registries and the logins from the driver, by origin and repository.

use std::collections::{BTreeMap, BTreeSet};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Uri};

use crate::auth::credentials;
use crate::auth::credentials::Credentials;
use crate::auth::tokens::Realm;
use crate::error::Misbehaviour;
use crate::header::challenge::Challenge;
use crate::types::id::QueryId;
use crate::types::reference::name::Repository;
use crate::types::scope::Scope;
use crate::wire::origin;
use crate::wire::origin::{Origin, TokenServers};
use crate::wire::target::Target;

/// The protection space of a challenge and a login: one repository of one registry, or the registry itself.
///
/// Source: RFC 9110, section 11.5, which lets the server partition its resources; registries grant
/// access by repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProtectionSpace {
    pub(crate) origin: Origin,
    pub(crate) repository: Option<Repository>,
}

impl ProtectionSpace {
    /// Returns the protection space of a target.
    pub(crate) fn of(target: &Target) -> Self {
        Self { origin: target.origin.clone(), repository: target.repository.clone() }
    }
}

/// The protection spaces for which a registry has sent a challenge.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(super) spaces: BTreeMap<ProtectionSpace, Protection>,
    /// Those whose last login was refused.
    refused: BTreeSet<ProtectionSpace>,
    /// The number of spaces with an open question.
    asked: usize,
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
    /// The driver's answer: a login or none.
    Known {
        found: Option<Credentials>,
        obtained: u64,
    },
}

/// The credential for a request to a protection space, or the way to obtain one.
#[derive(Debug)]
pub(crate) enum Credential<'a> {
    /// The driver has not been asked for a login.
    Unknown,
    /// The driver has been asked and has not answered.
    Asked(QueryId),
    /// There is no login for the scheme.
    Missing,
    /// The login, as an Authorization header.
    Login { header: HeaderValue, obtained: u64 },
    /// A token from this server, for this login if there is one.
    Token {
        realm: &'a Realm,
        service: &'a str,
        credentials: Option<&'a Credentials>,
        /// The scope of the last challenge.
        scope: &'a Scope,
    },
}

impl Logins {
    pub(crate) fn new(max: usize) -> Self {
        Self { spaces: BTreeMap::new(), refused: BTreeSet::new(), asked: 0, max: max.max(1) }
    }

    /// Returns the credential for a request, or `None` if the registry has sent no challenge.
    pub(crate) fn credential(&mut self, space: &ProtectionSpace, used: u64) -> Option<Credential<'_>> {
        let protection = self.spaces.get_mut(space)?;
        protection.last_used = used;
        let (found, obtained) = match &protection.login {
            Login::Unknown => return Some(Credential::Unknown),
            Login::Asked(query) => return Some(Credential::Asked(*query)),
            Login::Known { found, obtained } => (found, *obtained),
        };
        let header = match (&protection.scheme, found) {
            (_, Some(Credentials::Bearer(token))) => credentials::bearer(token),
            (Scheme::Basic, Some(Credentials::Basic { username, password })) => {
                credentials::basic(username, password)
            }
            (Scheme::Basic, Some(Credentials::Identity(_)) | None) => None,
            (Scheme::Bearer { realm, service, scope }, found) => {
                let credentials = found.as_ref();
                return Some(Credential::Token { realm, service, credentials, scope });
            }
        };
        Some(header.map_or(Credential::Missing, |header| Credential::Login { header, obtained }))
    }

    /// Stores a challenge; `None` keeps the scheme of the last one. `refused` is the login that the challenge
    /// rejects, if it rejects one. `in_use` is the number of targets in
    /// the session, each of which has room for a space, so that none evicts another's.
    pub(crate) fn challenged(
        &mut self,
        space: &ProtectionSpace,
        scheme: Option<Scheme>,
        refused: Option<&Credentials>,
        used: u64,
        in_use: usize,
    ) {
        self.make_room(space, in_use);
        let new = Protection { scheme: Scheme::Basic, login: Login::Unknown, last_used: used };
        let protection = self.spaces.entry(space.clone()).or_insert(new);
        if let Some(scheme) = scheme {
            protection.scheme = scheme;
        }
        self.refused(space, refused);
    }

    /// Records that this login was refused, if it is still the known one. The driver is asked for another one.
    pub(crate) fn refused(&mut self, space: &ProtectionSpace, refused: Option<&Credentials>) {
        let Some(protection) = self.spaces.get_mut(space) else { return };
        if refused.is_some()
            && matches!(&protection.login, Login::Known { found, .. } if found.as_ref() == refused)
        {
            protection.login = Login::Unknown;
            self.note_refused(space);
        }
    }

    /// Records that the driver could not answer, and removes the challenge. The next question says the same about the last
    /// answer.
    pub(crate) fn failed(&mut self, space: &ProtectionSpace, is_refused: bool) {
        if let Some(protection) = self.spaces.remove(space) {
            self.asked -= usize::from(protection.is_asked());
        }
        if is_refused {
            self.note_refused(space);
        }
    }

    fn note_refused(&mut self, space: &ProtectionSpace) {
        if self.refused.len() >= self.max {
            self.refused.clear();
        }
        self.refused.insert(space.clone());
    }

    /// Records that the driver is asked for the login. Returns whether the last one was refused.
    pub(crate) fn asked(&mut self, space: &ProtectionSpace, query: QueryId) -> bool {
        if let Some(protection) = self.spaces.get_mut(space) {
            self.asked += usize::from(!protection.is_asked());
            protection.login = Login::Asked(query);
        }
        self.refused.remove(space)
    }

    /// Records the driver's answer.
    pub(crate) fn answered(&mut self, space: &ProtectionSpace, found: Option<Credentials>, obtained: u64) {
        if let Some(protection) = self.spaces.get_mut(space) {
            self.asked -= usize::from(protection.is_asked());
            protection.login = Login::Known { found, obtained };
        }
    }

    /// Returns whether the registry has sent a challenge.
    pub(crate) fn is_challenged(&self, space: &ProtectionSpace) -> bool {
        self.spaces.contains_key(space)
    }

    pub(crate) fn has_login(&self, space: &ProtectionSpace) -> bool {
        self.login(space).is_some()
    }

    /// Returns the login, if one is known.
    pub(crate) fn login(&self, space: &ProtectionSpace) -> Option<&Credentials> {
        self.login_since(space).map(|(login, _)| login)
    }

    /// Returns the login, if one is known, and the time at which it was obtained.
    pub(crate) fn login_since(&self, space: &ProtectionSpace) -> Option<(&Credentials, u64)> {
        match &self.spaces.get(space)?.login {
            Login::Known { found, obtained } => Some((found.as_ref()?, *obtained)),
            Login::Unknown | Login::Asked(_) => None,
        }
    }

    /// Removes the challenge and the login, so the next request is sent without credentials. A space
    /// with an open question is kept, since the answer may be valid.
    pub(crate) fn forget(&mut self, space: &ProtectionSpace) {
        if self.spaces.get(space).is_some_and(|protection| !protection.is_asked()) {
            self.spaces.remove(space);
        }
    }

    /// Evicts the least recently used spaces if there are too many. A space with an open question is
    /// not evicted, and does not count, since its operation may be over.
    fn make_room(&mut self, space: &ProtectionSpace, in_use: usize) {
        if self.spaces.contains_key(space) {
            return;
        }
        while self.spaces.len() - self.asked >= self.max.max(in_use) {
            let idle = self.spaces.iter().filter(|(_, protection)| !protection.is_asked());
            let oldest = idle.min_by_key(|(_, protection)| protection.last_used);
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

/// The authentication scheme of a challenge, with the parameters for a token request.
#[derive(Debug)]
pub(crate) enum Scheme {
    Bearer { realm: Realm, service: String, scope: Scope },
    Basic,
}

/// The maximum length of a service name, in bytes; a longer one is dropped. It is usually a host name.
const MAX_SERVICE_LEN: usize = 4 << 10;

impl Scheme {
    /// Selects a challenge of a 401 response from the URL `from`, preferring Bearer to Basic. Returns `None` if
    /// there is neither.
    pub(crate) fn of_challenge(
        from: &Uri,
        headers: &HeaderMap,
        token_servers: &TokenServers,
    ) -> Result<Option<Self>, Misbehaviour> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        let (challenges, fault) = Challenge::parse_all(values);
        let basic = challenges.iter().any(|challenge| challenge.is("basic"));
        let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
        let realm = bearer.and_then(|bearer| bearer.param("realm")).filter(|realm| !realm.is_empty());
        let (Some(bearer), Some(realm)) = (bearer, realm) else {
            return match fault {
                _ if basic => Ok(Some(Self::Basic)),
                Some(fault) => Err(fault.into()),
                None if bearer.is_none() => Ok(None),
                None => Err(Misbehaviour::Header {
                    name: "WWW-Authenticate",
                    problem: "its Bearer challenge has no realm".to_owned(),
                }),
            };
        };
        match origin::realm(from, realm, token_servers) {
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
    fn a_long_service_name_is_dropped() {
        let from = Uri::from_static("https://registry.example/v2/");
        for (len, kept) in [(MAX_SERVICE_LEN, MAX_SERVICE_LEN), (MAX_SERVICE_LEN + 1, 0)] {
            let text = format!(r#"Bearer realm="https://auth.example/",service="{}""#, "s".repeat(len));
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            let scheme = Scheme::of_challenge(&from, &headers, &TokenServers::default()).unwrap();
            let Some(Scheme::Bearer { service, .. }) = scheme else { panic!("{scheme:?}") };
            assert_eq!(service.len(), kept);
        }
    }
}
