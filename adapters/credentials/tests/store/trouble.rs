//! Helpers that fail, that hang, and that are not there: each is named, and none is left behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Place, message, query};

fn place(script: &str) -> Place {
    Place::with_config("{\"credsStore\": \"store\"}").helper("store", script)
}

/// What the fault says, with the file's name checked and left out.
#[track_caller]
fn fault(place: &Place) -> String {
    let fault = place.fault("registry.example/app");
    let rest = fault.strip_prefix(&format!("{}: the credential helper ", place.config().display()));
    rest.unwrap_or_else(|| panic!("{fault}")).to_owned()
}

#[test]
fn a_helper_that_fails_is_quoted_on_one_short_line() {
    let failed = "`docker-credential-store` failed (exit status: 3): ";
    let long = "word ".repeat(1000);
    for (script, said) in [
        ("echo 'the keychain is locked'; echo noise >&2; exit 3", "the keychain is locked"),
        ("echo 'no session' >&2; exit 3", "no session"),
        ("exit 3", "it did not say why"),
        ("printf 'one\\ntwo\\t\\033[31mthree\\r\\n'; exit 3", "one two [31mthree"),
        ("printf 'caf\\351'; exit 3", "caf\u{fffd}"),
        (&format!("echo '{long}'; exit 3"), &format!("{}...", &long[..300])),
    ] {
        assert_eq!(fault(&place(script)), format!("{failed}{said}"), "{script}");
    }
    assert!(fault(&place("kill -9 $$")).contains("(signal: 9"));
}

#[test]
fn what_may_be_the_login_is_not_quoted() {
    for script in [
        "echo '{\"Username\": \"user\", \"Secret\": \"hunter2\"}'; exit 3",
        "echo 'debug: {Secret: hunter2}' >&2; exit 3",
        "set -x; echo '{\"Secret\": \"hunter2\"}' > /dev/null; exit 3",
        "echo '{\"Username\": \"user\", \"Secret\": hunter2}'",
        "echo '{\"Username\": \"user\", \"Secret\": [\"hunter2\"]}'",
        "echo '\"hunter2\"'",
        "echo hunter2",
    ] {
        let fault = fault(&place(script));
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

#[test]
fn an_answer_in_another_form_is_an_error() {
    for (answer, said) in [
        ("", "JSON: EOF while parsing a value at line 1 column 0"),
        ("hello", "JSON: expected value at line 1 column 1"),
        ("[]", "something else than a JSON object"),
        ("{\"Username\": \"u\", \"Secret\": 7}", "`Secret` is not a string"),
        ("{\"Username\": {}, \"Secret\": \"s\"}", "`Username` is not a string"),
        ("{\"Username\": \"a:b\", \"Secret\": \"s\"}", "must not have a colon"),
    ] {
        let fault = fault(&place(&format!("echo '{answer}'")));
        assert!(fault.starts_with("`docker-credential-store` ") && fault.contains(said), "{fault}");
    }
}

#[test]
fn a_helper_that_cannot_be_run_is_named() {
    let place = Place::with_config("{\"credsStore\": \"nonesuch\"}");
    let expected = "`docker-credential-nonesuch` is not in PATH; install it, or take it out of the file";
    assert_eq!(fault(&place), expected);

    let place = Place::with_config("{\"credsStore\": \"directory\"}");
    fs::create_dir(place.path().join("docker-credential-directory")).unwrap();
    let fault = fault(&place);
    assert!(
        fault.starts_with("`docker-credential-directory` cannot be started: Permission denied"),
        "{fault}"
    );
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    for name in [
        "../store",
        "x/../../store",
        "/store",
        "a\\\\b",
        "store get",
        "store;id",
        "c:store",
        "a\\u0000b",
        "\u{e4}",
    ] {
        let place = Place::with_config(format!("{{\"credsStore\": \"{name}\"}}"))
            .helper("store", "touch \"$(dirname \"$0\")/ran\"");
        fs::create_dir(place.path().join("docker-credential-x")).unwrap();
        let fault = fault(&place);
        assert!(fault.contains("has a name with something else than letters"), "{fault}");
        assert!(!place.path().join("ran").exists(), "{name:?}");
    }
    let long = Place::with_config(format!("{{\"credsStore\": \"{}\"}}", "x".repeat(10_000)));
    assert!(fault(&long).len() < 500, "{}", fault(&long));
}

#[test]
fn a_helper_that_does_not_end_is_stopped_at_the_timeout() {
    thread::scope(|scope| {
        for script in [
            "echo $$ > \"$0.pid\"; exec sleep 60",
            "echo $$ > \"$0.pid\"; trap '' TERM; while :; do sleep 0.01; done",
            "echo $$ > \"$0.pid\"; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'; exec sleep 60",
            "echo $$ > \"$0.pid\"; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'; exec sleep 60 >&-",
        ] {
            scope.spawn(|| stopped_at_the_timeout(&place(script)));
        }
    });
}

#[test]
fn a_child_that_a_helper_leaves_behind_holds_nobody_up() {
    let place = place("sleep 60 & echo $! > \"$0.child\"; echo $$ > \"$0.pid\"; wait");
    stopped_at_the_timeout(&place);
    let child = place.note("docker-credential-store.child");
    assert!(Command::new("kill").arg(child).status().unwrap().success());
}

#[track_caller]
fn stopped_at_the_timeout(place: &Place) {
    let since = Instant::now();
    let store = place.store().helper_timeout(Duration::from_secs(1));
    let fault = message(store.look_up(&query("registry.example/app")));
    assert!(fault.contains("`docker-credential-store` did not end within 1s"), "{fault}");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    gone(place);
}

#[test]
fn a_helper_that_never_stops_writing_is_stopped() {
    for script in [
        "echo $$ > \"$0.pid\"; exec yes",
        // Its child outlives it by no more than a write.
        "echo $$ > \"$0.pid\"; yes & echo $! > \"$0.child\"; wait",
    ] {
        let place = place(script);
        let since = Instant::now();
        assert_eq!(fault(&place), "`docker-credential-store` wrote more than 64 KiB, and was stopped");
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        gone(&place);
        let child = place.note("docker-credential-store.child");
        let until = Instant::now() + Duration::from_secs(5);
        while !child.is_empty() && runs(&child) {
            assert!(Instant::now() < until, "{child} still writes");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_helper_that_never_stops_complaining_is_stopped() {
    let place = place("echo $$ > \"$0.pid\"; exec yes >&2");
    let since = Instant::now();
    assert!(fault(&place).contains("failed (signal: 13"), "{}", fault(&place));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    gone(&place);
}

/// The helper neither runs nor waits for somebody to learn how it ended.
#[track_caller]
fn gone(place: &Place) {
    let pid = place.note("docker-credential-store.pid");
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    assert!(!Path::new("/proc").join(&pid).exists(), "{pid} is still there");
}

/// Whether it is there and no zombie, which only its parent could wait for.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
