//! Who asks: what each registry wants to be shown, and what there is to show.
//!
//! A request goes without credentials until the registry answers 401. Its challenge is then kept, for the
//! registry's origin and the repository, and so is the login that the driver found. What was shown and is
//! refused is dropped, and once obtained anew; what was obtained after the refusal and is refused as well
//! ends the operation.
//!
//! Source: RFC 9110, section 11; RFC 7617; Docker's pages on token authentication and `OAuth2`.

mod credentials;
mod echo;
mod scope;
mod token;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

pub use credentials::{Credentials, CredentialsQuery, InvalidUsername, Secret};
pub(crate) use echo::Echo;
pub use scope::Scope;
pub use token::{InvalidToken, TokenAnswer};
pub(crate) use token::{Realm, TokenKey, Tokens};

use crate::error::Misbehaviour;
use crate::header::Challenge;
use crate::origin::{self, Origin};
use crate::{PlainHttp, QueryId, Repository, Time};

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
    pub(crate) fn present(&self, site: &Site, need: &Scope, now: Time) -> Present {
        let Some(known) = self.sites.get(site) else { return Present::Nothing };
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

    /// Forgets the site: the next request begins without credentials.
    pub(crate) fn forget(&mut self, site: &Site) {
        self.sites.remove(site);
    }

    /// The registry answers 401. `challenged` says when it last did so to the same request, if it has not
    /// taken what was shown since.
    pub(crate) fn refused(
        &mut self,
        site: &Site,
        shown: Option<Shown>,
        challenged: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<Verdict, Misbehaviour> {
        let Some(wants) = chosen(&site.0, headers, self.plain_http)? else {
            return Ok(Verdict::Final { was_known: shown.is_some() });
        };
        if let Some(shown) = shown
            && challenged.is_some_and(|at| at < shown.born)
        {
            let was_known = self.has_login(site);
            if shown.kind == ShownKind::Token {
                self.tokens.drop(shown.born);
            }
            self.forget(site);
            return Ok(Verdict::Final { was_known });
        }
        self.make_room(site);
        let known =
            self.sites.entry(site.clone()).or_insert(Known { wants: Wants::Basic, login: Login::NotAsked });
        known.wants = wants;
        match shown {
            Some(Shown { kind: ShownKind::Token, born }) => self.tokens.drop(born),
            // Another request may have had a new one since.
            Some(Shown { kind: ShownKind::Login, born }) => {
                if matches!(known.login, Login::Told { born: told, .. } if told == born) {
                    known.login = Login::NotAsked;
                }
            }
            None => {}
        }
        Ok(Verdict::Again)
    }

    /// Whether somebody is known to ask, and not just anybody.
    pub(crate) fn has_login(&self, site: &Site) -> bool {
        let login = self.sites.get(site).map(|known| &known.login);
        matches!(login, Some(Login::Told { found: Some(_), .. }))
    }

    fn make_room(&mut self, site: &Site) {
        if self.sites.len() >= self.max_sites && !self.sites.contains_key(site) {
            // A site that waits for an answer keeps its place.
            let idle = self.sites.iter().find(|(_, known)| !matches!(known.login, Login::Asked(_)));
            if let Some(idle) = idle.map(|(site, _)| site.clone()) {
                self.sites.remove(&idle);
            }
        }
    }
}

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
            service: bearer.param("service").unwrap_or_default().to_owned(),
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
