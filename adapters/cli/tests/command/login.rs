//! Logins for registries that want one, and what becomes of the password.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{ADAPTERS, Ran, command, ocip, ocip_with, on_both, response, scripted_by_head};

const PASSWORD: &str = "hunter2 and more";
/// `user:` and the password, in base64.
const AUTH: &str = "dXNlcjpodW50ZXIyIGFuZCBtb3Jl";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that wants this login, and has one manifest by any name.
fn registry() -> SocketAddr {
    scripted_by_head(|head| {
        let is_login = |line: &&String| {
            let line = line.split_once(": ");
            line.is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("authorization") && value == format!("Basic {AUTH}")
            })
        };
        if head.iter().find(is_login).is_some() {
            let body = format!("{{\"schemaVersion\": 2, \"mediaType\": \"{INDEX}\", \"manifests\": []}}");
            return response("200 OK", INDEX, body.as_bytes());
        }
        let refusal = response("401 Unauthorized", "text/plain", b"who are you?");
        let refusal = String::from_utf8(refusal).unwrap();
        refusal.replace("Connection:", "WWW-Authenticate: Basic realm=\"test\"\r\nConnection:").into_bytes()
    })
}

/// A directory with Docker's `config.json` in it.
fn directory(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config).unwrap();
    directory
}

fn config(registry: SocketAddr) -> String {
    format!("{{\"auths\": {{\"{registry}\": {{\"auth\": \"{AUTH}\"}}}}}}")
}

#[track_caller]
fn keeps_the_secret(ran: &Ran) {
    for secret in [PASSWORD, "hunter2", AUTH] {
        assert!(!ran.stderr.contains(secret) && !ran.text().contains(secret), "{ran:?}");
    }
}

#[test]
fn a_name_and_a_password_on_stdin_are_a_login() {
    let name = format!("{}/demo", registry());
    for adapter in ADAPTERS {
        for end in ["", "\n", "\r\n"] {
            let arguments =
                ["-v", "--adapter", adapter, "manifest", "--username", "user", "--password-stdin", &name];
            let ran = ocip_with(&arguments, format!("{PASSWORD}{end}").as_bytes()).succeeded();
            assert!(ran.text().contains(INDEX), "{}", ran.text());
            keeps_the_secret(&ran);
        }
    }
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let name = format!("{}/demo", registry());
    for adapter in ADAPTERS {
        let arguments = ["-v", "--adapter", adapter, "tree", "--username", "user", "--password-stdin", &name];
        for wrong in [format!("{PASSWORD}\n\n"), format!(" {PASSWORD}"), format!("{PASSWORD} ")] {
            let ran = ocip_with(&arguments, wrong.as_bytes());
            ran.failed(1, &["error: GET http://", "401 Unauthorized", "hint: the login may be wrong"]);
            keeps_the_secret(&ran);
        }
    }
}

#[test]
fn without_a_login_the_hint_says_how_to_make_one() {
    let ran = on_both(&["resolve", &format!("{}/demo", registry())]);
    ran.failed(
        1,
        &["401 Unauthorized", "hint: log in with `docker login`", "--username", "--password-stdin"],
    );
}

#[test]
fn a_file_has_logins() {
    let registry = registry();
    let directory = directory(&config(registry));
    let file = directory.path().join("config.json");
    let name = format!("{registry}/demo");
    let ran = on_both(&["-v", "resolve", "--auth-file", file.to_str().unwrap(), &name]).succeeded();
    keeps_the_secret(&ran);

    on_both(&["resolve", "--auth-file", "/dev/null", &name]).failed(1, &["401 Unauthorized"]);
    ocip(&["resolve", "--auth-file", "/no/such/file", &name])
        .failed(2, &["error: --auth-file /no/such/file: No such file"]);
}

#[test]
fn the_logins_of_docker_serve() {
    let registry = registry();
    let directory = directory(&config(registry));
    let run = |adapter, path: &Path| {
        command(&["--adapter", adapter, "resolve", &format!("{registry}/demo")])
            .env("DOCKER_CONFIG", path)
            .output()
            .unwrap()
    };
    for adapter in ADAPTERS {
        assert_eq!(run(adapter, directory.path()).status.code(), Some(0), "{adapter}");
        assert_eq!(run(adapter, Path::new("/dev/null")).status.code(), Some(1), "{adapter}");
    }
}

#[test]
fn a_login_that_cannot_be_looked_up_is_an_error_with_a_hint() {
    let registry = registry();
    let name = format!("{registry}/demo");
    let helper = directory("{\"credsStore\": \"nonesuch\"}");
    let broken = directory(&config(registry).replace("\"}}", "\"}"));
    for (directory, said) in [(&helper, "docker-credential-nonesuch"), (&broken, "not JSON")] {
        let file = directory.path().join("config.json");
        let file = file.to_str().unwrap();
        let ran = on_both(&["-v", "resolve", "--auth-file", file, &name]);
        ran.failed(1, &["error: ", file, said, "hint: ", "--auth-file", "--username"]);
        keeps_the_secret(&ran);
    }
}

#[test]
fn mistakes_with_the_password_are_explained() {
    let cases: &[(&[&str], &[u8], &str)] = &[
        (&["--username", "user"], b"", "--username needs --password-stdin"),
        (&["--password-stdin"], b"hunter2", "--password-stdin needs --username NAME"),
        (&["--username", "user", "--password-stdin"], b"", "no password on stdin"),
        (&["--username", "user", "--password-stdin"], b"\r\n", "no password on stdin"),
        (&["--username", "user", "--password-stdin"], b"hunter2\xff", "not UTF-8"),
        (&["--username", "user", "--password-stdin"], &b"x".repeat(1 << 17), "more than 64 KiB"),
        (&["--username", "us:er", "--password-stdin"], b"hunter2", "must not have a colon"),
    ];
    for (arguments, stdin, said) in cases {
        // Nobody listens there, so that nothing comes of it if it is tried.
        let ran = ocip_with(&[&["resolve", "127.0.0.1:1/demo"], *arguments].concat(), stdin);
        ran.failed(2, &["error: --", said]);
        keeps_the_secret(&ran);
    }
}
