//! Registries, their token servers and their storage: truthful as long as nothing else is drawn.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, request};
use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind, OpId, Payload, PlainHttp};

use super::ledger::{Ledger, SIGNATURE, mark};
use crate::simulation::{Answers, Choices, Registry};
use crate::transcript::Answer;

/// Two on one host, one more, and two on this machine.
pub(super) const REGISTRIES: [&str; 5] =
    ["registry.example", "registry.example:5443", "other.example", "localhost:5000", "127.0.0.1:5001"];

/// How often something happened.
pub type Counts = BTreeMap<&'static str, usize>;

/// All who are asked.
#[derive(Debug)]
pub(super) struct World<'r> {
    pub(super) ledger: Ledger,
    pub(super) counts: Counts,
    /// Every request, with what it shows.
    pub(super) log: Vec<String>,
    pub(super) content: &'r Registry,
    parties: Vec<Party>,
    /// One answer of so many is odd.
    wildness: usize,
    /// Whose request is to be answered.
    op: Option<OpId>,
    /// What that request shows.
    pub(super) shows: String,
}

/// How a registry is set up.
#[derive(Debug)]
struct Party {
    wants: Wants,
    realm: String,
    /// Where its blobs are, if that is elsewhere.
    storage: Option<&'static str>,
    /// What its token server answers to POST, if it does not know it.
    refuses_post: Option<u16>,
    /// Whether its token server wants to know who asks.
    wants_login: bool,
    lifetime: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Nothing,
    Basic,
    Bearer,
}

impl<'r> World<'r> {
    pub(super) fn new(content: &'r Registry, plain_http: PlainHttp, choices: &mut Choices<'_>) -> Self {
        let ledger = Ledger::new(&REGISTRIES, plain_http);
        let wildness = [16, 8, 4, 2][choices.below(4)];
        let parties = (0..REGISTRIES.len()).map(|n| Party::new(n, &ledger, choices)).collect();
        Self {
            ledger,
            counts: Counts::new(),
            log: Vec::new(),
            content,
            parties,
            wildness,
            op: None,
            shows: String::new(),
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// What there is at that place, to whoever may have it.
    pub(super) fn truth(&mut self, registry: usize, head: &request::Parts) -> Answer {
        if self.op.is_none() {
            return self.token(registry, head);
        }
        let Party { wants, storage, .. } = self.parties[registry];
        if self.ledger.is_at_home(registry, &head.uri) {
            let admitted = match wants {
                Wants::Nothing => true,
                Wants::Basic => self.shows.starts_with("Basic "),
                Wants::Bearer => self.shows.starts_with("Bearer "),
            };
            if !admitted {
                let challenge = self.challenge(registry, wants == Wants::Bearer);
                return self.refusal(401, &[("www-authenticate", &challenge)]);
            }
            if let Some(storage) = storage
                && head.uri.path().contains("/blobs/")
            {
                self.count("truthful redirects");
                let location = format!("{storage}{}?X-Sig={SIGNATURE}", head.uri.path());
                return answer(307, &[("location", &location)], "");
            }
        }
        self.content.respond(head)
    }

    /// What the registry wants to be shown, in its own words.
    pub(super) fn challenge(&mut self, registry: usize, bearer: bool) -> String {
        let realm = self.parties[registry].realm.clone();
        self.ledger.name_realm(registry, &realm);
        if bearer {
            format!(r#"Bearer realm="{realm}",service="registry""#)
        } else {
            r#"Basic realm="registry""#.to_owned()
        }
    }

    fn token(&mut self, registry: usize, head: &request::Parts) -> Answer {
        let Party { refuses_post, wants_login, lifetime, .. } = self.parties[registry];
        let name = match refuses_post {
            Some(status) if head.method == Method::POST => return self.refusal(status, &[]),
            _ if head.method == Method::POST => "access_token",
            _ if wants_login && self.shows.is_empty() => return self.refusal(401, &[]),
            _ => "token",
        };
        self.count("tokens");
        let token = self.ledger.token(registry);
        answer(200, &[], &format!(r#"{{"{name}":"{token}"{lifetime}}}"#))
    }

    /// An answer that says no, and says again what it was shown.
    pub(super) fn refusal(&self, status: u16, headers: &[(&str, &str)]) -> Answer {
        let body = format!("no, not to {}", self.shows);
        let mut answer = answer(status, headers, &body);
        let warning = format!(r#"299 - "you are {}""#, self.shows.replace('"', "'"));
        answer.headers.insert(http::header::WARNING, warning.parse().expect("a warning is text"));
        answer
    }
}

impl Party {
    fn new(registry: usize, ledger: &Ledger, choices: &mut Choices<'_>) -> Self {
        let plain = ledger.is_plain(registry);
        let own = format!("{}/token", ledger.base(registry));
        let realms = [
            "https://auth.example/token",
            &own,
            "https://auth.example:8443/a/../t",
            "http://127.0.0.1:5100/t",
        ];
        let storages = [None, Some("https://cdn.example"), Some("http://127.0.0.1:5200")];
        let usable = usize::from(!plain);
        Self {
            wants: [Wants::Bearer, Wants::Nothing, Wants::Bearer, Wants::Basic][choices.below(4)],
            realm: format!("{}?{}", realms[choices.below(realms.len() - usable)], mark(registry)),
            storage: storages[choices.below(storages.len() - usable)],
            refuses_post: [None, Some(404), Some(405), Some(401), Some(400)][choices.below(5)],
            wants_login: choices.flip(),
            lifetime: ["", r#","expires_in":300"#, r#","expires_in":1"#][choices.below(3)],
        }
    }
}

impl Answers for &mut World<'_> {
    fn asked(&mut self, op: Option<OpId>, request: &Request<Payload>) {
        self.ledger.check(op, request);
        let authorization = request.headers().get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.shows = match request.body() {
            Payload::Bytes(form) => String::from_utf8_lossy(form).into_owned(),
            _ => authorization.to_owned(),
        };
        self.op = op;
        self.log.push(format!("{} {} {}", request.method(), request.uri(), self.shows));
        self.count(if op.is_some() { "requests" } else { "requests for tokens" });
        if op.is_some() && !authorization.is_empty() {
            self.count("requests with Authorization");
        }
        if op.is_none() && authorization.starts_with("Basic PHRva2VuP") {
            self.count("refresh tokens shown to GET");
        }
        if request.headers().contains_key(RANGE) {
            self.count("resumed requests");
        }
        if request.method() == Method::POST {
            self.count("refresh tokens posted");
        }
        let registry = self.ledger.registry(op, request.uri());
        if op.is_some() && !self.ledger.is_at_home(registry, request.uri()) {
            self.count("requests elsewhere");
        }
    }

    fn answer(&mut self, head: &request::Parts, choices: &mut Choices<'_>) -> Answer {
        let registry = self.ledger.registry(self.op, &head.uri);
        let answer = if choices.below(self.wildness) + 1 == self.wildness {
            self.count("odd answers");
            if self.op.is_some() {
                self.odd(registry, head, choices)
            } else {
                self.odd_token(registry, head, choices)
            }
        } else {
            self.truth(registry, head)
        };
        if self.op.is_some() && answer.status == StatusCode::UNAUTHORIZED {
            if self.ledger.is_at_home(registry, &head.uri) {
                self.ledger.challenge(registry);
            }
            self.count(if self.shows.is_empty() { "challenges" } else { "challenges to what was shown" });
        }
        if answer.headers.contains_key(LOCATION) {
            self.count(if self.op.is_some() { "redirects" } else { "redirects of requests for tokens" });
        }
        if answer.headers.contains_key(RETRY_AFTER) {
            self.count("answers that ask for time");
        }
        answer
    }

    fn login(
        &mut self,
        asked: &CredentialsQuery,
        choices: &mut Choices<'_>,
    ) -> Result<Option<Credentials>, Fault> {
        self.count("questions for logins");
        let registry = REGISTRIES.iter().position(|name| *name == asked.registry.as_str());
        let registry = registry.expect("a question is about a registry that was asked");
        let found = match choices.below(10) {
            0..5 => Credentials::login("user", self.ledger.secret()).expect("a name without a colon"),
            5..8 => Credentials::Identity(self.ledger.secret().into()),
            8 => match choices.below(3) {
                0 => Credentials::Bearer(self.ledger.secret().into()),
                1 => Credentials::Bearer("no\nheader".into()),
                _ => return Err(Fault::new(FaultKind::Credentials, "the helper fails")),
            },
            _ => return Ok(None),
        };
        self.ledger.log_in(registry, &found);
        Ok(Some(found))
    }

    fn shown(&mut self, what: &dyn fmt::Debug) {
        Ledger::check_shown(&format!("{what:?}"));
    }
}

/// An answer that comes whole.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, value.parse().expect("a header's value"))
    });
    let headers: HeaderMap = headers.collect();
    debug_assert!(status != 401 || headers.contains_key(WWW_AUTHENTICATE) || headers.is_empty());
    Answer::new(status.try_into().expect("a status"), headers, Bytes::from(body.to_owned()))
}
