//! Replays a recording in a session, and compares the outputs.

use std::collections::BTreeMap;

use oci_proto::record::Secrets;
use oci_proto::{Answer, Exchange, Hasher, Held, Output, QueryId, Session, Time};

use crate::recorder::{config, start};
use crate::recording::{Holding, Input, Recording};

/// The first difference between a session and the recorded one.
#[derive(Debug, PartialEq)]
pub(crate) struct Divergence {
    /// The number of the step.
    pub(crate) step: usize,
    pub(crate) recorded: String,
    pub(crate) replayed: String,
}

pub(crate) fn replay(recording: &Recording) -> Result<(), Divergence> {
    play(recording, Session::for_replay(config(), recording.seed))
}

pub(crate) fn play(recording: &Recording, mut session: Session) -> Result<(), Divergence> {
    let mut secrets = Secrets::new();
    let mut exchanges: BTreeMap<u64, Exchange> = BTreeMap::new();
    let mut queries: BTreeMap<u64, QueryId> = BTreeMap::new();
    for (step, recorded) in recording.steps.iter().enumerate() {
        let now = Time::from_epoch(recorded.now);
        match &recorded.input {
            Input::Start(task, reference) => _ = start(&mut session, *task, reference),
            Input::Poll(recorded) => {
                let output = session.poll_output(now);
                let replayed = secrets.describe(&output);
                if replayed != *recorded {
                    return Err(Divergence { step, recorded: recorded.clone(), replayed });
                }
                match output {
                    Output::Send(exchange) => _ = exchanges.insert(exchange.id().number(), exchange),
                    Output::Ask(query, _) => _ = queries.insert(query.number(), query),
                    _ => {}
                }
            }
            Input::Credentials(query, found) => {
                session.answer(now, queries[query], Answer::Credentials(found.clone()));
            }
            Input::Held(query, holding) => {
                let held = match holding {
                    Holding::Nothing => Held::Nothing,
                    Holding::Part(offset, digest) => {
                        Held::Part { offset: *offset, hasher: Hasher::assumed(digest.clone()) }
                    }
                };
                session.answer(now, queries[query], Answer::Held(held));
            }
            Input::Stored(query) => session.answer(now, queries[query], Answer::Stored),
            Input::Read(query, bytes, is_last) => {
                let (bytes, is_last) = (bytes.clone(), *is_last);
                session.answer(now, queries[query], Answer::Read { bytes, is_last });
            }
            Input::Document(query, bytes) => {
                session.answer(now, queries[query], Answer::Document(bytes.clone()));
            }
            Input::Referrers(query, referrers) => {
                session.answer(now, queries[query], Answer::Referrers(referrers.clone()));
            }
            Input::Complete(number, transcript) => {
                let exchange = exchanges.remove(number).expect("the exchange was sent");
                session.complete(now, transcript.play(exchange));
            }
            Input::Lost(number, fault) => session.lost(now, exchanges[number].id(), fault.clone()),
        }
    }
    Ok(())
}
