//! Image layouts: read, checked, served.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::layout::blob_path;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_layout::LayoutWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Serving, closed_pipe, command, ocip, on_both, registry, response, scripted};

/// Writes all of `memory` into a layout, with the root under this name.
fn store(directory: &Path, memory: &Memory, root: &Descriptor, name: Option<&str>) {
    let mut writer = LayoutWriter::open(directory).unwrap();
    for (digest, content) in memory.contents() {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&descriptor, content).unwrap();
    }
    writer.set_root(root, name.map(|name| name.parse().unwrap()).as_ref()).unwrap();
}

/// A layout of the sample as `latest`: its parent directory, its `oci:` reference and its root.
fn sample() -> (TempDir, String, Descriptor) {
    let home = tempfile::tempdir().unwrap();
    let (memory, root) = Memory::sample();
    store(&home.path().join("layout"), &memory, &root, Some("latest"));
    let name = format!("oci:{}", home.path().join("layout").to_str().unwrap());
    (home, name, root)
}

#[test]
fn a_layout_reads_like_a_registry() {
    let (home, layout, root) = sample();
    let (memory, _) = Memory::sample();
    let registry = format!("{}/demo", registry(&memory, &root));
    let tagged = format!("{layout}:latest");
    let by_digest = format!("{layout}@{}", root.digest);
    let archive = format!("oci-archive:{}:latest", home.path().join("archive.tar").display());
    ocip(&["copy", "-q", &tagged, &archive]).succeeded();
    let archive_by_digest = archive.replace(":latest", &format!("@{}", root.digest));
    for arguments in [
        &["resolve"][..],
        &["resolve", "--json"],
        &["resolve", "--json", "--platform", "linux/arm/v7"],
        &["manifest"],
        &["manifest", "--platform", "linux/amd64"],
        &["tree"],
        &["tree", "--json", "--blobs"],
        &["tree", "--json", "--platform", "linux/arm64"],
    ] {
        let expected = on_both(&[arguments, &[&registry]].concat()).succeeded();
        for name in [&layout, &tagged, &by_digest, &archive, &archive_by_digest] {
            let ran = on_both(&[arguments, &[name]].concat()).succeeded();
            assert_eq!(ran.stdout, expected.stdout, "{arguments:?} {name}");
        }
    }
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for name in [format!("{layout}@{config}"), archive.replace(":latest", &format!("@{config}"))] {
        assert_eq!(on_both(&["blob", &name]).succeeded().stdout, b"{}");
    }
    assert!(ocip(&["-v", "resolve", &layout]).succeeded().stderr.starts_with("layout: "));
}

#[test]
fn an_invalid_layout_reference_is_explained() {
    let (home, layout, root) = sample();
    on_both(&["resolve", &format!("{layout}:none")]).failed(1, &["no such root", "latest", "oci:DIR:TAG"]);
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    ocip(&["tree", &format!("oci:{}", empty.display())])
        .failed(1, &["oci-layout", "not found", "not an image layout"]);
    ocip(&["tree", "oci:"]).failed(2, &["directory is missing"]);
    ocip(&["tree", &format!("{layout}:a b")]).failed(2, &["`a b`"]);
    ocip(&["blob", &layout]).failed(2, &["has no digest"]);
    ocip(&["check", &format!("{layout}:none")]).failed(1, &["no such root"]);
    let (memory, _) = Memory::sample();
    store(&home.path().join("layout"), &memory, &root, Some("v2"));
    ocip(&["resolve", &layout]).succeeded();
    let mut memory = Memory::new();
    let other = memory.add_image(Flavour::OCI, None, &[]);
    store(&home.path().join("layout"), &memory, &other, Some("v3"));
    ocip(&["resolve", &layout]).failed(1, &["several roots", "latest, v2, v3", "oci:DIR:TAG"]);
}

#[test]
fn an_intact_layout_passes_the_check() {
    let (_home, layout, _) = sample();
    let items = format!("{} items, ", Memory::sample().0.contents().count());
    for name in [&layout, &format!("{layout}:latest"), layout.trim_start_matches("oci:")] {
        let ran = ocip(&["check", name]).succeeded();
        assert_eq!(ran.text(), "");
        let (sum, verdict) = ran.stderr.split_once(" ms\n").unwrap();
        assert!(sum.starts_with(&items) && verdict.starts_with("no problems in oci:"), "{}", ran.stderr);
        assert_eq!(ocip(&["check", "-q", name]).succeeded().stderr, "");
    }
}

#[test]
fn a_missing_path_is_still_read_as_a_path() {
    ocip(&["check", "/no/such/directory"]).failed(1, &["error: /no/such/directory: "]);
}

#[test]
fn a_check_prints_a_line_for_each_problem_and_fails() {
    let (home, layout, root) = sample();
    let (memory, _) = Memory::sample();
    let directory = home.path().join("layout");
    let layer = Digest::of(Algorithm::Sha256, b"the layer that all of them share\n");
    fs::remove_file(directory.join(blob_path(&layer))).unwrap();
    let document: Value = serde_json::from_slice(&memory.bytes(&root.digest).unwrap()).unwrap();
    let list: Digest = document["manifests"][1]["digest"].as_str().unwrap().parse().unwrap();
    fs::write(directory.join(blob_path(&list)), "damaged").unwrap();
    fs::write(directory.join("oci-layout"), "{}").unwrap();

    let ran = ocip(&["check", "--json", &layout]);
    ran.failed(1, &["error: 3 problems in oci:"]);
    assert!(!ran.stderr.contains("no problems"), "{}", ran.stderr);
    let lines: Vec<Value> = ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> = lines.iter().map(|line| json!([line["digest"], line["problem"]])).collect();
    let expected = [
        json!([null, "malformed"]),
        json!([list.to_string(), "wrong-size"]),
        json!([layer.to_string(), "missing"]),
    ];
    assert_eq!(shown, expected);
    assert!(lines.iter().all(|line| line.as_object().unwrap().len() == 3), "{lines:?}");
    assert_eq!(lines[0]["detail"], "oci-layout: it has no `imageLayoutVersion`");

    let ran = ocip(&["check", &layout]);
    ran.failed(1, &["error: 3 problems in oci:"]);
    let lines: Vec<_> = ran.text().lines().collect();
    assert!(lines[0].starts_with("malformed      -  oci-layout: "), "{lines:?}");
    assert!(lines[2].starts_with(&format!("missing        {layer}  layers[0] of sha256:")), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

/// `serve` does not start if its address cannot be printed.
#[cfg(target_os = "linux")]
#[test]
fn check_and_serve_handle_a_full_disk_and_a_closed_pipe() {
    let (home, layout, root) = sample();
    let damaged = home.path().join("damaged");
    store(&damaged, &Memory::sample().0, &root, None);
    fs::write(damaged.join(blob_path(&root.digest)), "damaged").unwrap();
    let damaged = damaged.to_str().unwrap();
    for arguments in [
        &["check", damaged][..],
        &["check", "--json", damaged],
        &["serve", "--listen", "127.0.0.1:0", &layout],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("error: could not write to stdout: No space left"),
            "{arguments:?}: {stderr}"
        );

        let output = command(arguments).stdout(closed_pipe()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(1), ""), "{arguments:?}");
    }
}

#[test]
fn wrong_content_in_a_layout_fails_a_blob() {
    let (home, layout, _) = sample();
    let content = b"the layer that all of them share\n";
    let layer = Digest::of(Algorithm::Sha256, content);
    fs::write(home.path().join("layout").join(blob_path(&layer)), vec![b'x'; content.len()]).unwrap();
    let file = home.path().join("file");
    let name = format!("{layout}@{layer}");
    let ran = ocip(&["blob", "-o", file.to_str().unwrap(), &name]);
    ran.failed(1, &["digest mismatch: computed sha256:", "ocip check"]);
    assert!(!file.exists());
    ocip(&["blob", &name, "--size", "1"]).failed(1, &["its descriptor says 1"]);
}

/// Adds an image whose manifest says this about its config.
fn add_image_with(memory: &mut Memory, config: &Value) -> Descriptor {
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] });
    memory.add_document(MediaType::OCI_MANIFEST, manifest.to_string())
}

/// Stores such an image in a layout, and returns its `oci:` reference.
fn store_image_with(directory: &Path, mut memory: Memory, config: &Value) -> String {
    let root = add_image_with(&mut memory, config);
    store(directory, &memory, &root, None);
    format!("oci:{}", directory.display())
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn a_config_is_its_embedded_data_only_if_that_matches() {
    let mut with_blob = Memory::new();
    let config = with_blob.add_blob(CONFIG.parse().unwrap(), r#"{"os":"linux"}"#);
    let home = tempfile::tempdir().unwrap();
    let layout = |name: &str, memory: &Memory, data: &str| {
        let digest = config.digest.to_string();
        let config = json!({ "mediaType": CONFIG, "digest": digest, "size": config.size, "data": data });
        store_image_with(&home.path().join(name), memory.clone(), &config)
    };
    // `{"os":"other"}`, and the content with a space.
    for (number, data) in ["eyJvcyI6Im90aGVyIn0=", "eyJvcyI6ImxpbnV4In0g"].into_iter().enumerate() {
        let ran = ocip(&["config", "--json", &layout(&format!("with-{number}"), &with_blob, data)]);
        assert_eq!(ran.succeeded().text(), "{\"os\":\"linux\"}\n");
        ocip(&["config", &layout(&format!("without-{number}"), &Memory::new(), data)])
            .failed(1, &[&config.digest.encoded(), "not found"]);
    }
    let ran = ocip(&["config", "--json", &layout("right", &Memory::new(), "eyJvcyI6ImxpbnV4In0=")]);
    assert_eq!(ran.succeeded().text(), "{\"os\":\"linux\"}\n");
}

#[test]
fn a_config_that_is_too_large_is_not_read() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let config = json!({ "mediaType": CONFIG, "digest": digest, "size": 16_777_217 });
    let home = tempfile::tempdir().unwrap();
    let on_disk = store_image_with(home.path(), Memory::new(), &config);
    let mut memory = Memory::new();
    let root = add_image_with(&mut memory, &config);
    let manifest = memory.bytes(&root.digest).unwrap();
    let address = scripted(move |_| response("200 OK", root.media_type.as_str(), &manifest));
    let expected = format!("error: the config {digest} has 16777217 bytes; the limit is 16777216\n");
    for name in [on_disk, format!("{address}/demo")] {
        on_both(&["config", &name]).failed(1, &[&expected]);
    }
}

/// Indented, every element of this config is on a line of 200 bytes.
#[cfg(target_os = "linux")]
#[test]
fn an_indented_config_is_not_held_in_memory() {
    let (depth, elements) = (100, 1_000_000);
    let text = format!("{}0{}{}", "[".repeat(depth), ",0".repeat(elements - 1), "]".repeat(depth));
    let mut memory = Memory::new();
    let config = memory.add_blob(CONFIG.parse().unwrap(), text);
    let home = tempfile::tempdir().unwrap();
    let config = json!({ "mediaType": CONFIG, "digest": config.digest.to_string(), "size": config.size });
    let name = store_image_with(home.path(), memory, &config);
    let limited = format!("ulimit -v 100000 && exec {} config {name}", env!("CARGO_BIN_EXE_ocip"));
    let mut child = Command::new("sh").args(["-c", &limited]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().count();
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, 2 * depth + elements);
}

#[test]
fn a_copy_on_disk_says_which_layers_the_source_lacks() {
    let mut memory = Memory::new();
    let config = memory.add_blob(CONFIG.parse().unwrap(), "{}");
    let absent = Digest::of(Algorithm::Sha256, b"a base layer");
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": CONFIG, "digest": config.digest.to_string(), "size": config.size },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest": absent.to_string(),
            "size": 12,
            "urls": ["https://registry.example/layer"],
        }],
    });
    let root = memory.add_document(MediaType::OCI_MANIFEST, manifest.to_string());
    let home = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| home.path().join(name));
    store(&from, &memory, &root, None);
    let [from, to] = [from, to].map(|path| format!("oci:{}", path.display()));
    let ran = ocip(&["copy", &from, &to]).succeeded();
    let skipped = format!("skipped nondistributable layer {absent}, which the source does not have\n");
    assert!(ran.stderr.contains(&skipped), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_layout_is_served_until_ctrl_c() {
    let (_home, layout, _) = sample();
    let directory = layout.trim_start_matches("oci:");
    for (name, signal) in [(directory, "-INT"), (&layout, "-TERM")] {
        let serving = Serving::start(&[name], 1);
        let reference = &serving.lines[1];
        assert_eq!(*reference, format!("{}/layout:latest", serving.address()));
        let from_layout = ocip(&["tree", "--json", "--blobs", &layout]).succeeded();
        let from_registry = on_both(&["tree", "--json", "--blobs", reference]).succeeded();
        assert_eq!(from_registry.stdout, from_layout.stdout);
        let layer = b"the layer that all of them share\n";
        let blob = format!("{}/layout@{}", serving.address(), Digest::of(Algorithm::Sha256, layer));
        assert_eq!(on_both(&["blob", &blob]).succeeded().stdout, layer);
        assert_eq!(serving.interrupt(signal), (Some(0), "stopped\n".to_owned()), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_blob_that_is_gone_is_404_and_a_line_on_stderr() {
    let (_home, layout, _) = sample();
    let serving = Serving::start(&[&layout], 1);
    let layer = Digest::of(Algorithm::Sha256, b"the layer that all of them share\n");
    let path = Path::new(layout.trim_start_matches("oci:")).join(blob_path(&layer));
    fs::remove_file(&path).unwrap();
    let blob = format!("{}/layout@{layer}", serving.address());
    ocip(&["blob", &blob]).failed(1, &["404", "BLOB_UNKNOWN"]);
    let line = format!("error: could not serve {layer}: {}: not found\n", path.display());
    assert_eq!(serving.interrupt("-INT"), (Some(0), line + "stopped\n"));
}

#[test]
fn each_root_is_served_under_its_name() {
    let home = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let [one, two, three, four] =
        ["1", "2", "3", "4"].map(|layer| memory.add_image(Flavour::OCI, None, &[layer.as_bytes()]));
    for (root, name) in
        [(&one, Some("1.0")), (&two, Some("team/app:2.0")), (&three, None), (&four, Some("Odd/name:1"))]
    {
        store(home.path(), &memory, root, name);
    }
    let directory = home.path().to_str().unwrap();
    let serving = Serving::start(&["--repository", "mine", directory], 4);
    let address = serving.address();
    let expected = [
        format!("{address}/mine:1.0"),
        format!("{address}/team/app:2.0"),
        format!("{address}/mine@{}", three.digest),
        format!("{address}/mine@{}", four.digest),
    ];
    assert_eq!(serving.lines[1..], expected);
    for (reference, root) in expected.iter().zip([&one, &two, &three, &four]) {
        let ran = on_both(&["resolve", "--json", reference]).succeeded();
        assert!(ran.text().contains(&root.digest.to_string()), "{reference}: {}", ran.text());
    }

    let single = Serving::start(&[&format!("oci:{directory}:1.0")], 1);
    assert_eq!(single.lines[1], format!("{}/layout:1.0", single.address()));
    on_both(&["resolve", &format!("{}/team/app:2.0", single.address())]).failed(1, &["404"]);
}

/// As `ctr images export` and `docker save` write them.
#[test]
fn roots_under_one_tag_are_served_under_their_full_names() {
    let home = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let roots = ["one", "two"].map(|layer| memory.add_image(Flavour::OCI, None, &[layer.as_bytes()]));
    store(home.path(), &memory, &roots[0], None);
    let names = ["docker.io/library/one:latest", "docker.io/library/two:latest"];
    let entries = roots.iter().zip(names).map(|(root, name)| {
        let annotations = json!({ "org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": name });
        let (digest, size) = (root.digest.to_string(), root.size);
        json!({ "mediaType": root.media_type.as_str(), "digest": digest, "size": size, "annotations": annotations })
    });
    let index = json!({ "schemaVersion": 2, "manifests": entries.collect::<Vec<_>>() });
    fs::write(home.path().join("index.json"), index.to_string()).unwrap();

    let layout = format!("oci:{}", home.path().display());
    ocip(&["resolve", &format!("{layout}:latest")]).failed(1, &[names[0], names[1], "oci:DIR:NAME"]);
    let serving = Serving::start(&[home.path().to_str().unwrap()], 2);
    for (n, (root, name)) in roots.iter().zip(names).enumerate() {
        let served = format!("{}/{name}", serving.address());
        assert_eq!(serving.lines[n + 1], served);
        for reference in [format!("{layout}:{name}"), served] {
            let ran = ocip(&["resolve", "--json", &reference]).succeeded();
            assert!(ran.text().contains(&root.digest.to_string()), "{reference}: {}", ran.text());
        }
    }
}

#[test]
fn serve_explains_why_it_cannot_start() {
    let (home, layout, root) = sample();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    ocip(&["serve", "--listen", &address, &layout]).failed(1, &[&address, "hint: ", "--listen"]);
    ocip(&["serve", "--listen", "nowhere", &layout]).failed(2, &["--listen"]);
    ocip(&["serve", "--repository", "Upper", &layout]).failed(2, &["--repository", "lower case"]);
    ocip(&["serve", home.path().to_str().unwrap()]).failed(1, &["oci-layout", "not found"]);
    let layer = Digest::of(Algorithm::Sha256, b"the layer that all of them share\n");
    fs::write(home.path().join("layout").join(blob_path(&layer)), "damaged").unwrap();
    let ran = ocip(&["serve", "--listen", "127.0.0.1:0", &layout]);
    ran.failed(1, &[&layer.to_string(), "but it has 7", "ocip check"]);
    fs::remove_file(home.path().join("layout").join(blob_path(&root.digest))).unwrap();
    ocip(&["serve", "--listen", "127.0.0.1:0", &format!("{layout}:latest")]).failed(1, &["not found"]);
    let file = fs::File::options().write(true).open(home.path().join("layout/index.json")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    ocip(&["serve", "--listen", "127.0.0.1:0", &layout])
        .failed(1, &["index.json: exceeds the limit of 67108864 bytes", "hint: remove roots"]);
}

/// As `docker save` writes it: content of one platform, and the index of all.
#[cfg(unix)]
#[test]
fn a_sparse_layout_is_served_and_what_it_lacks_is_404() {
    let home = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let [one, two] = [("linux/amd64", b"one"), ("linux/arm64", b"two")]
        .map(|(platform, layer)| memory.add_image(Flavour::OCI, platform.parse().ok(), &[layer]));
    let root = memory.add_index(Flavour::OCI, [&one, &two]);
    let gone = memory.add_image(Flavour::OCI, None, &[]);
    let layout = home.path().to_str().unwrap();
    store(home.path(), &memory, &root, Some("latest"));
    store(home.path(), &memory, &gone, Some("gone"));
    let layer = Digest::of(Algorithm::Sha256, b"two");
    for digest in [&two.digest, &layer, &gone.digest] {
        fs::remove_file(home.path().join(blob_path(digest))).unwrap();
    }
    let serving = Serving::start(&[layout], 1);
    let reference = serving.lines[1].clone();
    assert_eq!(reference, format!("{}/layout:latest", serving.address()));
    ocip(&["manifest", &reference, "--platform", "linux/amd64"]).succeeded();
    ocip(&["manifest", &reference, "--platform", "linux/arm64"]).failed(1, &["404", "MANIFEST_UNKNOWN"]);
    ocip(&["resolve", &format!("{}/layout:gone", serving.address())]).failed(1, &["404"]);
    let (status, stderr) = serving.interrupt("-INT");
    assert_eq!(status, Some(0));
    let lines: Vec<&str> = stderr.lines().collect();
    // Nothing refers to the layer, since its manifest is missing.
    assert!(lines[0].starts_with("the layout lacks 2 items, which will be 404: sha256:"), "{stderr}");
    assert!(
        lines[0].contains(&two.digest.to_string()) && lines[0].contains(&gone.digest.to_string()),
        "{stderr}"
    );
    assert_eq!(lines[1..], ["stopped"]);
}

#[test]
fn an_empty_layout_is_served_as_an_empty_registry() {
    let home = tempfile::tempdir().unwrap();
    drop(LayoutWriter::open(home.path()).unwrap());
    let directory = home.path().to_str().unwrap();
    let serving = Serving::start(&[directory], 0);
    ocip(&["resolve", &format!("{}/layout", serving.address())]).failed(1, &["404"]);
    drop(serving);

    fs::write(home.path().join("index.json"), r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
    ocip(&["serve", directory]).failed(1, &["null is not an array of descriptors"]);
}

#[test]
fn serve_listens_on_localhost() {
    let (_home, layout, _) = sample();
    let mut child =
        command(&["serve", "--listen", "LocalHost:0", &layout]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("http://127.0.0.1:"), "{line}");
}

/// The first Ctrl-C waits for a request in progress, the second does not.
#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_serve_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let layer = vec![7; 32 << 20];
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    store(home.path(), &memory, &root, None);
    let serving = Serving::start(&[home.path().to_str().unwrap()], 1);
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    let digest = Digest::of(Algorithm::Sha256, &layer);
    write!(stream, "GET /v2/layout/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();

    let process = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    // Until it has noticed the first signal, a second one would be the same.
    while TcpStream::connect(serving.address()).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let (status, stderr) = serving.interrupt("-INT");
    assert_eq!((status, &*stderr), (Some(0), "stopped before all requests had finished\n"));
    // Less than the ten seconds that it waits for requests.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
