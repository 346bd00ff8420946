//! A driver that counts, and that runs on a small stack.

use bytes::Bytes;
use http::{Response, request};
use oci_proto::{Event, OpId, Output, Session, Time};
use oci_proto_tests::transcript::describe;

/// A body, piece by piece; it may have no end.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes>>;

/// What came of an operation.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) nodes: usize,
    /// The last event.
    pub(crate) end: String,
    pub(crate) requests: usize,
    /// Bytes of bodies that the session took.
    pub(crate) taken: usize,
    /// How often the session was asked what to do.
    pub(crate) steps: usize,
}

/// Drives an operation to its end.
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
                let (request, awaiting) = exchange.split();
                let (head, _payload) = request.into_parts();
                let (head, pieces) = respond(&head).into_parts();
                let mut receiving = awaiting.head(&head);
                if receiving.wants_body() {
                    for piece in pieces {
                        seen.taken += piece.len();
                        if receiving.push(&piece).is_err() || !receiving.wants_body() {
                            break;
                        }
                    }
                }
                session.complete(now, receiving.finish());
            }
            Output::Event(of, event) => {
                assert_eq!(of, op);
                seen.end = describe(&event);
                match event {
                    Event::Node(_) => seen.nodes += 1,
                    Event::Done | Event::Failed(_) => return seen,
                    _ => {}
                }
            }
            Output::Credentials(query, _) => session.credentials(now, query, Ok(None)),
            Output::Wait(Some(until)) => now = until,
            other => panic!("the session does not end: {other:?}"),
        }
    }
}

/// Runs on a stack that leaves no room for a recursion over what a registry sends.
pub(crate) fn on_a_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("it ends")
    })
}

/// A response whose body is these bytes, in pieces of a size that sockets give.
pub(crate) fn with_body(head: http::response::Builder, body: Bytes) -> Response<Pieces> {
    let pieces =
        (0..body.len()).step_by(16 << 10).map(move |at| body.slice(at..body.len().min(at + (16 << 10))));
    head.body(Box::new(pieces.collect::<Vec<_>>().into_iter()) as Pieces).expect("a response")
}
