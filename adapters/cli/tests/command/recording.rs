//! Conversations are recorded by `ocip record`, and replayed by `ocip replay` without a network.

use std::fs;
use std::path::Path;

use oci_proto::Descriptor;
use oci_proto::server::{Flavour, Memory};

use crate::support::{
    ADAPTERS, Ran, Serving, command, home, ocip, ocip_with, ran, registry, response, sample,
    scripted_by_head, with_headers,
};

const PASSWORD: &str = "hunter2 and more";
/// `user:` and the password, in base64.
const AUTH: &str = "dXNlcjpodW50ZXIyIGFuZCBtb3Jl";

/// Runs `ocip record` with an adapter, in a directory, and returns the recording too.
fn record(at: &Path, adapter: &str, words: &[&str]) -> (Ran, String) {
    let file = format!("{adapter}.txt");
    let _ = fs::remove_file(at.join(&file));
    let words = [&["record", &file, "--"], words, &["--adapter", adapter]].concat();
    let ran = ran(&command(&words).current_dir(at).output().unwrap());
    (ran, fs::read_to_string(at.join(file)).unwrap_or_default())
}

fn replay(at: &Path, words: &[&str]) -> Ran {
    ran(&command(&[&["replay"], words].concat()).current_dir(at).output().unwrap())
}

#[test]
fn a_recorded_command_has_its_usual_result_and_is_replayed_exactly() {
    let (home, _) = home();
    let at = home.path();
    let from = format!("{}/demo", sample());
    let serving = Serving::start(&["--writable", at.join("registry").to_str().unwrap()], 2);
    let to = format!("{}/team/app:1", serving.address());
    for adapter in ADAPTERS {
        for (words, verb) in [
            (&["resolve", &from][..], "resolve"),
            (&["manifest", "--platform", "linux/amd64", &from], "manifest"),
            (&["tree", "--blobs", &from], "walk"),
            (&["check", &from], "check"),
            (&["tags", &from], "tags"),
            (&["referrers", &from], "referrers"),
            (&["config", "--platform", "linux/amd64", &from], "described_blob"),
            (&["push", "oci:lay:1.0", &to], "push"),
            (&["copy", &from, &to], "copy"),
            (&["tag", &to, "2"], "tag"),
            (&["attach", &to, "note.txt:text/plain", "--artifact-type", "a/note"], "push"),
        ] {
            let usual = ran(&command(words).current_dir(at).output().unwrap());
            let (recorded, text) = record(at, adapter, words);
            assert_eq!(
                (recorded.status, recorded.stdout),
                (0, usual.stdout),
                "{words:?}: {}",
                recorded.stderr
            );
            let replayed = replay(at, &[&format!("{adapter}.txt")]).succeeded();
            assert!(replayed.text().starts_with("exact: "), "{}", replayed.text());
            assert!(!replayed.text().contains("had not ended"), "{words:?}: {}", replayed.text());
            assert!(text.contains(&format!("] {verb} ")), "{words:?}:\n{text}");
        }
    }
}

#[test]
fn a_replay_of_a_thousand_exchanges_is_exact_byte_for_byte() {
    let mut memory = Memory::new();
    let images: Vec<Descriptor> = (0..1000)
        .map(|number: u32| memory.add_image(Flavour::OCI, None, &[number.to_string().as_bytes()]))
        .collect();
    let root = memory.add_index(Flavour::OCI, &images);
    let from = format!("{}/demo", registry(&memory, &root));
    let directory = tempfile::tempdir().unwrap();
    for adapter in ADAPTERS {
        let (recorded, text) = record(directory.path(), adapter, &["tree", &from]);
        assert_eq!(recorded.succeeded().text().lines().count(), 1001);
        let replayed = replay(directory.path(), &["--steps", &format!("{adapter}.txt")]).succeeded();
        let (steps, summary) = replayed.text().trim_end().rsplit_once('\n').unwrap();
        assert!(steps == text.trim_end(), "the steps differ from the recording");
        assert!(summary.ends_with(", 1001 requests"), "{summary}");
    }
}

#[test]
fn a_failing_login_is_recorded_without_its_password() {
    let address = scripted_by_head(|head| {
        if !head[0].contains(" /token") {
            let refusal = response("401 Unauthorized", "text/plain", b"");
            let host =
                head.iter().find_map(|line| line.to_lowercase().strip_prefix("host: ").map(str::to_owned));
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"reg\"", host.unwrap());
            return with_headers(refusal, format!("WWW-Authenticate: {realm}").as_bytes());
        }
        // A server that repeats the login.
        let login = head.iter().find_map(|line| line.split_once("Basic ").map(|(_, login)| login));
        let body = format!("{{\"details\": \"no user {PASSWORD} {}\"}}", login.unwrap_or_default());
        response("401 Unauthorized", "application/json", body.as_bytes())
    });
    let directory = tempfile::tempdir().unwrap();
    let name = format!("{address}/team/app:1");
    for adapter in ADAPTERS {
        let file = directory.path().join(adapter);
        let file = file.to_str().unwrap();
        let words = ["record", file, "--", "resolve", "--adapter", adapter, &name];
        let login = ["--username", "user", "--password-stdin"];
        ocip_with(&[&words[..], &login].concat(), PASSWORD.as_bytes()).failed(1, &["401 Unauthorized"]);
        let text = fs::read_to_string(file).unwrap();
        for secret in [PASSWORD, "hunter2", AUTH] {
            assert!(!text.contains(secret), "{secret}:\n{text}");
        }
        for shown in [
            "\nlogin [0] as user SECRET-1\n",
            "\n  authorization: Basic user:SECRET-1\n",
            "\n  |{\"details\":\"no user SECRET-1 SECRET-1\"}\n",
            "\n= [0] failed: ",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        ocip(&["replay", file]).succeeded();
    }
}

#[test]
fn bodies_of_blobs_are_recorded_only_if_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let from = format!("{}/demo", sample());
    for (option, is_whole) in [(&[][..], false), (&["--bodies"], true)] {
        let file = if is_whole { "whole.txt" } else { "digests.txt" };
        let words = [&["record"], option, &[file, "--", "check", &from]].concat();
        ran(&command(&words).current_dir(directory.path()).output().unwrap()).succeeded();
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.lines().any(|line| line.starts_with("  blob ")), "{text}");
        assert!(text.lines().any(|line| line == "  document"), "{text}");
        assert_eq!(text.contains(" base64\n"), is_whole);
        replay(directory.path(), &[file]).succeeded();
    }
}

#[test]
fn a_replay_shows_the_first_step_that_differs() {
    let directory = tempfile::tempdir().unwrap();
    let (_, text) = record(directory.path(), "ureq", &["resolve", &format!("{}/demo", sample())]);
    let changed = text.replacen("] 200\n", "] 404\n", 1);
    assert_ne!(changed, text);
    fs::write(directory.path().join("changed.txt"), &changed).unwrap();
    let replayed = replay(directory.path(), &["changed.txt"]);
    let line = 1 + changed.lines().position(|line| line.starts_with("= [0] resolved")).unwrap();
    replayed.failed(1, &[&format!("changed.txt: line {line}: the session goes another way"), "was changed"]);
    let (expected, got) = replayed.text().split_once("\ngot:\n").unwrap();
    assert!(expected.starts_with("expected:\n= [0] resolved "), "{expected}");
    assert!(got.starts_with("> [1] for operation 0: GET "), "{got}");
}

#[test]
fn mistakes_with_recordings_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let run = |words: &[&str]| ran(&command(words).current_dir(at).output().unwrap());
    let from = format!("{}/demo", sample());
    for words in [&["record", "new"][..], &["record", "new", "--"], &["record", "new", "--", "ocip"]] {
        run(words).failed(2, &["no command to record", "`ocip record FILE -- resolve alpine`"]);
    }
    run(&["record"]).failed(2, &["<FILE>", "ocip record [--bodies] <FILE> -- <COMMAND>..."]);
    run(&["record", "new", "--", "rsolve", "a"]).failed(2, &["rsolve", "resolve"]);
    run(&["record", "new", "--", "gc", "x"]).failed(2, &["`ocip gc` cannot be recorded", "no registry"]);
    run(&["record", "new", "--", "record", "x"]).failed(2, &["`ocip record` cannot be recorded"]);
    run(&["--retries", "1", "record", "new", "--", "resolve", "a"]).failed(2, &["`--retries`", "after `--`"]);
    run(&["record", "no/new", "--", "resolve", &from]).failed(2, &["could not create no/new"]);
    run(&["record", "new", "--", "tree", "oci:none"]).failed(1, &["none: not found"]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0);

    fs::write(at.join("old"), "mine").unwrap();
    run(&["record", "old", "--", "resolve", &from]).failed(2, &["could not create old", "replaces no file"]);
    assert_eq!(fs::read(at.join("old")).unwrap(), b"mine");

    run(&["replay", "none"]).failed(1, &["none: could not read the recording"]);
    run(&["replay", "old"]).failed(1, &["old: this is not a recording", "creates recordings"]);
    run(&["record", "new", "--", "ocip", "resolve", &from]).succeeded();
    let text = fs::read_to_string(at.join("new")).unwrap();
    for (file, content, shown) in [
        ("empty", String::new(), "not a recording"),
        (
            "format",
            text.replacen("recording 1 ", "recording 2 ", 1),
            "version 2 of the format; this program reads",
        ),
        ("broken", text.replacen("\nat ", "\nfrom ", 1), "the line lacks a number"),
        ("cut", text[..text.len() - 1].to_owned(), "is cut off; all before it is the same"),
    ] {
        fs::write(at.join(file), content).unwrap();
        run(&["replay", file]).failed(1, &[file, shown]);
    }
    fs::write(at.join("bytes"), [text.as_bytes(), b"\xff\n"].concat()).unwrap();
    run(&["replay", "bytes"]).failed(1, &["bytes: line ", "not text"]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_recording() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (recorded, _) = record(directory.path(), "ureq", &["resolve", &format!("{}/demo", sample())]);
    recorded.succeeded();
    let mode = fs::metadata(directory.path().join("ureq.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
