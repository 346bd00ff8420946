//! `ocip check` of a registry.

use std::collections::BTreeSet;

use oci_proto::MediaType;
use oci_proto::server::{Flavour, Memory};
use serde_json::Value;

use crate::support::{ADAPTERS, ocip, on_both, registry_that_serves, sample};

#[test]
fn an_intact_registry_has_no_problems() {
    let ran = on_both(&["check", "-q", &format!("{}/demo", sample())]).succeeded();
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn each_problem_is_a_line_and_sets_the_exit_status() {
    let mut memory = Memory::new();
    let [good, bad, gone] = [&b"good"[..], b"0123456789", b"gone"]
        .map(|bytes| memory.add_blob(MediaType::OCTET_STREAM, bytes.to_vec()));
    let image = memory.add_image(Flavour::OCI, None, &[b"good", b"0123456789", b"gone"]);
    let mut damaged = memory.clone();
    damaged.corrupt(&bad.digest, b"abcdefghij".to_vec());
    // The registry lists this blob, and then does not find it.
    damaged.remove(&gone.digest);
    let address = registry_that_serves(&memory, &image, damaged);

    for adapter in ADAPTERS {
        let ran =
            ocip(&["check", "--adapter", adapter, "--retries", "0", "--json", &format!("{address}/demo")]);
        ran.failed(1, &["error: 2 problems in "]);
        let found: BTreeSet<(String, String)> = ran
            .text()
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["problem"].as_str().unwrap().to_owned(), line["digest"].as_str().unwrap().to_owned())
            })
            .collect();
        let expected = [("missing", &gone), ("wrong-content", &bad)]
            .map(|(problem, blob)| (problem.to_owned(), blob.digest.to_string()));
        assert_eq!(found, BTreeSet::from(expected));
        assert!(!ran.text().contains(&good.digest.to_string()));
    }
}

#[test]
fn a_missing_tag_fails_a_check() {
    on_both(&["check", &format!("{}/demo:nonesuch", sample())]).failed(1, &["404 Not Found", "hint: "]);
}
