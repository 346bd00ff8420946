//! Recordings are replayed with equal outputs, and contain no secrets.

use http::StatusCode;
use oci_proto::record::{Keep, RecordedBody, Secrets};
use oci_proto::{Limits, Session};

use crate::conversation::{record, record_with};
use crate::player::{play, replay};
use crate::recorder::config;
use crate::recording::{Input, Recording, Task};
use crate::registry::{Registry, Scheme, secrets};

const TREE: &str = "registry.example/team/app:1.0";

/// The conversations of these tests, with descriptions.
fn conversations() -> impl Iterator<Item = (String, Recording)> {
    let references = [TREE, "registry.example/team/none:1.0"];
    let all = Task::ALL.into_iter().flat_map(move |task| {
        Scheme::ALL.into_iter().flat_map(move |scheme| references.map(|reference| (task, scheme, reference)))
    });
    all.map(|(task, scheme, reference)| {
        let what = format!("{task:?} of {reference} with {scheme:?}");
        (what, record(task, reference, scheme, Keep::Documents))
    })
}

#[test]
fn a_recording_is_replayed_byte_for_byte_from_its_text() {
    for (what, recording) in conversations() {
        let text = recording.to_text();
        let read = Recording::read(&text);
        assert_eq!(read, recording, "{what}");
        assert_eq!(read.to_text(), text, "{what}");
        assert_eq!(replay(&read), Ok(()), "{what}");
    }
}

#[test]
fn a_recording_of_an_upload_has_its_position_and_its_minimum_length() {
    for (task, read) in [(Task::Upload, ""), (Task::UploadStream, "read ")] {
        let text = record(task, TREE, Scheme::Token, Keep::Documents).to_text();
        for part in ["range 0-4", "oci-chunk-min-length 12", "PATCH", "content-range: 5-16", "event of", read]
        {
            assert!(text.contains(part), "{task:?}: no {part} in\n{text}");
        }
        assert!(text.contains(": done"), "{task:?}\n{text}");
    }
}

#[test]
fn a_recording_of_a_transfer_or_a_list_reaches_its_end() {
    for (task, shown) in [
        (Task::Push, "PUT https://mirror.example/v2/team/copy/manifests/2.0"),
        (Task::Copy, "PUT https://mirror.example/v2/team/copy/manifests/2.0"),
        (Task::Tags, "GET https://registry.example/v2/team/app/tags/list?next=SECRET-"),
        (Task::Referrers, "GET https://registry.example/v2/team/app/referrers/sha256:"),
    ] {
        let text = record(task, TREE, Scheme::Token, Keep::Documents).to_text();
        assert!(text.contains(shown) && text.contains(": done"), "{task:?}\n{text}");
    }
}

/// Names are longer than some secrets, and a secret may be a word that occurs elsewhere.
#[test]
fn a_recording_is_replayed_with_any_secrets() {
    for secret in [
        "",
        "a",
        "no",
        "team",
        "registry",
        "docker",
        "manifest",
        "errors",
        "message",
        "sha256",
        "bytes",
        "REDACTED",
        "SECRET",
        "SECRET-2",
        "Bearer",
        "a b",
        "%41",
        "%",
        "\"",
        "\\",
        "\u{e9}\u{e9}",
    ] {
        let conversations = [(Task::Pull, TREE), (Task::Resolve, "registry.example/team/none:1.0")];
        for ((task, reference), scheme) in
            conversations.into_iter().flat_map(|what| Scheme::ALL.map(|s| (what, s)))
        {
            let registry = Registry::with_login(scheme, secret);
            let recording = record_with(registry, task, reference, Keep::Documents);
            let read = Recording::read(&recording.to_text());
            assert_eq!(replay(&read), Ok(()), "{task:?} of {reference} with {scheme:?}, `{secret}`");
        }
    }
}

/// The session reads a part of a long error body. A name that replaces a secret may be longer than it.
#[test]
fn a_recording_of_a_long_refusal_is_replayed() {
    let limit = usize::try_from(Limits::default().error_bytes).expect("a small limit");
    let error = |message: &str| {
        format!("{{\"errors\": [\n  {{\"code\": \"NAME_UNKNOWN\",\n   \"message\": \"{message}\"}}]}}")
    };
    let echoes = "pw ".repeat((limit - error("").len()) / 3);
    for (body, cut) in [
        (error("pw, and much more") + &" ".repeat(limit), true),
        (error(&"pw ".repeat(limit / 2)), true),
        (error(&echoes), false),
    ] {
        assert_eq!(body.len() > limit, cut);
        for scheme in Scheme::ALL {
            let registry = Registry::with_login(scheme, "pw").refusing_with(body.clone());
            let recording =
                record_with(registry, Task::Resolve, "registry.example/team/none:1.0", Keep::Documents);
            let read = Recording::read(&recording.to_text());
            assert_eq!(replay(&read), Ok(()), "{scheme:?}, {} bytes", body.len());
        }
    }
}

#[test]
fn a_recording_contains_no_secret_in_any_form() {
    for (what, recording) in conversations() {
        let text = recording.to_text();
        for secret in secrets() {
            let at = text.find(&secret).map(|at| &text[at.saturating_sub(200)..at + secret.len()]);
            assert_eq!(at, None, "{what} shows {secret}");
        }
    }
}

/// The conversations contain all intended events.
#[test]
fn a_pull_contains_each_kind_of_failure() {
    let text = record(Task::Pull, TREE, Scheme::Token, Keep::Documents).to_text();
    for shown in [
        "> send 0 for operation 0: GET https://registry.example/v2/team/app/manifests/1.0\n>   accept: ",
        ">   user-agent: recorder\n",
        "> header www-authenticate bearer realm=\\\"https://auth.example/token?client=SECRET-1\\\", service=\\\"reg\\\"\n",
        "> ask 0 for credentials: registry.example, team/app\n",
        " credentials 0 identity SECRET-2\n",
        "for all: POST https://auth.example/token?client=SECRET-1\n",
        ">   form: grant_type=refresh_token&service=reg&client_id=oci-proto&scope=repository:team/app:pull&refresh_token=SECRET-2\n",
        "> token {\\\"access_token\\\":\\\"SECRET-3\\\",\\\"expires_in\\\":300.0,\\\"refresh_token\\\":\\\"SECRET-4\\\"}",
        ">   authorization: Bearer SECRET-3\n",
        "> header warning 299 - \\\"the end of `Bearer SECRET-3` is near\\\"\n",
        "> event of operation 0: warning: the end of `Bearer REDACTED` is near\n",
        " part 7 sha256:",
        "?sig=SECRET-5&expires=SECRET-6&scope=SECRET-7\n",
        ">   range: bytes=7-\n",
        ", from 7\n>   reach: anywhere\n",
        "> status 206\n",
        "> fault reset the connection broke\n",
        "> status 429\n",
        "after 1 failed: GET ......: ",
        "too much of https://cdn.example/v2/team/app/blobs/sha256:",
        " reset the pool is gone\n",
        ", in the sink\n",
        "> event of operation 0: done\n",
    ] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
    let basic = record(Task::Pull, TREE, Scheme::Basic, Keep::Documents).to_text();
    for shown in [" basic user SECRET-2\n", ">   authorization: Basic user:SECRET-2\n"] {
        assert!(basic.contains(shown), "{shown} is not in\n{basic}");
    }
    let by_get = record(Task::Walk, TREE, Scheme::TokenByGet, Keep::Documents).to_text();
    assert!(by_get.contains(">   authorization: Basic <token>:SECRET-2\n"), "{by_get}");
}

#[test]
fn names_do_not_change_when_a_replay_is_recorded() {
    let recording = record(Task::Pull, TREE, Scheme::Token, Keep::Documents);
    let mut secrets = Secrets::new();
    for step in &recording.steps {
        match &step.input {
            Input::Complete(_, transcript) => assert_eq!(secrets.transcript(transcript), *transcript),
            Input::Credentials(_, Some(found)) => assert_eq!(secrets.credentials(found), *found),
            _ => {}
        }
    }
}

#[test]
fn a_changed_input_is_reported_as_a_divergence() {
    let recording = record(Task::Pull, TREE, Scheme::Token, Keep::Documents);
    let mut documents = 0;
    for at in 0..recording.steps.len() {
        let mut changed = recording.clone();
        let Input::Complete(_, transcript) = &mut changed.steps[at].input else { continue };
        let (Some((status, _)), RecordedBody::Document(_)) = (&mut transcript.head, &transcript.body) else {
            continue;
        };
        *status = StatusCode::FORBIDDEN;
        documents += 1;
        let divergence = replay(&changed).expect_err("the manifest is refused");
        assert!(divergence.step > at, "{divergence:?}");
        if documents == 1 {
            assert!(divergence.recorded.contains("resolved"), "{divergence:?}");
            assert!(divergence.replayed.contains("the registry answered 403"), "{divergence:?}");
        }
    }
    assert!(documents > 5, "{documents}");

    let mut other = recording.clone();
    other.seed += 1;
    let divergence = replay(&other).expect_err("other waits");
    assert!(divergence.recorded.contains("retry in"), "{divergence:?}");
}

#[test]
fn a_recording_with_the_bytes_of_blobs_is_replayed_in_any_session() {
    for scheme in Scheme::ALL {
        let recording = record(Task::Check, TREE, scheme, Keep::Everything);
        assert_eq!(replay(&recording), Ok(()));
        // The driver held nothing, so nothing is assumed.
        assert_eq!(play(&recording, Session::new(config(), recording.seed)), Ok(()));
    }
    let recording = record(Task::Pull, TREE, Scheme::Nothing, Keep::Everything);
    assert_eq!(replay(&recording), Ok(()));
}
