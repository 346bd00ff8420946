//! Notices on stderr: retries, and the warnings of registries.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci_proto::{Algorithm, Digest};

use crate::support::{ADAPTERS, Ran, ocip, on_both, response, scripted, scripted_by_head};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

/// A response with additional lines in its head.
fn with_headers(mut response: Vec<u8>, lines: &[u8]) -> Vec<u8> {
    let at = response.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    response.splice(at..at, [lines, b"\r\n"].concat());
    response
}

/// A registry that answers every third request, and fails the others.
fn flaky() -> SocketAddr {
    let asked = AtomicUsize::new(1);
    scripted(move |_| match asked.fetch_add(1, Ordering::SeqCst) % 3 {
        0 => response("200 OK", INDEX, EMPTY),
        _ => response("502 Bad Gateway", "text/plain", b"no\x1b[2J one there"),
    })
}

fn on_adapter(adapter: &str, arguments: &[&str]) -> Ran {
    ocip(&[&["--adapter", adapter], arguments].concat())
}

#[test]
fn each_retry_is_a_line_with_verbose() {
    let address = flaky();
    let name = format!("{address}/demo");
    for adapter in ADAPTERS {
        let ran = on_adapter(adapter, &["-v", "manifest", &name]).succeeded();
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let failed = format!(
            " s: GET http://{address}/v2/demo/manifests/latest: the registry answered 502 Bad Gateway"
        );
        for (line, begin) in lines.iter().zip(["retry 1 of 4 in 0.", "retry 2 of 4 in 0."]) {
            let middle = line.strip_prefix(begin).and_then(|rest| rest.strip_suffix("; no [2J one there"));
            let digit = middle.and_then(|rest| rest.strip_suffix(&failed));
            assert!(
                digit.is_some_and(|digit| digit.parse::<u8>().is_ok_and(|d| (1..=4).contains(&d))),
                "{ran:?}"
            );
        }
        assert_eq!(lines.len(), 3, "{ran:?}");
        assert!(lines[2].starts_with(&format!("{adapter}: 3 requests, ")), "{ran:?}");
        for asked in [&["manifest"][..], &["-q", "manifest"]] {
            let ran = on_adapter(adapter, &[asked, &[&name]].concat()).succeeded();
            assert_eq!((&ran.stdout[..], &ran.stderr[..]), (EMPTY, ""));
        }
    }
}

#[test]
fn a_retry_of_a_blob_shows_a_short_digest() {
    let digest = Digest::of(Algorithm::Sha256, EMPTY);
    let address = flaky();
    for adapter in ADAPTERS {
        let ran = on_adapter(adapter, &["-v", "blob", &format!("{address}/demo@{digest}")]).succeeded();
        let short = format!("/v2/demo/blobs/sha256:{}...: the registry", digest.encoded().get(..12).unwrap());
        assert_eq!(ran.stderr.matches(&short).count(), 2, "{ran:?}");
    }
}

#[test]
fn without_retries_a_request_is_sent_once() {
    for adapter in ADAPTERS {
        for (retries, requests) in [("0", 1), ("1", 2)] {
            let asked = AtomicUsize::new(0);
            let address = scripted(move |_| {
                let answer = format!("this was request {}", asked.fetch_add(1, Ordering::SeqCst) + 1);
                response("503 Service Unavailable", "text/plain", answer.as_bytes())
            });
            let ran =
                on_adapter(adapter, &["-v", "manifest", "--retries", retries, &format!("{address}/demo")]);
            ran.failed(1, &["error: ", &format!("503 Service Unavailable; this was request {requests}\n")]);
            let retries = ran.stderr.lines().filter(|line| line.starts_with("retry ")).count();
            assert_eq!(retries, requests - 1, "{ran:?}");
            assert_eq!(ran.text(), "");
        }
    }
}

#[test]
fn each_warning_of_a_registry_is_printed_once() {
    let digests = [b"one".as_slice(), b"two"].map(|text| Digest::of(Algorithm::Sha256, text));
    let child = |digest: &Digest| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":3}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{},{}]}}"#,
        child(&digests[0]),
        child(&digests[1])
    );
    let address = scripted(move |path| {
        let answer = if path.ends_with("/latest") {
            response("200 OK", INDEX, index.as_bytes())
        } else {
            response("404 Not Found", "text/plain", b"")
        };
        with_headers(answer, b"Warning: 299 - \"all \\\"old\\\" tags go away\", 299 - \"your token expires\"")
    });
    let name = format!("{address}/demo");
    let expected = "warning: all \"old\" tags go away\nwarning: your token expires\n";
    for adapter in ADAPTERS {
        let ran = on_adapter(adapter, &["tree", &name]).succeeded();
        assert!(ran.stderr.starts_with(&format!("{expected}3 nodes, 2 missing")), "{ran:?}");
        assert_eq!(ran.stderr.matches("warning: ").count(), 2, "{ran:?}");
        let ran = on_adapter(adapter, &["-q", "tree", &name]).succeeded();
        assert_eq!(ran.stderr, "");
        // A failed command prints them too.
        let ran = on_adapter(adapter, &["manifest", &format!("{name}:nonesuch")]);
        ran.failed(1, &[expected, "error: GET "]);
    }
}

#[test]
fn control_characters_from_servers_are_escaped() {
    let escapes = [&b"\x1b]0;title\x07\x1b[2J"[..], "\u{9b}2J".as_bytes(), "\u{202e}".as_bytes(), b"\x7f"];
    for escape in escapes {
        let quoted = |name: &str, value: &[u8]| [name.as_bytes(), b": ", value, escape, b"\""].concat();
        let answers = [
            ("404 Not Found", quoted("Warning", b"299 - \"safe\", 299 - \"not")),
            ("404 Not Found", quoted("Warning", b"299 - \"not")),
            ("401 Unauthorized", quoted("WWW-Authenticate", b"Basic realm=\"x")),
            ("307 Temporary Redirect", quoted("Location", b"\"/x")),
            ("200 OK", quoted("Content-Encoding", b"\"x")),
        ];
        for (status, head) in answers {
            let text = [b"oh ", escape].concat();
            let address = scripted(move |_| with_headers(response(status, "text/plain", &text), &head));
            let ran = on_both(&["-v", "manifest", "--retries", "0", &format!("{address}/demo")]);
            let shown = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
            assert!(ran.stderr.chars().all(shown), "{status}: {ran:?}");
            ran.failed(1, &["error: GET "]);
            assert_eq!(ran.text(), "", "{status}: {ran:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn notices_do_not_overlap_the_progress_bar() {
    let content = vec![b'x'; 200_000];
    let digest = Digest::of(Algorithm::Sha256, &content);
    let address = scripted_by_head(move |head| {
        let (half, rest) = content.split_at(100_000);
        if !head.iter().any(|line| line.eq_ignore_ascii_case("range: bytes=100000-")) {
            let whole = with_headers(response("200 OK", "a/b", &content), b"Warning: 299 - \"old\"");
            return whole[..whole.len() - half.len()].to_vec();
        }
        with_headers(
            response("206 Partial Content", "a/b", rest),
            b"Content-Range: bytes 100000-199999/200000",
        )
    });
    for adapter in ADAPTERS {
        let name = format!("{address}/demo@{digest}");
        let ran =
            on_terminal(&["-v", "blob", "--adapter", adapter, "--size", "200000", "-o", "/dev/null", &name]);
        assert!(ran.contains("kB of 200.00 kB"), "no progress is drawn: {ran}");
        let shown = screen(&ran);
        let [warning, retry, spent, last] = &shown[..] else { panic!("{shown:#?}") };
        assert_eq!(warning, "warning: old");
        assert!(retry.starts_with("retry 1 of 4 in 0."), "{shown:#?}");
        assert!(spent.starts_with(&format!("{adapter}: 2 requests, ")), "{shown:#?}");
        assert_eq!(last, "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn control_characters_of_content_are_escaped_on_a_terminal() {
    let index = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"annotations\":{{\"a\":\"\u{202e}\u{9b}2J\u{7f}\"}}}}\n"
    );
    let digest = Digest::of(Algorithm::Sha256, index.as_bytes());
    let content = index.clone();
    let address = scripted(move |_| response("200 OK", INDEX, content.as_bytes()));
    let (name, blob) = (format!("{address}/demo"), format!("{address}/demo@{digest}"));
    for adapter in ADAPTERS {
        for words in [&["manifest", &name][..], &["blob", "-o", "-", &blob]] {
            let shown = on_terminal(&[&["-q", "--adapter", adapter], words].concat());
            assert!(shown.contains("\\u202e\\u009b2J\\u007f"), "{words:?}: {shown:?}");
            assert!(!shown.contains(['\u{202e}', '\u{9b}', '\u{7f}']), "{words:?}: {shown:?}");
        }
        for words in [&["manifest", "--raw", &name][..], &["blob", "--raw", &blob]] {
            let shown = on_terminal(&[&["-q", "--adapter", adapter], words].concat());
            assert!(shown.contains(index.trim_end()), "{words:?}: {shown:?}");
        }
        // In a pipe, content is not changed.
        for words in [&["manifest", &name][..], &["blob", &blob], &["blob", "-o", "-", &blob]] {
            assert_eq!(on_adapter(adapter, words).succeeded().text(), index);
        }
    }
}

/// Runs the command on a terminal, and returns its output.
#[cfg(target_os = "linux")]
fn on_terminal(arguments: &[&str]) -> String {
    let words: Vec<String> =
        [&[env!("CARGO_BIN_EXE_ocip")], arguments].concat().iter().map(|word| format!("'{word}'")).collect();
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script, of util-linux, runs");
    let written = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{written}");
    written
}

/// The lines that a terminal shows after this output.
#[cfg(target_os = "linux")]
fn screen(written: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                let mut sequence = String::new();
                while !sequence.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    sequence.push(rest.next().expect("a sequence ends"));
                }
                match sequence.strip_suffix('A') {
                    Some(count) => row -= count.trim_start_matches('[').parse().unwrap_or(1).min(row),
                    None if sequence == "[2K" => lines[row].clear(),
                    None => panic!("unsupported sequence ESC {sequence}"),
                }
            }
            c => {
                let length = lines[row].len().max(column + 1);
                lines[row].resize(length, ' ');
                lines[row][column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
}
