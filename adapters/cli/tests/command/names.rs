//! Names that are mistaken for others: layouts, registries, digests. Each mistake has the command line to type instead,
//! before any registry is contacted and anything is created.

use std::fs;
use std::path::Path;

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Digest};
use tempfile::TempDir;

use crate::support::{Ran, command, on_both, ran, registry, sample};

/// A directory with the layout `m1`, whose only root is named `latest`, and the empty directory `plain`.
fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    in_home(&home, &["pull", &format!("{}/demo", sample()), "m1"]).succeeded();
    fs::create_dir(home.path().join("plain")).unwrap();
    home
}

fn in_home(home: &TempDir, arguments: &[&str]) -> Ran {
    ran(&command(arguments).current_dir(home.path()).output().unwrap())
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_mistaken_name_has_the_line_to_type_instead() {
    let home = home();
    let digest = "sha256:1a1ff64b7959c9269829476684c6c8d1ed86fbf84630c76ebb8d3ca944834372";
    for (words, line) in [
        (&["tree", "m1"][..], "tree oci:m1"),
        (&["tree", "--blobs", "m1/"], "tree --blobs oci:m1/"),
        (&["resolve", "./m1"], "resolve oci:./m1"),
        (&["manifest", "m1:latest"], "manifest oci:m1:latest"),
        (&["blob", "-o", "m1", &format!("m1@{digest}")], &format!("blob -o m1 oci:m1@{digest}")),
        (&["tree", "plain/"], "tree oci:plain/"),
        (&["check", "nowhere"], "check docker.io/library/nowhere:latest"),
        (&["check", "m1:latest"], "check oci:m1:latest"),
        (&["serve", "m1:1.0"], "serve oci:m1:1.0"),
        (&["pull", "m9", "127.0.0.1:5000/app:1.0"], "pull 127.0.0.1:5000/app:1.0 m9"),
        (&["pull", "m1", "127.0.0.1:5000/app"], "pull 127.0.0.1:5000/app m1"),
        (&["pull", "m1:latest", "ghcr.io/team/app"], "pull ghcr.io/team/app m1"),
        (&["pull", "./m9", "alpine:3.20"], "pull alpine:3.20 ./m9"),
        (&["pull", "oci:m9", "ghcr.io/team/app"], "pull ghcr.io/team/app m9"),
        (&["pull", "alpine", "oci:m9:1.0"], "pull alpine m9"),
        (&["pull", "m1", "m9"], "pull docker.io/library/m1:latest m9"),
        (&["tree", "oci://127.0.0.1:5000/app"], "tree 127.0.0.1:5000/app"),
        (&["tree", "docker://127.0.0.1:5000/app"], "tree 127.0.0.1:5000/app"),
        (&["tree", "https://hub.docker.com/r/grafana/loki/"], "tree grafana/loki"),
        (&["tree", "http://[::1]:5000/v2/a/b/manifests/1.0"], "tree '[::1]:5000/a/b:1.0'"),
        (&["blob", &format!("https://ghcr.io/v2/a/blobs/{digest}")], &format!("blob ghcr.io/a@{digest}")),
        (&["tree", "ghcr.io/Team/app"], "tree ghcr.io/team/app"),
        (&["pull", "localhost:5000/app/", "m9"], "pull localhost:5000/app m9"),
        (&["resolve", "alpine:"], "resolve alpine"),
        (&["tree", &format!("alpine:{digest}")], &format!("tree alpine@{digest}")),
        (&["tree", "OCI:m1"], "tree oci:m1"),
        (&["tree", "--recursive", "alpine"], "tree alpine"),
        (&["pull", "-r", "alpine", "my mirror"], "pull alpine 'my mirror'"),
    ] {
        let ran = in_home(&home, words);
        ran.failed(2, &["error: "]);
        assert_eq!(
            ran.stderr.lines().last(),
            Some(&*format!("hint: did you mean: ocip {line}")),
            "{}",
            ran.stderr
        );
        assert_eq!((names_in(home.path()), ran.text()), (vec!["m1".to_owned(), "plain".to_owned()], ""));
    }
}

#[test]
fn other_mistaken_names_have_hints() {
    let home = home();
    for (words, hint) in [
        (&["tree", "127.0.0.1:5000"][..], "use 127.0.0.1:5000/REPOSITORY"),
        (&["tree", "ghcr.io:"], "use ghcr.io/REPOSITORY, or docker.io/library/ghcr.io for"),
        (&["serve", "127.0.0.1:5000/app:1"], "copy it to one first: ocip pull 127.0.0.1:5000/app:1 DIR"),
        (&["tree", "--insecure", "alpine"], "use --plain-http "),
        (&["tree", "--creds", "me:pw", "alpine"], "use --username NAME with --password-stdin"),
        (&["serve", "--port", "5000", "m1"], "use --listen ADDRESS:PORT"),
        (&["tree", "--tls-verify=false", "alpine"], "use --plain-http "),
        (&["tree", "1a1ff64b7959"], "a digest cannot be abbreviated; `ocip tree --full REF` "),
        (&["tree", "demo@1a1ff64b7959"], "a digest cannot be abbreviated; `ocip tree --full REF` "),
        (&["blob", "demo@sha256:1a1ff64b7959"], "a digest cannot be abbreviated; `ocip tree --full REF` "),
        (&["tree", "oci:m1@1a1ff64b7959"], "a digest cannot be abbreviated; `ocip tree --full REF` "),
        (&["tree", "oci:m1@sha256:1a1ff64b7959"], "a digest cannot be abbreviated; `ocip tree --full REF` "),
        (&["tree", &"0".repeat(64)], "use REPOSITORY@sha256:0000"),
    ] {
        let ran = in_home(&home, words);
        ran.failed(2, &["error: "]);
        assert!(ran.stderr.contains(&format!("\nhint: {hint}")), "{words:?}: {}", ran.stderr);
    }
    for words in [["tree", "oci:nowhere"], ["serve", "nowhere"], ["check", "oci:nowhere"]] {
        in_home(&home, &words).failed(1, &["error: nowhere: not found\nhint: check the path; "]);
    }
    let file = in_home(&home, &["check", "m1/index.json"]);
    file.failed(1, &["m1/index.json: expected the directory of an image layout, found a file"]);
    in_home(&home, &["tree", "-platform", "linux/amd64", "alpine"])
        .failed(2, &["unexpected argument '-p'", "Usage"]);
    in_home(&home, &["check", "plain"]).failed(1, &["plain/oci-layout: not found"]);
}

#[test]
fn a_registry_alone_is_not_suggested() {
    let home = home();
    for name in ["ghcr.io/", "localhost:5000/", "https://ghcr.io", "https://localhost:5000/"] {
        let ran = in_home(&home, &["tree", name]);
        ran.failed(2, &["error: "]);
        assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
    }
}

/// Names like those above that are no mistake.
#[test]
fn names_that_are_meant_are_accepted() {
    let home = home();
    let name = format!("{}/demo", sample());
    in_home(&home, &["check", "m1"]).succeeded();
    in_home(&home, &["check", "m1/"]).succeeded();
    // A directory may have any name, also that of an image.
    fs::create_dir(home.path().join("a:b")).unwrap();
    for directory in ["m1", "ghcr", "a:b", &name] {
        in_home(&home, &["pull", &name, directory]).succeeded();
    }
    in_home(&home, &["check", "a:b"]).succeeded();
    // The image `m1` may have been pulled into `m1`.
    let offline = ["--timeout", "5", "--retries", "0"];
    let contacted = |words: &[&str]| {
        let mut command = command(&[words, &offline].concat());
        // A refused connection instead of Docker Hub.
        let output = command.env("HTTPS_PROXY", "http://127.0.0.1:9").current_dir(home.path()).output();
        ran(&output.unwrap()).failed(1, &["https://registry-1.docker.io/v2/library/"]);
    };
    contacted(&["pull", "m1", "m1"]);
    contacted(&["tree", "docker.io/library/m1"]);
    contacted(&["tree", "plain"]);
    contacted(&["check", "m2:1.0"]);
    contacted(&["tree", "deadbeef"]);
}

#[test]
fn a_manifest_is_not_a_blob() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let name = format!("{}/demo", registry(&memory, &image));
    let manifest = format!("{name}@{}", image.digest);
    let blob = format!("{name}@{}", Digest::of(Algorithm::Sha256, b"a layer"));
    on_both(&["blob", &manifest])
        .failed(1, &[&format!("hint: if it is a manifest, use `ocip manifest {manifest}`")]);
    for command in ["manifest", "tree", "resolve"] {
        on_both(&[command, &blob]).failed(1, &[&format!("hint: if it is a blob, use `ocip blob {blob}`")]);
    }
    on_both(&["resolve", &format!("{name}:1a1ff64b7959")])
        .failed(1, &["hint: check the repository and the tag; a digest cannot be abbreviated"]);
}
