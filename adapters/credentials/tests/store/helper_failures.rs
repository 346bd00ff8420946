//! Helpers that fail, hang or are missing: each is named in the error, and none keeps running.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto_credentials::Store;

use crate::support::{TestDirectory, assert_ends, message, query, runs};

fn place(script: &str) -> TestDirectory {
    TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", script)
}

/// The message of the fault, without the name of the file, which is checked.
#[track_caller]
fn fault(place: &TestDirectory) -> String {
    let fault = place.fault("registry.example/app");
    let rest = fault.strip_prefix(&format!("{}: the credential helper ", place.config().display()));
    rest.unwrap_or_else(|| panic!("{fault}")).to_owned()
}

#[test]
fn the_error_of_a_failed_helper_says_how_to_see_its_output() {
    let failed = "`docker-credential-store` failed (exit status: 3); to see why, run: \
                  echo registry.example | docker-credential-store get";
    for script in ["echo 'the keychain is locked'; exit 3", "echo 'no session' >&2; exit 3", "exit 3"] {
        assert_eq!(fault(&place(script)), failed, "{script}");
    }
    assert!(fault(&place("kill -9 $$")).contains("(signal: 9"));
}

#[test]
fn output_is_not_quoted_since_it_may_contain_the_login() {
    for script in [
        "echo 'user:hunter2 was refused'; exit 3",
        "echo 'user:hunter2 was refused' >&2; exit 3",
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
fn an_invalid_answer_is_an_error() {
    for (answer, expected) in [
        ("", "JSON: EOF while parsing a value at line 1 column 0"),
        ("hello", "JSON: expected value at line 1 column 1"),
        ("[]", "JSON that is not an object"),
        ("{\"Username\": \"u\", \"Secret\": 7}", "`Secret` is not a string"),
        ("{\"Username\": {}, \"Secret\": \"s\"}", "`Username` is not a string"),
        ("{\"Username\": \"a:b\", \"Secret\": \"s\"}", "must not contain a colon"),
    ] {
        let fault = fault(&place(&format!("echo '{answer}'")));
        assert!(fault.starts_with("`docker-credential-store` ") && fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_helper_that_cannot_be_started_is_named() {
    let place = TestDirectory::with_config("{\"credsStore\": \"nonesuch\"}");
    let expected = "`docker-credential-nonesuch` is not in PATH; install it, or remove it from the file";
    assert_eq!(fault(&place), expected);

    let place = TestDirectory::with_config("{\"credsStore\": \"directory\"}");
    fs::create_dir(place.path().join("docker-credential-directory")).unwrap();
    let fault = fault(&place);
    assert!(
        fault.starts_with("`docker-credential-directory` could not be started: Permission denied"),
        "{fault}"
    );
}

#[test]
fn a_helper_name_with_special_characters_is_refused() {
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
        let place = TestDirectory::with_config(format!("{{\"credsStore\": \"{name}\"}}"))
            .helper("store", "touch \"$(dirname \"$0\")/ran\"");
        fs::create_dir(place.path().join("docker-credential-x")).unwrap();
        let fault = fault(&place);
        assert!(fault.contains("has an invalid name"), "{fault}");
        assert!(!place.path().join("ran").exists(), "{name:?}");
    }
    let long = TestDirectory::with_config(format!("{{\"credsStore\": \"{}\"}}", "x".repeat(10_000)));
    assert!(fault(&long).len() < 500, "{}", fault(&long));
}

#[test]
fn a_helper_that_does_not_exit_is_killed_at_the_time_limit() {
    thread::scope(|scope| {
        for script in [
            "echo $$ > \"$0.pid\"; exec sleep 60",
            "echo $$ > \"$0.pid\"; trap '' TERM; while :; do sleep 0.01; done",
            "echo $$ > \"$0.pid\"; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'; exec sleep 60",
            "echo $$ > \"$0.pid\"; echo '{\"Username\": \"u\", \"Secret\": \"s\"}'; exec sleep 60 >&-",
        ] {
            scope.spawn(|| assert_killed_at_the_time_limit(&place(script)));
        }
    });
}

#[test]
fn the_children_of_a_helper_are_killed_with_it() {
    let place = place("sleep 60 & echo $! > \"$0.child\"; echo $$ > \"$0.pid\"; wait");
    assert_killed_at_the_time_limit(&place);
    assert_ends(&place.note("docker-credential-store.child"));
}

#[test]
fn running_helpers_can_be_killed() {
    let place = place("sleep 60 & echo $! > \"$0.child\"; echo $$ > \"$0.pid\"; wait");
    let store = place.store();
    let fault = thread::scope(|scope| {
        let looking_up = scope.spawn(|| message(store.for_client().look_up(&query("registry.example/app"))));
        let until = Instant::now() + Duration::from_secs(10);
        while place.note("docker-credential-store.pid").is_empty() {
            assert!(Instant::now() < until, "the helper does not start");
            thread::sleep(Duration::from_millis(5));
        }
        store.for_client().kill_helpers();
        // A killed process ends a little later.
        thread::sleep(Duration::from_millis(200));
        assert!(runs(&place.note("docker-credential-store.pid")), "another client's helper was killed");
        store.clone().kill_helpers();
        looking_up.join().unwrap()
    });
    assert!(fault.contains("`docker-credential-store` failed (signal: 9"), "{fault}");
    assert_gone(&place);
    assert_ends(&place.note("docker-credential-store.child"));
}

#[test]
fn helpers_are_not_run_from_the_working_directory() {
    let home = place("touch \"$0.ran\"");
    for path in ["", ".", ":", "relative/bin:", "./", "no:."] {
        let relative = pathdiff(home.path());
        for path in [path.to_owned(), format!("{path}:{}", relative.display())] {
            let store = Store::from_vars(|name| match name {
                "DOCKER_CONFIG" => Some(home.path().into()),
                "PATH" => Some(path.clone().into()),
                _ => None,
            });
            let fault = message(store.look_up(&query("registry.example/app")));
            assert!(fault.contains("`docker-credential-store` is not in PATH"), "{path}: {fault}");
        }
    }
    assert_eq!(home.note("docker-credential-store.ran"), "");
}

/// A path to a directory from the working directory.
fn pathdiff(directory: &Path) -> PathBuf {
    let up = env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
    up.join(directory.strip_prefix("/").unwrap())
}

#[track_caller]
fn assert_killed_at_the_time_limit(place: &TestDirectory) {
    let since = Instant::now();
    let store = place.store().helper_timeout(Duration::from_secs(1));
    let fault = message(store.look_up(&query("registry.example/app")));
    assert!(fault.contains("`docker-credential-store` did not exit within 1s"), "{fault}");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_gone(place);
}

#[test]
fn a_helper_that_writes_without_end_is_killed() {
    for script in
        ["echo $$ > \"$0.pid\"; exec yes", "echo $$ > \"$0.pid\"; yes & echo $! > \"$0.child\"; wait"]
    {
        let place = place(script);
        let since = Instant::now();
        assert_eq!(fault(&place), "`docker-credential-store` wrote more than 64 KiB, and was killed");
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert_gone(&place);
        assert_ends(&place.note("docker-credential-store.child"));
    }
}

#[test]
fn a_helper_that_writes_to_stderr_without_end_is_killed() {
    assert_killed_at_the_time_limit(&place("echo $$ > \"$0.pid\"; exec yes >&2"));
}

/// Asserts that the helper neither runs nor is a zombie.
#[track_caller]
fn assert_gone(place: &TestDirectory) {
    let pid = place.note("docker-credential-store.pid");
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    assert!(!Path::new("/proc").join(&pid).exists(), "{pid} still exists");
}
