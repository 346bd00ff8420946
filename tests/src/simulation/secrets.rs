//! The rules for sending secrets, checked by the servers that receive them: an implementation independent of
//! `core/src/wire/origin.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Uri};
use oci_proto::{Credentials, OpId, Payload, PlainHttp, Time, is_loopback};

/// The prefix of every secret, plain and in its two forms within Basic.
const SECRETS: [&str; 3] = ["s3cr3t", "dXNlcjpzM2NyM3", "PHRva2VuPjpzM2NyM3"];
/// The prefix of every signature in the query of a redirect.
pub(super) const SIGNATURE: &str = "s1gn4ture";

/// Scheme, host and port.
type Origin = (String, String, u16);

/// The owner of each secret, and the servers that may see it.
#[derive(Debug)]
pub(super) struct Secrets {
    plain_http: PlainHttp,
    /// The origin of each registry's API.
    registries: Vec<Origin>,
    /// The registries of each operation: one, or the source and the destination.
    ops: BTreeMap<OpId, Vec<usize>>,
    /// Registries that have sent a challenge.
    challenged: BTreeSet<usize>,
    /// Token servers that a registry itself has named.
    realms: BTreeSet<(usize, Origin)>,
    /// Whether the first two registries share a token server, which does not distinguish them.
    twins: bool,
    /// Authorizations for their registry only; for registries that share a token server, for the first one
    /// that receives it.
    tokens: BTreeMap<String, Option<usize>>,
    /// The expiry of some of them.
    expire: BTreeMap<String, Time>,
    /// Authorizations and refresh tokens for their registry's token servers.
    logins: BTreeMap<String, usize>,
    /// The number of secrets created.
    created: usize,
}

impl Secrets {
    pub(super) fn new(authorities: &[&str], plain_http: PlainHttp) -> Self {
        let origin = |authority: &&str| {
            let uri: Uri = format!("https://{authority}/").parse().expect("the URL of a registry is valid");
            let plain = match plain_http {
                PlainHttp::Always => true,
                PlainHttp::Loopback => is_loopback(uri.host().unwrap_or_default()),
                PlainHttp::Never => false,
            };
            let scheme = if plain { "http" } else { "https" };
            origin_of(&format!("{scheme}://{authority}/").parse().expect("the URL of a registry is valid"))
        };
        Self {
            plain_http,
            registries: authorities.iter().map(origin).collect(),
            ops: BTreeMap::new(),
            challenged: BTreeSet::new(),
            realms: BTreeSet::new(),
            twins: false,
            tokens: BTreeMap::new(),
            expire: BTreeMap::new(),
            logins: BTreeMap::new(),
            created: 0,
        }
    }

    /// Makes the first two registries share a token server.
    pub(super) fn join(&mut self) {
        self.twins = true;
    }

    /// Whether requests to the token server of one registry may be for the other.
    pub(super) fn is_asked_for(&self, asked: usize, registry: usize) -> bool {
        asked == registry || self.twins && asked < 2 && registry < 2
    }

    pub(super) fn start(&mut self, op: OpId, registries: &[usize]) {
        self.ops.insert(op, registries.to_vec());
    }

    /// The registry that a request serves: one of its operation's, or the one that named the token server.
    pub(super) fn registry(&self, op: Option<OpId>, uri: &Uri) -> usize {
        match op.map(|op| &self.ops[&op][..]) {
            Some([registry]) => *registry,
            // A URL elsewhere was named by the registry in its mark.
            Some(registries) => {
                let marked = marked(uri).filter(|marked| registries.contains(marked));
                let home = || registries.iter().find(|registry| self.is_at_home(**registry, uri));
                marked.or_else(|| home().copied()).unwrap_or(registries[0])
            }
            None => marked(uri).expect("a URL without an operation was named by a registry"),
        }
    }

    pub(super) fn is_plain(&self, registry: usize) -> bool {
        self.registries[registry].0 == "http"
    }

    /// The prefix of the registry's URLs.
    pub(super) fn base(&self, registry: usize) -> String {
        let (scheme, host, port) = &self.registries[registry];
        format!("{scheme}://{host}:{port}")
    }

    pub(super) fn is_at_home(&self, registry: usize, uri: &Uri) -> bool {
        origin_of(uri) == self.registries[registry]
    }

    /// Records a challenge of the registry.
    pub(super) fn challenge(&mut self, registry: usize) {
        self.challenged.insert(registry);
    }

    /// Records a realm that the registry itself has named.
    pub(super) fn name_realm(&mut self, registry: usize, text: &str) {
        let Ok(uri) = text.parse::<Uri>() else { return };
        // A relative realm is one of the registry's own URLs.
        let own = || self.registries[registry].clone();
        let realm = if uri.authority().is_some() { origin_of(&uri) } else { own() };
        self.realms.insert((registry, realm));
    }

    /// Creates a secret.
    pub(super) fn secret(&mut self) -> String {
        self.created += 1;
        format!("{}{:04}", SECRETS[0], self.created)
    }

    /// Creates a token for the registry, valid for this many seconds from a time on.
    pub(super) fn token(&mut self, registry: usize, good: Option<(Time, u64)>) -> String {
        let token = self.secret();
        let authorization = format!("Bearer {token}");
        if let Some((from, seconds)) = good {
            // A token is valid for at least a minute, whatever its server says.
            let until = from + Duration::from_secs(seconds.max(60));
            self.expire.insert(authorization.clone(), until);
        }
        let owner = (!(self.twins && registry < 2)).then_some(registry);
        self.tokens.insert(authorization, owner);
        token
    }

    /// Makes an Authorization invalid.
    pub(super) fn revoke(&mut self, authorization: &str, now: Time) {
        self.expire.insert(authorization.to_owned(), now);
    }

    /// Whether the registry accepts this Authorization.
    pub(super) fn admits(&self, registry: usize, authorization: &str, now: Time) -> bool {
        self.tokens.get(authorization) == Some(&Some(registry))
            && self.expire.get(authorization).is_none_or(|until| now < *until)
    }

    /// Records credentials handed out for the registry.
    pub(super) fn log_in(&mut self, registry: usize, credentials: &Credentials) {
        assert!(self.challenged.contains(&registry), "a credentials lookup without a challenge");
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        match credentials {
            Credentials::Basic { username, password } => {
                self.logins.insert(basic(format!("{username}:{}", password.reveal())), registry);
            }
            Credentials::Identity(token) => {
                self.logins.insert(token.reveal().to_owned(), registry);
                self.logins.insert(basic(format!("<token>:{}", token.reveal())), registry);
            }
            Credentials::Bearer(token) => {
                self.tokens.insert(format!("Bearer {}", token.reveal()), Some(registry));
            }
            other => panic!("unknown credentials {other:?}"),
        }
    }

    /// Whether the registry issued this Authorization.
    pub(super) fn knows(&self, registry: usize, authorization: &str) -> bool {
        self.tokens.get(authorization) == Some(&Some(registry))
            || self.logins.get(authorization) == Some(&registry)
    }

    /// Checks a request against the rules.
    pub(super) fn check(&mut self, op: Option<OpId>, request: &Request<Payload>) {
        let (uri, headers) = (request.uri(), request.headers());
        let registry = self.registry(op, uri);
        let is_token = op.is_none() && request.method() != Method::DELETE;
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(owner) = shown.and_then(|shown| self.tokens.get_mut(shown)).filter(|_| !is_token) {
            owner.get_or_insert(registry);
        }
        let may_ask = |owner: &usize| self.is_asked_for(registry, *owner);
        let (home, target) = (&self.registries[registry], &origin_of(uri));
        let shown = Shown(request, home);
        assert!(!SECRETS.iter().any(|secret| uri.to_string().contains(secret)), "a secret in a URL: {shown}");
        if target.0 == "http" {
            assert_eq!(home.0, "http", "a redirect from https to http: {shown}");
            let host = uri.host().unwrap_or_default();
            let allowed = self.plain_http == PlainHttp::Always || is_loopback(host);
            assert!(allowed, "plain http over an untrusted network: {shown}");
        }
        assert!(
            !is_token || self.realms.iter().any(|(owner, realm)| may_ask(owner) && realm == target),
            "a token request to an unknown realm: {shown}"
        );

        if let Some(value) = headers.get(AUTHORIZATION) {
            assert!(value.is_sensitive(), "an Authorization that is not marked as sensitive: {shown}");
            let text = value.to_str().expect("an Authorization is text");
            let known = if is_token {
                self.logins.get(text).is_some_and(may_ask)
            } else {
                self.knows(registry, text)
            };
            assert!(known, "an Authorization for another server: {text} {shown}");
            assert!(is_token || target == home, "an Authorization leaves its origin: {shown}");
        }
        let others = headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
        for (name, value) in others {
            let text = String::from_utf8_lossy(value.as_bytes());
            assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "a secret in {name}: {shown}");
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .map(|value| value.to_str().expect("a Content-Length is text").to_owned());
        let has_payload = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
        match request.body() {
            Payload::Empty => {
                let expected = has_payload.then(|| "0".to_owned());
                assert_eq!(length, expected, "a wrong Content-Length without a payload: {shown}");
                assert!(!is_token || !has_payload, "a missing payload: {shown}");
            }
            Payload::Bytes(bytes) if !is_token => {
                assert_eq!(length, Some(bytes.len().to_string()), "a wrong Content-Length: {shown}");
                assert!(has_payload && headers.contains_key(CONTENT_TYPE), "an unexpected payload: {shown}");
            }
            Payload::Bytes(form) => {
                assert_eq!(length, Some(form.len().to_string()), "a wrong Content-Length: {shown}");
                assert_eq!(request.method(), Method::POST, "an unexpected payload: {shown}");
                assert!(
                    !headers.contains_key(AUTHORIZATION),
                    "a form together with an Authorization: {shown}"
                );
                assert_eq!(headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
                let form = std::str::from_utf8(form).expect("a form is text");
                let refresh_token = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
                let known = refresh_token.and_then(|token| self.logins.get(token));
                assert!(known.is_some_and(may_ask), "a refresh token for another server: {shown}");
            }
            Payload::Source(source) => {
                assert_eq!(length, Some(source.length().to_string()), "a wrong Content-Length: {shown}");
                assert_eq!(op, Some(source.op), "a source of another operation: {shown}");
                assert!(has_payload && headers.contains_key(CONTENT_TYPE), "an unexpected payload: {shown}");
            }
        }
    }

    /// Checks a text that may be visible against the rules.
    pub(super) fn check_shown(text: &str) {
        let secret = SECRETS.iter().chain([&SIGNATURE]).find(|secret| text.contains(**secret));
        assert_eq!(secret, None, "a secret is shown: {text}");
    }
}

/// A request, for messages about violations.
struct Shown<'a>(&'a Request<Payload>, &'a Origin);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {:?}", self.0.method(), self.0.uri(), self.1)
    }
}

/// The mark in the query of each realm: the number of the registry that named it.
pub(super) fn mark(registry: usize) -> String {
    format!("r={registry}")
}

fn marked(uri: &Uri) -> Option<usize> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("r=")?.parse().ok())
}

fn origin_of(uri: &Uri) -> Origin {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    (scheme, uri.host().unwrap_or_default().to_ascii_lowercase(), port)
}
