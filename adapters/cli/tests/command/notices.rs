//! Notices on stderr: retries, and the warnings of registries.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci_proto::{Algorithm, Digest};

use crate::support::{ADAPTERS, Ran, ocip, on_both, response, scripted, scripted_by_head, with_headers};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

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
fn an_upload_in_another_form_says_which() {
    let session = "Location: /v2/demo/blobs/uploads/1".as_bytes();
    for (status, expected) in [
        ("413 Payload Too Large", "send smaller chunks: PUT http://"),
        ("405 Method Not Allowed", "send chunks of another size: PUT http://"),
    ] {
        let address = scripted_by_head(move |head| {
            let line = head.first().map(String::as_str).unwrap_or_default();
            match line.split(' ').next().unwrap_or_default() {
                // The config, `{}`, cannot be sent in chunks.
                "HEAD" if line.contains("/blobs/sha256:44136fa355b3") => {
                    response("200 OK", "text/plain", b"{}")
                }
                "HEAD" | "GET" => response("404 Not Found", "text/plain", b""),
                "POST" => with_headers(response("202 Accepted", "text/plain", b""), session),
                _ => with_headers(response(status, "text/plain", b""), session),
            }
        });
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file").display().to_string();
        fs::write(&file, vec![7; 3 << 20]).unwrap();
        for adapter in ADAPTERS {
            let name = format!("{address}/demo:1");
            let ran = on_adapter(adapter, &["-v", "artifact", "--artifact-type", "a/b", &name, &file]);
            ran.failed(1, &[expected]);
            assert!(!ran.stderr.contains("fetch"), "{ran:?}");
        }
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
