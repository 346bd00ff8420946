//! Faulty drivers, and registries that exploit them: nothing hangs, and nothing unverified is accepted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use oci_proto::server::Memory;
use oci_proto::{
    Algorithm, Answer, Config, Descriptor, DescriptorRef, Digest, Event, Exchange, Fault, FaultKind, Held,
    Limits, MediaType, OpId, Output, PullOptions, PushOptions, QueryId, Question, Reference, Session,
    StoreContent, Time, WalkOptions,
};
use oci_proto_tests::simulation::Registry;

/// Documents and blobs by digest.
#[derive(Default)]
struct Contents(BTreeMap<Digest, (MediaType, Bytes)>);

impl Contents {
    fn add(&mut self, media_type: &MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let descriptor = Descriptor::new(media_type.clone(), digest.clone(), bytes.len() as u64);
        self.0.insert(digest, (media_type.clone(), bytes));
        descriptor
    }

    fn image(&mut self, config: &str, layers: &[Descriptor]) -> Descriptor {
        let config = named(&self.add(&MediaType::OCTET_STREAM, config.to_owned()));
        let layers: Vec<String> = layers.iter().map(named).collect();
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        self.add(&MediaType::OCI_MANIFEST, text)
    }

    fn index(&mut self, children: &[&Descriptor]) -> Descriptor {
        let children: Vec<String> = children.iter().map(|child| named(child)).collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
        self.add(&MediaType::OCI_INDEX, text)
    }
}

fn named(descriptor: &Descriptor) -> String {
    let Descriptor { media_type, digest, size, .. } = descriptor;
    let urls = if media_type.is_nondistributable() { r#","urls":["https://h.example/"]"# } else { "" };
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{urls}}}"#)
}

/// A pull whose driver performs one task at a time, newest or oldest first.
struct Puller<'a> {
    contents: &'a Contents,
    session: Session,
    exchanges: VecDeque<Exchange>,
    questions: VecDeque<(QueryId, Question)>,
    stored: BTreeSet<Digest>,
    op: OpId,
}

/// The order in which a driver performs its tasks.
#[derive(Clone, Copy, Debug)]
enum Habit {
    QuestionsFirst,
    ExchangesFirst,
    /// Open questions last, the newest of them first.
    QuestionsLastAndBackwards,
}

impl<'a> Puller<'a> {
    fn new(contents: &'a Contents, root: &Descriptor) -> Self {
        let mut session = Session::new(Config::default(), 1);
        let reference: Reference = "registry.example/team/app:1".parse().expect("a reference");
        let op = session.pull(&reference.at(root.digest.clone()), PullOptions::default());
        let (exchanges, questions) = (VecDeque::new(), VecDeque::new());
        Self { contents, session, exchanges, questions, stored: BTreeSet::new(), op }
    }

    fn run(mut self, habit: Habit, late: Option<&Digest>) {
        loop {
            match self.session.poll_output(Time::ZERO) {
                Output::Send(exchange) => self.exchanges.push_back(exchange),
                Output::Ask(query, question) => self.questions.push_back((query, question)),
                Output::Event(op, Event::Done) => {
                    assert_eq!(op, self.op);
                    let lacks = |digest: &&Digest| !self.stored.contains(digest);
                    let missing: Vec<&Digest> = self.contents.0.keys().filter(lacks).collect();
                    assert!(missing.is_empty(), "{habit:?}: done without {missing:?}");
                    return;
                }
                Output::Event(_, Event::Failed(error)) => panic!("{habit:?}: the pull fails: {error}"),
                Output::Event(..) => {}
                Output::Abort(_) => panic!("nothing is cancelled"),
                Output::Wait(until) => {
                    assert_eq!(until, None);
                    assert!(self.act(habit, late), "{habit:?}: it hangs: {:?}", self.session);
                }
            }
        }
    }

    /// Performs a task. Returns whether there was one.
    fn act(&mut self, habit: Habit, late: Option<&Digest>) -> bool {
        // The late document waits for all other tasks.
        let is_late = |exchange: &Exchange| {
            late.is_some_and(|late| exchange.request().uri().path().ends_with(&format!("manifests/{late}")))
        };
        let at = self.exchanges.iter().position(|exchange| !is_late(exchange));
        let exchange = |puller: &mut Self| at.and_then(|at| puller.exchanges.remove(at));
        let did = match habit {
            Habit::QuestionsFirst => match self.questions.pop_front() {
                Some(asked) => self.answer(asked),
                None => exchange(self).is_some_and(|exchange| self.serve(exchange)),
            },
            Habit::ExchangesFirst | Habit::QuestionsLastAndBackwards => match exchange(self) {
                Some(exchange) => self.serve(exchange),
                None if matches!(habit, Habit::ExchangesFirst) => {
                    self.questions.pop_front().is_some_and(|asked| self.answer(asked))
                }
                None => self.questions.pop_back().is_some_and(|asked| self.answer(asked)),
            },
        };
        did || self.exchanges.pop_front().is_some_and(|exchange| self.serve(exchange))
    }

    fn answer(&mut self, (query, question): (QueryId, Question)) -> bool {
        let answer = match question {
            Question::Credentials(_) => panic!("no credentials are required"),
            Question::Document { .. } | Question::Referrers { .. } | Question::Read { .. } => {
                panic!("nothing is sent")
            }
            Question::Held { .. } => Answer::Held(Held::Nothing),
            Question::Store { descriptor, content, .. } => {
                if let StoreContent::Document(manifest) = content {
                    let is_missing = |child: &DescriptorRef<'_>| {
                        !child.media_type().is_nondistributable() && !self.stored.contains(child.digest())
                    };
                    let missing = manifest.children().map(|(_, child)| child).find(is_missing);
                    assert!(missing.is_none(), "{} is to be stored before {missing:?}", descriptor.digest);
                }
                self.stored.insert(descriptor.digest);
                Answer::Stored
            }
        };
        self.session.answer(Time::ZERO, query, answer);
        true
    }

    fn serve(&mut self, exchange: Exchange) -> bool {
        let path = exchange.request().uri().path();
        let digest: Digest = path.rsplit('/').next().expect("a path").parse().expect("a digest");
        let (media_type, bytes) = &self.contents.0[&digest];
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media_type.to_string().parse().expect("a value"));
        let mut receiving = exchange.split().2.head(StatusCode::OK, headers);
        receiving.push(bytes).expect("a body that is wanted");
        self.session.complete(Time::ZERO, receiving.finish());
        true
    }
}

/// A layer of the first image is the manifest of the second one.
#[test]
fn a_pull_of_content_that_is_both_a_layer_and_a_manifest_is_whole() {
    let mut contents = Contents::default();
    let second = contents.image("second", &[]);
    let layer = Descriptor::new(MediaType::OCTET_STREAM, second.digest.clone(), second.size);
    let first = contents.image("first", &[layer]);
    for children in [[&first, &second], [&second, &first]] {
        let mut contents = Contents(contents.0.clone());
        let root = contents.index(&children);
        for habit in [Habit::QuestionsFirst, Habit::ExchangesFirst, Habit::QuestionsLastAndBackwards] {
            for late in [None, Some(&first.digest), Some(&second.digest)] {
                Puller::new(&contents, &root).run(habit, late);
            }
        }
    }
}

/// The first image declares a layer as nondistributable, so it is skipped. The second declares it as an ordinary
/// layer, so it must be pulled.
#[test]
fn a_layer_that_is_left_out_of_one_image_is_not_missing_in_another() {
    let mut contents = Contents::default();
    let layer = contents.add(&MediaType::OCTET_STREAM, "layer");
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar".parse().expect("a media type");
    let foreign = Descriptor::new(foreign, layer.digest.clone(), layer.size);
    let (first, second) = (contents.image("first", &[foreign]), contents.image("second", &[layer]));
    let root = contents.index(&[&first, &second]);
    Puller::new(&contents, &root).run(Habit::QuestionsFirst, None);
}

/// A pull of an image with this many foreign layers.
fn time_of_foreign(layers: usize) -> Duration {
    let mut contents = Contents::default();
    let config = named(&contents.add(&MediaType::OCTET_STREAM, "config"));
    let layers: Vec<String> = (0..layers)
        .map(|n| {
            let digest = Digest::of(Algorithm::Sha256, &n.to_le_bytes());
            let media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar";
            format!(
                r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1,"urls":["https://h.example/"]}}"#
            )
        })
        .collect();
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
    let root = contents.add(&MediaType::OCI_MANIFEST, text);
    let began = Instant::now();
    Puller::new(&contents, &root).run(Habit::QuestionsFirst, None);
    began.elapsed()
}

#[test]
fn many_foreign_layers_take_no_longer_each_than_few() {
    let is_even = |_| time_of_foreign(16_000) < 8 * time_of_foreign(4000);
    assert!((0..4).any(is_even), "the time grows faster than the number of layers");
}

/// The two halves of a copy within a registry that mounts no blobs.
fn halves(session: &mut Session, contents: &Contents) -> [Exchange; 2] {
    let mut halves = Vec::new();
    while halves.len() < 2 {
        let exchange = match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => exchange,
            Output::Event(_, Event::Resolved(_)) => continue,
            output => panic!("two halves are sent: {output:?}"),
        };
        if exchange.sink().is_some() || exchange.source().is_some() {
            halves.push(exchange);
            continue;
        }
        let uri = exchange.request().uri();
        let is_mount = uri.query().is_some_and(|query| query.contains("mount="));
        let mut headers = HeaderMap::new();
        let (status, body) = match exchange.request().method().as_str() {
            "GET" => {
                headers.insert(CONTENT_TYPE, MediaType::OCI_MANIFEST.to_string().parse().expect("a value"));
                let digest: Digest =
                    uri.path().rsplit('/').next().expect("a path").parse().expect("a digest");
                (StatusCode::OK, contents.0[&digest].1.clone())
            }
            "POST" if !is_mount => {
                headers.insert(LOCATION, "/upload".parse().expect("a value"));
                (StatusCode::ACCEPTED, Bytes::new())
            }
            "POST" => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let mut receiving = exchange.split().2.head(status, headers);
        if !body.is_empty() {
            receiving.push(&body).expect("a body that is wanted");
        }
        session.complete(Time::ZERO, receiving.finish());
    }
    halves.try_into().expect("there are two")
}

/// A copy within a registry takes both of its slots, fails for now, and is paused.
#[test]
fn a_paused_copy_holds_up_no_other_operation() {
    let mut contents = Contents::default();
    let root = contents.image("content", &[]);
    let reference: Reference = "registry.example/team/app:1".parse().expect("a reference");
    let to: Reference = "registry.example/team/copy:1".parse().expect("a reference");
    for upload_first in [false, true] {
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 2;
        let mut session = Session::new(config, 1);
        let copy = session.copy(&reference.at(root.digest.clone()), &to, PushOptions::default());
        let mut halves = halves(&mut session, &contents);
        halves.sort_by_key(|exchange| exchange.source().is_some() != upload_first);
        for exchange in halves {
            let fault = Fault::new(FaultKind::NotSent, "stale");
            session.complete(Time::ZERO, exchange.split().2.fail(fault));
        }
        session.pause(copy);
        let other = session.resolve(&reference, None);
        let mut now = Time::ZERO;
        loop {
            match session.poll_output(now) {
                Output::Send(exchange) => {
                    assert_eq!(exchange.op(), Some(other));
                    break;
                }
                Output::Abort(_) if upload_first => {}
                Output::Wait(Some(until)) => now = until,
                output => panic!("the other operation hangs: {output:?}"),
            }
        }
    }
}

/// The time that this many concurrent operations take, each on a different repository that requires a login.
fn time_of(operations: u32) -> Duration {
    let began = Instant::now();
    let mut session = Session::new(Config::default(), 1);
    for n in 0..operations {
        session.resolve(&format!("registry.example/team/app{n}:1").parse().expect("a reference"), None);
    }
    let mut questions = Vec::new();
    let mut alive = operations;
    while alive > 0 {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => {
                let (request, _, awaiting) = exchange.split();
                let is_token = request.uri().host() == Some("auth.example");
                let mut head = http::Response::builder();
                let mut body = "";
                if is_token {
                    body = r#"{"token":"t"}"#;
                } else if request.headers().contains_key("authorization") {
                    head = head
                        .header("content-type", MediaType::OCI_INDEX.to_string())
                        .header("content-length", "7")
                        .header("docker-content-digest", Digest::of(Algorithm::Sha256, b"").to_string());
                } else {
                    let challenge = r#"Bearer realm="https://auth.example/token""#;
                    head = head.status(401).header("www-authenticate", challenge);
                }
                let (head, ()) = head.body(()).expect("a response").into_parts();
                let mut receiving = awaiting.head(head.status, head.headers);
                if is_token {
                    receiving.push(body.as_bytes()).expect("a body that is wanted");
                }
                session.complete(Time::ZERO, receiving.finish());
            }
            Output::Ask(query, _) => questions.push(query),
            Output::Event(_, Event::Done) => alive -= 1,
            Output::Event(_, Event::Failed(error)) => panic!("it fails: {error}"),
            Output::Event(..) => {}
            Output::Wait(None) if !questions.is_empty() => {
                for query in questions.drain(..) {
                    session.answer(Time::ZERO, query, Answer::Credentials(None));
                }
            }
            output => panic!("{output:?}"),
        }
    }
    began.elapsed()
}

#[test]
fn many_operations_take_no_longer_each_than_few() {
    // If the time were quadratic, it would be 16 times as long. Other programs may disturb a measurement.
    let is_even = |_| time_of(2000) < 8 * time_of(500);
    assert!((0..4).any(is_even), "the time grows faster than the number of operations");
}

/// A driver whose clock is at its end, where no time passes.
#[test]
fn a_token_is_used_once_even_if_no_time_passes_until_it_expires() {
    let now = Time::from_epoch(Duration::MAX);
    let mut session = Session::new(Config::default(), 1);
    session.resolve(&"registry.example/team/app:1".parse().expect("a reference"), None);
    let mut tokens = 0;
    loop {
        match session.poll_output(now) {
            Output::Send(exchange) => {
                let (request, _, awaiting) = exchange.split();
                if request.uri().host() == Some("auth.example") {
                    tokens += 1;
                    assert_eq!(tokens, 1, "the token is fetched without end");
                    let mut receiving = awaiting.head(StatusCode::OK, HeaderMap::new());
                    receiving.push(br#"{"token":"t"}"#).expect("a body that is wanted");
                    session.complete(now, receiving.finish());
                } else if request.headers().contains_key("authorization") {
                    return;
                } else {
                    let mut headers = HeaderMap::new();
                    let challenge = r#"Bearer realm="https://auth.example/token""#;
                    headers.insert("www-authenticate", challenge.parse().expect("a value"));
                    session.complete(now, awaiting.head(StatusCode::UNAUTHORIZED, headers).finish());
                }
            }
            Output::Ask(query, _) => session.answer(now, query, Answer::Credentials(None)),
            output => panic!("{output:?}"),
        }
    }
}

/// Set one or a few of the limits.
const LIMITS: [fn(&mut Limits, u64); 8] = [
    |limits, n| limits.in_flight = as_usize(n),
    |limits, n| limits.in_flight_per_origin = as_usize(n),
    |limits, n| limits.walk_ahead_bytes = n,
    |limits, n| limits.walk_nodes = n,
    |limits, n| limits.max_attempts = u32::try_from(n).unwrap_or(u32::MAX),
    |limits, n| limits.walk_depth = u32::try_from(n).unwrap_or(u32::MAX),
    |limits, n| (limits.tokens, limits.warnings) = (as_usize(n), as_usize(n)),
    |limits, n| (limits.drain_bytes, limits.error_bytes, limits.manifest_bytes) = (n, n, n),
];

fn as_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[test]
fn no_limit_hangs_a_session_whatever_it_is() {
    let (memory, root) = Memory::sample();
    let registry = Registry::new(memory, &root);
    let (repository, tag) = (Registry::REPOSITORY, Registry::TAG);
    let reference: Reference = format!("registry.example/{repository}:{tag}").parse().expect("a reference");
    let platform = "linux/arm64".parse().expect("a platform");
    for (number, set) in LIMITS.iter().enumerate() {
        for value in [0, 1, u64::MAX] {
            let mut config = Config::default();
            set(&mut config.limits, value);
            let mut session = Session::new(config, 1);
            let mut alive = BTreeSet::from([
                session.resolve(&reference, Some(&platform)),
                session.manifest(&reference, None),
                session.walk(&reference, WalkOptions::default()),
                session.pull(&reference, PullOptions::default()),
                session.check(&reference, None),
            ]);
            while !alive.is_empty() {
                match session.poll_output(Time::ZERO) {
                    Output::Send(exchange) => {
                        let (request, _, awaiting) = exchange.split();
                        let (head, _) = request.into_parts();
                        let response = registry.respond(&head);
                        let mut receiving = awaiting.head(response.status, response.headers);
                        // A careless driver ignores the result.
                        let _ = receiving.push(&response.body);
                        session.complete(Time::ZERO, receiving.finish());
                    }
                    Output::Ask(query, Question::Held { .. }) => {
                        session.answer(Time::ZERO, query, Answer::Held(Held::Nothing));
                    }
                    Output::Ask(query, _) => session.answer(Time::ZERO, query, Answer::Stored),
                    Output::Event(op, Event::Done | Event::Failed(_)) => _ = alive.remove(&op),
                    Output::Event(..) | Output::Abort(_) => {}
                    Output::Wait(until) => panic!("limit {number} of {value} hangs: {until:?} {session:?}"),
                }
            }
        }
    }
}
