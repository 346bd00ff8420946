//! Wrong usage: the status is 2, nothing is on stdout, and stderr says what to write instead.

use crate::support::ocip;

#[test]
fn mistakes_are_explained() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["resolve"], &["<REF>", "ocip resolve"]),
        (&["rsolve", "alpine"], &["rsolve", "resolve"]),
        (&["resolve", "alpine", "busybox"], &["busybox"]),
        (&["resolve", "UPPER"], &["UPPER", "lower case"]),
        (&["resolve", "https://ghcr.io/a/b:1"], &["no scheme", "write `ghcr.io/a/b:1`"]),
        (&["resolve", "docker://alpine"], &["no scheme", "write `alpine`"]),
        (&["tree", "https://hub.docker.com/_/alpine"], &["write `alpine`"]),
        (&["tree", "https://hub.docker.com/r/grafana/loki/"], &["write `grafana/loki`"]),
        (&["tree", "https://registry.example/v2/?n=1"], &["a URL is not a reference"]),
        (&["blob", "alpine:3"], &["named by its digest", "alpine@sha256:"]),
        (&["blob", "alpine@sha256:12"], &["sha256:12", "hexadecimal"]),
        (&["resolve", "alpine@md5:0123"], &["md5:0123", "cannot be verified"]),
        (&["tree", "--platform", "linux", "alpine"], &["linux", "linux/arm64"]),
        (&["tree", "--adapter", "reqwest", "alpine"], &["reqwest", "tokio", "ureq"]),
        (&["tree", "--in-flight", "0", "alpine"], &["--in-flight", "1..=256"]),
        (&["tree", "--retries", "101", "alpine"], &["--retries", "0..=100"]),
        (&["tree", "--timeout", "0", "alpine"], &["--timeout", "above 0"]),
        (&["tree", "--timeout", "soon", "alpine"], &["--timeout", "number of seconds"]),
        (&["tree", "-v", "-q", "alpine"], &["--verbose", "--quiet"]),
        (&["manifest", "--json", "alpine"], &["--json"]),
        (&["resolve", "--ca-file", "/no/such/file", "alpine"], &["--ca-file /no/such/file", "No such file"]),
        (&["resolve", "--ca-file", "Cargo.toml", "alpine"], &["--ca-file Cargo.toml", "no certificate"]),
        (&["completions", "tcsh"], &["tcsh", "bash"]),
    ];
    for (arguments, said) in cases {
        let ran = ocip(arguments);
        ran.failed(2, said);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert_eq!(ran.text(), "", "{arguments:?}");
    }
}

#[test]
fn a_directory_is_no_place_for_a_blob() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    ocip(&["blob", "-o", path, &format!("alpine@{digest}")]).failed(2, &["--output", path, "directory"]);
    let lost = format!("{path}/no/such/directory/layer");
    ocip(&["blob", "-o", &lost, &format!("alpine@{digest}")]).failed(2, &["--output", &lost]);
}

#[test]
fn without_arguments_the_help_is_shown() {
    let ran = ocip(&[]);
    ran.failed(2, &["Usage: ocip", "resolve", "ocip demo"]);
}
