//! Decides which client gets which token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::interop::host::Asked;
use crate::interop::jwt::Signer;
use crate::wire::Reply;

pub(super) const SERVICE: &str = "the registry of a test";
pub(super) const ISSUER: &str = "the token server of a test";

/// How long docker-registry accepts a token beyond its expiry.
///
/// Source: its `registry/auth/token/token.go`.
const LEEWAY: u64 = 60;

/// The clients that get a token, and its lifetime.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rules {
    /// Whether anonymous clients get tokens.
    pub anonymous: bool,
    /// The name and the password of the only user.
    pub login: Option<(String, String)>,
    /// The identity token of that user.
    pub identity: Option<String>,
    /// The lifetime of its tokens.
    pub lifetime: Duration,
}

impl Default for Rules {
    /// Everybody gets tokens, for an hour.
    fn default() -> Self {
        Self { anonymous: true, login: None, identity: None, lifetime: Duration::from_secs(3600) }
    }
}

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The client.
    pub requester: Requester,
    /// The requested scopes, without duplicates.
    pub scopes: Vec<String>,
}

/// The client of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "these are all ways to authenticate, or not to")]
pub enum Requester {
    /// No credentials.
    Anonymous,
    /// The user, by GET with name and password.
    User,
    /// The user, by POST with the identity token.
    Identity,
    /// A wrong password or a wrong identity token.
    Stranger,
}

/// The state and rules of a token server.
#[derive(Debug)]
pub(in crate::interop) struct Issuer {
    rules: Rules,
    address: SocketAddr,
    signer: Signer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<TokenRequest>,
    /// The issued tokens, with their scopes and expiry.
    tokens: BTreeMap<String, (Vec<String>, Instant)>,
}

impl Issuer {
    pub(in crate::interop) fn new(rules: Rules, address: SocketAddr) -> Self {
        Self { rules, address, signer: Signer::new(), state: Mutex::default() }
    }

    pub(in crate::interop) fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub(super) fn pem(&self) -> &str {
        self.signer.pem()
    }

    pub(in crate::interop) fn take(&self) -> Vec<TokenRequest> {
        std::mem::take(&mut self.lock().requests)
    }

    /// The challenge for clients without a token.
    pub(in crate::interop) fn challenge(&self, scope: &str) -> String {
        format!("Bearer realm=\"{}\",service=\"{SERVICE}\",scope=\"{scope}\"", self.realm())
    }

    /// Whether an Authorization header has a token for this access.
    pub(in crate::interop) fn allows(&self, authorization: &str, scope: &str) -> bool {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        self.lock().tokens.get(token).is_some_and(|(scopes, until)| {
            Instant::now() < *until && scopes.iter().any(|allowed| allowed == scope)
        })
    }

    /// Responds to a request for a token.
    ///
    /// Source: Docker's pages on token authentication and `OAuth2`.
    pub(in crate::interop) fn answer(&self, asked: &Asked) -> Reply {
        let form = if asked.method == Method::POST { &asked.body[..] } else { asked.query().as_bytes() };
        let form: Vec<(String, String)> = form_urlencoded::parse(form).into_owned().collect();
        let all = |name: &'static str| {
            form.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let one = |name| all(name).next().unwrap_or_default();
        let requester = if asked.method == Method::POST {
            self.identity(one("grant_type"), one("client_id"), one("refresh_token"))
        } else {
            self.user(asked.header("authorization"))
        };
        let scopes: Vec<String> =
            all("scope").flat_map(|scopes| scopes.split(' ')).map(str::to_owned).collect();
        let mut state = self.lock();
        state.requests.push(TokenRequest { requester, scopes: scopes.clone() });
        let welcome = match requester {
            Requester::Anonymous => self.rules.anonymous,
            Requester::User | Requester::Identity => true,
            Requester::Stranger => false,
        };
        if asked.path() != "/token" || one("service") != SERVICE || !welcome {
            let refusal = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "unknown user" }] });
            return Reply::json(401, &refusal);
        }
        let token = self.signer.sign(&self.claims(state.requests.len(), &scopes));
        state.tokens.insert(token.clone(), (scopes, Instant::now() + self.rules.lifetime));
        let name = if requester == Requester::Identity { "access_token" } else { "token" };
        Reply::json(200, &json!({ name: token, "expires_in": self.rules.lifetime.as_secs() }))
    }

    fn user(&self, authorization: &str) -> Requester {
        if authorization.is_empty() {
            return Requester::Anonymous;
        }
        let known = self.rules.login.as_ref().is_some_and(|(name, password)| {
            authorization == format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
        });
        if known { Requester::User } else { Requester::Stranger }
    }

    fn identity(&self, grant_type: &str, client_id: &str, refresh_token: &str) -> Requester {
        let asks = grant_type == "refresh_token" && !client_id.is_empty();
        let known = self.rules.identity.as_deref() == Some(refresh_token);
        if asks && known { Requester::Identity } else { Requester::Stranger }
    }

    /// Source: Docker's page on the JSON Web Tokens of registries.
    fn claims(&self, number: usize, scopes: &[String]) -> Value {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_secs();
        let access = scopes.iter().filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<&str> = actions.split(',').collect();
            Some(json!({ "type": kind, "name": name, "actions": actions }))
        });
        json!({
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": "",
            "iat": now,
            "nbf": now - LEEWAY,
            "exp": now + self.rules.lifetime.as_secs() - LEEWAY,
            // Makes two tokens of the same second different.
            "jti": number.to_string(),
            "access": access.collect::<Vec<_>>(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
