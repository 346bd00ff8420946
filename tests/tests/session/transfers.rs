//! Pushes and copies between model registries, with the habits and the faults of real ones.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::Request;
use oci_proto::server::{Content as _, Memory};
use oci_proto::{
    Answer, Config, Descriptor, Digest, Error, Event, Exchange, Fault, FaultKind, OpId, Output, Payload,
    PushOptions, Question, Reference, Session, Time,
};
use oci_proto_tests::simulation::{Choices, Content};
use oci_proto_tests::writable::{Habits, Response, WritableRegistry};
use proptest::collection::vec;
use proptest::prelude::*;

/// More steps than any transfer needs.
const MAX_STEPS: usize = 20_000;

struct World<'c> {
    session: Session,
    choices: Choices<'c>,
    now: Time,
    /// By host.
    registries: BTreeMap<String, WritableRegistry>,
    memory: Memory,
    queue: VecDeque<Exchange>,
    /// The bytes that a download has passed on, with their position.
    pipes: BTreeMap<Digest, (u64, Vec<u8>)>,
    faults_left: usize,
    events: Vec<Event>,
}

impl<'c> World<'c> {
    fn new(data: &'c [u8], memory: Memory, faults: usize) -> Self {
        let mut choices = Choices::new(data);
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 1 + choices.below(6);
        config.limits.chunk_bytes = 64 << choices.below(8);
        config.limits.max_attempts = 12;
        let registries = ["a.example", "b.example"]
            .map(|host| (host.to_owned(), WritableRegistry::new(habits(&mut choices))))
            .into();
        Self {
            session: Session::new(config, 7),
            choices,
            now: Time::ZERO,
            registries,
            memory,
            queue: VecDeque::new(),
            pipes: BTreeMap::new(),
            faults_left: faults,
            events: Vec::new(),
        }
    }

    fn run(&mut self, op: OpId) -> Result<(), Error> {
        self.events.clear();
        for _ in 0..MAX_STEPS {
            match self.session.poll_output(self.now) {
                Output::Send(exchange) => self.queue.push_back(exchange),
                Output::Ask(query, question) => {
                    let answer = self.answer(&question);
                    self.session.answer(self.now, query, answer);
                }
                Output::Abort(id) => self.queue.retain(|exchange| exchange.id() != id),
                Output::Event(of, Event::Done) if of == op => return Ok(()),
                Output::Event(of, Event::Failed(error)) if of == op => return Err(error),
                Output::Event(_, event) => self.events.push(event),
                Output::Wait(until) => {
                    if !self.serve() {
                        self.now = until.unwrap_or_else(|| panic!("it hangs: {:?}", self.queue));
                    }
                }
            }
        }
        panic!("it does not end");
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Document { descriptor, .. } => match self.memory.bytes(&descriptor.digest) {
                Some(bytes) => Answer::Document(bytes),
                None => Answer::Failed(Fault::new(FaultKind::Storage, "it is not there")),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Serves the first exchange whose bytes are there. Returns whether there was one.
    fn serve(&mut self) -> bool {
        // A download of a pair first, so that its upload has bytes.
        let ready = self.queue.iter().position(|exchange| match exchange.source() {
            Some(source) => {
                self.memory.size(&source.digest).is_some()
                    || self.pipes.get(&source.digest).is_some_and(|(start, bytes)| {
                        *start <= source.start && start + bytes.len() as u64 >= source.range.end
                    })
            }
            None => true,
        });
        let Some(exchange) = ready.and_then(|index| self.queue.remove(index)) else { return false };
        self.carry(exchange);
        true
    }

    fn carry(&mut self, exchange: Exchange) {
        let is_faulty = self.faults_left > 0 && self.choices.once_in(5);
        self.faults_left -= usize::from(is_faulty);
        let fault = if is_faulty { self.choices.below(5) } else { 5 };
        let (request, sending, awaiting) = exchange.split();
        let (head, payload) = request.into_parts();
        let head = Request::from_parts(head, ());
        let host = head.uri().host().expect("a host").to_owned();
        let bytes = match &payload {
            Payload::Empty => Bytes::new(),
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Source(source) => {
                let range = source.read_range();
                let at = |position: u64| usize::try_from(position).expect("it is small");
                if let Some(bytes) = self.memory.bytes(&source.digest) {
                    bytes.slice(at(range.start)..at(range.end))
                } else {
                    let (start, bytes) = &self.pipes[&source.digest];
                    Bytes::copy_from_slice(&bytes[at(range.start - start)..at(range.end - start)])
                }
            }
        };
        let registry = self.registries.get_mut(&host).expect("a registry");
        if let Some(refused) = registry.refuse_early(&head).filter(|_| fault > 3) {
            // Nothing of the payload is read.
            drop(sending);
            registry.requests.push(format!("{} {} refused", head.method(), head.uri()));
            return self.complete(awaiting, refused);
        }
        let mut sent = Vec::new();
        let cut = if fault < 2 { self.choices.below(bytes.len().min(200) + 1) } else { bytes.len() };
        if let Some(mut sending) = sending {
            for chunk in bytes[..cut].chunks(9) {
                let payload = sending.push(chunk).expect("the source is right");
                sent.extend_from_slice(&chunk[payload]);
            }
            if cut == bytes.len() {
                sending.finish().expect("the payload is complete");
            }
        }
        match fault {
            0 | 1 => {
                if cut == bytes.len() {
                    registry.respond(&head, &sent);
                } else {
                    registry.cut_off(&head, &sent);
                }
                let kind = if fault == 0 { FaultKind::Reset } else { FaultKind::Timeout };
                self.session.complete(self.now, awaiting.fail(Fault::new(kind, "cut off")));
            }
            2 => {
                let completion = awaiting.fail(Fault::new(FaultKind::NotSent, "not sent"));
                self.session.complete(self.now, completion);
            }
            3 => {
                registry.cut_off(&head, &sent);
                let status = http::StatusCode::SERVICE_UNAVAILABLE;
                let receiving = awaiting.head(status, http::HeaderMap::new());
                self.session.complete(self.now, receiving.finish());
            }
            _ => {
                let response = registry.respond(&head, &sent);
                self.complete(awaiting, response);
            }
        }
    }

    fn complete(&mut self, awaiting: oci_proto::Awaiting, response: Response) {
        let first = awaiting.sink().map(|sink| (sink.digest.clone(), sink.offset));
        let mut receiving = awaiting.head(response.status, response.headers);
        for chunk in response.body.chunks(11) {
            let Ok(range) = receiving.push(chunk) else { break };
            if let Some((digest, offset)) = &first {
                let pipe = self.pipes.entry(digest.clone()).or_insert_with(|| (*offset, Vec::new()));
                if pipe.0 + pipe.1.len() as u64 != *offset && pipe.1.is_empty() {
                    pipe.0 = *offset;
                }
                pipe.1.extend_from_slice(&chunk[range]);
            }
        }
        self.session.complete(self.now, receiving.finish());
    }
}

fn habits(choices: &mut Choices<'_>) -> Habits {
    let mut habits = Habits::default();
    match choices.below(6) {
        0 => habits.only_chunks = true,
        1 => habits.only_whole = true,
        _ => {}
    }
    habits.refuses_mounts = choices.flip();
    habits.range_of_chunk = choices.flip();
    habits.forgets_broken_uploads = choices.flip();
    habits.relative_locations = choices.flip();
    habits.without_referrers = choices.flip();
    habits
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// The destination has exactly the tree.
fn assert_equal(registry: &WritableRegistry, repository: &str, memory: &Memory, root: &Descriptor) {
    registry.assert_whole();
    assert_eq!(registry.tagged(repository, "1"), Some(&root.digest), "the tag");
    assert_eq!(registry.tags.iter().filter(|(of, ..)| of == repository).count(), 1, "the tag moves once");
    for ((of, digest), bytes) in &registry.blobs {
        assert!(of != repository || memory.bytes(digest).as_ref() == Some(bytes), "{digest}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_push_stores_the_tree_and_a_second_one_sends_nothing(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..400), faults in 0..4_usize,
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), faults);
        let to = reference("b.example/team/app:1");
        for again in [false, true] {
            let before = world.registries["b.example"].requests.len();
            let op = world.session.push(&root, &to, PushOptions::default());
            let ended = world.run(op);
            prop_assert!(ended.is_ok(), "{ended:?} {:#?}", world.registries["b.example"].requests);
            let registry = &world.registries["b.example"];
            assert_equal(registry, "team/app", &memory, &root);
            let sent = registry.requests[before..].iter().filter(|request| !request.starts_with("HEAD"));
            let sent: Vec<_> = sent.collect();
            prop_assert!(!again || sent.is_empty(), "{sent:?}");
        }
    }

    #[test]
    fn a_copy_between_registries_is_equal(
        tree in vec(any::<u8>(), 0..80), data in vec(any::<u8>(), 0..400), faults in 0..4_usize, same in any::<bool>(),
    ) {
        let content = Content::draw(&mut Choices::new(&tree));
        let (memory, root) = (content.memory.clone(), content.root.clone());
        let mut world = World::new(&data, memory.clone(), 0);
        let op = world.session.push(&root, &reference("a.example/team/app:1"), PushOptions::default());
        prop_assert!(world.run(op).is_ok());
        world.memory = Memory::new();
        world.faults_left = faults;
        let host = if same { "a.example" } else { "b.example" };
        let to = reference(&format!("{host}/team/copy:1"));
        let op = world.session.copy(&reference("a.example/team/app:1"), &to, PushOptions::default());
        let ended = world.run(op);
        prop_assert!(ended.is_ok(), "{ended:?} {:#?}", world.registries[host].requests);
        assert_equal(&world.registries[host], "team/copy", &memory, &root);
    }
}
