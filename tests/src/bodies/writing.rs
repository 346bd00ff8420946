//! The body of the fuzz target `writing`.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{
    Algorithm, Answer, Awaiting, Config, Credentials, Descriptor, Digest, Event, Evidence, Exchange, Fault,
    FaultKind, Manifest, OpId, Output, Payload, PushOptions, Question, Reference, Rest, Session, Time,
};

use crate::simulation::choices::Choices;
use crate::transcript::describe::describe;
use crate::writable::{Habits, Response, WritableRegistry, knows};

/// The registries. Each of them may send an upload elsewhere.
const HOSTS: [&str; 2] = ["a.example", "b.example"];
/// More steps than any run needs.
const MAX_STEPS: usize = 50_000;
/// The password, which is shown nowhere.
const SECRET: &str = "hunter2";

/// The operations that write or list end, whatever two registries and the driver do, in a number of requests that is
/// bounded by the input; no login leaves its registry, and no event shows it. If no registry lied, an operation that
/// succeeds has stored its tree, and its referrers if they were to come along.
///
/// The input's bytes decide everything: the operation, the habits of the registries, responses, faults, their order.
///
/// # Panics
/// The session violates its contract.
pub fn writing(data: &[u8]) {
    outcome(data);
}

/// Returns whether the operation succeeded.
fn outcome(data: &[u8]) -> bool {
    let mut world = World::new(Choices::new(data));
    let (op, stored) = world.start();
    let is_done = world.run(op);
    let most = 400 + 8 * data.len();
    assert!(world.requests <= most, "{} requests, more than {most}", world.requests);
    if is_done && stored != Stored::Nothing && !world.has_lied {
        let registry = &world.registries[HOSTS[1]];
        registry.assert_whole();
        assert_eq!(registry.tagged("team/app", "1"), Some(&world.root.digest), "the tree is not stored");
        let signature = ("team/app".to_owned(), world.signature.digest.clone());
        let is_signed = registry.manifests.contains_key(&signature);
        assert!(is_signed || stored != Stored::TreeAndReferrers, "the referrer is not stored");
    }
    is_done
}

struct World<'c> {
    session: Session,
    choices: Choices<'c>,
    now: Time,
    registries: BTreeMap<&'static str, WritableRegistry>,
    memory: Memory,
    root: Descriptor,
    /// A referrer of the root.
    signature: Descriptor,
    /// The exchanges in flight.
    out: Vec<Exchange>,
    /// The number of bytes of a stream that were read.
    read: usize,
    requests: usize,
    has_lied: bool,
}

/// What an operation stores at the second registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Nothing,
    Tree,
    TreeAndReferrers,
}

/// A tree, with its root and a referrer of that.
static SAMPLE: LazyLock<(Memory, [Descriptor; 2])> = LazyLock::new(|| {
    let (mut memory, root) = Memory::sample();
    let artifact_type = "application/vnd.example.signature".parse().expect("the media type is valid");
    let signature = memory.add_artifact(Flavour::OCI, artifact_type, &[b"signed"], Some(&root));
    (memory, [root, signature])
});

/// The bytes of a stream.
static STREAM: [u8; 300] = [7; 300];

impl<'c> World<'c> {
    fn new(mut choices: Choices<'c>) -> Self {
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 1 + choices.below(6);
        config.limits.in_flight = [32, 1, 2][choices.below(3)];
        config.limits.chunk_bytes = 64 << choices.below(6);
        config.limits.max_attempts = 4;
        let (memory, [root, signature]) = SAMPLE.clone();
        let registries = HOSTS.map(|host| (host, WritableRegistry::new(habits(&mut choices))));
        Self {
            session: Session::new(config, 1),
            choices,
            now: Time::ZERO,
            registries: registries.into(),
            memory,
            root,
            signature,
            out: Vec::new(),
            read: 0,
            requests: 0,
            has_lied: false,
        }
    }

    /// Starts an operation. Returns it, and what it stores.
    fn start(&mut self) -> (OpId, Stored) {
        let name = |host| -> Reference { format!("{host}/team/app:1").parse().expect("a reference") };
        let [from, to] = HOSTS.map(name);
        let selected = self.choices.below(12);
        if matches!(selected, 1 | 11) {
            self.fill(HOSTS[0]);
        } else if self.choices.once_in(3) {
            self.fill(HOSTS[1]);
        }
        let Self { session, memory, root, .. } = self;
        let layer = memory.contents().map(|(digest, bytes)| (digest.clone(), bytes.clone())).last();
        let (digest, bytes) = layer.expect("the tree has blobs");
        let blob = Descriptor::new(oci_proto::MediaType::OCTET_STREAM, digest, bytes.len() as u64);
        let mut options = PushOptions::default();
        options.referrers = selected >= 10;
        let op = match selected {
            0 | 10 => session.push(root, &to, options),
            1 | 11 => session.copy(&from, &to, options),
            2 => session.upload(&to, &blob, Some(&"team/base".parse().expect("a repository"))),
            3 => session.upload_stream(&to, Algorithm::Sha512),
            4 => session.tag(&to, vec!["2".parse().expect("a tag")]),
            5 => {
                let subject = serde_json::json!({
                    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                    "manifests": [], "subject": {
                        "mediaType": root.media_type.as_str(), "digest": root.digest.to_string(), "size": root.size,
                    },
                });
                let document = Manifest::read(subject.to_string().into(), Evidence::default());
                session.push_manifest(&to, document.expect("a document"), Vec::new())
            }
            6 => session.tags(&to, None),
            7 => session.repositories(to.registry(), None),
            8 => session.referrers(&to.at(root.digest.clone()), None),
            _ => session.delete(&to),
        };
        let stored = match selected {
            0 | 1 => Stored::Tree,
            10 | 11 => Stored::TreeAndReferrers,
            _ => Stored::Nothing,
        };
        (op, stored)
    }

    /// Stores the tree in a registry, with its referrer.
    fn fill(&mut self, host: &str) {
        let registry = self.registries.get_mut(host).expect("a registry");
        let mut documents = vec![self.root.clone(), self.signature.clone()];
        for (digest, bytes) in self.memory.contents() {
            registry.blobs.insert(("team/app".to_owned(), digest.clone()), bytes.clone());
        }
        while let Some(document) = documents.pop() {
            let bytes = self.memory.bytes(&document.digest).expect("the tree is complete");
            let Ok(manifest) = Manifest::verified(bytes.clone(), &document, None) else { continue };
            documents.extend(manifest.entries().map(|entry| entry.to_owned()));
            let key = ("team/app".to_owned(), document.digest.clone());
            registry.manifests.insert(key, (document.media_type.to_string(), bytes));
        }
        registry.tags.push(("team/app".to_owned(), "1".to_owned(), self.root.digest.clone()));
        if registry.habits.without_referrers {
            let media_type = "application/vnd.oci.image.index.v1+json";
            let Descriptor { media_type: of, digest, size, .. } = &self.signature;
            let index = serde_json::json!({
                "schemaVersion": 2, "mediaType": media_type, "manifests": [
                    {"mediaType": of.as_str(), "digest": digest.to_string(), "size": size},
                ],
            });
            let index = Bytes::from(index.to_string());
            let digest = Digest::of(Algorithm::Sha256, &index);
            let key = ("team/app".to_owned(), digest.clone());
            registry.manifests.insert(key, (media_type.to_owned(), index));
            let tag = self.root.digest.to_string().replace(':', "-");
            registry.tags.push(("team/app".to_owned(), tag, digest));
        }
    }

    /// Drives the operation to its end, and until the session is idle. Returns whether it succeeded.
    fn run(&mut self, op: OpId) -> bool {
        let mut is_done = None;
        for _ in 0..MAX_STEPS {
            match self.session.poll_output(self.now) {
                Output::Send(exchange) => {
                    self.requests += 1;
                    self.out.push(exchange);
                }
                Output::Ask(query, question) => {
                    let answer = self.answer(&question);
                    self.session.answer(self.now, query, answer);
                }
                Output::Abort(id) => self.out.retain(|exchange| exchange.id() != id),
                Output::Event(of, event) => {
                    assert!(of == op && is_done.is_none(), "an event after the last one");
                    let said = describe(&event);
                    assert!(!said.contains(SECRET), "{said}");
                    match event {
                        Event::Done => is_done = Some(true),
                        Event::Failed(_) => is_done = Some(false),
                        _ => {}
                    }
                }
                Output::Wait(until) => {
                    if !self.out.is_empty() {
                        let index = self.choices.below(self.out.len());
                        let exchange = self.out.swap_remove(index);
                        self.serve(exchange);
                    } else if let Some(until) = until {
                        self.now = until;
                    } else {
                        assert!(self.session.is_idle(), "the session waits for nothing");
                        return is_done.expect("an operation ends");
                    }
                }
            }
            if is_done.is_none() && self.choices.once_in(64) {
                match self.choices.below(3) {
                    0 => {
                        self.out.clear();
                        self.session.abandon_in_flight(self.now);
                    }
                    1 => {
                        self.session.set_deadline(op, self.now + Duration::from_millis(20));
                    }
                    _ => {
                        self.session.pause(op);
                        self.session.resume(op);
                    }
                }
            }
        }
        panic!("it does not end");
    }

    fn answer(&mut self, question: &Question) -> Answer {
        match question {
            Question::Credentials(_) if self.choices.flip() => Answer::Credentials(None),
            Question::Credentials(_) => {
                let login = Credentials::login("user", SECRET).expect("the name has no colon");
                Answer::Credentials(Some(login))
            }
            Question::Document { descriptor, .. } => match self.memory.bytes(&descriptor.digest) {
                Some(bytes) if !self.choices.once_in(32) => Answer::Document(bytes),
                _ => Answer::Failed(Fault::new(FaultKind::Storage, "it is not there")),
            },
            Question::Referrers { .. } if self.choices.once_in(32) => {
                Answer::Failed(Fault::new(FaultKind::Storage, "they cannot be listed"))
            }
            Question::Referrers { subject, .. } => {
                let is_root = subject.digest == self.root.digest;
                Answer::Referrers(is_root.then(|| self.signature.clone()).into_iter().collect())
            }
            Question::Read { max, .. } => {
                let end = STREAM.len().min(self.read + (1 + self.choices.below(200)).min(*max));
                let bytes = Bytes::from_static(&STREAM[self.read..end]);
                self.read = end;
                Answer::Read { bytes, is_last: end == STREAM.len() }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Serves an exchange, well or badly.
    fn serve(&mut self, exchange: Exchange) {
        let (request, sending, awaiting) = exchange.split();
        let (head, payload) = request.into_parts();
        let host = HOSTS.into_iter().find(|host| head.uri.host().is_some_and(|of| of.ends_with(host)));
        let is_registry = HOSTS.iter().any(|host| head.uri.host() == Some(host));
        let is_token = head.uri.path() == "/token";
        assert!(
            is_registry || is_token || !head.headers.contains_key(AUTHORIZATION),
            "a login leaves its registry"
        );
        let (whole, skipped) = match &payload {
            Payload::Empty => (Bytes::new(), 0),
            Payload::Bytes(bytes) => (bytes.clone(), 0),
            Payload::Source(source) => {
                let place = |at: u64| usize::try_from(at).expect("it fits in memory");
                let range = source.read_range();
                let bytes = self.memory.bytes(&source.digest).expect("the content of the tree");
                let before = place(source.range.start - range.start);
                (bytes.slice(place(range.start)..place(range.end)), before)
            }
        };
        let drawn = self.choices.below(16);
        let is_cut = drawn == 10;
        let end = if is_cut { skipped + self.choices.below(whole.len() - skipped + 1) } else { whole.len() };
        if let Some(mut sending) = sending {
            sending.push(&whole[..end]).expect("the content is right");
            if end == whole.len() {
                sending.finish().expect("the content is complete");
            }
        }
        let arrived = whole.slice(skipped..end);
        let request = Request::from_parts(head, ());
        let registry = host.and_then(|host| self.registries.get_mut(host));
        let mut response = match (drawn, registry) {
            (10 | 11, registry) => {
                match registry {
                    Some(registry) if drawn == 10 => registry.cut_off(&request, &arrived),
                    Some(registry) if knows(&request) => _ = registry.respond(&request, &arrived),
                    _ => {}
                }
                let kind = self.choices.pick(&[FaultKind::Reset, FaultKind::Timeout, FaultKind::Reset]);
                return self.session.complete(self.now, awaiting.fail(Fault::new(kind, "from the input")));
            }
            (_, Some(registry)) if knows(&request) => respond(registry, &request, &arrived),
            _ => Response { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body: Bytes::new() },
        };
        if is_token {
            (response.status, response.body) = (StatusCode::OK, Bytes::from_static(br#"{"token":"t0k3n"}"#));
        }
        match drawn {
            12 => self.change_header(&mut response.headers),
            13 => response.status = self.status(),
            14 => {
                response.status = self.status();
                for _ in 0..self.choices.below(5) {
                    self.change_header(&mut response.headers);
                }
            }
            15 => {
                let most = self.choices.below(256);
                response.body = Bytes::copy_from_slice(self.choices.bytes(most));
            }
            _ => {}
        }
        self.has_lied |= drawn >= 12;
        self.complete(awaiting, response);
    }

    fn complete(&mut self, awaiting: Awaiting, response: Response) {
        let mut receiving = awaiting.head(response.status, response.headers);
        for piece in response.body.chunks(1 + self.choices.below(200)) {
            if receiving.rest() != Rest::Wanted || receiving.push(piece).is_err() {
                break;
            }
        }
        self.session.complete(self.now, receiving.finish());
    }

    fn status(&mut self) -> StatusCode {
        const STATUSES: [u16; 22] = [
            200, 201, 202, 204, 206, 307, 308, 400, 401, 403, 404, 405, 406, 411, 412, 413, 415, 416, 422,
            429, 500, 503,
        ];
        StatusCode::from_u16(self.choices.pick(&STATUSES)).expect("a status")
    }

    fn change_header(&mut self, headers: &mut HeaderMap) {
        const HEADERS: [(&str, &[&str]); 10] = [
            (
                "location",
                &[
                    "/u/1",
                    "u?_state=x",
                    "https://elsewhere.example/u?sig=s&x",
                    "http://a.example/u",
                    "file:///u",
                    "//@x",
                    "",
                ],
            ),
            ("range", &["0-0", "0-9", "0--1", "bytes=0-63", "0-18446744073709551615", "5-9", "-", ""]),
            ("oci-chunk-min-length", &["1", "100", "9223372036854775808", "-1", "x"]),
            (
                "docker-content-digest",
                &["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "md5:00", "x"],
            ),
            (
                "oci-subject",
                &["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "x"],
            ),
            ("oci-tag", &["1", "2, 1", ",,,"]),
            (
                "link",
                &[
                    "</v2/team/app/tags/list?n=1>; rel=\"next\"",
                    "<https://elsewhere.example/>; rel=next",
                    "<",
                ],
            ),
            (
                "www-authenticate",
                &[
                    "Basic realm=\"r\"",
                    "Bearer realm=\"https://auth.example/token\",scope=\"repository:team/app:pull,push\"",
                    "Bearer realm=\"https://auth.example/token\",error=\"insufficient_scope\"",
                    "Bearer",
                ],
            ),
            ("retry-after", &["0", "1", "99999999999999999999"]),
            ("warning", &["299 - \"be warned\""]),
        ];
        let (name, values) = HEADERS[self.choices.below(HEADERS.len())];
        let name = HeaderName::from_static(name);
        let value = if self.choices.once_in(5) {
            let most = self.choices.below(32);
            HeaderValue::from_bytes(self.choices.bytes(most)).ok()
        } else {
            Some(HeaderValue::from_static(self.choices.pick(values)))
        };
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}

/// The right response.
fn respond(registry: &mut WritableRegistry, request: &Request<()>, payload: &[u8]) -> Response {
    let path = request.uri().path();
    if !path.ends_with("/tags/list") && !path.ends_with("/_catalog") {
        return registry.respond(request, payload);
    }
    let is_first = request.uri().query().is_none();
    let mut headers = HeaderMap::new();
    if is_first {
        headers.insert(LINK, HeaderValue::from_static("<?last=1>; rel=\"next\""));
    }
    let name = if is_first { "1" } else { "2" };
    let body = format!(r#"{{"tags":["{name}","-"],"repositories":["{name}"]}}"#);
    Response { status: StatusCode::OK, headers, body: body.into() }
}

fn habits(choices: &mut Choices<'_>) -> Habits {
    let mut habits = Habits::default();
    let drawn = usize::from(choices.byte()) | usize::from(choices.byte()) << 8;
    let is = |bit: usize| drawn >> bit & 1 == 1;
    habits.max_body = is(0).then_some(200);
    (habits.only_chunks, habits.only_whole) = (is(1), is(2));
    (habits.refuses_mounts, habits.range_of_chunk) = (is(3), is(4));
    (habits.forgets_broken_uploads, habits.relative_locations) = (is(5), is(6));
    (habits.without_referrers, habits.without_subject_header) = (is(7), is(8));
    (habits.tag_parameters, habits.etags) = (is(9), is(10));
    habits.upload_host = is(11).then_some("up.b.example");
    habits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_succeeds_with_good_registries() {
        for selected in 0..12 {
            // The eighth and the ninth byte select the operation, and fill its registry.
            assert!(outcome(&[5, 0, 0, 0, 0, 0, 0, selected, 2]), "operation {selected}");
        }
    }

    #[test]
    fn a_copy_succeeds_although_requests_fail() {
        let faults = [[10, 3].as_slice(), &[11, 0]].concat().repeat(3);
        let data = [&[5, 0, 0, 0, 0, 0, 0, 1][..], &[0, 0, 0], &faults].concat();
        assert!(outcome(&data));
    }
}
