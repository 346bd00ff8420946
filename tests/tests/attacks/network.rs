//! Attacks over sockets, on both adapters.

use std::time::Duration;

use bytes::Bytes;
use oci_proto::{Config, Error, Limits, Reference};
use oci_proto_common::Settings;
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{self, MAKERS};

use super::measure::{Turn, turn};
use super::server::{Script, Server};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
    Transfer-Encoding: chunked\r\n\r\n";
/// The capacity of socket buffers between two programs on one machine.
const BETWEEN: usize = 16 << 20;

fn name(server: &Server) -> Reference {
    format!("{}/demo", server.address).parse().expect("a reference")
}

/// Limits with five attempts and short delays.
fn settings(set: impl FnOnce(&mut Limits)) -> Settings {
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(1);
    set(&mut config.limits);
    clients::settings().config(config)
}

/// The maximum cost of an attack.
#[derive(Clone, Copy)]
struct Most {
    mib: usize,
    requests: usize,
    written: usize,
}

/// Each adapter reads a manifest from the server, and must fail with the expected error.
fn attack(turn: &Turn, what: &str, script: &Script, most: Most, check: impl Fn(&str, &Error)) {
    attack_with(&settings(|_| {}), turn, what, script, most, check);
}

fn attack_with(
    settings: &Settings,
    turn: &Turn,
    what: &str,
    script: &Script,
    most: Most,
    check: impl Fn(&str, &Error),
) {
    for (adapter, make) in MAKERS {
        let server = Server::start(script.clone());
        let client = make(settings);
        let ask = || client.manifest(&name(&server), None).map(|_| ()).expect_err("the attack must fail");
        let error = turn.within(most.mib, &format!("{what}, {adapter}"), ask);
        check(adapter, &error);
        assert!(error.to_string().len() < 2000, "{adapter}: {error}");
        drop(client);
        assert!(
            server.is_left_alone_within(Duration::from_secs(10)),
            "{adapter}: {what}: a connection stays open"
        );
        assert!(server.requests() <= most.requests, "{adapter}: {what}: {} requests", server.requests());
        assert!(server.written() <= most.written, "{adapter}: {what}: {} bytes", server.written());
    }
}

fn says(words: &'static str) -> impl Fn(&str, &Error) {
    move |adapter, error| assert!(error.to_string().contains(words), "{adapter}: {error}")
}

#[test]
fn a_manifest_whose_chunks_never_end() {
    let turn = turn();
    let most = Most { mib: 32, requests: 1, written: (8 << 20) + BETWEEN };
    let chunk = Bytes::from([&b"4000\r\n"[..], &[b' '; 16 << 10], b"\r\n"].concat());
    let script = Script { begin: CHUNKED.into(), then: chunk, ..Script::default() };
    let too_large = says("the manifest exceeds the limit of 8388608 bytes");
    attack(&turn, "a manifest without end, in chunks of 16 KiB", &script, most, too_large);

    let few = settings(|limits| limits.manifest_bytes = 64 << 10);
    let most = Most { mib: 4, written: BETWEEN, ..most };
    let script =
        Script { begin: CHUNKED.into(), then: "1\r\n \r\n".repeat(1000).into(), ..Script::default() };
    let what = "a manifest without end, in chunks of one byte, where 64 KiB are read";
    attack_with(&few, &turn, what, &script, most, says("the manifest exceeds the limit of 65536 bytes"));
}

#[test]
fn a_chunk_with_an_extension_without_end() {
    let turn = turn();
    let most = Most { mib: 4, requests: 5, written: 5 * BETWEEN };
    let script =
        Script { begin: format!("{CHUNKED}1;").into(), then: vec![b'x'; 4096].into(), ..Script::default() };
    attack(&turn, "a chunk with an extension without end", &script, most, says("the connection broke: "));
}

#[test]
fn trailers_without_end() {
    let turn = turn();
    let begin = format!("{CHUNKED}1\r\n \r\n0\r\n");
    let pause = Duration::from_millis(1);
    let script = Script { begin: begin.into(), then: "x: y\r\n".repeat(100).into(), pause };
    let most = Most { mib: 4, requests: 5, written: 5 * BETWEEN };
    // ureq reads trailers of any size, so only a timeout ends it.
    let impatient = settings(|_| {}).idle_timeout(Duration::from_millis(400));
    let what = "trailers without end, with an idle timeout of 0.4 s";
    attack_with(&impatient, &turn, what, &script, most, |adapter, error| {
        let words =
            if adapter == "tokio" { "the connection broke: " } else { "no data or end of the response body" };
        assert!(error.to_string().contains(words), "{adapter}: {error}");
    });
}

#[test]
fn headers_of_1_mib() {
    let turn = turn();
    let broke = says("the connection broke: ");
    let most = Most { mib: 4, requests: 5, written: 5 * BETWEEN };
    for (what, lines) in [
        ("one header of 1 MiB", format!("x: {}\r\n", "y".repeat(1 << 20))),
        ("1 MiB of headers", "x: y\r\n".repeat((1 << 20) / 6)),
    ] {
        let begin = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        attack(&turn, what, &Script { begin: begin.into(), ..Script::default() }, most, &broke);
    }
    let then = Bytes::from(vec![b'y'; 4096]);
    let script = Script { begin: "HTTP/1.1 200 OK\r\nx: ".into(), then, ..Script::default() };
    attack(&turn, "a header without end", &script, most, &broke);
}

#[test]
fn ten_thousand_challenges() {
    let turn = turn();
    let most = Most { mib: 4, requests: 5, written: 5 << 20 };
    let value = "Basic realm=x, ".repeat(10_000);
    let begin = format!("HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: {value}\r\n\r\n");
    let script = Script { begin: begin.into(), ..Script::default() };
    attack(&turn, "10,000 challenges in one header", &script, most, |adapter, error| {
        // The limit on a head that ureq is configured with is less than that.
        let words = if adapter == "tokio" { "too many challenges" } else { "the connection broke: " };
        assert!(error.to_string().contains(words), "{adapter}: {error}");
    });
}

/// A client with this timeout.
fn impatient(make: fn(&Settings) -> Box<dyn Adapter>) -> Box<dyn Adapter> {
    make(&clients::settings().timeout(Duration::from_secs(2)))
}

#[test]
fn a_body_of_one_byte_a_second() {
    let turn = turn();
    let digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    let length = |bytes: u32| Bytes::from(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n"));
    let challenge = |at: &Server| {
        let value = format!("Bearer realm=\"http://{}/token\"", at.address);
        format!("HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: {value}\r\n\r\n")
    };
    for (adapter, make) in MAKERS {
        for what in ["manifest", "blob", "token"] {
            let pause = Duration::from_secs(1);
            let slow = Server::start(Script { begin: length(1_000_000), then: " ".into(), pause });
            let asks_for_token = Script { begin: challenge(&slow).into(), ..Script::default() };
            let registry = (what == "token").then(|| Server::start(asks_for_token));
            let client = impatient(make);
            let reference = name(registry.as_ref().unwrap_or(&slow));
            let blob = format!("{reference}@{digest}").parse().expect("a reference");
            let ask = || match what {
                "blob" => client.blob(&blob, None).map(|_| ()),
                _ => client.manifest(&reference, None).map(|_| ()),
            };
            let error = turn.within(
                4,
                &format!("a {what} of one byte a second, with a timeout of 2 s, {adapter}"),
                ask,
            );
            let error = error.expect_err("the attack must fail");
            assert!(error.to_string().contains("deadline passed"), "{adapter}: {error}");
            assert_eq!(slow.requests(), 1, "{adapter}: {what}");
            // The client is alive and in use, and has closed the connection.
            let quick = Server::start(Script { begin: length(0), ..Script::default() });
            let left = (0..100).any(|_| {
                client.manifest(&name(&quick), None).expect_err("there is no manifest");
                slow.is_left_alone_within(Duration::from_millis(50))
            });
            assert!(left, "{adapter}: the {what} is still being read");
        }
    }
}

#[test]
fn a_token_answer_of_a_million_entries() {
    let turn = turn();
    let body = format!(r#"{{"tags":[{}0],"token":"t"}}"#, "{},".repeat(1_000_000));
    let begin = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let tokens = Server::start(Script { begin: begin.into(), ..Script::default() });
    drop(body);
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.address);
    let begin = format!("HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: {challenge}\r\n\r\n");
    let script = Script { begin: begin.into(), ..Script::default() };
    let most = Most { mib: 4, requests: 1, written: 1000 };
    let too_large = says("exceeds the limit of 1048576 bytes");
    attack(&turn, "a token answer of a million entries", &script, most, too_large);
    assert_eq!(tokens.requests(), MAKERS.len());
}
