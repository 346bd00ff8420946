//! Only a session for replay accepts content by its digest alone.

use std::collections::VecDeque;

use http::StatusCode;
use http::header::RANGE;
use oci_proto::record::{Keep, RecordedBody, Transcript};
use oci_proto::{
    Algorithm, Answer, Descriptor, Digest, Event, Exchange, Hasher, Held, Misbehaviour, Output, Question,
    Reference, Session, StoreContent, Time,
};
use oci_proto::{Cause, FaultKind, MediaType};

use crate::conversation::record;
use crate::player::play;
use crate::recorder::config;
use crate::recording::Task;
use crate::registry::Scheme;

const CONTENT: &[u8] = b"the content of a blob, as its digest names it";

/// Returns the next output that is not an event.
fn next(session: &mut Session) -> Output {
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Event(_, Event::Resolved(_)) => {}
            output => return output,
        }
    }
}

fn blob(session: &mut Session) -> Exchange {
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let reference: Reference = format!("registry.example/team/app@{digest}").parse().unwrap();
    session.blob(&reference, Some(CONTENT.len() as u64));
    match next(session) {
        Output::Send(exchange) => exchange,
        other => panic!("{other:?}"),
    }
}

/// A transcript of a response with the blob, with or without its bytes.
fn answered(bytes: Option<&'static [u8]>) -> Transcript {
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let body = RecordedBody::Blob { length: CONTENT.len() as u64, digest, bytes: bytes.map(Into::into) };
    Transcript::answered(StatusCode::OK, http::HeaderMap::new(), body)
}

fn outcome(mut session: Session, transcript: &Transcript) -> Result<(), Cause> {
    let exchange = blob(&mut session);
    session.complete(Time::ZERO, transcript.play(exchange));
    match next(&mut session) {
        Output::Event(_, Event::Done) => Ok(()),
        Output::Event(_, Event::Failed(error)) => Err(error.cause().clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_replay_accepts_a_blob_without_its_bytes() {
    assert_eq!(outcome(Session::for_replay(config(), 0), &answered(None)), Ok(()));
    let Err(Cause::Transport(fault)) = outcome(Session::new(config(), 0), &answered(None)) else {
        panic!("the blob was accepted");
    };
    assert_eq!(fault.kind(), FaultKind::Unsupported);
    assert!(fault.message().contains("omits the content"), "{fault}");
}

#[test]
fn recorded_bytes_are_verified_in_every_session() {
    let wrong = b"the content of a blob, as no digest names it!";
    for session in [Session::new, Session::for_replay] {
        assert_eq!(outcome(session(config(), 0), &answered(Some(CONTENT))), Ok(()));
        let outcome = outcome(session(config(), 0), &answered(Some(wrong)));
        assert!(matches!(outcome, Err(Cause::Misbehaved(Misbehaviour::WrongDigest { .. }))), "{outcome:?}");
    }
}

#[test]
fn a_wrong_recorded_digest_fails_the_replay() {
    let mut transcript = answered(None);
    let RecordedBody::Blob { digest, .. } = &mut transcript.body else { unreachable!() };
    *digest = Digest::of(Algorithm::Sha256, b"other");
    let outcome = outcome(Session::for_replay(config(), 0), &transcript);
    assert!(matches!(outcome, Err(Cause::Misbehaved(Misbehaviour::WrongDigest { .. }))), "{outcome:?}");
}

/// Pulls up to the first question about a blob, answers it, and returns the next output for that blob.
fn after_holding(session: &mut Session, held: impl Fn(&Descriptor) -> Held) -> Output {
    let transcripts = record(Task::Pull, "registry.example/team/app:1.0", Scheme::Nothing, Keep::Documents);
    let mut documents: VecDeque<Transcript> = transcripts
        .steps
        .into_iter()
        .filter_map(|step| match step.input {
            crate::recording::Input::Complete(_, transcript) => Some(transcript),
            _ => None,
        })
        .filter(|transcript| matches!(transcript.body, RecordedBody::Document(_)))
        .collect();
    session.pull(&"registry.example/team/app:1.0".parse().unwrap(), oci_proto::PullOptions::default());
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) if exchange.sink().is_none() => {
                // Documents are identified by their digests.
                let path = exchange.request().uri().path().to_owned();
                let is_asked = |transcript: &Transcript| match &transcript.body {
                    RecordedBody::Document(bytes) => {
                        path.ends_with(&Digest::of(Algorithm::Sha256, bytes).to_string())
                            || path.ends_with("/1.0")
                    }
                    _ => false,
                };
                let at = documents.iter().position(is_asked).expect("a recorded document");
                let transcript = documents.remove(at).expect("the position is valid");
                session.complete(Time::ZERO, transcript.play(exchange));
            }
            Output::Ask(query, Question::Held { descriptor, .. }) => {
                let is_blob = descriptor.media_type.as_str().contains("layer");
                let answer = if is_blob { held(&descriptor) } else { Held::Nothing };
                session.answer(Time::ZERO, query, Answer::Held(answer));
                if is_blob {
                    return next_of(session, &descriptor.digest);
                }
            }
            Output::Wait(_) => panic!("no blob is requested"),
            _ => {}
        }
    }
}

fn next_of(session: &mut Session, digest: &Digest) -> Output {
    loop {
        let output = session.poll_output(Time::ZERO);
        match &output {
            Output::Send(exchange) if exchange.sink().is_some_and(|sink| sink.digest == *digest) => {
                return output;
            }
            Output::Ask(_, Question::Store { descriptor, .. }) if descriptor.digest == *digest => {
                return output;
            }
            Output::Wait(_) => panic!("no output for {digest}"),
            _ => {}
        }
    }
}

#[test]
fn only_a_replay_accepts_an_assumed_part() {
    let beginning = |_: &Descriptor| Held::Part {
        offset: 5,
        hasher: Hasher::assumed(Digest::of(Algorithm::Sha256, b"12345")),
    };
    let Output::Send(exchange) = after_holding(&mut Session::new(config(), 0), beginning) else {
        panic!("the part was accepted")
    };
    assert_eq!(exchange.sink().map(|sink| sink.offset), Some(0));
    assert!(!exchange.request().headers().contains_key(RANGE));

    let Output::Send(exchange) = after_holding(&mut Session::for_replay(config(), 0), beginning) else {
        panic!("the part was accepted")
    };
    assert_eq!(exchange.sink().map(|sink| sink.offset), Some(5));
    assert_eq!(exchange.request().headers()[RANGE], "bytes=5-");
}

#[test]
fn only_a_replay_accepts_an_assumed_whole() {
    let whole = |descriptor: &Descriptor| Held::Part {
        offset: descriptor.size,
        hasher: Hasher::assumed(descriptor.digest.clone()),
    };
    let output = after_holding(&mut Session::new(config(), 0), whole);
    assert!(matches!(output, Output::Send(_)), "{output:?}");
    let output = after_holding(&mut Session::for_replay(config(), 0), whole);
    assert!(
        matches!(&output, Output::Ask(_, Question::Store { content: StoreContent::Sink, .. })),
        "{output:?}"
    );
}

/// Real bytes cannot continue an assumed part: the blob is fetched from its start.
#[test]
fn real_bytes_after_an_assumed_part_are_not_verified() {
    let beginning = |descriptor: &Descriptor| Held::Part {
        offset: descriptor.size - 1,
        hasher: Hasher::assumed(descriptor.digest.clone()),
    };
    let mut session = Session::for_replay(config(), 0);
    let Output::Send(exchange) = after_holding(&mut session, beginning) else {
        panic!("the part was accepted")
    };
    let (_, _, awaiting) = exchange.split();
    let sink = awaiting.sink().cloned().expect("a blob has a sink");
    let size = sink.size.expect("the descriptor has a size");
    let mut headers = http::HeaderMap::new();
    let range = format!("bytes {}-{}/{size}", size - 1, size - 1);
    headers.insert(http::header::CONTENT_RANGE, range.parse().unwrap());
    let mut receiving = awaiting.head(StatusCode::PARTIAL_CONTENT, headers);
    assert_eq!(receiving.push(b"\n"), Ok(0..1));
    session.complete(Time::ZERO, receiving.finish());
    let Output::Send(exchange) = next_of(&mut session, &sink.digest) else { panic!("the blob was accepted") };
    assert_eq!(exchange.sink().map(|sink| sink.offset), Some(0));
}

/// A recording omits payloads.
#[test]
fn only_a_replay_accepts_a_payload_without_its_bytes() {
    let (digest, size) = (Digest::of(Algorithm::Sha256, CONTENT), CONTENT.len() as u64);
    let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, size);
    let answered = |status, body| Transcript::answered(status, http::HeaderMap::new(), body);
    let absent = answered(StatusCode::NOT_FOUND, RecordedBody::Refusal(Vec::new().into()));
    let mut begun = answered(StatusCode::ACCEPTED, RecordedBody::Unread);
    let Some((_, headers)) = &mut begun.head else { unreachable!() };
    headers.insert(http::header::LOCATION, "/upload".parse().unwrap());
    let mut created = answered(StatusCode::CREATED, RecordedBody::Unread);
    created.sent = size;
    let reference: Reference = "registry.example/team/app:1.0".parse().unwrap();
    for (mut session, sent) in [(Session::for_replay(config(), 0), size), (Session::new(config(), 0), 0)] {
        session.upload(&reference, &blob, None);
        for transcript in [&absent, &begun] {
            let Output::Send(exchange) = next(&mut session) else { panic!("nothing is sent") };
            session.complete(Time::ZERO, transcript.play(exchange));
        }
        let Output::Send(exchange) = next(&mut session) else { panic!("nothing is sent") };
        assert_eq!(exchange.source().map(oci_proto::Source::length), Some(size));
        let completion = created.play(exchange);
        assert_eq!(completion.sent(), sent);
        session.complete(Time::ZERO, completion);
        let is_done = loop {
            match next(&mut session) {
                Output::Event(_, Event::Done) => break true,
                Output::Event(_, Event::Failed(_)) => break false,
                Output::Event(..) => {}
                output => panic!("the upload continues: {output:?}"),
            }
        };
        assert_eq!(is_done, sent == size);
    }
}

#[test]
fn a_recording_without_bytes_fails_an_ordinary_session() {
    let recording = record(Task::Pull, "registry.example/team/app:1.0", Scheme::Nothing, Keep::Documents);
    let session = Session::new(config(), recording.seed);
    let divergence = play(&recording, session).expect_err("the content cannot be verified");
    assert!(!divergence.replayed.contains("in the sink"), "{divergence:?}");
}
