//! Credential helpers: their input, and which one is run.

use std::fs;
use std::time::{Duration, Instant};

use oci_proto::Credentials;

use crate::support::{TestDirectory, assert_ends, base64, config, login, query};

/// A script that records its input, and returns this login.
fn answering(username: &str, secret: &str) -> String {
    format!(
        "echo \"$1 $(cat)\" >> \"$(dirname \"$0\")/asked\"
         echo '{{\"ServerURL\": \"x\", \"Username\": \"{username}\", \"Secret\": \"{secret}\"}}'"
    )
}

/// A script that records its input, and has no login.
const EMPTY: &str = "echo \"$1 $(cat)\" >> \"$(dirname \"$0\")/asked\"
    echo 'credentials not found in native keychain'
    exit 1";

#[test]
fn a_helper_receives_the_registry() {
    let place = TestDirectory::with_config("{\"credsStore\": \"store\"}")
        .helper("store", &answering("user", "pass:word"));
    assert_eq!(place.look_up("registry.example:5000/team/app"), Ok(login("user", "pass:word")));
    assert_eq!(place.note("asked"), "get registry.example:5000");
}

#[test]
fn the_source_of_a_login_is_known() {
    let auths = format!("{{\"b.example\": {{\"auth\": \"{}\"}}}}", base64("entry:3"));
    let place = TestDirectory::with_config(format!(
        "{{\"auths\": {auths}, \"credHelpers\": {{\"a.example\": \"own\"}}}}"
    ))
    .helper("own", &answering("user", "1"));
    let store = place.store();
    let file = place.config().display().to_string();
    for (registry, source) in [
        ("a.example", Some(format!("the credential helper `docker-credential-own` in {file}"))),
        ("b.example", Some(file.clone())),
        ("c.example", None),
    ] {
        let found = store.look_up(&query(&format!("{registry}/app"))).unwrap();
        assert_eq!(store.clone().source(&registry.parse().unwrap()), source);
        assert_eq!(found.is_some(), source.is_some());
    }
}

#[test]
fn the_user_token_marks_a_refresh_token() {
    let place =
        TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", &answering("<token>", "t"));
    assert_eq!(place.look_up("registry.example/app"), Ok(Some(Credentials::Identity("t".into()))));
}

#[test]
fn creds_store_receives_the_url_of_docker_hub() {
    let place =
        TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", &answering("user", "p"));
    assert_eq!(place.look_up("docker.io/library/alpine"), Ok(login("user", "p")));
    assert_eq!(place.note("asked"), "get https://index.docker.io/v1/");
}

#[test]
fn a_cred_helper_receives_its_key() {
    for key in ["https://index.docker.io/v1/", "docker.io"] {
        let place = TestDirectory::with_config(format!("{{\"credHelpers\": {{\"{key}\": \"own\"}}}}"))
            .helper("own", &answering("user", "p"));
        assert_eq!(place.look_up("docker.io/library/alpine"), Ok(login("user", "p")));
        assert_eq!(place.note("asked"), format!("get {key}"));
    }
}

#[test]
fn cred_helpers_precede_creds_store_and_creds_store_precedes_entries() {
    let auths = format!(
        "{{\"a.example\": {{\"auth\": \"{0}\"}}, \"b.example\": {{\"auth\": \"{0}\"}}}}",
        base64("entry:3")
    );
    let config = |store: &str| {
        let helpers = "{\"a.example\": \"own\", \"c.example/team\": \"own\"}";
        format!("{{\"auths\": {auths}, \"credsStore\": \"{store}\", \"credHelpers\": {helpers}}}")
    };
    let place = |store| {
        TestDirectory::with_config(config(store))
            .helper("own", &answering("own", "1"))
            .helper("full", &answering("store", "2"))
            .helper("empty", EMPTY)
    };
    let full = place("full");
    assert_eq!(full.look_up("a.example/app"), Ok(login("own", "1")));
    assert_eq!(full.look_up("b.example/app"), Ok(login("store", "2")));
    assert_eq!(full.look_up("c.example/team/app"), Ok(login("store", "2")), "a path has no helper");
    let empty = place("empty");
    assert_eq!(empty.look_up("b.example/app"), Ok(login("entry", "3")));
    assert_eq!(empty.look_up("c.example/team/app"), Ok(None));
}

#[test]
fn a_cred_helper_without_a_login_ends_the_look_up_in_its_file() {
    let place = TestDirectory::with_config(format!(
        "{{\"auths\": {{\"a.example\": {{\"auth\": \"{}\"}}}}, \"credsStore\": \"store\", \
         \"credHelpers\": {{\"a.example\": \"own\"}}}}",
        base64("entry:1")
    ))
    .helper("own", EMPTY)
    .helper("store", &answering("store", "2"));
    assert_eq!(place.look_up("a.example/app"), Ok(None));
    assert_eq!(place.note("asked"), "get a.example");

    fs::create_dir(place.path().join("containers")).unwrap();
    fs::write(place.path().join("containers/auth.json"), config(&[("a.example", "next:3")])).unwrap();
    assert_eq!(place.look_up("a.example/app"), Ok(login("next", "3")));
}

#[test]
fn an_empty_name_exempts_a_registry_from_creds_store() {
    let place = TestDirectory::with_config(format!(
        "{{\"auths\": {{\"a.example\": {{\"auth\": \"{}\"}}}}, \"credsStore\": \"store\", \
         \"credHelpers\": {{\"a.example\": \"\"}}}}",
        base64("entry:1")
    ))
    .helper("store", &answering("store", "2"));
    assert_eq!(place.look_up("a.example/app"), Ok(login("entry", "1")));
    assert_eq!(place.note("asked"), "");
}

#[test]
fn a_helper_without_a_login_is_not_an_error() {
    for script in [
        EMPTY,
        "printf 'credentials not found in native keychain'; exit 1",
        "echo 'credentials not found in native keychain'",
        "echo '{}'",
        "echo '{\"ServerURL\": \"x\", \"Username\": \"\", \"Secret\": \"\"}'",
    ] {
        let place = TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", script);
        assert_eq!(place.look_up("registry.example/app"), Ok(None), "{script}");
    }
}

#[test]
fn a_helper_may_ignore_stdin_and_write_to_stderr() {
    let answer = "echo '{\"Username\": \"user\", \"Secret\": \"p\"}'";
    for script in [
        answer.to_owned(),
        format!("exec <&-\n{answer}"),
        format!("head -c 300000 /dev/zero >&2\n{answer}"),
        format!("{answer}\nexec >&-\nsleep 0.1"),
    ] {
        let place = TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", &script);
        assert_eq!(place.look_up("registry.example/app"), Ok(login("user", "p")), "{script}");
    }
}

#[test]
fn no_helper_is_run_for_an_added_login() {
    let place =
        TestDirectory::with_config("{\"credsStore\": \"store\"}").helper("store", &answering("user", "p"));
    let store = place.store().login("a.example".parse().unwrap(), Credentials::login("given", "q").unwrap());
    assert_eq!(store.look_up(&query("a.example/app")), Ok(login("given", "q")));
    assert_eq!(place.note("asked"), "");
}

#[test]
fn a_process_that_a_helper_leaves_on_its_stdout_is_ended() {
    let answer = answering("u", "p4ss");
    let place = TestDirectory::with_config("{\"credsStore\": \"store\"}")
        .helper("store", &format!("sleep 50 & echo $! > \"$0.child\"\n{answer}"));
    let since = Instant::now();
    assert_eq!(place.look_up("registry.example/app"), Ok(login("u", "p4ss")));
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    let child = place.note("docker-credential-store.child");
    assert_ne!(child, "");
    assert_ends(&child);
}
