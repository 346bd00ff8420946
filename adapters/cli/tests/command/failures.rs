//! Failures of the registry, the network and stdout.

use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{ADAPTERS, closed_pipe, command, ocip, on_both, response, sample, scripted};

#[test]
fn a_refused_connection() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let ran = on_both(&["resolve", "--retries", "0", &format!("{address}/demo")]);
    ran.failed(1, &["error: HEAD http://", &address.to_string(), "could not connect", "hint: "]);
    assert_eq!(ran.text(), "");
}

#[test]
fn a_missing_tag() {
    let name = format!("{}/demo:nonesuch", sample());
    for command in ["resolve", "manifest", "tree"] {
        let ran = on_both(&[command, &name]);
        ran.failed(1, &["error: ", "/v2/demo/manifests/nonesuch", "404 Not Found", "hint: "]);
        assert_eq!(ran.text(), "");
    }
}

#[test]
fn an_error_is_two_short_lines() {
    let ran = on_both(&["tree", &format!("{}/demo:nonesuch", sample())]);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{lines:?}");
}

#[test]
fn a_web_page_instead_of_a_manifest() {
    let page = b"<!DOCTYPE html><title>Sign in</title>";
    let address = scripted(|_| response("200 OK", "text/html; charset=utf-8", page));
    let ran = on_both(&["manifest", &format!("{address}/demo")]);
    ran.failed(1, &["error: GET ", "web page instead of a manifest"]);
    assert_eq!(ran.text(), "");

    let address = scripted(|_| response("503 Service Unavailable", "text/html", page));
    on_both(&["manifest", "--retries", "0", &format!("{address}/demo")])
        .failed(1, &["503 Service Unavailable", "hint: "]);
}

#[test]
fn a_server_that_does_not_speak_http() {
    let address = scripted(|_| b"220 mail.example ESMTP ready\r\n".to_vec());
    on_both(&["resolve", "--retries", "0", &format!("{address}/demo")]).failed(1, &["error: GET ", "hint: "]);
}

#[test]
fn plain_http_must_be_requested_except_for_loopback() {
    let address = scripted(|_| response("400 Bad Request", "text/plain", b"no TLS here"));
    // By default, plain HTTP is used only for loopback names, and 0.0.0.0 is not one.
    let name = format!("{}/demo", address.to_string().replace("127.0.0.1", "0.0.0.0"));
    on_both(&["resolve", "--retries", "0", &name])
        .failed(1, &["error: HEAD https://", "hint: ", "--plain-http"]);
    on_both(&["resolve", "--plain-http", &name]).failed(1, &["http://", "400 Bad Request"]);
}

#[test]
fn a_silent_registry_fails_at_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    for adapter in ADAPTERS {
        let since = Instant::now();
        let ran = ocip(&["--adapter", adapter, "tree", "--timeout", "0.3", &format!("{address}/demo")]);
        ran.failed(1, &["error: ", "deadline", "hint: ", "--timeout"]);
        assert!(since.elapsed() < Duration::from_secs(5), "{adapter}: {:?}", since.elapsed());
    }
}

/// An empty JSON object, a blob of the sample.
const BLOB: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Runs each command that prints results, on each adapter, with this stdout. Returns exit status and stderr.
fn with_stdout<O: Into<Stdio>>(stdout: impl Fn() -> O) -> Vec<(Option<i32>, String)> {
    let name = format!("{}/demo", sample());
    let blob = format!("{name}@{BLOB}");
    let home = tempfile::tempdir().unwrap();
    let runs: [&[&str]; 12] = [
        &["resolve", &name],
        &["manifest", &name],
        &["tree", &name],
        &["tree", "--json", &name],
        &["blob", &blob],
        &["pull", "-q", &name, home.path().to_str().unwrap()],
        &["demo"],
        &["completions", "bash"],
        &["--help"],
        &["help", "tree"],
        &["pull", "-h"],
        &["--version"],
    ];
    let on = |adapter, arguments: &[&str]| {
        let arguments = [&["--adapter", adapter], arguments].concat();
        let output = command(&arguments).stdout(stdout()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    runs.iter().flat_map(|run| ADAPTERS.map(|adapter| on(adapter, run))).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for (status, stderr) in with_stdout(full) {
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.starts_with("error: could not write to stdout: No space left"), "{stderr}");
    }
    let blob = format!("{}/demo@{BLOB}", sample());
    let ran = on_both(&["blob", "--output", "/dev/full", &blob]);
    ran.failed(1, &["error: could not write to /dev/full: No space left"]);
}

#[test]
fn a_closed_pipe_is_silent() {
    for (status, stderr) in with_stdout(closed_pipe) {
        assert_eq!((status, stderr.as_str()), (Some(1), ""));
    }
}
