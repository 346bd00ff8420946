//! Usage errors: exit status 2, empty stdout, and a correction on stderr.

use std::fs;

use crate::support::{Ran, command, ran, sample};

/// Runs the command in a directory with one file, and asserts that it creates no other.
#[track_caller]
fn ocip(arguments: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("text"), "no certificate").unwrap();
    let ran = ran(&command(arguments).current_dir(directory.path()).output().unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{arguments:?}");
    ran
}

#[test]
fn mistakes_are_explained() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["resolve"], &["<REF>", "ocip resolve"]),
        (&["rsolve", "alpine"], &["rsolve", "resolve"]),
        (&["resolve", "alpine", "busybox"], &["busybox"]),
        (&["resolve", "UPPER"], &["UPPER", "lower case"]),
        (&["resolve", "https://ghcr.io/a/b:1"], &["no scheme", "ocip resolve ghcr.io/a/b:1\n"]),
        (&["resolve", "docker://alpine"], &["no scheme", "ocip resolve alpine\n"]),
        (&["tree", "https://hub.docker.com/_/alpine"], &["ocip tree alpine\n"]),
        (&["tree", "https://hub.docker.com/r/grafana/loki/"], &["ocip tree grafana/loki\n"]),
        (&["tree", "https://registry.example/v2/?n=1"], &["a URL, not a reference"]),
        (&["pull", "/srv/mirror", "copy"], &["from a registry", "/srv/mirror is a path", "`ocip push`"]),
        (&["pull", "127.0.0.1:1/x", "oci:m:1.0"], &["without `oci:`", "ocip pull 127.0.0.1:1/x m\n"]),
        (&["pull", "127.0.0.1:1/x", "oci:"], &["without `oci:`"]),
        (&["pull", "127.0.0.1:1/x", "oci:m:a b"], &["without `oci:`"]),
        (&["pull", "127.0.0.1:1/x", "m:1.0"], &["must not contain a colon", "ocip pull 127.0.0.1:1/x m\n"]),
        (&["pull", "127.0.0.1:1/x", "m@sha256:12"], &["must not contain a colon"]),
        (&["pull", "127.0.0.1:1/x", "./a/m:1.0"], &["a colon", "ocip pull 127.0.0.1:1/x ./a/m\n"]),
        (&["blob", "alpine:3"], &["has no digest", "alpine@sha256:"]),
        (&["blob", "alpine@sha256:12"], &["sha256:12", "hexadecimal"]),
        (&["resolve", "alpine@md5:0123"], &["md5:0123", "cannot be verified"]),
        (&["tree", "--platform", "linux", "alpine"], &["linux", "linux/arm64"]),
        (&["tree", "--adapter", "reqwest", "alpine"], &["reqwest", "tokio", "ureq"]),
        (&["tree", "--in-flight", "0", "alpine"], &["--in-flight", "from 1 to 256"]),
        (&["tree", "--retries", "101", "alpine"], &["--retries", "from 0 to 100"]),
        (&["tree", "--timeout", "0", "alpine"], &["--timeout", "greater than 0"]),
        (&["tree", "--timeout", "soon", "alpine"], &["--timeout", "number of seconds"]),
        (&["tree", "-v", "-q", "alpine"], &["--verbose", "--quiet"]),
        (&["manifest", "--json", "alpine"], &["--json"]),
        (&["resolve", "--ca-file", "/no/such/file", "alpine"], &["--ca-file /no/such/file", "No such file"]),
        (&["resolve", "--ca-file", "text", "alpine"], &["--ca-file text", "no certificate"]),
        (&["tree", "--retries", "-1", "alpine"], &["'-1'", "from 0 to 100"]),
        (&["tree", "--timeout", "-1", "alpine"], &["'-1'", "greater than 0"]),
        (&["tree", "./mirror"], &["a path, not a reference", "ocip tree oci:./mirror\n"]),
        (&["tree", "localhost:5000"], &["repository is missing", "use localhost:5000/REPOSITORY\n"]),
        (
            &["tree", "ghcr.io"],
            &["repository is missing", "use ghcr.io/REPOSITORY", "docker.io/library/ghcr.io"],
        ),
        (
            &["tree", &format!("sha256:{}", "0".repeat(64))],
            &["a digest alone is not a reference", "use REPOSITORY@sha256:0"],
        ),
        (&["tree", "docker-daemon:alpine:3"], &["`docker-daemon:` is not supported", "oci:DIR"]),
        (&["tree", "docker-archive:a.tar"], &["`docker-archive:` is not supported", "oci-archive:NEW"]),
        (&["tree", "OCI-Archive:a.tar"], &["in lower case", "ocip tree oci-archive:a.tar\n"]),
        (&["pull", "127.0.0.1:1/x", "oci-archive:m.tar"], &["without `oci:`", "`ocip copy` writes archives"]),
        (&["blob", "--size", "10k", "alpine@sha256:12"], &["--size", "without a unit"]),
        (&["tags", "alpine:3"], &["`alpine:3` is not a repository", "ocip tags alpine\n"]),
        (&["tags", "h.example:5/a/b@sha256:12"], &["hexadecimal"]),
        (&["tags", "oci:mirror"], &["only applies to registries"]),
        (&["referrers", "oci:mirror:1"], &["only applies to registries"]),
        (&["referrers", "--artifact-type", "x", "alpine"], &["--artifact-type", "media type"]),
        (&["delete", "alpine"], &["neither a tag nor a digest", "alpine:TAG or alpine@DIGEST"]),
        (
            &["delete", &format!("alpine:3@sha256:{}", "0".repeat(64))],
            &["both a tag and a digest", "all tags that name it"],
        ),
        (&["delete", "--blob", "alpine:3"], &["a blob requires a digest"]),
        (&["serve", "--listen", "5000", "mirror"], &["--listen", "127.0.0.1:5000"]),
        (&["serve", "--listen", "example.com:5000", "mirror"], &["--listen", "an IP address or localhost"]),
        (&["inspect", "alpine"], &["'inspect'", "`ocip config`"]),
        (&["login", "-u", "me", "-p", "pw", "ghcr.io"], &["'-u'", "use --username NAME"]),
        (&["login", "-p", "pw", "ghcr.io"], &["'-p'", "--password-stdin", "other users can see"]),
        (&["login", "--password", "pw", "ghcr.io"], &["'--password'", "--password-stdin"]),
        (&["list-tags", "alpine"], &["'list-tags'", "ocip tags alpine\n"]),
        (&["-q", "cp", "alpine", "oci:c"], &["'cp'", "ocip -q copy alpine oci:c\n"]),
        (&["copy", "--all", "ghcr.io/a/b:1", "oci:c"], &["'--all'", "all platforms are included"]),
        (&["copy", "-a", "ghcr.io/a/b:1", "oci:c"], &["'-a'", "all platforms are included"]),
        (&["copy", "--multi-arch=all", "ghcr.io/a/b:1", "oci:c"], &["'--multi-arch'", "all platforms"]),
        (&["copy", "--dest-creds", "me:pw", "ghcr.io/a/b:1", "oci:c"], &["--password-stdin"]),
        (&["copy", "--dest-tls-verify=false", "ghcr.io/a/b:1", "oci:c"], &["use --plain-http"]),
        (&["copy", "--src-tls-verify=false", "ghcr.io/a/b:1", "oci:c"], &["use --plain-http"]),
        (&["copy", "--dest-cert-dir=/etc", "ghcr.io/a/b:1", "oci:c"], &["use --ca-file FILE"]),
        (&["copy", "--src-authfile=a", "ghcr.io/a/b:1", "oci:c"], &["use --auth-file FILE"]),
        (&["copy", "--override-arch", "arm64", "ghcr.io/a/b:1", "oci:c"], &["use --platform os/arch"]),
        (&["copy", "--foreign", "ghcr.io/a/b:1", "oci:c"], &["'--foreign'", "--foreign-layers"]),
        (&["completions", "tcsh"], &["tcsh", "bash"]),
    ];
    for (arguments, expected) in cases {
        let ran = ocip(arguments);
        ran.failed(2, expected);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert_eq!(ran.text(), "", "{arguments:?}");
    }
}

#[test]
fn a_password_in_an_argument_is_not_printed() {
    for text in [
        "https://me:s3cret@ghcr.io/x",
        "https://me:s3cret@ghcr.io",
        "https://me:a@s3cret@ghcr.io:443",
        "me:s3cret@ghcr.io/x",
    ] {
        for words in [
            &["resolve", text][..],
            &["blob", text],
            &["check", text],
            &["pull", text, "copy"],
            &["copy", text, "oci:copy"],
            &["copy", "oci:copy", text],
            &["push", text, "127.0.0.1:1/x:1"],
            &["tag", text, "x"],
            &["attach", text, "--artifact-type", "a/b"],
            &["artifact", text, "--artifact-type", "a/b"],
            &["config", text],
            &["resolve", "alpine", text],
            &[text],
        ] {
            let ran = ocip(words);
            ran.failed(2, &["***@ghcr.io"]);
            assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
        }
    }
}

#[test]
fn no_option_shows_a_password_or_a_query() {
    let long = format!("https://me:s3cret-{}@ghcr.io/x?token=t0ken", "x".repeat(100));
    for text in [
        "https://me:s3cret@ghcr.io/x?token=t0ken;t0ken",
        "me:s3cret@ghcr.io:443",
        "ghcr.io/x?token=t0ken",
        "https://ghcr.io/?t0ken",
        &long,
    ] {
        for words in [
            &["resolve", "--platform", text, "alpine"][..],
            &["resolve", "--in-flight", text, "alpine"],
            &["resolve", "--retries", text, "alpine"],
            &["resolve", "--timeout", text, "alpine"],
            &["resolve", "--adapter", text, "alpine"],
            &["resolve", "--ca-file", text, "127.0.0.1:1/x"],
            &["resolve", "--auth-file", text, "127.0.0.1:1/x"],
            &["resolve", "--username", text, "127.0.0.1:1/x"],
            &["resolve", &format!("--{text}"), "alpine"],
            &["resolve", &format!("--json={text}"), "alpine"],
            &["resolve", text],
            &["resolve", "alpine", text],
            &["manifest", text],
            &["tree", text],
            &["blob", text],
            &["blob", "-o", &format!("{text}/no/file"), "--size", "1", "127.0.0.1:1/x@sha256:12"],
            &["blob", &format!("-o{text}/no/file"), &format!("127.0.0.1:1/x@sha256:{}", "0".repeat(64))],
            &["blob", "--size", text, "alpine"],
            &["pull", text, "copy"],
            &["copy", text, "oci:copy"],
            &["push", text, "127.0.0.1:1/x:1"],
            &["copy", "alpine", "oci:copy", "--mount-from", text],
            &["tag", "alpine", text],
            &["attach", text, "--artifact-type", "a/b"],
            &["attach", "alpine", "--artifact-type", text],
            &["artifact", text, "--artifact-type", "a/b"],
            &["artifact", "127.0.0.1:1/x:1", "--artifact-type", "a/b", text],
            &["artifact", "127.0.0.1:1/x:1", "--config", text],
            &["artifact", "127.0.0.1:1/x:1", "--annotation", text, "--artifact-type", "/"],
            &["serve", "--listen", text, "mirror"],
            &["serve", "--repository", text, "mirror"],
            &["serve", "--writable", "--repository", text, "mirror"],
            &["serve", "--writable", "--listen", "192.0.2.1:0", text],
            &["completions", text],
            &["check", text],
            &[text],
            &["help", text],
        ] {
            let ran = ocip(words);
            ran.failed(2, &["error: "]);
            for secret in ["s3cret", "t0ken"] {
                assert!(!ran.stderr.contains(secret), "{words:?}: {}", ran.stderr);
            }
        }
        for words in
            [&["tree", &format!("oci:{text}")][..], &["serve", text], &["check", &format!("./{text}")]]
        {
            let ran = ocip(words);
            assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
            for secret in ["s3cret", "t0ken"] {
                assert!(!ran.stderr.contains(secret), "{words:?}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn repeated_flags_are_accepted() {
    let registry = sample();
    for words in [["-v", "-v"], ["-q", "-q"], ["--verbose", "-v"]] {
        ocip(&[&words[..], &["resolve", &format!("{registry}/demo")]].concat()).succeeded();
    }
}

#[test]
fn output_must_be_a_file_in_an_existing_directory() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    ocip(&["blob", "-o", path, &format!("alpine@{digest}")]).failed(2, &["--output", path, "directory"]);
    let lost = format!("{path}/no/such/directory/layer");
    let ran = ocip(&["blob", "-o", &lost, &format!("alpine@{digest}")]);
    ran.failed(2, &["--output", &lost]);
    assert!(!ran.stderr.contains(".part"), "{}", ran.stderr);
}

#[test]
fn help_is_shown_without_arguments() {
    let ran = ocip(&[]);
    ran.failed(2, &["Usage: ocip", "resolve", "ocip demo"]);
}

#[test]
fn a_value_is_printed_once() {
    for (words, value) in [
        (&["tree", "--platform", "pl4n9", "alpine"][..], "pl4n9"),
        (&["resolve", "alp!ne"], "alp!ne"),
        (&["tree", "oci:m1:a b"], "oci:m1:a b"),
        (&["blob", "alp1ne"], "alp1ne"),
        (&["tree", "--retries", "t3n", "alpine"], "t3n"),
        (&["tree", "--ca-file", "n0file", "127.0.0.1:1/x"], "n0file"),
        (&["serve", "--repository", "UPPER", "mirror"], "UPPER"),
    ] {
        let ran = ocip(words);
        ran.failed(2, &["error: "]);
        assert_eq!(ran.stderr.matches(value).count(), 1, "{words:?}: {}", ran.stderr);
    }
}
