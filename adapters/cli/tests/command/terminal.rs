//! Output on a terminal: progress bars, escapes, widths.

use oci_proto::{Algorithm, Digest};

use crate::support::{ADAPTERS, ocip, response, sample, scripted, scripted_by_head, with_headers};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

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
        let [warning, retry @ .., spent, last] = &shown[..] else { panic!("{shown:#?}") };
        assert_eq!(warning, "warning: old");
        let retry = retry.join(" ");
        assert!(retry.starts_with("retry 1 of 4 in 0."), "{shown:#?}");
        assert!(retry.contains(&format!(" s: GET http://{address}/v2/demo/blobs/sha256:")), "{shown:#?}");
        assert!(spent.starts_with(&format!("{adapter}: 2 requests, ")), "{shown:#?}");
        assert_eq!(last, "");
    }
}

#[test]
fn the_bars_of_a_copy_leave_a_line_for_each_blob() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("oci:{}", home.path().join(name).display());
    ocip(&["pull", "-q", &format!("{}/demo", sample()), &home.path().join("lay").display().to_string()])
        .succeeded();
    let copy = ["copy", "--platform", "linux/arm64", &path("lay"), &path("new")];
    for how in ["sent     ", "exists   "] {
        let written = on_terminal(&copy);
        assert!(written.contains("total  "), "no bar is drawn: {written}");
        let shown = screen(&written);
        let [blobs @ .., sum, media_type, digest, size, last] = &shown[..] else { panic!("{shown:#?}") };
        assert!(blobs.len() == 3 && blobs.iter().all(|line| line.starts_with(how)), "{shown:#?}");
        assert!(sum.starts_with("4 items, "), "{shown:#?}");
        let names = [media_type, digest, size].map(|line| line.split(' ').next().unwrap());
        assert_eq!(names, ["mediaType", "digest", "size"], "{shown:#?}");
        assert_eq!(last, "");
    }
}

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
            assert_eq!(ocip(&[&["--adapter", adapter], words].concat()).succeeded().text(), index);
        }
    }
}

#[test]
fn digests_are_shortened_on_a_terminal() {
    let name = format!("{}/demo", sample());
    let piped = ocip(&["tree", &name]).succeeded();
    let demo = ocip(&["demo"]).succeeded();
    let shown = screen(&on_terminal(&["-q", "tree", &name])).join("\n");
    assert!(shown.starts_with("index           1a1ff64b7959      945 B\n"), "{shown}");
    assert!(demo.text().contains(&shown), "{shown}");
    let full = screen(&on_terminal(&["-q", "tree", "--full", &name])).join("\n");
    assert_eq!(full, piped.text());
    for line in screen(&on_terminal(&["-q", "tree", "--blobs", &name])) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn errors_are_wrapped_on_a_terminal_except_lines_to_copy() {
    let name = format!("oci:{}", "very/long/".repeat(9));
    let missing = format!("{}/demo:nonesuch", sample());
    for words in [&["tree", &missing][..], &["tree", "--platform", "linux", "x"], &["blob", &name]] {
        let shown = screen(&on_terminal_with(words, |status| status == 1 || status == 2));
        assert!(shown.len() > 3, "{shown:#?}");
        for line in &shown {
            assert!(line.chars().count() <= 80 || !line.contains(' '), "{shown:#?}");
        }
        let piped = ocip(words).stderr;
        assert_eq!(
            shown.join(" ").split_whitespace().collect::<Vec<_>>(),
            piped.split_whitespace().collect::<Vec<_>>()
        );
    }
    let url = format!("docker://127.0.0.1:5000/{}", "x".repeat(60));
    let shown = screen(&on_terminal_with(&["tree", "--platform", "linux/arm64", &url], |status| status == 2));
    let line =
        format!("hint: did you mean: ocip tree --platform linux/arm64 127.0.0.1:5000/{}", "x".repeat(60));
    assert!(shown.contains(&line), "{shown:#?}");
}

/// Runs the command on a terminal, and returns its output.
fn on_terminal(arguments: &[&str]) -> String {
    on_terminal_with(arguments, |status| status == 0)
}

/// Runs the command on a terminal, expecting this exit status, and returns its output.
fn on_terminal_with(arguments: &[&str], expected: impl Fn(i32) -> bool) -> String {
    let words: Vec<String> =
        [&[env!("CARGO_BIN_EXE_ocip")], arguments].concat().iter().map(|word| format!("'{word}'")).collect();
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script, of util-linux, runs");
    let written = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code().is_some_and(expected), "{written}");
    written
}

/// The lines that a terminal shows after this output.
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
