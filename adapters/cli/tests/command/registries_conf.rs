//! Mirrors, short names and blocked registries of a `registries.conf`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{ADAPTERS, command, ocip, on_both, ran, response, sample, scripted};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registries.conf");
    fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (folder, name)
}

#[test]
fn a_mirror_is_named_with_verbose_and_its_failures_are_warnings() {
    let primary = scripted(|_| response("200 OK", INDEX, EMPTY));
    let lacking = scripted(|_| response("404 Not Found", "text/plain", b""));
    let mirror = sample();
    let refusing = scripted(|_| response("403 Forbidden", "text/plain", b"no"));
    for adapter in ADAPTERS {
        let conf = |mirrors: &[String]| {
            let mirrors = mirrors.iter().map(|at| format!("[[registry.mirror]]\nlocation = '{at}'\n"));
            file(&format!("[[registry]]\nlocation = '{primary}'\n{}", mirrors.collect::<String>()))
        };
        let name = format!("{primary}/demo");
        let run = |conf: &str, option: &[&str]| {
            let common = ["--adapter", adapter, "--registries-conf", conf, "resolve", &name];
            ocip(&[&common[..], option].concat()).succeeded()
        };
        let (_folder, path) = conf(&[lacking.to_string(), mirror.to_string()]);
        let stderr = run(&path, &["-v"]).stderr;
        let lines: Vec<&str> = stderr.lines().collect();
        let lacks = format!(
            "not from the mirror: HEAD http://{lacking}/v2/demo/manifests/latest: the registry answered 404 Not Found"
        );
        assert_eq!(lines[..2], [lacks, format!("content from the mirror {mirror}/demo")], "{stderr}");
        assert_eq!(run(&path, &[]).stderr, "");

        let (_folder, path) = conf(&[refusing.to_string()]);
        let warning = format!(
            "warning: a mirror failed: HEAD http://{refusing}/v2/demo/manifests/latest: the registry answered 403 Forbidden\n"
        );
        let said = run(&path, &[]).stderr;
        assert!(said.starts_with(&warning), "{said}");
        assert_eq!(run(&path, &["-q"]).stderr, "");
    }
}

#[test]
fn a_short_name_stands_for_a_repository() {
    let registry = sample();
    let (_folder, path) = file(&format!("[aliases]\n'short/name' = '{registry}/demo'\n"));
    let full = on_both(&["resolve", &format!("{registry}/demo")]).succeeded();
    for arguments in [
        &["--registries-conf", &path, "resolve", "short/name"][..],
        &["resolve", &format!("--registries-conf={path}"), "short/name:latest"],
    ] {
        assert_eq!(on_both(arguments).succeeded().stdout, full.stdout, "{arguments:?}");
    }
    let mut by_variable = command(&["resolve", "short/name"]);
    by_variable.env("CONTAINERS_REGISTRIES_CONF", &path);
    assert_eq!(ran(&by_variable.output().unwrap()).succeeded().stdout, full.stdout);
    let mut disabled =
        command(&["--no-registries-conf", "--retries=0", "--timeout=5", "resolve", "short/name"]);
    disabled.env("CONTAINERS_REGISTRIES_CONF", &path).env("HTTPS_PROXY", "http://127.0.0.1:1");
    ran(&disabled.output().unwrap()).failed(1, &["https://registry-1.docker.io/v2/short/name/"]);
}

#[test]
fn a_blocked_registry_is_refused_before_any_request() {
    let (_folder, path) = file("[[registry]]\nlocation = '127.0.0.1:1'\nblocked = true\n");
    on_both(&["--registries-conf", &path, "resolve", "127.0.0.1:1/demo"]).failed(
        1,
        &[
            "127.0.0.1:1/demo is blocked: the configuration of registries has an entry for `127.0.0.1:1` that is blocked",
            "--no-registries-conf ignores them",
        ],
    );
}

#[test]
fn a_file_that_is_not_usable_is_a_usage_error() {
    let (folder, path) = file("[[registry]\n");
    let hint = "--no-registries-conf";
    on_both(&["--registries-conf", &path, "resolve", "a.test/demo"]).failed(2, &[&path, "line 1: ", hint]);
    let missing = folder.path().join("missing");
    let missing = Path::to_str(&missing).unwrap();
    on_both(&["--registries-conf", missing, "resolve", "a.test/demo"]).failed(2, &[missing, hint]);
    let both = ["--registries-conf", &path, "--no-registries-conf", "resolve", "a.test/demo"];
    on_both(&both).failed(2, &["cannot be used with"]);
}
