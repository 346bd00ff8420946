//! A session writes its own recording, which a player replays line by line.

use std::fmt::Write as _;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use oci_proto::record::{Keep, Player, RecordedBody, ReplayError, Replayed, Transcript};
use oci_proto::{
    Algorithm, Answer, Config, Descriptor, Digest, Fault, FaultKind, Manifest, Mirror, MirrorPulls, Output,
    RegistryEntry, Session, Time,
};

use crate::conversation::write_with;
use crate::recording::Task;
use crate::registry::{Registry, Scheme, secrets};

const TREE: &str = "registry.example/team/app:1.0";

fn written(task: Task, scheme: Scheme, keep: Keep) -> String {
    write_with(Registry::new(scheme), task, TREE, keep)
}

/// Replays a recording, and returns its text as the player read it, and the result.
fn replay(text: &str) -> (String, Result<Replayed, ReplayError>) {
    let (mut player, mut steps) = (Player::new(), String::new());
    for line in text.lines() {
        match player.push(line) {
            Ok(step) => step.into_iter().for_each(|step| writeln!(steps, "{step}").expect("a string")),
            Err(error) => return (steps, Err(error)),
        }
    }
    let result = player.finish();
    if let Ok(replayed) = &result {
        writeln!(steps, "{}", replayed.last).expect("a string");
    }
    (steps, result)
}

#[test]
fn a_written_recording_is_replayed_exactly() {
    for task in Task::ALL {
        for scheme in Scheme::ALL {
            for keep in [Keep::Documents, Keep::Everything] {
                let text = written(task, scheme, keep);
                let (steps, result) = replay(&text);
                let replayed = result.unwrap_or_else(|error| panic!("{task:?}, {scheme:?}: {error}\n{text}"));
                assert!(replayed.outputs > 2 && replayed.exchanges > 0, "{replayed:?}");
                assert_eq!(replayed.unfinished, 0, "{task:?}, {scheme:?}");
                assert_eq!(text, steps, "{task:?}, {scheme:?}");
            }
        }
    }
}

#[test]
fn a_written_recording_contains_no_secret_in_any_form() {
    for task in Task::ALL {
        for scheme in Scheme::ALL {
            let text = written(task, scheme, Keep::Everything);
            for secret in secrets() {
                assert!(!text.contains(&secret), "{task:?} with {scheme:?} shows {secret}");
            }
        }
    }
}

#[test]
fn a_written_recording_is_readable() {
    let text = written(Task::Pull, Scheme::Token, Keep::Documents);
    for shown in [
        concat!(
            "recording 1 by oci-proto ",
            env!("CARGO_PKG_VERSION"),
            "\n  seed 7\n  plain_http loopback\n"
        ),
        "\n  user_agent recorder\n",
        "\n  limit max_attempts 3\n",
        "\nstart [0] pull registry.example/team/app:1.0 referrers\nat 0.000000000 s\n\
         > [0] for operation 0: GET https://registry.example/v2/team/app/manifests/1.0\n  accept: ",
        "\n< [0] 401\n  www-authenticate: bearer realm=\"https://auth.example/token?client=SECRET-1\"",
        "\nlogin [0] identity SECRET-2\n",
        "\n  token\n  |{\"access_token\":\"SECRET-3\"",
        "\n= [0] resolved ",
        "\nheld [1] nothing\n",
        "\n  document\n  |{",
        "  cut reset the connection broke\n  blob ",
        "\n= [0] referrers: application/vnd.oci.image.manifest.v1+json sha256:",
        "\nwait until ",
        "\n= [0] done\n",
    ] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
    let pushed = written(Task::Push, Scheme::Token, Keep::Documents);
    assert!(
        pushed.contains("]\n  type=application/vnd.oci.image.manifest.v1+json digest=sha256:"),
        "{pushed}"
    );
    let blobs = |text: &str| text.lines().filter(|line| line.starts_with("  blob ")).count();
    assert!(blobs(&text) > 2 && !text.contains(" base64"));
    let whole = written(Task::Pull, Scheme::Token, Keep::Everything);
    assert_eq!(whole.matches(" base64\n").count(), blobs(&whole));
}

/// The path of the token server arrives before the login, of which it is the beginning.
#[test]
fn a_secret_that_is_learnt_later_does_not_change_a_path() {
    for (scheme, request) in [(Scheme::Token, "POST"), (Scheme::TokenByGet, "GET")] {
        let text = write_with(Registry::with_login(scheme, "token-1"), Task::Resolve, TREE, Keep::Documents);
        assert!(text.contains(&format!("{request} https://auth.example/token?client=SECRET-1")), "{text}");
        assert!(!text.contains("token-1"), "{text}");
        assert!(replay(&text).1.is_ok(), "{text}");
    }
}

/// Creates a session that is recorded, and the end at which the text arrives.
fn recorded() -> (Session, Receiver<String>) {
    let (sender, texts) = mpsc::channel();
    let session = Session::recorded(Config::default(), 1, Keep::Documents, move |text| {
        sender.send(text.to_owned()).expect("the test listens");
    });
    (session, texts)
}

#[test]
fn the_mirrors_of_a_session_are_recorded_and_replayed() {
    let mut config = Config::default();
    let mirror = Mirror::new("mirror.example/x".parse().expect("a namespace"), MirrorPulls::All);
    config.registries.set(RegistryEntry::new("registry.example".parse().expect("a prefix")).mirror(mirror));
    let (sender, texts) = mpsc::channel();
    let mut session = Session::recorded(config, 1, Keep::Documents, move |text| {
        sender.send(text.to_owned()).expect("the test listens");
    });
    session.manifest(&TREE.parse().expect("a reference"), None);
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) if exchange.request().uri().host() == Some("mirror.example") => {
                let fault = Fault::new(FaultKind::Connect, "no route");
                session.complete(Time::ZERO, exchange.split().2.fail(fault));
            }
            Output::Send(exchange) => {
                let receiving = exchange.split().2.head(StatusCode::NOT_FOUND, HeaderMap::new());
                session.complete(Time::ZERO, receiving.finish());
            }
            Output::Wait(_) => break,
            _ => {}
        }
    }
    drop(session);
    let text: String = texts.try_iter().collect();
    for shown in [
        "\n  registry registry.example mirror=mirror.example/x,all\n",
        "\n= [0] failed by the mirror mirror.example/x/team/app: GET https://mirror.example/",
    ] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
    let (steps, result) = replay(&text);
    assert_eq!(result.expect("it is the same conversation").exchanges, 2);
    assert_eq!(steps, text);
    // Without the mirror it is another one.
    let other = text.replace(" mirror=mirror.example/x,all", "");
    assert!(matches!(replay(&other).1, Err(ReplayError::Divergence { .. })), "{:?}", replay(&other).1);
}

#[test]
fn a_call_with_an_id_of_another_session_is_not_recorded_and_does_nothing() {
    let (mut session, texts) = recorded();
    let (mut other, other_texts) = recorded();
    let send = |session: &mut Session, reference: &str| {
        let op = session.resolve(&reference.parse().expect("a reference"), None);
        let Output::Send(exchange) = session.poll_output(Time::ZERO) else { panic!("nothing is sent") };
        (op, exchange)
    };
    let (_, exchange) = send(&mut session, TREE);
    let (_, others) = send(&mut other, TREE);
    let challenge = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"r\""))]);
    let refusal = RecordedBody::Refusal(Bytes::new());
    let unauthorized = Transcript::answered(StatusCode::UNAUTHORIZED, challenge, refusal);
    other.complete(Time::ZERO, unauthorized.play(others));
    let Output::Ask(query, _) = other.poll_output(Time::ZERO) else { panic!("nothing is asked") };
    let (op, others) = send(&mut other, "elsewhere.example/a:1");

    let mut text: String = texts.try_iter().collect();
    let mut other_text: String = other_texts.try_iter().collect();
    let later = Time::ZERO + Duration::from_secs(3);
    let reset = || Fault::new(FaultKind::Reset, "broken");
    session.lost(later, others.id(), reset());
    session.complete(later, others.split().2.fail(reset()));
    session.answer(later, query, Answer::Credentials(None));
    session.set_deadline(op, later);
    session.pause(op);
    session.resume(op);
    session.fail(op, reset());
    session.cancel(op);
    assert_eq!(texts.try_iter().collect::<String>(), "");

    // Its own calls are, at the time that they state.
    session.complete(Time::ZERO, exchange.split().2.fail(reset()));
    while !matches!(session.poll_output(Time::ZERO), Output::Wait(_)) {}
    text.extend(texts.try_iter());
    other_text.extend(other_texts.try_iter());
    for text in [text, other_text] {
        assert!(replay(&text).1.is_ok(), "{text}");
    }
}

/// A driver must drop it first. If it does not, nothing counts as sent, in the session as in the recording.
#[test]
fn a_sending_that_is_dropped_after_its_completion_is_replayed() {
    let (mut session, texts) = recorded();
    let index = "application/vnd.oci.image.index.v1+json";
    let document = Bytes::from(format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[]}}"#));
    let digest = Digest::of(Algorithm::Sha256, &document);
    let descriptor = Descriptor::new(index.parse().expect("a type"), digest, document.len() as u64);
    let manifest = Manifest::verified(document.clone(), &descriptor, None).expect("a manifest");
    session.push_manifest(&TREE.parse().expect("a reference"), manifest, Vec::new());
    let Output::Send(exchange) = session.poll_output(Time::ZERO) else { panic!("nothing is sent") };
    let absent = RecordedBody::Refusal(Bytes::new());
    let absent = Transcript::answered(StatusCode::NOT_FOUND, HeaderMap::new(), absent);
    session.complete(Time::ZERO, absent.play(exchange));
    let Output::Send(exchange) = session.poll_output(Time::ZERO) else { panic!("nothing is sent") };
    let (_, sending, awaiting) = exchange.split();
    let mut sending = sending.expect("a document is sent");
    sending.push(&document).expect("the document");
    let receiving = awaiting.head(StatusCode::CREATED, HeaderMap::new());
    let completion = receiving.finish();
    assert_eq!(completion.sent(), 0);
    session.complete(Time::ZERO, completion);
    sending.finish().expect("it is whole");
    while !matches!(session.poll_output(Time::ZERO), Output::Wait(_)) {}
    let text: String = texts.try_iter().collect();
    assert!(text.contains("after 0 of"), "{text}");
    let (_, result) = replay(&text);
    assert!(result.is_ok(), "{result:?}\n{text}");
}

#[test]
fn every_control_of_an_operation_is_replayed() {
    let (mut session, texts) = recorded();
    let now = Time::ZERO;
    let reference = TREE.parse().expect("a reference");
    let ops: Vec<_> = (0..4).map(|_| session.resolve(&reference, None)).collect();
    let mut outputs = 0;
    let mut poll = |session: &mut Session| {
        loop {
            outputs += 1;
            if let Output::Wait(_) = session.poll_output(now) {
                break;
            }
        }
    };
    poll(&mut session);
    session.pause(ops[0]);
    session.set_deadline(ops[1], now + Duration::from_millis(1500));
    session.fail(ops[2], Fault::new(FaultKind::Storage, "disk\nfull"));
    session.cancel(ops[3]);
    poll(&mut session);
    session.abandon_in_flight(now);
    poll(&mut session);
    session.resume(ops[0]);
    poll(&mut session);
    let text: String = texts.try_iter().collect();
    for line in [
        "pause [0]",
        "deadline [1] 1.500000000 s",
        "fail [2] storage disk\\u{a}full",
        "cancel [3]",
        "abandon",
        "resume [0]",
        "wait until 1.500000000 s",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in\n{text}");
    }
    let replayed = replay(&text).1.expect("a replay");
    assert_eq!((replayed.outputs, replayed.unfinished), (outputs, 2));
}

#[test]
fn a_divergence_shows_what_was_expected_and_what_came() {
    let text = written(Task::Resolve, Scheme::Nothing, Keep::Documents);
    let changed = text.replacen("] 200\n", "] 404\n", 1);
    assert_ne!(changed, text);
    let (steps, result) = replay(&changed);
    let Err(ReplayError::Divergence { line, recorded, replayed, .. }) = result else { panic!("{result:?}") };
    // The step before it is complete.
    let at = changed.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(recorded.starts_with(at) && recorded != replayed, "{recorded}");
    assert_eq!(steps.lines().count() + 1, usize::try_from(line).unwrap());
}

#[test]
fn text_that_is_no_recording_is_refused_with_its_line() {
    for text in
        ["", "\n# nothing\n", "{}", "  seed 1", "recording", "recording x by oci-proto 1", "HTTP/1.1 200"]
    {
        assert_eq!(replay(text).1, Err(ReplayError::NotARecording), "{text}");
    }
    let newer = "recording 2 by oci-proto 9.0.0\n  new thing\n";
    assert_eq!(replay(newer).1, Err(ReplayError::Format(2)));
    for (text, line) in [
        ("recording 1 by oci-proto 1\n", 1),
        ("recording 1 by oci-proto 1\n  seed x\n", 2),
        ("recording 1 by oci-proto 1\n  seed 1\n  limit nothing 1\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\nrecording 1 by oci-proto 1\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\n\n# a note\nstart [0] fly a:1\n", 5),
        ("recording 1 by oci-proto 1\n  seed 1\nstart [1] resolve a:1\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\nat noon\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\n< [0] 99\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\nstored 0\n", 3),
        ("recording 1 by oci-proto 1\n  seed 1\nlaugh [0]\n", 3),
    ] {
        let result = replay(text).1;
        assert!(
            matches!(result, Err(ReplayError::Invalid { line: l, .. }) if l == line),
            "{text}: {result:?}"
        );
    }
}

#[test]
fn a_recording_says_which_servers_are_private() {
    let (mut session, texts) = recorded();
    session.manifest(&TREE.parse().expect("a reference"), None);
    let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("https://10.0.0.2/x"))]);
    for status in [StatusCode::TEMPORARY_REDIRECT, StatusCode::NOT_FOUND] {
        let Output::Send(exchange) = session.poll_output(Time::ZERO) else { panic!("nothing is sent") };
        let (_, _, mut awaiting) = exchange.split();
        awaiting.connected("10.0.0.1".parse().expect("an address")).expect("it is within reach");
        session.complete(Time::ZERO, awaiting.head(status, headers.clone()).finish());
    }
    let text: String = texts.try_iter().collect();
    assert_eq!(text.matches("\n  private\n").count(), 2, "{text}");
    assert!(!text.contains("10.0.0.1"), "{text}");
    assert!(replay(&text).1.is_ok(), "{text}");
    assert!(replay(&text.replace("  private\n", "")).1.is_err(), "{text}");
}
