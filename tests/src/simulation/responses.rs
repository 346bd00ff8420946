//! The responses of the world's servers: correct ones, or deviations decided by the input.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_RANGE, LOCATION, RANGE, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use oci_proto::server::Content as _;
use oci_proto::{Credentials, CredentialsQuery, Descriptor, Digest, Fault, FaultKind, OpId, Payload, Reach};

use crate::simulation::answers::{Answers, Asked};
use crate::simulation::choices::Choices;
use crate::simulation::secrets::Secrets;
use crate::simulation::setup::Wants;
use crate::simulation::store::is_writable;
use crate::simulation::world::{REGISTRIES, World, authorization};
use crate::transcript::parse::Answer;

impl Answers for World<'_> {
    fn address(&self, op: Option<OpId>, request: &Request<Payload>, reach: Reach) -> Option<IpAddr> {
        self.check_reach(op, request, reach);
        Some(self.address_of(request.uri()))
    }

    fn sent(&mut self, op: Option<OpId>, request: &Request<Payload>) {
        self.secrets.check(op, request);
        let authorization = request.headers().get(AUTHORIZATION);
        let is_cleanup = op.is_none() && request.method() == Method::DELETE;
        self.count(if is_cleanup {
            "cancelled uploads"
        } else if op.is_some() {
            "requests"
        } else {
            "token requests"
        });
        if op.is_some() && authorization.is_some() {
            self.count("requests with Authorization");
        }
        if op.is_none() && authorization.is_some_and(|value| value.as_bytes().starts_with(b"Basic PHRva2VuP"))
        {
            self.count("refresh tokens sent by GET");
        }
        if request.headers().contains_key(RANGE) {
            self.count("resumed requests");
        }
        if op.is_none() && request.method() == Method::POST {
            self.count("refresh tokens posted");
        }
        let registry = self.secrets.registry(op, request.uri());
        if op.is_some() && !self.secrets.is_at_home(registry, request.uri()) {
            self.count("requests to other origins");
        }
    }

    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault> {
        let registry = self.secrets.registry(asked.op, &asked.head.uri);
        (self.op, self.now) = (asked.op, asked.now);
        self.shows = match asked.payload {
            Payload::Bytes(form) if asked.is_token() => String::from_utf8_lossy(form).into_owned(),
            _ => authorization(asked),
        };
        if !asked.is_complete() {
            let answer = self.answer_early(registry, asked, choices);
            self.record(asked, &answer, true);
            if let Ok(answer) = &answer {
                self.note(registry, asked, answer);
            }
            return answer;
        }
        let is_odd = choices.once_in(self.wildness) && !asked.is_cleanup();
        let is_write = is_writable(&asked.head.uri) && asked.op.is_some();
        let answer = match (is_odd, self.lies && choices.flip()) {
            (true, true) if is_write => {
                self.count("wrong responses");
                Ok(self.wrong_write(registry, asked, choices))
            }
            (true, false) if is_write => self.failed_write(registry, asked, choices),
            (true, true) => {
                self.count("wrong responses");
                Ok(match asked.op {
                    Some(_) => self.wrong_response(registry, asked, choices),
                    None => self.odd_token(registry, asked, choices),
                })
            }
            (true, false) => self.transient_failure(registry, asked, choices),
            (false, _) => Ok(self.truth(registry, asked)),
        };
        self.record(asked, &answer, is_odd);
        match &answer {
            Ok(answer) => self.note(registry, asked, answer),
            Err(fault) if fault.kind() == FaultKind::Timeout => self.count("requests without a response"),
            Err(_) => self.count("failed connections"),
        }
        answer
    }

    fn reads(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> u64 {
        let registry = self.secrets.registry(asked.op, &asked.head.uri);
        (self.op, self.now) = (asked.op, asked.now);
        self.read_until(registry, asked, choices)
    }

    fn cut_off(&mut self, asked: &Asked<'_>) {
        let registry = self.secrets.registry(asked.op, &asked.head.uri);
        self.shows = authorization(asked);
        (self.op, self.now) = (asked.op, asked.now);
        if self.early(registry, asked).is_none() {
            self.break_off(registry, asked);
        }
        self.record(asked, &Err(Fault::new(FaultKind::Reset, "cut off")), true);
    }

    fn failed(&mut self, asked: &Asked<'_>, kind: FaultKind) {
        let registry = self.secrets.registry(asked.op, &asked.head.uri);
        self.op = asked.op;
        if asked.is_cleanup() {
            return;
        }
        let is_get = asked.head.method != Method::POST;
        let passes = match kind {
            FaultKind::Connect | FaultKind::NotSent => true,
            FaultKind::Reset | FaultKind::Timeout => is_get,
            _ => false,
        };
        // If the download of a blob is lost, its upload is interrupted.
        let op =
            asked.op.filter(|op| self.ledger.contains_key(op) && asked.head.uri.path().contains("/blobs/"));
        let uploads = op.is_none_or(|op| self.fault_record.charge_upload(op, registry));
        if kind == FaultKind::Storage {
            // No other source helps.
            self.cannot_store();
        } else if !(passes && uploads && self.afford(registry, asked)) {
            self.lied(registry);
        }
    }

    fn login(
        &mut self,
        asked: &CredentialsQuery,
        choices: &mut Choices<'_>,
    ) -> Result<Option<Credentials>, Fault> {
        self.count("credentials questions");
        let registry = REGISTRIES.iter().position(|name| *name == asked.registry.as_str());
        let registry = registry.expect("the question is for a registry that was requested");
        let user = |world: &mut Self| {
            Credentials::login("user", world.secrets.secret()).expect("the name has no colon")
        };
        let wants_tokens = self.setups[registry].wants == Wants::Bearer;
        // Only credentials distinguish two registries that share a token server.
        let is_twin = registry < 2 && self.secrets.is_asked_for(0, 1);
        let drawn = if is_twin && choices.flip() { 10 } else { choices.below(11) };
        let (found, helps) = match drawn {
            5..8 => (Some(Credentials::Identity(self.secrets.secret().into())), wants_tokens),
            8 => (Some(Credentials::Bearer(self.secrets.secret().into())), wants_tokens),
            9 if self.lies && choices.flip() => {
                self.fault_record.wrong_of_registry(registry);
                return Err(Fault::new(FaultKind::Credentials, "the helper fails"));
            }
            9 if self.lies => (Some(Credentials::Bearer("no\nheader".into())), false),
            10 => (None, wants_tokens && !self.setups[registry].wants_login),
            _ => (Some(user(self)), true),
        };
        let found = if helps || self.lies { found } else { Some(user(self)) };
        if !helps && self.lies {
            self.fault_record.wrong_of_registry(registry);
        }
        if let Some(found) = &found {
            self.secrets.log_in(registry, found);
        }
        Ok(found)
    }

    fn no_login(&mut self, asked: &CredentialsQuery) {
        let registry = REGISTRIES.iter().position(|name| *name == asked.registry.as_str());
        self.fault_record
            .wrong_of_registry(registry.expect("the question is for a registry that was requested"));
    }

    fn content(&self, digest: &Digest) -> Option<Bytes> {
        self.content.attached.bytes(digest)
    }

    fn source(&self, digest: &Digest) -> Option<Bytes> {
        self.content.serves(digest)
    }

    fn referrers(&self, subject: &Digest) -> Vec<Descriptor> {
        let referrers = self.content.referrers.iter().filter(|(of, _)| of == subject);
        referrers.map(|(_, referrer)| referrer.clone()).collect()
    }

    fn stream(&mut self, op: OpId, max: usize, choices: &mut Choices<'_>) -> (Bytes, bool) {
        let (bytes, read) = self.streams.get_mut(&op).expect("the operation was started with a stream");
        let most = match choices.below(4) {
            3 => 1 + choices.below(256),
            _ => max,
        };
        let next = bytes.slice(*read..bytes.len().min(*read + most.min(max)));
        *read += next.len();
        (next, *read == bytes.len())
    }

    fn shown(&mut self, what: &dyn fmt::Debug) {
        Secrets::check_shown(&format!("{what:?}"));
    }
}

impl World<'_> {
    /// Records a response to an operation that writes.
    fn record(&mut self, asked: &Asked<'_>, answer: &Result<Answer, Fault>, is_odd: bool) {
        if let Some(account) = asked.op.and_then(|op| self.ledger.get_mut(&op)) {
            account.answered(asked, answer.as_ref().ok(), is_odd);
        }
    }

    fn note(&mut self, registry: usize, asked: &Asked<'_>, answer: &Answer) {
        let is_content = !asked.is_token();
        if is_content && answer.status == StatusCode::UNAUTHORIZED {
            if self.secrets.is_at_home(registry, &asked.head.uri) {
                self.secrets.challenge(registry);
            }
            self.count(if self.shows.is_empty() { "challenges" } else { "rejected credentials" });
        }
        if let Some(op) = asked.op.filter(|_| answer.status == StatusCode::NOT_FOUND) {
            let name = asked.head.uri.path().rsplit('/').next().unwrap_or_default();
            // After a redirect, the URL says nothing about the content.
            let name = if name.contains(':') { name } else { "" };
            self.not_there.insert((op, name.to_owned()));
        }
        if answer.headers.contains_key(LOCATION) {
            self.count(if is_content { "redirects" } else { "token redirects" });
        }
        if answer.headers.contains_key(RETRY_AFTER) {
            self.count("responses with Retry-After");
        }
        if answer.status == StatusCode::PARTIAL_CONTENT {
            self.count("parts");
        }
        if is_writable(&asked.head.uri) {
            self.note_write(asked, answer);
        }
        match &answer.cut {
            Some((_, fault)) if fault.kind() == FaultKind::Timeout => self.count("stalled bodies"),
            Some(_) => self.count("interrupted bodies"),
            None => {}
        }
    }

    /// Counts what a repository that can be written to has done.
    fn note_write(&mut self, asked: &Asked<'_>, answer: &Answer) {
        let (method, uri, status) = (&asked.head.method, &asked.head.uri, answer.status.as_u16());
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let is_upload = path.contains("/blobs/uploads/");
        let is_ranged = asked.head.headers.contains_key(CONTENT_RANGE);
        let stored = answer.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let has_stored = stored.is_some_and(|range| range != "0-0");
        let what = match (method.as_str(), status) {
            ("POST", 201) if query.contains("mount=") => "mounts",
            ("POST", 202) => "upload sessions",
            ("GET", 204) if is_upload && has_stored => "resumed uploads",
            ("GET", 404) if is_upload => "sessions gone",
            ("PATCH", 202) => "chunks",
            ("PUT" | "PATCH", 413) => "payloads too large",
            ("PUT", 201) if is_upload && is_ranged => "chunked uploads",
            ("PUT", 201) if is_upload => "whole uploads",
            ("PUT", 201) if path.contains("/manifests/sha256-") => "fallback indexes",
            ("PUT", 201) => "documents",
            ("PUT" | "PATCH", 307) => "redirected payloads",
            _ => return,
        };
        self.count(what);
    }
}
