//! A driver that counts, and runs on a small stack.

use bytes::Bytes;
use http::{Response, request};
use oci_proto::{Answer, Event, Held, OpId, Output, Question, Rest, Session, Time};
use oci_proto_tests::transcript::describe;

/// The chunks of a body, which may be endless.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes>>;

/// The outcome of an operation.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) nodes: usize,
    /// The entries of a list.
    pub(crate) entries: usize,
    /// The last event.
    pub(crate) end: String,
    pub(crate) requests: usize,
    /// The bytes of bodies that the session accepted.
    pub(crate) taken: usize,
    /// How often the session was polled.
    pub(crate) steps: usize,
}

/// Drives an operation to completion.
pub(crate) fn drive(
    session: &mut Session,
    op: OpId,
    mut respond: impl FnMut(&request::Parts) -> Response<Pieces>,
) -> Seen {
    let mut seen = Seen::default();
    let mut now = Time::ZERO;
    loop {
        seen.steps += 1;
        match session.poll_output(now) {
            Output::Send(exchange) => {
                seen.requests += 1;
                let (request, _sending, awaiting) = exchange.split();
                let (head, _payload) = request.into_parts();
                let (head, pieces) = respond(&head).into_parts();
                let mut receiving = awaiting.head(head.status, head.headers);
                if receiving.rest() == Rest::Wanted {
                    for piece in pieces {
                        seen.taken += piece.len();
                        if receiving.push(&piece).is_err() || receiving.rest() != Rest::Wanted {
                            break;
                        }
                    }
                }
                session.complete(now, receiving.finish());
            }
            Output::Event(of, event) => {
                assert_eq!(of, op);
                let entries = match &event {
                    Event::Tags(tags) => tags.len(),
                    Event::Repositories(repositories) => repositories.len(),
                    Event::Referrers(referrers) => referrers.len(),
                    event => {
                        seen.end = describe(event);
                        0
                    }
                };
                seen.entries += entries;
                match event {
                    Event::Node(_) => seen.nodes += 1,
                    Event::Done | Event::Failed(_) => return seen,
                    _ => {}
                }
            }
            Output::Ask(query, question) => session.answer(now, query, answer_to(&question)),
            Output::Wait(Some(until)) => now = until,
            other => panic!("the session does not end: {other:?}"),
        }
    }
}

/// A driver without credentials and held content, which stores everything.
fn answer_to(question: &Question) -> Answer {
    match question {
        Question::Credentials(_) => Answer::Credentials(None),
        Question::Held { .. } => Answer::Held(Held::Nothing),
        Question::Store { .. } => Answer::Stored,
        Question::Document { .. } | Question::Referrers { .. } | Question::Read { .. } => {
            panic!("nothing is sent")
        }
    }
}

/// Runs on a stack that is too small for recursion over a registry's content.
pub(crate) fn on_a_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, run);
        thread.expect("a thread starts").join().expect("it does not panic")
    })
}

/// A response with this body, in chunks of a realistic size.
pub(crate) fn with_body(head: http::response::Builder, body: Bytes) -> Response<Pieces> {
    let pieces =
        (0..body.len()).step_by(16 << 10).map(move |at| body.slice(at..body.len().min(at + (16 << 10))));
    head.body(Box::new(pieces.collect::<Vec<_>>().into_iter()) as Pieces).expect("a response")
}
