//! Registries, their token servers and storage servers. They are correct unless the input decides otherwise.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::header::{AUTHORIZATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method};
use oci_proto::{Descriptor, OpId, PlainHttp, Time};
use serde_json::Value;

use crate::simulation::answers::Asked;
use crate::simulation::choices::Choices;
use crate::simulation::content::Content;
use crate::simulation::counts::Counts;
use crate::simulation::fault_record::FaultRecord;
use crate::simulation::ledger::Ledger;
use crate::simulation::registry::Registry;
use crate::simulation::secrets::{SIGNATURE, Secrets, mark};
use crate::simulation::setup::{Setup, Wants};
use crate::simulation::store::{INDEX, Store, fallback_tag, is_writable};
use crate::transcript::parse::Answer;

/// Two on one host, one more, and two on loopback.
pub(super) const REGISTRIES: [&str; 5] =
    ["registry.example", "registry.example:5443", "other.example", "localhost:5000", "127.0.0.1:5001"];

/// All servers.
#[derive(Debug)]
pub(super) struct World<'c> {
    pub(super) secrets: Secrets,
    pub(super) fault_record: FaultRecord,
    pub(super) counts: Counts,
    pub(super) content: &'c Content,
    pub(super) registry: Registry,
    /// The repositories of each registry that can be written to; none if no operation writes.
    pub(super) stores: Vec<Store>,
    pub(super) ledger: Ledger,
    /// The streams of operations, and how much of each was read.
    pub(super) streams: BTreeMap<OpId, (Bytes, usize)>,
    /// Whether all faults have stopped.
    pub(super) is_calm: bool,
    pub(super) setups: Vec<Setup>,
    /// Servers that reported content as missing, and to which operation.
    pub(super) not_there: BTreeSet<(OpId, String)>,
    /// Operations that only the lies of this registry may fail. Others are asked too.
    trusted: BTreeMap<OpId, usize>,
    /// The time of the first request for each content at a mirror.
    first_asked: BTreeMap<(usize, String), Time>,
    /// One of this many responses is wrong.
    pub(super) wildness: usize,
    /// Whether wrong responses are allowed, or only transient failures.
    pub(super) lies: bool,
    /// The current request: its sender, time and Authorization.
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
        let mut counts = Counts::new();
        let mut secrets = Secrets::new(&REGISTRIES, plain_http);
        let wildness = choices.pick(&[8, 4, 2, 2]);
        let lies = choices.flip();
        let setup = |n| Setup::new(n, &secrets, &mut choices.part(6));
        let mut setups: Vec<Setup> = (0..REGISTRIES.len()).map(setup).collect();
        if let [first, second, ..] = &mut setups[..]
            && choices.once_in(3)
        {
            secrets.join();
            second.trust(first);
            counts.insert("shared token servers", 1);
        }
        Self {
            secrets,
            fault_record: FaultRecord::new(tries),
            counts,
            content,
            registry: content.registry(),
            stores: Vec::new(),
            ledger: Ledger::new(),
            streams: BTreeMap::new(),
            is_calm: false,
            setups,
            not_there: BTreeSet::new(),
            trusted: BTreeMap::new(),
            first_asked: BTreeMap::new(),
            wildness,
            lies,
            op: None,
            now: Time::ZERO,
            shows: String::new(),
        }
    }

    /// Lets operations write to all registries.
    pub(super) fn with_stores(mut self, choices: &mut Choices<'_>) -> Self {
        let draw = |number| Store::draw(number, self.content, &mut choices.part(4));
        self.stores = (0..REGISTRIES.len()).map(draw).collect();
        self
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Requires the operation to succeed whatever other registries than this one respond.
    pub(super) fn trusts_only(&mut self, op: OpId, registry: usize) {
        self.trusted.insert(op, registry);
    }

    /// Lets the operation of the current request fail, or all of them.
    pub(super) fn cannot_store(&mut self) {
        match self.op {
            Some(op) => self.fault_record.wrong(op),
            None => (0..REGISTRIES.len()).for_each(|registry| self.fault_record.wrong_of_registry(registry)),
        }
    }

    /// Marks the current response as wrong.
    pub(super) fn lied(&mut self, registry: usize) {
        match self.op {
            Some(op) if self.trusted.get(&op).is_some_and(|trusted| *trusted != registry) => {
                self.count("wrong responses of mirrors");
            }
            Some(op) => self.fault_record.wrong(op),
            None => (0..REGISTRIES.len())
                .filter(|other| self.secrets.is_asked_for(registry, *other))
                .for_each(|other| self.fault_record.wrong_of_registry(other)),
        }
    }

    /// The response of a registry to an authorized request.
    pub(super) fn truth(&mut self, registry: usize, asked: &Asked<'_>) -> Answer {
        if asked.is_token() {
            return self.token(registry, asked);
        }
        if let Some(answer) = self.early(registry, asked) {
            return answer;
        }
        let head = asked.head;
        if self.secrets.is_at_home(registry, &head.uri) {
            let storage = self.setups[registry].storage;
            if let Some(answer) = self.lag(registry, asked) {
                return answer;
            }
            if let Some(storage) = storage
                && head.uri.path().contains("/blobs/")
                && !head.uri.path().contains("/blobs/uploads/")
            {
                self.count("correct redirects");
                let location = format!("{storage}{}?X-Sig={SIGNATURE}&{}", head.uri.path(), mark(registry));
                return answer(307, &[("location", &location)], "");
            }
        }
        if is_writable(&head.uri) {
            let store = &mut self.stores[registry];
            let account = asked.op.and_then(|op| self.ledger.get_mut(&op));
            let Some(account) = account else { return store.respond(asked) };
            account.receive(&store.registry, asked);
            let answer = store.respond(asked);
            account.note_refusal(asked, &answer);
            return answer;
        }
        let range = head.headers.contains_key(RANGE);
        if range && self.setups[registry].ignores_ranges {
            self.count("ranges ignored");
            let mut head = head.clone();
            head.headers.remove(RANGE);
            return self.registry.respond(&head);
        }
        if self.setups[registry].lacks_referrers()
            && let Some(answer) = self.without_referrers(head.uri.path())
        {
            return answer;
        }
        let mut answer = self.registry.respond(head);
        // Wrong content of unknown length may look like a broken connection.
        let name = head.uri.path().rsplit('/').next().unwrap_or_default();
        if !self.content.is_wrong(name) {
            self.setups[registry].word(&head.method, &mut answer);
        }
        answer
    }

    /// The response of a registry that does not implement the list of referrers, if it differs.
    fn without_referrers(&self, path: &str) -> Option<Answer> {
        if path.contains("/referrers/") {
            return Some(answer(404, &[], ""));
        }
        let (_, tag) = path.split_once("/manifests/")?;
        let referrers = self.content.referrers.iter().filter(|(subject, _)| fallback_tag(subject) == tag);
        let entries: Vec<Value> = referrers
            .map(|(_, Descriptor { media_type, digest, size, .. })| {
                serde_json::json!({
                    "mediaType": media_type.as_str(), "digest": digest.to_string(), "size": size,
                })
            })
            .collect();
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        (!entries.is_empty()).then(|| answer(200, &[("content-type", INDEX)], &index.to_string()))
    }

    /// The response that does not depend on the payload, if there is one.
    pub(super) fn early(&mut self, registry: usize, asked: &Asked<'_>) -> Option<Answer> {
        let wants = self.setups[registry].wants;
        if self.secrets.is_at_home(registry, &asked.head.uri) {
            let admitted = match wants {
                Wants::Nothing => true,
                Wants::Basic => self.shows.starts_with("Basic "),
                Wants::Bearer => self.secrets.admits(registry, &self.shows, self.now),
            };
            if !admitted {
                let challenge = self.challenge(registry, wants == Wants::Bearer);
                return Some(self.refusal(401, &[("www-authenticate", &challenge)]));
            }
        }
        self.stores.get(registry).filter(|_| is_writable(&asked.head.uri))?.early(asked)
    }

    /// A mirror that has not fetched the content yet.
    fn lag(&mut self, registry: usize, asked: &Asked<'_>) -> Option<Answer> {
        let lag = self.setups[registry].lag.filter(|_| !self.is_calm && !is_writable(&asked.head.uri))?;
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
        self.count("mirror not ready");
        let status = if lag.status == 404 && !self.lies { 503 } else { lag.status };
        Some(self.refusal(status, &[]))
    }

    /// Whether a transient failure of this request leaves it an attempt.
    pub(super) fn afford(&mut self, registry: usize, asked: &Asked<'_>) -> bool {
        let path = asked.head.uri.path();
        let op = asked.op.filter(|_| path.contains("/blobs/uploads/"));
        if let Some(op) = op {
            return self.fault_record.charge_upload(op, registry);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        self.fault_record.charge(asked.op, registry, name)
    }

    /// The challenge of a registry, in its own notation.
    pub(super) fn challenge(&mut self, registry: usize, bearer: bool) -> String {
        let realm = self.setups[registry].realm.clone();
        self.secrets.name_realm(registry, &realm);
        if bearer {
            format!(r#"Bearer realm="{realm}",service="registry""#)
        } else {
            r#"Basic realm="registry""#.to_owned()
        }
    }

    fn token(&mut self, registry: usize, asked: &Asked<'_>) -> Answer {
        let Setup { refuses_post, wants_login, lifetime, .. } = self.setups[registry];
        let is_post = asked.head.method == Method::POST;
        let name = match refuses_post {
            Some(status) if is_post => return self.refusal(status, &[]),
            _ if is_post => "access_token",
            _ if wants_login && self.shows.is_empty() => return self.refusal(401, &[]),
            _ => "token",
        };
        self.count("tokens");
        let token = self.secrets.token(registry, lifetime.map(|seconds| (self.now, seconds)));
        let lifetime = lifetime.map_or_else(String::new, |seconds| format!(r#","expires_in":{seconds}"#));
        answer(200, &[], &format!(r#"{{"{name}":"{token}"{lifetime}}}"#))
    }

    /// A refusal that echoes the request's credentials.
    pub(super) fn refusal(&self, status: u16, headers: &[(&str, &str)]) -> Answer {
        let body = format!("no, not to {}", self.shows);
        let mut answer = answer(status, headers, &body);
        let warning = format!(r#"299 - "you are {}""#, self.shows.replace('"', "'"));
        answer.headers.insert(http::header::WARNING, warning.parse().expect("a warning is text"));
        answer
    }
}

/// A complete response.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("the header name is valid");
        (name, value.parse().expect("the header value is valid"))
    });
    let headers: HeaderMap = headers.collect();
    debug_assert!(status != 401 || headers.contains_key(WWW_AUTHENTICATE) || headers.is_empty());
    Answer::new(status.try_into().expect("the status is valid"), headers, Bytes::from(body.to_owned()))
}

/// The Authorization of a request; empty if it has none.
pub(super) fn authorization(asked: &Asked<'_>) -> String {
    let value = asked.head.headers.get(AUTHORIZATION);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
