//! Two sessions in one process, with their completions and answers swapped.

use std::collections::BTreeSet;

use oci_proto::{Answer, Digest, Fault, FaultKind, Held, OpId, QueryId, Time};
use oci_proto_tests::simulation::{Choices, Content, Registry};
use proptest::collection::vec;
use proptest::prelude::*;

use super::plan::content;
use super::side::{Side, Task};

/// A registry with complete and valid content: otherwise the events before a failure depend on the order of
/// answers.
fn registry(content: &Content) -> Registry {
    let all = content.memory.contents().map(|(digest, _)| digest.clone()).collect();
    content.with(&all).registry()
}

/// The operations of both sessions, each at its own registry.
fn operations(content: &Content, choices: &mut Choices<'_>) -> Vec<String> {
    let name = "registry.example/team/app";
    let mut operations = Vec::new();
    for _ in 0..=choices.below(3) {
        operations.push(match choices.below(5) {
            0 => format!("pull {name}:1"),
            1 => format!("walk {name}:1 blobs"),
            2 => format!("manifest {name}:1"),
            3 => format!("resolve {name}:1"),
            _ => match content.blobs().first() {
                Some((digest, size)) => format!("blob {name}@{digest} size={size}"),
                None => format!("manifest {name}@{}", content.root.digest),
            },
        });
    }
    operations
}

/// The events and questions of each operation, sorted: content is stored in any order.
///
/// A document that is embedded in one place and not in another may be requested ahead of the walk, which depends on
/// the order of answers.
fn sorted(side: &Side, content: &Content) -> Vec<Vec<String>> {
    let embedded = content.built.iter().filter(|built| built.data.is_some());
    let embedded: BTreeSet<String> = embedded.map(|built| format!("wanted {}", built.digest)).collect();
    let sorted = |said: &Vec<String>| {
        let mut said: Vec<String> = said.iter().filter(|line| !embedded.contains(*line)).cloned().collect();
        said.sort();
        said
    };
    side.said.values().map(sorted).collect()
}

/// Both sessions, with one queue of their tasks.
struct Pair<'c> {
    sides: [Side; 2],
    waits: [Option<Time>; 2],
    queue: Vec<(usize, Task)>,
    choices: Choices<'c>,
}

impl Pair<'_> {
    fn run(mut self) -> [Side; 2] {
        loop {
            for (which, side) in self.sides.iter_mut().enumerate() {
                let (tasks, until) = side.poll();
                self.waits[which] = until;
                self.queue.extend(tasks.into_iter().map(|task| (which, task)));
            }
            if self.queue.is_empty() {
                let Some(until) = self.waits.into_iter().flatten().min() else { return self.sides };
                self.sides.iter_mut().for_each(|side| side.now = until);
                continue;
            }
            let index = self.choices.below(self.queue.len().min(256));
            let (which, task) = self.queue.remove(index);
            match task {
                Task::Carry(exchange) => {
                    let id = exchange.id();
                    let [own, other] = self.own_and_other(which);
                    let completion = own.carry(*exchange);
                    let fault = || Fault::new(FaultKind::Reset, "given to another session");
                    other.session.lost(other.now, id, fault());
                    if self.choices.once_in(3) {
                        let [own, other] = self.own_and_other(which);
                        other.session.complete(other.now, completion);
                        own.session.lost(own.now, id, fault());
                    } else {
                        let [own, other] = self.own_and_other(which);
                        own.session.complete(own.now, completion);
                        other.session.lost(other.now, id, fault());
                    }
                }
                Task::Reply(query, question) => {
                    self.answer_other(which, query);
                    let [own, _] = self.own_and_other(which);
                    let answer = own.answer_to(&question);
                    own.session.answer(own.now, query, answer);
                    self.answer_other(which, query);
                }
            }
            self.steer_other(which);
            self.check_other(which);
        }
    }

    fn own_and_other(&mut self, which: usize) -> [&mut Side; 2] {
        let [first, second] = &mut self.sides;
        if which == 0 { [first, second] } else { [second, first] }
    }

    /// Gives the other session an answer to a question of this one.
    fn answer_other(&mut self, which: usize, query: QueryId) {
        let answer = match self.choices.below(4) {
            0 => Answer::Stored,
            1 => Answer::Held(Held::Whole),
            2 => Answer::Credentials(None),
            _ => Answer::Failed(Fault::new(FaultKind::Storage, "of another session")),
        };
        let [_, other] = self.own_and_other(which);
        other.session.answer(other.now, query, answer);
    }

    /// Controls an operation of one session through the other, by its id.
    fn steer_other(&mut self, which: usize) {
        let how = self.choices.below(8);
        let [own, other] = self.own_and_other(which);
        for op in own.said.keys().copied().collect::<Vec<OpId>>() {
            match how {
                0 => other.session.cancel(op),
                1 => other.session.pause(op),
                2 => other.session.fail(op, Fault::new(FaultKind::Storage, "of another session")),
                3 => other.session.set_deadline(op, Time::ZERO),
                _ => {}
            }
        }
    }

    /// None of this had an effect: the other session waits as before.
    fn check_other(&mut self, which: usize) {
        let waits = self.waits[1 - which];
        let [_, other] = self.own_and_other(which);
        let (tasks, until) = other.poll();
        assert!(tasks.is_empty() && until == waits, "another session outputs {tasks:?} until {until:?}");
    }
}

/// Runs the same operations in two sessions at registries with these contents, together and each alone.
fn mix(contents: [&Content; 2], guarded: bool, data: &[u8]) {
    let mut choices = Choices::new(data);
    let side = |which: usize| {
        let user = ["one", "two"][which];
        Side::new(registry(contents[which]), guarded.then_some(user))
    };
    let operations = contents.map(|content| operations(content, &mut choices));
    let mut sides = [side(0), side(1)];
    let mut alone = [side(0), side(1)];
    for which in [0, 1] {
        for operation in &operations[which] {
            sides[which].start(operation);
            alone[which].start(operation);
        }
    }
    let mixed = Pair { sides, waits: [None, None], queue: Vec::new(), choices }.run();
    for ((mixed, alone), content) in mixed.iter().zip(alone.map(Side::run)).zip(contents) {
        assert!(mixed.session.is_idle(), "{:?}", mixed.session);
        let is_done = |said: &Vec<String>| said.last().is_some_and(|last| last == "done");
        assert!(mixed.said.values().all(is_done), "{:?}", mixed.said);
        assert_eq!(sorted(mixed, content), sorted(&alone, content), "a session behaves differently alone");
        for (digest, had) in mixed.sinks() {
            let algorithm = digest.algorithm().expect("the algorithm is supported");
            assert_eq!(&Digest::of(algorithm, had), digest, "a sink has other content");
        }
    }
}

#[test]
fn sessions_are_independent_if_a_document_is_embedded_and_referenced() {
    // An image, an empty index that is embedded, and an index that refers to the empty one.
    let tree = [0, 0, 0, 0, 0, 2, 12, 1, 0, 3, 13, 0, 1, 13, 0, 3];
    let content = Content::draw(&mut Choices::new(&tree));
    for order in 0..64_u8 {
        // Each session pulls the tree.
        let data: Vec<u8> = [0; 4].into_iter().chain([order; 60]).collect();
        mix([&content, &content], false, &data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sessions_with_different_content_are_independent(
        first in content(), second in content(), guarded in any::<bool>(), data in vec(any::<u8>(), 0..300),
    ) {
        mix([&first, &second], guarded, &data);
    }

    #[test]
    fn sessions_with_equal_content_are_independent(
        content in content(), guarded in any::<bool>(), data in vec(any::<u8>(), 0..300),
    ) {
        mix([&content, &content], guarded, &data);
    }
}
