//! Clients whose requests reach one host, in an order that the input decides.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use oci_proto::server::{Content as _, Memory};
use oci_proto::{
    Answer, Config, Error, Event, Exchange, Fault, FaultKind, Finding, OpId, Output, Payload, Question, Rest,
    Session, Time,
};
use oci_proto_tests::simulation::Choices;

use crate::served::host::{Host, Troubles};

/// More steps than any transfer needs.
const MAX_STEPS: usize = 20_000;

pub(super) struct World<'c> {
    pub(super) clients: Vec<Session>,
    pub(super) host: Host,
    pub(super) findings: Vec<Finding>,
    memories: Vec<Memory>,
    choices: Choices<'c>,
    now: Time,
    /// The exchanges in flight, each with its client.
    out: Vec<(usize, Exchange)>,
    ended: BTreeMap<OpId, Result<(), Error>>,
}

impl<'c> World<'c> {
    /// Creates a world with a client for each memory, whose content it has.
    pub(super) fn new(data: &'c [u8], memories: &[&Memory], troubles: Troubles) -> Self {
        let mut choices = Choices::new(data);
        let mut clients = Vec::new();
        for seed in 0..memories.len() as u64 {
            let mut config = Config::default();
            config.limits.in_flight_per_origin = 1 + choices.below(6);
            config.limits.chunk_bytes = 64 << choices.below(8);
            config.limits.max_attempts = 16;
            clients.push(Session::new(config, seed));
        }
        Self {
            clients,
            host: Host::new(troubles),
            findings: Vec::new(),
            memories: memories.iter().copied().cloned().collect(),
            choices,
            now: Time::ZERO,
            out: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Drives operations to their ends.
    pub(super) fn run(&mut self, ops: &[OpId]) -> Vec<Result<(), Error>> {
        for _ in 0..MAX_STEPS {
            if ops.iter().all(|op| self.ended.contains_key(op)) {
                return ops.iter().filter_map(|op| self.ended.remove(op)).collect();
            }
            self.step();
        }
        panic!("they do not end: {:#?}", self.host.log);
    }

    fn step(&mut self) {
        let count = self.clients.len();
        let first = self.choices.below(count);
        let mut next: Option<Time> = None;
        for client in (0..count).map(|n| (n + first) % count) {
            match self.clients[client].poll_output(self.now) {
                Output::Send(exchange) => return self.out.push((client, exchange)),
                Output::Ask(query, question) => {
                    let answer = self.answer(client, &question);
                    return self.clients[client].answer(self.now, query, answer);
                }
                Output::Abort(id) => return self.out.retain(|(_, exchange)| exchange.id() != id),
                Output::Event(op, Event::Done) => return self.end(op, Ok(())),
                Output::Event(op, Event::Failed(error)) => return self.end(op, Err(error)),
                Output::Event(_, Event::Finding(finding)) => return self.findings.push(finding),
                Output::Event(..) => return,
                Output::Wait(until) => next = next.into_iter().chain(until).min(),
            }
        }
        if self.out.is_empty() {
            self.now = next.unwrap_or_else(|| panic!("it hangs: {:#?}", self.host.log));
            return;
        }
        let (client, exchange) = self.out.remove(self.choices.below(self.out.len()));
        self.carry(client, exchange);
    }

    fn end(&mut self, op: OpId, ended: Result<(), Error>) {
        self.ended.insert(op, ended);
    }

    fn answer(&self, client: usize, question: &Question) -> Answer {
        match question {
            Question::Document { descriptor, .. } => {
                Answer::Document(self.memories[client].bytes(&descriptor.digest).expect("it has the tree"))
            }
            Question::Credentials(_) => Answer::Credentials(None),
            other => panic!("{other:?}"),
        }
    }

    fn carry(&mut self, client: usize, exchange: Exchange) {
        let (request, sending, awaiting) = exchange.split();
        let (head, payload) = request.into_parts();
        let bytes = match payload {
            Payload::Empty => Bytes::new(),
            Payload::Bytes(bytes) => bytes,
            Payload::Source(source) => {
                let range = source.read_range();
                let at = |position: u64| usize::try_from(position).expect("it is small");
                let content = self.memories[client].bytes(&source.digest).expect("it has the tree");
                content.slice(at(range.start)..at(range.end))
            }
        };
        let body = match sending {
            Some(mut sending) => {
                let payload = sending.push(&bytes).expect("the source is right");
                sending.finish().expect("the payload is complete");
                bytes.slice(payload)
            }
            None => bytes,
        };
        let request = Request::from_parts(head, body);
        let completion = match self.host.respond(self.now, &mut self.choices, request) {
            Err(_) => awaiting.fail(Fault::new(FaultKind::Reset, "the registry is gone")),
            Ok(response) => {
                let (head, body) = response.into_parts();
                let mut receiving = awaiting.head(head.status, head.headers);
                for part in body.chunks(50) {
                    if receiving.rest() != Rest::Wanted || receiving.push(part).is_err() {
                        break;
                    }
                }
                receiving.finish()
            }
        };
        self.clients[client].complete(self.now, completion);
    }
}
