//! Entries of `auths`: their forms, and which one is used.

use oci_proto::Credentials;

use crate::support::{TestDirectory, base64, config, login};

fn with_entry(entry: &str) -> TestDirectory {
    TestDirectory::with_config(format!("{{\"auths\": {{\"registry.example\": {entry}}}}}"))
}

#[test]
fn an_entry_has_one_of_four_forms() {
    let auth = |text: &str| format!("{{\"auth\": \"{}\"}}", base64(text));
    for (entry, found) in [
        (auth("user:password"), login("user", "password")),
        (auth("user:pass:word:"), login("user", "pass:word:")),
        (auth("user:"), login("user", "")),
        (auth(":password"), login("", "password")),
        (auth("user:p\u{e4}ss"), login("user", "p\u{e4}ss")),
        (auth("user:password\0\0"), login("user", "password")),
        (auth("user:password").replace('=', ""), login("user", "password")),
        ("{\"auth\": \"dXNlcjpwYXNz\\nd29yZA==\\n\"}".to_owned(), login("user", "password")),
        ("{\"username\": \"user\", \"password\": \"a b\"}".to_owned(), login("user", "a b")),
        (
            format!("{{\"username\": \"other\", \"auth\": \"{}\"}}", base64("user:password")),
            login("user", "password"),
        ),
        (
            format!("{{\"auth\": \"{}\", \"identitytoken\": \"t\"}}", base64("user:")),
            Some(Credentials::Identity("t".into())),
        ),
        (
            "{\"identitytoken\": \"t\", \"registrytoken\": \"r\"}".to_owned(),
            Some(Credentials::Bearer("r".into())),
        ),
        (
            "{\"auth\": null, \"username\": \"user\", \"password\": \"p\", \"email\": \"e\"}".to_owned(),
            login("user", "p"),
        ),
    ] {
        assert_eq!(with_entry(&entry).look_up("registry.example/app"), Ok(found), "{entry}");
    }
}

#[test]
fn an_empty_entry_is_not_a_login() {
    for entry in [
        "{}",
        "null",
        "{\"auth\": \"\"}",
        "{\"auth\": \"Og==\"}",
        "{\"email\": \"user@example.com\"}",
        "{\"username\": \"\", \"password\": \"\", \"identitytoken\": \"\", \"registrytoken\": \"\"}",
    ] {
        assert_eq!(with_entry(entry).look_up("registry.example/app"), Ok(None), "{entry}");
    }
}

#[test]
fn an_invalid_entry_is_named() {
    for (entry, expected) in [
        ("{\"auth\": \"%%%\"}".to_owned(), "`auth` is not base64"),
        (format!("{{\"auth\": \"{}\"}}", base64("no-colon")), "`auth` has no colon"),
        (format!("{{\"auth\": \"{}\"}}", base64(b"user:\xff")), "`auth` is not base64 of UTF-8"),
        ("{\"auth\": 7}".to_owned(), "`auth` is not a string"),
        ("{\"identitytoken\": [\"t\"]}".to_owned(), "`identitytoken` is not a string"),
        ("{\"username\": \"a:b\", \"password\": \"p\"}".to_owned(), "must not contain a colon"),
        ("\"user:password\"".to_owned(), "`registry.example` is not an object"),
    ] {
        let place = with_entry(&entry);
        let fault = place.fault("registry.example/app");
        for expected in [place.config().to_str().unwrap(), "`auths`", "registry.example", expected] {
            assert!(fault.contains(expected), "{expected:?} is not in {fault:?}");
        }
    }
}

#[test]
fn invalid_entries_of_other_registries_are_ignored() {
    let place = TestDirectory::with_config(
        "{\"auths\": {\"a.example\": 7, \"b.example\": {\"auth\": \"%\"}, \
         \"c.example\": {\"username\": \"user\", \"password\": \"p\"}}}",
    );
    assert_eq!(place.look_up("c.example/app"), Ok(login("user", "p")));
}

#[test]
fn the_longest_path_with_a_login_is_used() {
    let place = TestDirectory::with_config(config(&[
        ("quay.io", "all:1"),
        ("quay.io/team", "team:2"),
        ("quay.io/team/app", "app:3"),
        ("quay.io/team/app/empty", ":"),
        ("quay.io:8443", "port:4"),
    ]));
    for (reference, user, password) in [
        ("quay.io/other", "all", "1"),
        ("quay.io/teams/app", "all", "1"),
        ("quay.io/team", "team", "2"),
        ("quay.io/team/apple", "team", "2"),
        ("quay.io/team/app", "app", "3"),
        ("quay.io/team/app/x/y", "app", "3"),
        ("quay.io/team/app/empty", "app", "3"),
        ("quay.io:8443/team/app", "port", "4"),
    ] {
        assert_eq!(place.look_up(reference), Ok(login(user, password)), "{reference}");
    }
    assert_eq!(place.look_up("quay.io:443/team/app"), Ok(None));
    assert_eq!(place.look_up("quay.example/team/app"), Ok(None));
}

#[test]
fn docker_hub_is_found_under_each_of_its_names() {
    for key in [
        "https://index.docker.io/v1/",
        "https://index.docker.io/v2/",
        "index.docker.io",
        "docker.io",
        "registry-1.docker.io",
        "docker.io/library",
        "docker.io/library/alpine",
    ] {
        let place = TestDirectory::with_config(config(&[(key, "user:password")]));
        assert_eq!(place.look_up("docker.io/library/alpine"), Ok(login("user", "password")), "{key}");
    }
    let both = [("docker.io", "podman:1"), ("https://index.docker.io/v1/", "docker:2")];
    assert_eq!(TestDirectory::with_config(config(&both)).look_up("docker.io/app"), Ok(login("docker", "2")));
}
