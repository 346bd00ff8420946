//! Results on stdout and in files.

use std::fs;

use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Digest, MediaType};
use serde_json::{Value, json};

use crate::support::{ADAPTERS, command, on_both, registry, response, sample, scripted};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn resolve_prints_three_named_values() {
    let (_, root) = Memory::sample();
    let ran = on_both(&["resolve", &format!("{}/demo", sample())]).succeeded();
    let expected =
        format!("mediaType  {}\ndigest     {}\nsize       {}\n", root.media_type, root.digest, root.size);
    assert_eq!(ran.text(), expected);
    assert_eq!(ran.stderr, "");
}

#[test]
fn resolve_prints_json() {
    let (_, root) = Memory::sample();
    let ran = on_both(&["resolve", "--json", &format!("{}/demo:latest", sample())]).succeeded();
    let expected = format!(
        "{{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":{}}}\n",
        root.media_type, root.digest, root.size
    );
    assert_eq!(ran.text(), expected);
}

#[test]
fn a_platform_selects_an_image() {
    let mut memory = Memory::new();
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let images = platforms.map(|name| memory.add_image(Flavour::OCI, name.parse().ok(), &[name.as_bytes()]));
    let root = memory.add_index(Flavour::OCI, &images);
    let name = format!("{}/demo", registry(&memory, &root));
    for (platform, image) in platforms.iter().zip(&images) {
        let ran = on_both(&["resolve", "--json", "--platform", platform, &name]).succeeded();
        assert_eq!(lines(ran.text())[0]["digest"], image.digest.to_string(), "{platform}");

        let ran = on_both(&["manifest", "--platform", platform, &name]).succeeded();
        assert_eq!(Some(&ran.stdout[..]), memory.bytes(&image.digest).as_deref(), "{platform}");

        let ran = on_both(&["tree", "--json", "--platform", platform, &name]).succeeded();
        let tree: Vec<_> = lines(ran.text()).iter().map(|line| line["digest"].clone()).collect();
        assert_eq!(tree, [json!(image.digest.to_string())], "{platform}");
    }
    let ran = on_both(&["resolve", "--platform", "plan9/mips", &name]);
    ran.failed(
        1,
        &[
            "error: ",
            "plan9/mips",
            "/demo:latest: ",
            "linux/amd64, linux/arm64, linux/arm/v7",
            "hint: ",
            "--platform",
        ],
    );
    assert_eq!(ran.text(), "");
}

#[test]
fn manifest_writes_the_exact_bytes() {
    let (memory, root) = Memory::sample();
    let ran = on_both(&["manifest", &format!("{}/demo", sample())]).succeeded();
    assert_eq!(Some(&ran.stdout[..]), memory.bytes(&root.digest).as_deref());
    assert_eq!(ran.stderr, "");
}

/// For a terminal, see `terminal::digests_are_shortened_on_a_terminal`.
#[test]
fn tree_prints_whole_digests_in_a_pipe() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, "linux/amd64".parse().ok(), &[b"a", b"b", b"a"]);
    let index = memory.add_index(Flavour::OCI, [&image]);
    let name = format!("{}/demo", registry(&memory, &index));
    let config = {
        let document: Value = serde_json::from_slice(&memory.bytes(&image.digest).unwrap()).unwrap();
        document["config"]["digest"].as_str().unwrap().to_owned()
    };
    let [a, b] = [b"a", b"b"].map(|layer| Digest::of(Algorithm::Sha256, layer));
    let expected = format!(
        "\
index            {}      {} B
└─ image         {}      {} B  linux/amd64
   ├─ config     {config}      {} B  vnd.oci.image.config.v1+json
   ├─ layer      {a}        1 B  vnd.oci.image.layer.v1.tar
   ├─ layer      {b}        1 B  vnd.oci.image.layer.v1.tar
   └─ layer      {a}        1 B  (repeated)
",
        index.digest,
        index.size,
        image.digest,
        image.size,
        memory.bytes(&config.parse().unwrap()).unwrap().len()
    );
    assert_eq!(on_both(&["tree", "--blobs", &name]).succeeded().text(), expected);

    let kinds = ["index", "image", "config", "layer", "layer", "layer"];
    let printed = on_both(&["tree", "--blobs", "--json", &name]).succeeded();
    assert_eq!(lines(printed.text()).iter().map(|line| line["kind"].clone()).collect::<Vec<_>>(), kinds);
}

#[test]
fn tree_prints_totals_to_stderr_unless_quiet() {
    let name = format!("{}/demo", sample());
    let ran = on_both(&["tree", &name]).succeeded();
    assert!(ran.stderr.starts_with("11 nodes; 9 manifests read, 5.52 kB; "), "{}", ran.stderr);
    assert!(ran.stderr.ends_with(" ms\n"), "{}", ran.stderr);
    assert_eq!(on_both(&["tree", "-q", &name]).succeeded().stderr, "");
    assert!(on_both(&["-v", "tree", &name]).succeeded().stderr.contains("ureq: "));
}

#[test]
fn tree_prints_one_json_object_per_line_in_walk_order() {
    let ran = on_both(&["tree", "--json", &format!("{}/demo", sample())]).succeeded();
    let (_, root) = Memory::sample();
    let nodes = lines(ran.text());
    let first = json!({
        "depth": 0,
        "mediaType": root.media_type.as_str(),
        "digest": root.digest.to_string(),
        "size": root.size,
        "kind": "index",
    });
    assert_eq!(nodes[0], first);
    let shape: Vec<_> = nodes
        .iter()
        .map(|node| {
            let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
            (node["depth"].as_u64().unwrap(), text("kind"), text("platform"), text("artifactType"))
        })
        .collect();
    let expected = [
        (0, "index", "", ""),
        (1, "index", "", ""),
        (2, "image", "linux/amd64", ""),
        (2, "image", "linux/arm64", ""),
        (2, "image", "linux/arm/v7", ""),
        (1, "index", "", ""),
        (2, "image", "linux/amd64", ""),
        (2, "image", "linux/arm64", ""),
        (1, "image", "", "application/spdx+json"),
        (1, "image", "linux/amd64", ""),
        (1, "other", "", ""),
    ];
    let expected = expected.map(|(depth, kind, platform, artifact)| {
        (depth, kind.to_owned(), platform.to_owned(), artifact.to_owned())
    });
    assert_eq!(shape, expected);
    let repeated: Vec<_> = nodes.iter().map(|node| node["repeated"] == true).collect();
    assert_eq!(repeated.iter().filter(|repeated| **repeated).count(), 1);
    assert!(repeated[9], "{nodes:?}");
}

/// A registry whose `demo:latest` is an index of one image that the registry lacks.
fn registry_without_the_image() -> (String, String) {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, "linux/amd64".parse().ok(), &[]);
    let root = memory.add_index(Flavour::OCI, [&image]);
    let document = memory.bytes(&root.digest).unwrap();
    let address = scripted(move |path| {
        if path == "/v2/demo/manifests/latest" {
            return response("200 OK", MediaType::OCI_INDEX.as_str(), &document);
        }
        response("404 Not Found", "application/json", b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}")
    });
    (format!("{address}/demo"), image.digest.to_string())
}

#[test]
fn tree_marks_missing_manifests() {
    let (name, digest) = registry_without_the_image();
    let ran = on_both(&["tree", "--json", &name]).succeeded();
    let nodes = lines(ran.text());
    assert_eq!((&nodes[1]["digest"], &nodes[1]["missing"]), (&json!(digest), &json!(true)));
    assert!(ran.stderr.contains("1 missing"), "{}", ran.stderr);
    let ran = on_both(&["tree", &name]).succeeded();
    assert!(ran.text().lines().last().is_some_and(|line| line.ends_with("(missing)")), "{}", ran.text());

    on_both(&["tree", "--strict", &name]).failed(1, &["error: ", &digest]);
}

#[test]
fn a_blob_is_written_to_stdout_or_a_file() {
    let mut memory = Memory::new();
    let layer: Vec<u8> = (0..1_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let name = format!("{}/demo@{digest}", registry(&memory, &root));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer");
    let path = file.to_str().unwrap();

    assert_eq!(on_both(&["blob", &name]).succeeded().stdout, layer);
    assert_eq!(on_both(&["blob", "--size", "1000000", "-o", "-", &name]).succeeded().stdout, layer);
    for before in [None, Some("something else")] {
        if let Some(before) = before {
            fs::write(&file, before).unwrap();
        }
        let ran = on_both(&["blob", "--output", path, &name]).succeeded();
        assert_eq!((ran.text(), &ran.stderr[..]), ("", ""));
        assert_eq!(fs::read(&file).unwrap(), layer);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn an_interrupted_blob_leaves_no_file() {
    use std::os::unix::process::ExitStatusExt as _;
    // It never answers.
    let address = scripted(|_| {
        loop {
            std::thread::park();
        }
    });
    let digest = "0".repeat(64);
    for (signal, number) in [("-INT", 2), ("-QUIT", 3), ("-TERM", 15)] {
        for adapter in ADAPTERS {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("blob");
            let name = format!("{address}/demo@sha256:{digest}");
            let arguments = ["blob", "--adapter", adapter, "-o", file.to_str().unwrap(), &name];
            let mut child = command(&arguments).spawn().unwrap();
            let count = || fs::read_dir(home.path()).unwrap().count();
            while count() == 0 {
                assert_eq!(child.try_wait().unwrap(), None, "it ended early");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
            assert_eq!(child.wait().unwrap().signal(), Some(number), "{adapter}");
            assert_eq!(count(), 0, "{adapter}, after {signal}");
        }
    }
}

#[test]
fn a_file_is_not_replaced_by_a_blob_with_wrong_content() {
    let digest = Digest::of(Algorithm::Sha256, b"what was asked for");
    let address = scripted(|_| response("200 OK", "application/octet-stream", b"what was sent"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer");
    fs::write(&file, "before").unwrap();
    let ran = on_both(&["blob", "-o", file.to_str().unwrap(), &format!("{address}/demo@{digest}")]);
    ran.failed(1, &["error: GET ", "digest mismatch", &digest.to_string()]);
    assert_eq!(fs::read(&file).unwrap(), b"before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn links_and_devices_are_not_replaced() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let digest = Digest::of(Algorithm::Sha256, b"a layer");
    let name = format!("{}/demo@{digest}", registry(&memory, &root));
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&file, &link).unwrap();
    on_both(&["blob", "-o", link.to_str().unwrap(), &name]).succeeded();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"a layer");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    on_both(&["blob", "-o", "/dev/null", &name]).succeeded();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}
