//! Copies, pushes, artifacts and configs. The tests with a registry that accepts content are in `tests/tests/interop`.

use std::fs;
use std::path::Path;

use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Digest};

use crate::support::{
    ADAPTERS, Ran, command, home, on_both, ran, registry, response, scripted_by_head, with_headers,
};

/// Runs the command in a directory.
fn ocip_in(home: &Path, arguments: &[&str]) -> Ran {
    ran(&command(arguments).current_dir(home).output().unwrap())
}

#[test]
fn mistakes_are_explained_with_the_line_to_type() {
    let (home, root) = home();
    ocip_in(home.path(), &["copy", "-q", "oci:lay", "oci-archive:a.tar:2"]).succeeded();
    let files = || fs::read_dir(home.path()).unwrap().count();
    let before = files();
    let to = "127.0.0.1:1/app:1";
    let zeros = format!("sha256:{}", "0".repeat(64));
    let (by_digest, by_root) =
        (format!("127.0.0.1:1/app@{zeros}"), format!("127.0.0.1:1/app@{}", root.digest));
    let cases: &[(&[&str], &[&str])] = &[
        // Swapped.
        (&["push", to, "lay"], &["the layout comes before", "ocip push lay 127.0.0.1:1/app:1\n"]),
        (&["push", to, "lay:1.0"], &["ocip push lay:1.0 127.0.0.1:1/app:1\n"]),
        (&["push", to, "oci-archive:a.tar"], &["ocip push oci-archive:a.tar 127.0.0.1:1/app:1\n"]),
        // Without a prefix.
        (&["copy", "lay", to], &["an image layout on disk", "ocip copy oci:lay 127.0.0.1:1/app:1\n"]),
        (&["copy", "a.tar", to], &["a file", "ocip copy oci-archive:a.tar 127.0.0.1:1/app:1\n"]),
        (&["push", "a.tar", to], &["ocip push oci-archive:a.tar 127.0.0.1:1/app:1\n"]),
        (&["tree", "a.tar"], &["ocip tree oci-archive:a.tar\n"]),
        (&["check", "./a.tar"], &["ocip check oci-archive:./a.tar\n"]),
        (&["copy", to, "new"], &["docker.io/library/new", "ocip copy 127.0.0.1:1/app:1 oci:new\n"]),
        (&["copy", to, "./new"], &["a path", "ocip copy 127.0.0.1:1/app:1 oci:./new\n"]),
        (&["copy", to, "lay:1"], &["ocip copy 127.0.0.1:1/app:1 oci:lay:1\n"]),
        (&["copy", to, "new.tar"], &["ocip copy 127.0.0.1:1/app:1 oci-archive:new.tar\n"]),
        (&["copy", to, "./a/new.tar"], &["ocip copy 127.0.0.1:1/app:1 oci-archive:./a/new.tar\n"]),
        (&["push", "lay", "oci:new"], &["`ocip copy`", "ocip copy oci:lay oci:new\n"]),
        // Of other programs.
        (&["push", "lay", "docker://127.0.0.1:1/app:1"], &["no scheme", "ocip push lay 127.0.0.1:1/app:1\n"]),
        (
            &["copy", "docker://ghcr.io/a/b:1", "docker://127.0.0.1:1/app:1"],
            &["no scheme", "ocip copy ghcr.io/a/b:1 127.0.0.1:1/app:1\n"],
        ),
        (&["copy", "docker-archive:a.tar", to], &["`docker-archive:` is not supported", "oci-archive:NEW"]),
        (&["copy", to, "docker-daemon:x:1"], &["`docker-daemon:` is not supported"]),
        // A destination without a name.
        (&["push", "lay:1.0", "127.0.0.1:1/app"], &["no tag", "ocip push lay:1.0 127.0.0.1:1/app:1.0\n"]),
        (&["push", "lay", "127.0.0.1:1/app"], &["no tag", "ocip push lay 127.0.0.1:1/app:latest\n"]),
        (&["copy", "ghcr.io/a/b:7", "ghcr.io/a/c"], &["no tag", "ocip copy ghcr.io/a/b:7 ghcr.io/a/c:7\n"]),
        (&["artifact", "127.0.0.1:1/a", "--artifact-type", "a/b"], &["no tag", "127.0.0.1:1/a:latest "]),
        (&["tag", to], &["<TAG>", "ocip tag"]),
        (&["tag", to, "a b"], &["a b"]),
        // On disk.
        (&["tag", "./lay", "x"], &["a path, not a reference", "only applies to registries", "`ocip push`"]),
        (&["tag", "oci:lay", "x"], &["an image layout on disk", "only applies to registries", "`ocip push`"]),
        (&["tag", "lay:1.0", "x"], &["an image layout on disk", "ocip tag docker.io/library/lay:1.0 x\n"]),
        (&["tags", "lay"], &["an image layout on disk", "ocip tags docker.io/library/lay\n"]),
        (&["tag", "a.tar", "x"], &["`a.tar` is a file", "only applies to registries", "`ocip push`"]),
        (&["attach", "oci:lay", "--artifact-type", "a/b"], &["only applies to registries", "`ocip push`"]),
        (
            &["artifact", "oci-archive:a.tar", "--artifact-type", "a/b"],
            &["only applies to registries", "`ocip push`"],
        ),
        // Another digest.
        (
            &["push", "lay", &by_digest],
            &[&zeros, &root.digest.to_string(), &format!("use {by_root}, or a tag")],
        ),
        (&["copy", to, &format!("oci:lay@{zeros}")], &["has a digest", "oci:DIR:TAG"]),
        // Options.
        (&["copy", to, "oci:new", "--tag", "x"], &["--tag applies only to registries"]),
        (&["copy", "oci:lay", "oci:new", "--mount-from", "x"], &["--mount-from applies only to registries"]),
        (&["copy", "oci:lay", "oci:new", "--verify"], &["--verify applies only to registries"]),
        (&["attach", to, "note.txt"], &["--artifact-type <TYPE>"]),
        (
            &["attach", to, "--artifact-type", "a/b"],
            &["nothing to attach: FILE[:TYPE] or --annotation KEY=VALUE"],
        ),
        (&["artifact", to, "note.txt"], &["--artifact-type <TYPE>"]),
        (&["artifact", to, "none", "--artifact-type", "a/b"], &["none: ", "No such file"]),
        (&["artifact", to, "lay", "--artifact-type", "a/b"], &["lay: ", "a directory"]),
        (
            &["artifact", to, "note.txt", "./note.txt", "--artifact-type", "a/b"],
            &["another file of this name"],
        ),
        (&["artifact", to, "--config", "note.txt"], &["`note.txt` has no media type"]),
        (&["artifact", to, "--artifact-type", "b"], &["--artifact-type", "`b` is not a media type"]),
        (&["attach", to, "--artifact-type", "a/b", "--annotation", "k"], &["--annotation", "KEY=VALUE"]),
        (
            &["attach", to, "--artifact-type", "a/b", "--annotation", "k=1", "--annotation", "k=2"],
            &["`k` is given twice"],
        ),
    ];
    for (arguments, expected) in cases {
        let ran = ocip_in(home.path(), arguments);
        ran.failed(2, expected);
        assert!(ran.stderr.starts_with("error: ") && ran.text().is_empty(), "{arguments:?}: {ran:?}");
        assert_eq!(files(), before, "{arguments:?}");
    }
}

#[test]
fn mistakes_in_layouts_and_archives_are_explained() {
    let (home, _) = home();
    ocip_in(home.path(), &["copy", "-q", "oci:lay", "oci-archive:a.tar:2"]).succeeded();
    fs::write(home.path().join("old.tar"), "not a tar archive").unwrap();
    // The two blocks of zeros that end an archive.
    fs::write(home.path().join("empty.tar"), [0; 1024]).unwrap();
    let to = "127.0.0.1:1/app:1";
    let cases: &[(&[&str], &[&str])] = &[
        (&["push", "lay:2", to], &["no such root", "available: 1.0", "oci:DIR:TAG"]),
        (&["push", "oci-archive:a.tar:1", to], &["no such root", "available: 2", "oci-archive:FILE:TAG"]),
        (&["push", "oci:none", to], &["none: not found", "`ocip pull REF DIR`"]),
        (&["tree", "oci-archive:none"], &["none: not found", "`ocip copy REF oci-archive:FILE`"]),
        (
            &["tree", "oci-archive:empty.tar"],
            &["empty.tar/oci-layout: not found", "hint: an archive without"],
        ),
        (&["tree", "oci:a.tar"], &["found a file", "oci-archive:FILE"]),
        (&["tree", "oci-archive:lay"], &["found a directory", "oci:DIR"]),
        (&["tree", "oci-archive:old.tar"], &["not a tar archive", "an uncompressed tar file"]),
        (&["copy", "oci:lay", "oci-archive:a.tar"], &["exists and is not empty", "may have several roots"]),
        (&["copy", to, "oci-archive:a.tar"], &["exists and is not empty", "may have several roots"]),
        (&["copy", "oci:lay", "oci-archive:no/a.tar"], &["no"]),
        (&["copy", "oci:lay", "oci:a.tar"], &["found a file", "choose another directory"]),
        (&["copy", "oci:lay", "oci-archive:lay"], &["found a directory", "hint: choose another path"]),
        (&["copy", "oci:lay", "oci-archive:old.tar/a.tar"], &["found a file", "hint: choose another path"]),
        (
            &["push", "--platform", "linux/s390x", "lay", to],
            &["no image for", "select one of these with --platform"],
        ),
        (&["config", "oci:lay"], &["has no config", "select an image with --platform"]),
    ];
    for (arguments, expected) in cases {
        ocip_in(home.path(), arguments).failed(1, &[&["error: "], *expected].concat());
    }
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn a_copy_on_disk_has_the_same_tree() {
    let (home, root) = home();
    let ocip = |arguments: &[&str]| ocip_in(home.path(), arguments).succeeded();
    let tree = |name: &str| ocip(&["tree", "--json", "--blobs", name]).stdout;
    let expected = tree("oci:lay");
    for (from, to) in [
        ("oci:lay:1.0", "oci-archive:a.tar:2"),
        ("oci-archive:a.tar", "oci:copy:3"),
        ("oci-archive:a.tar:2", "oci-archive:b.tar"),
        ("oci:copy:3", "oci:copy:4"),
    ] {
        let ran = ocip(&["copy", "--json", from, to]);
        let digest = format!("\"digest\":\"{}\"", root.digest);
        assert!(ran.text().contains(&digest), "{from} to {to}: {ran:?}");
        assert_eq!(tree(to), expected, "{from} to {to}");
        assert_eq!(ocip(&["check", to]).text(), "");
    }
    let lines = |ran: &Ran, how: &str| ran.stderr.lines().filter(|line| line.starts_with(how)).count();
    let ran = ocip(&["copy", "--platform", "linux/arm64", "oci:copy:3", "oci:one"]);
    assert_eq!((lines(&ran, "sent     sha256:"), lines(&ran, "exists ")), (3, 0), "{}", ran.stderr);
    assert!(ran.stderr.contains("4 items, 0 of which existed; "), "{}", ran.stderr);
    let ran = ocip(&["copy", "--platform", "linux/arm64", "oci:copy:3", "oci:one"]);
    assert_eq!((lines(&ran, "sent "), lines(&ran, "exists   sha256:")), (0, 3), "{}", ran.stderr);
    assert_eq!(ocip(&["copy", "-q", "oci:one", "oci:two:x"]).stderr, "");
}

#[test]
fn a_copy_from_a_registry_is_named_by_the_destination() {
    let (memory, root) = Memory::sample();
    let from = format!("{}/demo", registry(&memory, &root));
    let home = tempfile::tempdir().unwrap();
    let ocip = |arguments: &[&str]| ocip_in(home.path(), arguments).succeeded();
    let tree = ocip(&["tree", "--json", "--blobs", &from]).stdout;
    for adapter in ADAPTERS {
        for to in [format!("oci:{adapter}:new"), format!("oci-archive:{adapter}.tar:new")] {
            let resolved = ocip(&["resolve", &from]);
            assert_eq!(ocip(&["copy", "--adapter", adapter, &from, &to]).stdout, resolved.stdout);
            assert_eq!(ocip(&["tree", "--json", "--blobs", &to]).stdout, tree);
        }
        let unnamed = format!("oci:{adapter}-unnamed");
        ocip(&["copy", "--adapter", adapter, &from, &unnamed]);
        ocip_in(home.path(), &["resolve", &format!("{unnamed}:latest")]).failed(1, &["no such root"]);
    }
    // No temporary layout is left.
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let mut left = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| hidden(&name)));
}

#[test]
fn a_config_is_printed_with_its_keys_in_order() {
    let (home, _) = home();
    let (memory, root) = Memory::sample();
    let name = format!("{}/demo", registry(&memory, &root));
    let platform = ["--platform", "linux/arm64"];
    let ran = on_both(&[&["config"], &platform[..], &[&name]].concat()).succeeded();
    assert!(ran.text().starts_with("{\n  \"architecture\": \"arm64\",\n  \"os\": \"linux\",\n"), "{ran:?}");
    let on_disk = ocip_in(home.path(), &[&["config"], &platform[..], &["oci:lay"]].concat()).succeeded();
    assert_eq!(on_disk.stdout, ran.stdout);
    let ran = on_both(&[&["config", "--json"], &platform[..], &[&name]].concat()).succeeded();
    assert!(ran.text().starts_with("{\"architecture\":\"arm64\",\"os\":\"linux\","), "{ran:?}");
    on_both(&["config", &name]).failed(1, &["has no config", "select an image with --platform"]);
}

/// A registry without documents, which responds like this to each request that sends something. It has all blobs,
/// unless it is to refuse POST.
fn refusing(method: &'static str, answer: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> String {
    let address = scripted_by_head(move |head| {
        let line = head.first().map(String::as_str).unwrap_or_default();
        match line.split(' ').next() {
            Some("HEAD") if method != "POST" && line.contains("/blobs/") => {
                b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec()
            }
            Some("HEAD" | "GET") => response("404 Not Found", "text/plain", b""),
            _ => answer(),
        }
    });
    format!("{address}/app:1")
}

#[test]
fn a_refused_push_says_why_and_what_to_do() {
    type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);
    let cases: &[Case] = &[
        ("POST", "405 Method Not Allowed", r#"{"errors":[{"code":"UNSUPPORTED"}]}"#, &["read-only"]),
        ("POST", "404 Not Found", r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, &["created first"]),
        ("POST", "403 Forbidden", r#"{"errors":[{"code":"DENIED"}]}"#, &["repository:app:pull,push"]),
        ("POST", "401 Unauthorized", "", &["--password-stdin", "repository:app:pull,push"]),
        (
            "PUT",
            "400 Bad Request",
            r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#,
            &["PUT http://", "/v2/app/manifests/1", "TAG_INVALID: the tag is immutable", "another tag"],
        ),
        ("PUT", "409 Conflict", "", &["if the tag is immutable"]),
        ("PUT", "413 Payload Too Large", "", &["limits the size of requests"]),
    ];
    let (home, _) = home();
    for (method, status, body, expected) in cases {
        let to = refusing(method, move || response(status, "application/json", body.as_bytes()));
        for adapter in ADAPTERS {
            let arguments = [
                "artifact",
                "--adapter",
                adapter,
                "--retries",
                "0",
                "--artifact-type",
                "a/b",
                &to,
                "note.txt",
            ];
            let status = &status[..3];
            ocip_in(home.path(), &arguments).failed(1, &[&["error: ", status, "hint: "], *expected].concat());
        }
    }
}

#[test]
fn a_command_that_fails_prints_its_requests_with_verbose() {
    let (home, _) = home();
    let (memory, root) = Memory::sample();
    let from = format!("{}/demo", registry(&memory, &root));
    let to = refusing("POST", || response("403 Forbidden", "text/plain", b""));
    let commands: &[&[&str]] = &[
        &["push", "lay", &to],
        &["copy", &from, &to],
        &["attach", "--artifact-type", "a/b", &to, "note.txt"],
        &["artifact", "--artifact-type", "a/b", &to, "note.txt"],
        &["tag", &to, "2"],
        &["pull", &to, "new"],
        &["copy", &to, "oci:new"],
        &["copy", &to, "oci-archive:new.tar"],
        &["delete", &to],
    ];
    for adapter in ADAPTERS {
        for arguments in commands {
            let ran = ocip_in(home.path(), &[&["-v", "--adapter", adapter], *arguments].concat());
            ran.failed(1, &["error: "]);
            let counts = ran.stderr.lines().filter(|line| line.starts_with(&format!("{adapter}: "))).count();
            assert_eq!(counts, 1, "{arguments:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_connection_that_breaks_while_content_is_sent_does_not_suggest_tls() {
    let (home, _) = home();
    let to = refusing("PUT", Vec::new);
    for adapter in ADAPTERS {
        let arguments =
            ["artifact", "--adapter", adapter, "--retries", "0", "--artifact-type", "a/b", &to, "note.txt"];
        ocip_in(home.path(), &arguments)
            .failed(1, &["error: PUT http://", "hint: ", "closed the connection", "run the command again"]);
    }
}

#[test]
fn a_push_of_an_incomplete_layout_suggests_to_check_it() {
    let (home, _) = home();
    for file in fs::read_dir(home.path().join("lay/blobs/sha256")).unwrap() {
        let path = file.unwrap().path();
        if !fs::read_to_string(&path).unwrap().contains("schemaVersion") {
            fs::remove_file(path).unwrap();
        }
    }
    let to = refusing("POST", || {
        with_headers(response("202 Accepted", "text/plain", b""), b"Location: /v2/app/blobs/uploads/1")
    });
    for adapter in ADAPTERS {
        ocip_in(home.path(), &["push", "--adapter", adapter, "lay", &to])
            .failed(1, &["lay/blobs/sha256/", "not found", "hint: ", "`ocip check`"]);
    }
}

#[test]
fn a_copy_to_another_digest_is_a_usage_error() {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let from = format!("{}/demo", registry(&memory, &root));
    let other = Digest::of(Algorithm::Sha256, b"other");
    let to = refusing("POST", || response("500 No", "text/plain", b""));
    let to = to.strip_suffix(":1").unwrap();
    on_both(&["copy", &from, &format!("{to}@{other}")])
        .failed(2, &[&other.to_string(), &format!("hint: use {to}@{}, or a tag", root.digest)]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_push_cancels_its_upload() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    for adapter in ADAPTERS {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let address = scripted_by_head(move |head| {
            let method = head.first().and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned();
            let is_put = method == "PUT";
            let answer = match method.as_str() {
                "HEAD" => response("404 Not Found", "text/plain", b""),
                "DELETE" => response("204 No Content", "text/plain", b""),
                _ => {
                    let accepted = response("202 Accepted", "text/plain", b"");
                    with_headers(accepted, b"Location: /v2/app/blobs/uploads/1")
                }
            };
            noted.lock().unwrap().push(method);
            if is_put {
                // It never ends.
                thread::sleep(Duration::from_secs(60));
            }
            answer
        });
        let (home, _) = home();
        fs::write(home.path().join("large"), vec![7; 50_000_000]).unwrap();
        let to = format!("{address}/app:1");
        let arguments = ["artifact", "--adapter", adapter, "--artifact-type", "a/b", &to, "large"];
        let mut child = command(&arguments).current_dir(home.path()).spawn().unwrap();
        let has = |method: &str| seen.lock().unwrap().iter().any(|seen| seen == method);
        while !has("PUT") {
            assert_eq!(child.try_wait().unwrap(), None, "it ended early");
            thread::sleep(Duration::from_millis(5));
        }
        let since = Instant::now();
        let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(15), "{adapter}");
        assert!(since.elapsed() < Duration::from_secs(10), "{adapter}: {:?}", since.elapsed());
        // A blocking client may be waiting for the registry, and is not interrupted then.
        assert!(has("DELETE") || adapter == "ureq", "{adapter}: {:?}", seen.lock().unwrap());
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_copy_to_an_archive_leaves_no_file() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::thread;
    use std::time::Duration;

    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let (media_type, manifest) = (root.media_type.clone(), memory.bytes(&root.digest).unwrap());
    // It never sends a blob.
    let address = scripted_by_head(move |head| {
        while head.first().is_some_and(|line| line.contains("/blobs/")) {
            thread::park();
        }
        response("200 OK", media_type.as_str(), &manifest)
    });
    for adapter in ADAPTERS {
        let home = tempfile::tempdir().unwrap();
        let from = format!("{address}/demo:latest");
        let arguments = ["copy", "--adapter", adapter, &from, "oci-archive:a.tar"];
        let mut child = command(&arguments).current_dir(home.path()).spawn().unwrap();
        let files = || fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
        while !files().any(|path| path.join("oci-layout").exists()) {
            assert_eq!(child.try_wait().unwrap(), None, "it ended early");
            thread::sleep(Duration::from_millis(5));
        }
        let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(15), "{adapter}");
        assert_eq!(files().collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new(), "{adapter}");
    }
}
