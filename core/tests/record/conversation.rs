//! Records conversations with the registry of these tests.

use std::collections::VecDeque;

use bytes::Bytes;
use oci_proto::record::Keep;
use oci_proto::{
    Algorithm, Descriptor, Exchange, Fault, FaultKind, Hasher, Held, Output, Payload, Question, Time,
};

use crate::recorder::{Recorder, UPLOADED};
use crate::recording::{Recording, Task};
use crate::registry::{Registry, Reply, Scheme};

/// Records a whole conversation.
pub(crate) fn record(task: Task, reference: &str, scheme: Scheme, keep: Keep) -> Recording {
    record_with(Registry::new(scheme), task, reference, keep)
}

/// Records a whole conversation with this registry.
pub(crate) fn record_with(registry: Registry, task: Task, reference: &str, keep: Keep) -> Recording {
    converse(Recorder::new(7, keep), registry, task, reference).into_recording()
}

/// Lets the session record a whole conversation with this registry, as text.
pub(crate) fn write_with(registry: Registry, task: Task, reference: &str, keep: Keep) -> String {
    converse(Recorder::written(7, keep), registry, task, reference).into_text()
}

fn converse(mut session: Recorder, mut registry: Registry, task: Task, reference: &str) -> Recorder {
    session.start(task, &reference.parse().expect("a reference"));
    let mut now = Time::ZERO;
    let mut sent: VecDeque<Exchange> = VecDeque::new();
    let (mut is_lost, mut read) = (false, 0);
    while !session.is_idle() {
        match session.poll_output(now) {
            Output::Send(exchange) => sent.push_back(exchange),
            Output::Ask(query, Question::Credentials(_)) => session.credentials(now, query, registry.login()),
            Output::Ask(query, Question::Held { descriptor, .. }) => {
                session.held(now, query, held(&registry, &descriptor));
            }
            Output::Ask(query, Question::Store { .. }) => session.stored(now, query),
            Output::Ask(query, Question::Read { max, .. }) => {
                let bytes = UPLOADED.get(read..UPLOADED.len().min(read + max)).expect("it was read once");
                read += bytes.len();
                session.read(now, query, Bytes::from_static(bytes), read == UPLOADED.len());
            }
            Output::Ask(query, Question::Document { descriptor, .. }) => {
                session.document(now, query, registry.content(&descriptor.digest).clone());
            }
            Output::Ask(query, Question::Referrers { subject, .. }) => {
                session.referrers(now, query, registry.referrers(&subject.digest));
            }
            Output::Abort(exchange) => sent.retain(|other| other.id() != exchange),
            Output::Event(..) => {}
            Output::Wait(until) => match sent.pop_front() {
                Some(exchange) if sent.len() == 1 && !is_lost => {
                    is_lost = true;
                    let fault = Fault::new(FaultKind::Reset, "the pool is gone");
                    session.lost(now, exchange.id(), fault);
                }
                Some(exchange) => {
                    let reply = registry.answer(&exchange);
                    carry(&mut session, &registry, now, exchange, &reply);
                }
                None => now = until.expect("the session waits only for time"),
            },
        }
    }
    session
}

fn carry(session: &mut Recorder, registry: &Registry, now: Time, exchange: Exchange, reply: &Reply) {
    let (request, sending, awaiting) = exchange.split();
    let payload = match request.body() {
        Payload::Empty => &[],
        Payload::Bytes(bytes) => &bytes[..],
        Payload::Source(source) => {
            let at = |position: u64| usize::try_from(position).expect("a small number");
            let range = source.read_range();
            let tree = registry.find(&source.digest).map_or(UPLOADED, |bytes| &bytes[..]);
            &tree[at(range.start)..at(range.end)]
        }
    };
    if let Some(mut sending) = sending {
        sending.push(payload).and_then(|_| sending.finish()).expect("the payload is valid");
    }
    let mut receiving = awaiting.head(reply.status, reply.headers.clone());
    let body = &reply.body[..reply.breaks_after.unwrap_or(reply.body.len())];
    for chunk in body.chunks(16) {
        if receiving.push(chunk).is_err() {
            break;
        }
    }
    let completion = match reply.breaks_after {
        Some(_) => receiving.fail(Fault::new(FaultKind::Reset, "the connection broke")),
        None => receiving.finish(),
    };
    session.complete(now, completion);
}

/// Holds the first bytes of every third blob.
fn held(registry: &Registry, descriptor: &Descriptor) -> Held {
    let bytes = registry.content(&descriptor.digest);
    if !descriptor.size.is_multiple_of(3) || descriptor.media_type.as_str().contains("manifest") {
        return Held::Nothing;
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&bytes[..7]);
    Held::Part { offset: 7, hasher }
}
