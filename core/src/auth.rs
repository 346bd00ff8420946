//! Who asks: what each registry wants to be shown, and what there is to show.
//!
//! A request goes without credentials until the registry answers 401. Its challenge is then kept, for the
//! registry's origin and the repository, and so is the login that the driver found. What was shown and is
//! refused is dropped, and once obtained anew; what was obtained after the refusal and is refused as well
//! ends the operation.
//!
//! Source: RFC 9110, section 11; RFC 7617; Docker's pages on token authentication and `OAuth2`.

pub(crate) mod credentials;
pub(crate) mod scope;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use crate::auth::credentials::Credentials;
use crate::auth::scope::Scope;
use crate::auth::token::{Realm, TokenKey, Tokens};
use crate::config::PlainHttp;
use crate::error::Misbehaviour;
use crate::header::challenge::Challenge;
use crate::types::id::QueryId;
use crate::types::reference::name::Repository;
use crate::types::secret::Secret;
use crate::types::time::Time;
use crate::wire::origin;
use crate::wire::origin::Origin;

/// What a challenge and a login are kept for.
pub(crate) type Site = (Origin, Repository);

/// What is known of the registries that want to know who asks.
#[derive(Debug)]
pub(crate) struct Auth {
    sites: BTreeMap<Site, Known>,
    max_sites: usize,
    pub(crate) tokens: Tokens,
    plain_http: PlainHttp,
    /// Counts what is obtained, and so tells what came after what.
    clock: u64,
}

#[derive(Debug)]
struct Known {
    wants: Wants,
    login: Login,
    /// When it was last of use.
    used: u64,
}

/// What a registry said that it wants.
#[derive(Debug)]
enum Wants {
    Bearer { realm: Realm, service: String, scope: Scope },
    Basic,
}

/// What the driver said of a login.
#[derive(Debug)]
enum Login {
    NotAsked,
    Asked(QueryId),
    Told { found: Option<Credentials>, born: u64 },
}

/// What a request is to show.
#[derive(Debug)]
pub(crate) enum Present {
    /// Nothing: the registry has not asked.
    Nothing,
    /// Nothing, though the registry has asked: there is no login of the sort that it wants.
    NoLogin,
    /// This.
    This(Shown, HeaderValue),
    /// The driver is to be asked for a login first.
    Ask,
    /// The driver was asked, and has not answered.
    Asked,
    /// A token is to be fetched first.
    Fetch(Box<TokenKey>),
}

/// What a request has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    kind: ShownKind,
    born: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShownKind {
    /// The login itself.
    Login,
    /// A token that was fetched.
    Token,
}

/// What a refusal leads to.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Ask again: there is something to show, or to be obtained.
    Again,
    /// There is not. Says whether the registry knew who asked.
    Final { was_known: bool },
}

impl Auth {
    pub(crate) fn new(max: usize, plain_http: PlainHttp) -> Self {
        Self { sites: BTreeMap::new(), max_sites: max.max(1), tokens: Tokens::new(max), plain_http, clock: 0 }
    }

    /// Later than all that was obtained so far.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// What a request to the site is to show, where `need` is what it is for.
    pub(crate) fn present(&mut self, site: &Site, need: &Scope, now: Time) -> Present {
        let used = self.tick();
        let Some(known) = self.sites.get_mut(site) else { return Present::Nothing };
        known.used = used;
        let (found, born) = match &known.login {
            Login::NotAsked => return Present::Ask,
            Login::Asked(_) => return Present::Asked,
            Login::Told { found, born } => (found, *born),
        };
        let login = |header: Option<HeaderValue>| match header {
            Some(header) => Present::This(Shown { kind: ShownKind::Login, born }, header),
            None => Present::NoLogin,
        };
        match (&known.wants, found) {
            (_, Some(Credentials::Bearer(token))) => login(bearer(token)),
            (Wants::Basic, Some(Credentials::Basic { username, password })) => {
                login(basic(username, password))
            }
            (Wants::Basic, Some(Credentials::Identity(_)) | None) => Present::NoLogin,
            (Wants::Bearer { realm, service, scope }, found) => {
                let mut wanted = need.clone();
                wanted.merge(scope);
                let key = TokenKey {
                    registry: site.0.clone(),
                    realm: realm.clone(),
                    service: service.clone(),
                    credentials: found.clone(),
                    scope: wanted,
                };
                match self.tokens.find(&key, now) {
                    Some(token) => {
                        let shown = Shown { kind: ShownKind::Token, born: token.born };
                        Present::This(shown, token.header.clone())
                    }
                    None => Present::Fetch(Box::new(key)),
                }
            }
        }
    }

    /// The driver is asked for the site's login.
    pub(crate) fn asked(&mut self, site: &Site, query: QueryId) {
        if let Some(known) = self.sites.get_mut(site) {
            known.login = Login::Asked(query);
        }
    }

    /// The driver says what it found. Ignored unless the site waits for just this.
    pub(crate) fn told(&mut self, site: &Site, query: QueryId, found: Option<Credentials>) {
        let born = self.tick();
        if let Some(known) = self.sites.get_mut(site)
            && matches!(known.login, Login::Asked(asked) if asked == query)
        {
            known.login = Login::Told { found, born };
        }
    }

    /// The driver cannot look the site's login up.
    pub(crate) fn lost(&mut self, site: &Site) {
        self.sites.remove(site);
    }

    /// Forgets the site: the next request begins without credentials. While the driver is asked for its
    /// login, it is kept: nothing of that has been of no use yet.
    pub(crate) fn forget(&mut self, site: &Site) {
        if self.sites.get(site).is_some_and(|known| !known.is_asked()) {
            self.sites.remove(site);
        }
    }

    /// The registry answers 401. `challenged` says when it last did so to the same request, if it has not
    /// taken what was shown since; `alive`, how many operations there are.
    pub(crate) fn refused(
        &mut self,
        site: &Site,
        shown: Option<Shown>,
        challenged: Option<u64>,
        headers: &HeaderMap,
        alive: usize,
    ) -> Result<Verdict, Misbehaviour> {
        let wants = chosen(&site.0, headers, self.plain_http)?;
        if let Some(Shown { kind: ShownKind::Token, born }) = shown {
            self.tokens.drop(born);
        }
        let is_new = shown.is_some_and(|shown| challenged.is_some_and(|at| at < shown.born));
        // A registry that does not say what it wants may have said so before.
        if is_new || wants.is_none() && !self.sites.contains_key(site) {
            let was_known = self.has_login(site);
            self.forget(site);
            return Ok(Verdict::Final { was_known });
        }
        self.make_room(site, alive);
        let used = self.tick();
        let new = Known { wants: Wants::Basic, login: Login::NotAsked, used };
        let known = self.sites.entry(site.clone()).or_insert(new);
        if let Some(wants) = wants {
            known.wants = wants;
        }
        // Another request may have had a new one since.
        if let Some(Shown { kind: ShownKind::Login, born }) = shown
            && matches!(known.login, Login::Told { born: told, .. } if told == born)
        {
            known.login = Login::NotAsked;
        }
        Ok(Verdict::Again)
    }

    /// Whether somebody is known to ask, and not just anybody.
    pub(crate) fn has_login(&self, site: &Site) -> bool {
        let login = self.sites.get(site).map(|known| &known.login);
        matches!(login, Some(Login::Told { found: Some(_), .. }))
    }

    /// Where there are too many sites, what was not of use for the longest time goes. There is always room for
    /// those of all operations that are alive, so that they do not take it from each other. A site that waits for
    /// an answer keeps its place, and takes none from others: its operation may be over.
    fn make_room(&mut self, site: &Site, alive: usize) {
        if self.sites.contains_key(site) {
            return;
        }
        loop {
            let idle = || self.sites.iter().filter(|(_, known)| !known.is_asked());
            if idle().count() < self.max_sites.max(alive) {
                break;
            }
            let oldest = idle().min_by_key(|(_, known)| known.used).map(|(site, _)| site.clone());
            let Some(oldest) = oldest else { break };
            self.sites.remove(&oldest);
        }
    }
}

impl Known {
    fn is_asked(&self) -> bool {
        matches!(self.login, Login::Asked(_))
    }
}

/// The longest name of a service that is kept, in bytes; a longer one is left out. It is a host's as a rule.
const MAX_SERVICE_LEN: usize = 4 << 10;

/// What a 401 asks for, of what can be given: Bearer before Basic.
fn chosen(
    registry: &Origin,
    headers: &HeaderMap,
    plain_http: PlainHttp,
) -> Result<Option<Wants>, Misbehaviour> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
    let challenges = Challenge::parse_all(values)?;
    let basic = challenges.iter().any(|challenge| challenge.is("basic"));
    let Some(bearer) = challenges.iter().find(|challenge| challenge.is("bearer")) else {
        return Ok(basic.then_some(Wants::Basic));
    };
    match origin::realm(registry, bearer.param("realm").unwrap_or_default(), plain_http) {
        Ok(realm) => Ok(Some(Wants::Bearer {
            realm: Realm(realm),
            service: bearer
                .param("service")
                .filter(|name| name.len() <= MAX_SERVICE_LEN)
                .unwrap_or_default()
                .to_owned(),
            scope: Scope::parse(bearer.param("scope").unwrap_or_default()),
        })),
        Err(_) if basic => Ok(Some(Wants::Basic)),
        Err(misbehaviour) => Err(misbehaviour),
    }
}

/// The Authorization header with a name and a password (RFC 7617, section 2).
pub(crate) fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
}

/// The Authorization header with a token (RFC 6750, section 2.1).
fn bearer(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
