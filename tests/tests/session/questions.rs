//! Questions with no answer, a wrong one, or several: the operation fails once, and nothing hangs.

use oci_proto::server::Memory;
use oci_proto::{Answer, Fault, FaultKind, Held, OpId, QueryId, Question};
use oci_proto_tests::simulation::Registry;

use super::side::{Side, Task};

/// A driver's way to fail a question.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Failed,
    Credentials,
    Held,
    Stored,
    /// Fails the operation, and leaves the question unanswered.
    Operation,
    /// Leaves the question unanswered, and cancels the operation.
    Cancelled,
}

const FAILURES: [Failure; 6] = [
    Failure::Failed,
    Failure::Credentials,
    Failure::Held,
    Failure::Stored,
    Failure::Operation,
    Failure::Cancelled,
];

impl Failure {
    /// Whether the answer is of a kind that fits the question.
    fn fits(self, question: &Question) -> bool {
        matches!(
            (self, question),
            (Self::Credentials, Question::Credentials(_))
                | (Self::Held, Question::Held { .. })
                | (Self::Stored, Question::Store { .. })
        )
    }

    fn fail(self, side: &mut Side, op: OpId, query: QueryId) {
        let answer = match self {
            Self::Failed => Answer::Failed(fault()),
            Self::Credentials => Answer::Credentials(None),
            Self::Held => Answer::Held(Held::Whole),
            Self::Stored => Answer::Stored,
            Self::Operation => return side.session.fail(op, fault()),
            Self::Cancelled => return side.session.cancel(op),
        };
        side.session.answer(side.now, query, answer);
    }
}

fn fault() -> Fault {
    Fault::new(FaultKind::Storage, "for the test")
}

fn side() -> Side {
    let (memory, root) = Memory::sample();
    Side::new(Registry::new(memory, &root), Some("user"))
}

/// The question to fail.
#[derive(PartialEq, Eq)]
enum Found {
    Question,
    /// A question of the kind that the answer fits.
    Answer,
    Nothing,
}

/// Drives an operation, fails its question number `at`, and answers all others.
fn fail(operation: &str, at: usize, failure: Failure) -> Found {
    let mut side = side();
    let op = side.start(operation);
    let (mut asked, mut found) = (Vec::new(), Found::Nothing);
    loop {
        let (tasks, _) = side.poll();
        if tasks.is_empty() {
            break;
        }
        for task in tasks {
            match task {
                Task::Carry(exchange) => {
                    let completion = side.carry(*exchange);
                    side.session.complete(side.now, completion);
                }
                Task::Reply(query, question) => {
                    asked.push(query);
                    if asked.len() == at + 1 && !failure.fits(&question) {
                        failure.fail(&mut side, op, query);
                        found = Found::Question;
                    } else {
                        let answer = side.answer_to(&question);
                        side.session.answer(side.now, query, answer);
                    }
                }
            }
        }
    }
    if found == Found::Nothing && asked.len() > at {
        found = Found::Answer;
    }
    let said = &side.said[&op];
    let ends = |last: &str| said.iter().filter(|said| said.starts_with(last)).count();
    let expected = match (&found, failure) {
        (Found::Answer | Found::Nothing, _) => (1, 0),
        (Found::Question, Failure::Cancelled) => (0, 0),
        (Found::Question, _) => (0, 1),
    };
    assert_eq!((ends("done"), ends("failed ")), expected, "{operation} {at} {failure:?}: {said:#?}");
    assert!(side.session.is_idle() && side.session.in_flight() == 0, "{operation} {at} {failure:?}");
    nothing_is_said_any_more(&mut side, op, &asked);
    found
}

/// Repeats all answers, and gives some others: none has an effect.
fn nothing_is_said_any_more(side: &mut Side, op: OpId, asked: &[QueryId]) {
    let said = side.said[&op].clone();
    for query in asked {
        for answer in
            [Answer::Stored, Answer::Held(Held::Nothing), Answer::Credentials(None), Answer::Failed(fault())]
        {
            side.session.answer(side.now, *query, answer);
        }
    }
    side.session.fail(op, fault());
    side.session.abandon_in_flight(side.now);
    let (tasks, until) = side.poll();
    assert!(tasks.is_empty() && until.is_none(), "{tasks:?} until {until:?}");
    assert_eq!(side.said[&op], said);
    assert_eq!(side.session.unanswered(), 0);
}

#[test]
fn every_failed_question_fails_its_operation_once() {
    let (_, root) = Memory::sample();
    let reference = format!("registry.example/{}:{}", Registry::REPOSITORY, Registry::TAG);
    let digest = format!("registry.example/{}@{}", Registry::REPOSITORY, root.digest);
    let hello = oci_proto::Digest::of(oci_proto::Algorithm::Sha256, b"hello");
    for (operation, questions) in [
        (format!("resolve {reference}"), 1),
        (format!("manifest {reference}"), 2),
        (format!("walk {reference} blobs"), 1),
        (format!("check {reference}"), 1),
        // Nineteen contents: all but the root are questions for held content, and each is stored.
        (format!("pull {digest}"), 1 + 18 + 19),
        (format!("blob registry.example/team/app@{hello} data=hello"), 1),
    ] {
        let count =
            |failure| (0..200).take_while(|at| fail(&operation, *at, failure) != Found::Nothing).count();
        for failure in FAILURES {
            let asked = count(failure);
            assert_eq!(asked, questions, "number of questions of {operation}: {failure:?}");
        }
    }
}
