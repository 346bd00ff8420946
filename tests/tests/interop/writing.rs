//! `ocip` writes to docker-registry: copies, pushes, tags and artifacts, on each adapter.

use std::fs;

use oci_proto_tests::interop::{DockerRegistry, Program, Pusher, Sample, Settings};
use serde_json::Value;

use crate::support::{Ocip, REPOSITORY};

const ADAPTERS: [&str; 2] = ["tokio", "ureq"];

/// An empty registry; `None` if it is not installed.
fn registry() -> Option<DockerRegistry> {
    let program = Program::find("docker-registry", "docker-registry")?;
    Some(DockerRegistry::start(&program, &Settings::new()))
}

/// Runs `ocip` in its home directory, and returns stdout and stderr.
#[track_caller]
fn run(ocip: &Ocip, adapter: &str, arguments: &[&str]) -> (String, String) {
    let output = ocip.command(adapter, arguments).current_dir(ocip.home.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ocip --adapter {adapter} {arguments:?}: {stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

/// The lines of blobs that were dealt with in this way.
fn lines(stderr: &str, how: &str) -> usize {
    stderr.lines().filter(|line| line.starts_with(&format!("{how:<7}  sha256:"))).count()
}

#[test]
fn a_tree_is_copied_from_anywhere_to_anywhere() {
    let (Some(first), Some(second)) = (registry(), registry()) else { return };
    let sample = Sample::nested();
    Pusher::new(first.address(), REPOSITORY, &sample.memory).push("latest", &sample.root).unwrap();
    let source = format!("{}/{REPOSITORY}:latest", first.address());
    let ocip = Ocip::new();
    for adapter in ADAPTERS {
        let run = |arguments: &[&str]| run(&ocip, adapter, arguments);
        let (resolved, _) = run(&["resolve", &source]);
        let (tree, _) = run(&["tree", "--json", "--blobs", &source]);
        let within = format!("{}/{adapter}/within:1", first.address());
        let between = format!("{}/{adapter}/between:2", second.address());
        let pushed = format!("{}/{adapter}/pushed:3", second.address());
        let (layout, archive) = (format!("oci:{adapter}:4"), format!("oci-archive:{adapter}.tar:5"));
        for (from, to, how) in [
            (&source, &within, Some("mounted")),
            (&source, &between, Some("sent")),
            (&between, &layout, None),
            (&between, &archive, None),
            (&archive, &pushed, Some("sent")),
            (&layout, &pushed, Some("exists")),
        ] {
            let (printed, stderr) = run(&["copy", from, to]);
            assert_eq!(printed, resolved, "{adapter}: {from} to {to}");
            if let Some(how) = how {
                let known: usize = ["sent", "exists", "mounted"].map(|how| lines(&stderr, how)).iter().sum();
                assert!(lines(&stderr, how) == known && known > 0, "{adapter}: {from} to {to}: {stderr}");
            }
            assert_eq!(run(&["tree", "--json", "--blobs", to]).0, tree, "{adapter}: {to}");
        }
        assert_eq!(run(&["check", &pushed]).0, "");
    }
}

#[test]
fn a_layout_is_pushed_under_several_tags_and_tagged() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested();
    Pusher::new(registry.address(), REPOSITORY, &sample.memory).push("latest", &sample.root).unwrap();
    let source = format!("{}/{REPOSITORY}:latest", registry.address());
    let ocip = Ocip::new();
    for adapter in ADAPTERS {
        let run = |arguments: &[&str]| run(&ocip, adapter, arguments);
        let layout = format!("layout-{adapter}");
        run(&["pull", "-q", &source, &layout]);
        let name = |tag: &str| format!("{}/{adapter}:{tag}", registry.address());
        let (root, stderr) = run(&["push", &layout, &name("1"), "--tag", "2", "--mount-from", REPOSITORY]);
        assert!(lines(&stderr, "mounted") > 0 && lines(&stderr, "sent") == 0, "{adapter}: {stderr}");
        let (printed, _) = run(&["tag", &name("1"), "3", "4"]);
        assert_eq!(printed, "");
        for tag in ["1", "2", "3", "4"] {
            assert_eq!(run(&["resolve", &name(tag)]).0, root, "{adapter}: {tag}");
        }
        let (_, stderr) = run(&["push", &layout, &name("1")]);
        assert!(stderr.contains("0 B sent"), "{adapter}: {stderr}");
    }
}

#[test]
fn artifacts_are_pushed_and_attached() {
    let Some(registry) = registry() else { return };
    let ocip = Ocip::new();
    for (name, content) in [("a:b.txt", "one"), ("c.json", "{}"), ("config.json", "{\"k\":1}")] {
        fs::write(ocip.home.path().join(name), content).unwrap();
    }
    let mut artifacts = Vec::new();
    for adapter in ADAPTERS {
        let run = |arguments: &[&str]| run(&ocip, adapter, arguments);
        let name = format!("{}/{adapter}:1", registry.address());
        let (printed, _) = run(&[
            "artifact",
            "--json",
            "--artifact-type",
            "application/vnd.example",
            "--config",
            "config.json:application/vnd.example.config+json",
            "--annotation",
            "k=v",
            &name,
            "a:b.txt",
            "c.json:application/json",
        ]);
        let root: Value = serde_json::from_str(&printed).unwrap();
        let manifest: Value = serde_json::from_str(&run(&["manifest", &name]).0).unwrap();
        assert_eq!(manifest["artifactType"], "application/vnd.example");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.example.config+json");
        assert_eq!(manifest["annotations"]["k"], "v");
        let layers: Vec<_> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (&layer["mediaType"], &layer["annotations"]["org.opencontainers.image.title"]))
            .collect();
        assert_eq!(layers[0], (&"application/octet-stream".into(), &"a:b.txt".into()));
        assert_eq!(layers[1], (&"application/json".into(), &"c.json".into()));
        assert_eq!(run(&["config", "--json", &name]).0, "{\"k\":1}\n");

        let arguments = ["attach", "--json", "--artifact-type", "text/x", &name, "a:b.txt:text/plain"];
        let attached: Value = serde_json::from_str(&run(&arguments).0).unwrap();
        let by_digest = format!("{}/{adapter}@{}", registry.address(), attached["digest"].as_str().unwrap());
        let manifest: Value = serde_json::from_str(&run(&["manifest", &by_digest]).0).unwrap();
        assert_eq!(manifest["subject"], root);
        assert_eq!(manifest["layers"][0]["mediaType"], "text/plain");
        // This registry lists no referrers: they are in an index under a tag.
        let tag = root["digest"].as_str().unwrap().replace(':', "-");
        let listed = run(&["manifest", &format!("{}/{adapter}:{tag}", registry.address())]).0;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed["manifests"][0]["digest"], attached["digest"], "{adapter}");

        let copied = format!("{}/{adapter}/copied:1", registry.address());
        run(&["copy", "--referrers", "--verify", &name, &copied]);
        let (referrers, _) = run(&["referrers", "--json", &copied]);
        let referrer: Value = serde_json::from_str(&referrers).unwrap();
        assert_eq!(referrer["digest"], attached["digest"], "{adapter}: {referrers}");
        artifacts.push((root, attached));
    }
    assert_eq!(artifacts[0], artifacts[1]);
}

#[test]
fn a_read_only_registry_is_explained() {
    let Some(registry) = registry() else { return };
    let maintenance = ["storage", "maintenance", "readonly"];
    let read_only =
        registry.beside(&Settings::new().with(&maintenance, serde_json::json!({ "enabled": true })));
    let ocip = Ocip::new();
    fs::write(ocip.home.path().join("file"), "content").unwrap();
    for adapter in ADAPTERS {
        let name = format!("{}/app:1", read_only.address());
        let arguments = ["artifact", "--artifact-type", "a/b", &name, "file"];
        let output = ocip.command(adapter, &arguments).current_dir(ocip.home.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{adapter}: {stderr}");
        assert!(stderr.contains("405") && stderr.contains("hint: the registry is read-only"), "{stderr}");
    }
}
