//! A session with its registry, driven step by step.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use oci_proto::{
    Answer, Completion, Config, Credentials, Digest, Event, Exchange, Held, OpId, Output, QueryId, Question,
    Session, Sink, StoreContent, Time,
};
use oci_proto_tests::simulation::Registry;
use oci_proto_tests::transcript::{Start, describe, describe_question, drive};

/// A task of the session's driver.
#[derive(Debug)]
pub(crate) enum Task {
    Carry(Box<Exchange>),
    Reply(QueryId, Box<Question>),
}

/// A session and its registry.
pub(crate) struct Side {
    pub(crate) session: Session,
    pub(crate) now: Time,
    /// The events and questions of each operation, without retries.
    pub(crate) said: BTreeMap<OpId, Vec<String>>,
    sinks: BTreeMap<(OpId, Digest), Vec<u8>>,
    registry: Registry,
    /// The user name that the registry requires, if any.
    user: Option<&'static str>,
}

impl Side {
    pub(crate) fn new(registry: Registry, user: Option<&'static str>) -> Self {
        let mut config = Config::default();
        config.limits.max_attempts = 100;
        Self {
            session: Session::new(config, 1),
            now: Time::ZERO,
            said: BTreeMap::new(),
            sinks: BTreeMap::new(),
            registry,
            user,
        }
    }

    pub(crate) fn start(&mut self, operation: &str) -> OpId {
        let op = Start::parse(operation).expect("an operation").begin(&mut self.session);
        self.said.insert(op, Vec::new());
        op
    }

    /// Takes all outputs of the session, up to its `Wait`.
    pub(crate) fn poll(&mut self) -> (Vec<Task>, Option<Time>) {
        let mut tasks = Vec::new();
        loop {
            match self.session.poll_output(self.now) {
                Output::Send(exchange) => tasks.push(Task::Carry(Box::new(exchange))),
                Output::Ask(query, question) => {
                    if let Some(op) = question.op() {
                        self.check(&question);
                        self.say(op, describe_question(&question));
                    }
                    tasks.push(Task::Reply(query, Box::new(question)));
                }
                Output::Event(_, Event::Retry(_)) | Output::Abort(_) => {}
                Output::Event(op, event) => self.say(op, describe(&event)),
                Output::Wait(until) => return (tasks, until),
            }
        }
    }

    /// Records an event or a question of an operation of this session.
    fn say(&mut self, op: OpId, text: String) {
        let said = self.said.get_mut(&op).expect("the operation is of this session");
        let is_over = said.last().is_some_and(|last| last == "done" || last.starts_with("failed "));
        assert!(!is_over, "output after the end of the operation: {text}");
        said.push(text);
    }

    /// Content to store must match its digest.
    fn check(&self, question: &Question) {
        let Question::Store { op, descriptor, content } = question else { return };
        let bytes = match content {
            StoreContent::Document(manifest) => &manifest.bytes()[..],
            StoreContent::Bytes(bytes) => &bytes[..],
            StoreContent::Sink => &self.sinks[&(*op, descriptor.digest.clone())],
        };
        let algorithm = descriptor.digest.algorithm().expect("the digest can be verified");
        assert_eq!(Digest::of(algorithm, bytes), descriptor.digest);
    }

    /// Performs an exchange.
    pub(crate) fn carry(&mut self, exchange: Exchange) -> Completion {
        let (request, _sending, awaiting) = exchange.split();
        let (head, _payload) = request.into_parts();
        let shown = head.headers.get(AUTHORIZATION);
        let wanted = self.user.map(|user| format!("Basic {}", STANDARD.encode(format!("{user}:password"))));
        if let (Some(wanted), Some(shown)) = (&wanted, shown) {
            assert_eq!(shown, wanted, "credentials of another session");
        }
        if wanted.is_some() && shown.is_none() {
            let challenge = "Basic realm=x".parse().expect("a value");
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge)]);
            return drive(awaiting, (StatusCode::UNAUTHORIZED, headers), b"", None, 100, |_, _, _| {}).0;
        }
        let answer = self.registry.respond(&head);
        let sinks = &mut self.sinks;
        let deliver = |sink: &Sink, at: u64, bytes: &[u8]| {
            let there = sinks.entry((sink.op, sink.digest.clone())).or_default();
            there.truncate(usize::try_from(at).expect("a place in memory"));
            there.extend_from_slice(bytes);
        };
        drive(awaiting, (answer.status, answer.headers), &answer.body, None, 100, deliver).0
    }

    /// The correct answer to a question.
    pub(crate) fn answer_to(&self, question: &Question) -> Answer {
        match question {
            Question::Credentials(_) => Answer::Credentials(
                self.user.map(|user| Credentials::login(user, "password").expect("the name has no colon")),
            ),
            Question::Held { .. } => Answer::Held(Held::Nothing),
            Question::Store { .. } => Answer::Stored,
            Question::Document { .. } | Question::Referrers { .. } | Question::Read { .. } => {
                panic!("nothing is sent")
            }
        }
    }

    /// The bytes received by each sink.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = (&Digest, &[u8])> {
        self.sinks.iter().map(|((_, digest), had)| (digest, had.as_slice()))
    }

    /// Drives all operations to completion.
    pub(crate) fn run(mut self) -> Self {
        loop {
            let (tasks, until) = self.poll();
            let goes_on = !tasks.is_empty();
            for task in tasks {
                match task {
                    Task::Carry(exchange) => {
                        let completion = self.carry(*exchange);
                        self.session.complete(self.now, completion);
                    }
                    Task::Reply(query, question) => {
                        let answer = self.answer_to(&question);
                        self.session.answer(self.now, query, answer);
                    }
                }
            }
            match until {
                _ if goes_on => {}
                Some(until) => self.now = until,
                None => return self,
            }
        }
    }
}
