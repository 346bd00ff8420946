//! Registries, their token servers and their storages: truthful as long as nothing else is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use oci_proto::server::Content as _;
use oci_proto::{Credentials, CredentialsQuery, Digest, Fault, FaultKind, OpId, Payload, PlainHttp, Time};

use super::accounts::Accounts;
use super::ledger::{Ledger, SIGNATURE};
use super::party::{Party, Wants};
use super::{Answers, Asked, Choices, Content, Counts, Registry};
use crate::transcript::Answer;

/// Two on one host, one more, and two on this machine.
pub(super) const REGISTRIES: [&str; 5] =
    ["registry.example", "registry.example:5443", "other.example", "localhost:5000", "127.0.0.1:5001"];

/// All who are asked.
#[derive(Debug)]
pub(super) struct World<'c> {
    pub(super) ledger: Ledger,
    pub(super) accounts: Accounts,
    pub(super) counts: Counts,
    pub(super) content: &'c Content,
    pub(super) registry: Registry,
    pub(super) parties: Vec<Party>,
    /// Of whom it was said that they do not have something, and to which operation.
    pub(super) not_there: BTreeSet<(OpId, String)>,
    /// When something was first asked for at a registry that has it only after a while.
    first_asked: BTreeMap<(usize, String), Time>,
    /// One answer of so many is odd.
    wildness: usize,
    /// Whether odd answers are lies, or only what passes.
    lies: bool,
    /// Whose request is to be answered, when, and what it shows.
    pub(super) op: Option<OpId>,
    pub(super) now: Time,
    pub(super) shows: String,
}

impl<'c> World<'c> {
    pub(super) fn new(
        content: &'c Content,
        plain_http: PlainHttp,
        tries: u32,
        choices: &mut Choices<'_>,
    ) -> Self {
        let mut ledger = Ledger::new(&REGISTRIES, plain_http);
        let wildness = choices.pick(&[8, 4, 2, 2]);
        let lies = choices.flip();
        let party = |n| Party::new(n, &ledger, &mut choices.part(6));
        let mut parties: Vec<Party> = (0..REGISTRIES.len()).map(party).collect();
        if let [first, second, ..] = &mut parties[..]
            && choices.once_in(3)
        {
            ledger.join();
            second.trust(first);
        }
        Self {
            ledger,
            accounts: Accounts::new(tries),
            counts: Counts::new(),
            content,
            registry: content.registry(),
            parties,
            not_there: BTreeSet::new(),
            first_asked: BTreeMap::new(),
            wildness,
            lies,
            op: None,
            now: Time::ZERO,
            shows: String::new(),
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The answer to what was asked last is a lie.
    pub(super) fn lied(&mut self, registry: usize) {
        match self.op {
            Some(op) => self.accounts.wrong(op),
            None => (0..REGISTRIES.len())
                .filter(|other| self.ledger.is_asked_for(registry, *other))
                .for_each(|other| self.accounts.wrong_of_registry(other)),
        }
    }

    /// What there is at that place, to whoever may have it.
    pub(super) fn truth(&mut self, registry: usize, asked: &Asked<'_>) -> Answer {
        if self.op.is_none() {
            return self.token(registry, asked);
        }
        let Party { wants, storage, .. } = self.parties[registry];
        let head = asked.head;
        if self.ledger.is_at_home(registry, &head.uri) {
            let admitted = match wants {
                Wants::Nothing => true,
                Wants::Basic => self.shows.starts_with("Basic "),
                Wants::Bearer => self.ledger.admits(registry, &self.shows, self.now),
            };
            if !admitted {
                let challenge = self.challenge(registry, wants == Wants::Bearer);
                return self.refusal(401, &[("www-authenticate", &challenge)]);
            }
            if let Some(answer) = self.lag(registry, asked) {
                return answer;
            }
            if let Some(storage) = storage
                && head.uri.path().contains("/blobs/")
            {
                self.count("truthful redirects");
                let location = format!("{storage}{}?X-Sig={SIGNATURE}", head.uri.path());
                return answer(307, &[("location", &location)], "");
            }
        }
        let range = head.headers.contains_key(RANGE);
        if range && self.parties[registry].ignores_ranges {
            self.count("ranges ignored");
            let mut head = head.clone();
            head.headers.remove(RANGE);
            return self.registry.respond(&head);
        }
        let mut answer = self.registry.respond(head);
        // What is wrong, and does not say how much there is of it, may look like something that breaks off.
        let name = head.uri.path().rsplit('/').next().unwrap_or_default();
        if !self.content.is_wrong(name) {
            self.parties[registry].word(&head.method, &mut answer);
        }
        answer
    }

    /// A mirror that fetches what it is asked for, and does not have it yet.
    fn lag(&mut self, registry: usize, asked: &Asked<'_>) -> Option<Answer> {
        let lag = self.parties[registry].lag?;
        let path = asked.head.uri.path().to_owned();
        let first = *self.first_asked.entry((registry, path)).or_insert(self.now);
        if self.now >= first + lag.time {
            return None;
        }
        if lag.status == 404 && self.lies {
            self.lied(registry);
        } else if !self.afford(registry, asked) {
            return None;
        }
        self.count("answers that a mirror is not ready");
        let status = if lag.status == 404 && !self.lies { 503 } else { lag.status };
        Some(self.refusal(status, &[]))
    }

    /// Whether what passes may happen to this request once more, without its operation failing for it.
    pub(super) fn afford(&mut self, registry: usize, asked: &Asked<'_>) -> bool {
        let name = asked.head.uri.path().rsplit('/').next().unwrap_or_default();
        self.accounts.charge(asked.op, registry, name)
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

    fn token(&mut self, registry: usize, asked: &Asked<'_>) -> Answer {
        let Party { refuses_post, wants_login, lifetime, .. } = self.parties[registry];
        let is_post = asked.head.method == Method::POST;
        let name = match refuses_post {
            Some(status) if is_post => return self.refusal(status, &[]),
            _ if is_post => "access_token",
            _ if wants_login && self.shows.is_empty() => return self.refusal(401, &[]),
            _ => "token",
        };
        self.count("tokens");
        let token = self.ledger.token(registry, lifetime.map(|seconds| (self.now, seconds)));
        let lifetime = lifetime.map_or_else(String::new, |seconds| format!(r#","expires_in":{seconds}"#));
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

    fn note(&mut self, registry: usize, asked: &Asked<'_>, answer: &Answer) {
        let is_content = asked.op.is_some();
        if is_content && answer.status == StatusCode::UNAUTHORIZED {
            if self.ledger.is_at_home(registry, &asked.head.uri) {
                self.ledger.challenge(registry);
            }
            self.count(if self.shows.is_empty() { "challenges" } else { "challenges to what was shown" });
        }
        if let Some(op) = asked.op.filter(|_| answer.status == StatusCode::NOT_FOUND) {
            let name = asked.head.uri.path().rsplit('/').next().unwrap_or_default();
            // After a redirect, what was asked for may have any name.
            let name = if name.contains(':') { name } else { "" };
            self.not_there.insert((op, name.to_owned()));
        }
        if answer.headers.contains_key(LOCATION) {
            self.count(if is_content { "redirects" } else { "redirects of requests for tokens" });
        }
        if answer.headers.contains_key(RETRY_AFTER) {
            self.count("answers that ask for time");
        }
        if answer.status == StatusCode::PARTIAL_CONTENT {
            self.count("parts");
        }
        match &answer.cut {
            Some((_, fault)) if fault.kind() == FaultKind::Timeout => self.count("bodies that stall"),
            Some(_) => self.count("bodies that break off"),
            None => {}
        }
    }
}

impl Answers for World<'_> {
    fn sent(&mut self, op: Option<OpId>, request: &Request<Payload>) {
        self.ledger.check(op, request);
        let authorization = request.headers().get(AUTHORIZATION);
        self.count(if op.is_some() { "requests" } else { "requests for tokens" });
        if op.is_some() && authorization.is_some() {
            self.count("requests with Authorization");
        }
        if op.is_none() && authorization.is_some_and(|value| value.as_bytes().starts_with(b"Basic PHRva2VuP"))
        {
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

    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault> {
        let registry = self.ledger.registry(asked.op, &asked.head.uri);
        (self.op, self.now) = (asked.op, asked.now);
        let authorization = asked.head.headers.get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.shows = match asked.payload {
            Payload::Bytes(form) => String::from_utf8_lossy(form).into_owned(),
            _ => authorization.to_owned(),
        };
        let is_odd = choices.once_in(self.wildness);
        let answer = match (is_odd, self.lies && choices.flip()) {
            (true, true) => {
                self.count("odd answers");
                Ok(match asked.op {
                    Some(_) => self.odd(registry, asked, choices),
                    None => self.odd_token(registry, asked, choices),
                })
            }
            (true, false) => self.passing(registry, asked, choices),
            (false, _) => Ok(self.truth(registry, asked)),
        };
        match &answer {
            Ok(answer) => self.note(registry, asked, answer),
            Err(fault) if fault.kind() == FaultKind::Timeout => self.count("requests without an answer"),
            Err(_) => self.count("connections that fail"),
        }
        answer
    }

    fn failed(&mut self, asked: &Asked<'_>, kind: FaultKind) {
        let registry = self.ledger.registry(asked.op, &asked.head.uri);
        self.op = asked.op;
        let is_get = asked.head.method != Method::POST;
        let passes = match kind {
            FaultKind::Connect => true,
            FaultKind::Reset | FaultKind::Timeout => is_get,
            _ => false,
        };
        if !(passes && self.afford(registry, asked)) {
            self.lied(registry);
        }
    }

    fn login(
        &mut self,
        asked: &CredentialsQuery,
        choices: &mut Choices<'_>,
    ) -> Result<Option<Credentials>, Fault> {
        self.count("questions for logins");
        let registry = REGISTRIES.iter().position(|name| *name == asked.registry.as_str());
        let registry = registry.expect("a question is about a registry that was asked");
        let user = |world: &mut Self| {
            Credentials::login("user", world.ledger.secret()).expect("a name without a colon")
        };
        let wants_tokens = self.parties[registry].wants == Wants::Bearer;
        // Whoever has no login, and one token server for two registries, can be told apart by nothing but them.
        let is_twin = registry < 2 && self.ledger.is_asked_for(0, 1);
        let drawn = if is_twin && choices.flip() { 10 } else { choices.below(11) };
        let (found, helps) = match drawn {
            5..8 => (Some(Credentials::Identity(self.ledger.secret().into())), wants_tokens),
            8 => (Some(Credentials::Bearer(self.ledger.secret().into())), wants_tokens),
            9 if self.lies && choices.flip() => {
                self.accounts.wrong_of_registry(registry);
                return Err(Fault::new(FaultKind::Credentials, "the helper fails"));
            }
            9 if self.lies => (Some(Credentials::Bearer("no\nheader".into())), false),
            10 => (None, wants_tokens && !self.parties[registry].wants_login),
            _ => (Some(user(self)), true),
        };
        let found = if helps || self.lies { found } else { Some(user(self)) };
        if !helps && self.lies {
            self.accounts.wrong_of_registry(registry);
        }
        if let Some(found) = &found {
            self.ledger.log_in(registry, found);
        }
        Ok(found)
    }

    fn content(&self, digest: &Digest) -> Option<Bytes> {
        self.content.memory.bytes(digest)
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
