//! skopeo reads from the core's registry, served by the tokio adapter.
//!
//! The content is typical for mirrors of images: an OCI index and a Docker manifest list, of images. Nested
//! indexes and artifacts are left out, because skopeo 1.9 treats each entry of an index as an image when it
//! copies all of them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::server::{Content as _, Flavour, Memory, Server};
use oci_proto::{Descriptor, Digest, WalkOptions};
use oci_proto_common::TransferOptions;
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{DockerRegistry, Program, Served, Settings, document, flat, line, listing};
use serde_json::{Value, json};
use tempfile::TempDir;

const REPOSITORY: &str = "mirror/app";

/// skopeo with its own home directory, and our registry with one root for each flavour.
struct SkopeoAndRegistry {
    skopeo: Program,
    home: TempDir,
    memory: Memory,
    roots: [(&'static str, Descriptor); 2],
    served: Served,
}

impl SkopeoAndRegistry {
    /// Returns `None` if skopeo is not installed.
    fn start() -> Option<Self> {
        let skopeo = Program::find("skopeo", "skopeo")?;
        let mut memory = Memory::new();
        let roots = [("oci", Flavour::OCI), ("docker", Flavour::DOCKER)]
            .map(|(tag, flavour)| (tag, flat(&mut memory, flavour)));
        let mut held = Server::new();
        for (tag, root) in &roots {
            let (repository, tag) = (REPOSITORY.parse().unwrap(), tag.parse().unwrap());
            held.add(&repository, Some(&tag), root, &memory).unwrap();
        }
        let served = Served::start(held, memory.clone());
        Some(Self { skopeo, home: TempDir::with_prefix("skopeo-").unwrap(), memory, roots, served })
    }

    fn name(&self, tag: &str) -> String {
        format!("docker://{}/{REPOSITORY}:{tag}", self.served.address())
    }

    /// Runs skopeo, and returns its output.
    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut command = self.skopeo.command(self.home.path());
        // This home directory has no policy, and signatures are not tested.
        command.arg("--insecure-policy").args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Copies everything under a root unchanged. Without `--preserve-digests` skopeo would compress layers
    /// and rewrite the manifests.
    fn copy(&self, tag: &str, to: &str) {
        let from = self.name(tag);
        let options =
            ["--quiet", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
        self.run([&["copy"], &options[..], &[&from, to]].concat());
    }

    fn bytes(&self, digest: &str) -> Vec<u8> {
        self.memory.bytes(&digest.parse::<Digest>().unwrap()).unwrap().to_vec()
    }

    /// The digests of the images under a root, and of the blobs under those.
    fn under(&self, root: &Descriptor) -> (Vec<String>, Vec<String>) {
        let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        let list = document(&self.memory, &root.digest.to_string());
        let images: Vec<String> = list["manifests"].as_array().unwrap().iter().map(digest).collect();
        let mut blobs = Vec::new();
        for image in &images {
            let image = document(&self.memory, image);
            blobs.push(digest(&image["config"]));
            blobs.extend(image["layers"].as_array().unwrap().iter().map(digest));
        }
        (images, blobs)
    }
}

#[test]
fn inspect_reads_the_image_of_a_platform_and_the_tags() {
    let Some(mirror) = SkopeoAndRegistry::start() else { return };
    for (tag, root) in &mirror.roots {
        let platform = ["--override-os", "linux", "--override-arch", "arm", "--override-variant", "v7"];
        let inspect = ["inspect", "--tls-verify=false", &mirror.name(tag)];
        let inspected: Value =
            serde_json::from_slice(&mirror.run([&platform[..], &inspect].concat())).unwrap();
        assert_eq!(inspected["Digest"], root.digest.to_string(), "{inspected}");
        assert_eq!(inspected["RepoTags"], json!(["docker", "oci"]), "{inspected}");
        assert_eq!(inspected["Architecture"], "arm", "{inspected}");

        let (images, _) = mirror.under(root);
        let image = document(&mirror.memory, &images[2]);
        let layers: Vec<&Value> = image["layers"].as_array().unwrap().iter().map(|l| &l["digest"]).collect();
        assert_eq!(inspected["Layers"], json!(layers), "{inspected}");
    }
}

#[test]
fn inspect_raw_prints_the_stored_bytes() {
    let Some(mirror) = SkopeoAndRegistry::start() else { return };
    for (tag, root) in &mirror.roots {
        let raw = mirror.run(["inspect", "--raw", "--tls-verify=false", &mirror.name(tag)]);
        assert_eq!(raw, mirror.bytes(&root.digest.to_string()), "{tag}");
    }
}

#[test]
fn copy_makes_a_layout_of_an_oci_index() {
    let Some(mirror) = SkopeoAndRegistry::start() else { return };
    let [(tag, root), _] = &mirror.roots;
    let layout = mirror.home.path().join("layout");
    mirror.copy(tag, &format!("oci:{}:{tag}", layout.display()));

    let index: Value = serde_json::from_slice(&read(&layout.join("index.json"))).unwrap();
    assert_eq!(index["manifests"][0]["digest"], root.digest.to_string(), "{index}");
    let (images, blobs) = mirror.under(root);
    for digest in [root.digest.to_string()].into_iter().chain(images).chain(blobs) {
        let copied = read(&layout.join("blobs").join(digest.replace(':', "/")));
        assert!(copied == mirror.bytes(&digest), "the copy of {digest} has other bytes");
    }
}

/// An OCI layout holds only OCI types, so skopeo would convert or refuse a Docker list; `dir:` holds any
/// type.
#[test]
fn copy_makes_a_folder_of_either_flavour() {
    let Some(mirror) = SkopeoAndRegistry::start() else { return };
    for (tag, root) in &mirror.roots {
        let folder = mirror.home.path().join(tag);
        mirror.copy(tag, &format!("dir:{}", folder.display()));

        let hex = |digest: &str| digest.replace("sha256:", "");
        let (images, blobs) = mirror.under(root);
        let mut files: Vec<(String, PathBuf)> = vec![(root.digest.to_string(), "manifest.json".into())];
        files.extend(images.into_iter().map(|d| (d.clone(), format!("{}.manifest.json", hex(&d)).into())));
        files.extend(blobs.into_iter().map(|d| (d.clone(), hex(&d).into())));
        for (digest, file) in files {
            assert!(
                read(&folder.join(file)) == mirror.bytes(&digest),
                "the copy of {digest} has other bytes"
            );
        }
    }
}

#[test]
fn both_adapters_walk_what_skopeo_copies_to_docker_registry() {
    let Some(mirror) = SkopeoAndRegistry::start() else { return };
    let Some(program) = Program::find("docker-registry", "docker-registry") else { return };
    let registry = DockerRegistry::start(&program, &Settings::new());
    for (tag, root) in &mirror.roots {
        let copy = format!("{}/copied/app:{tag}", registry.address());
        mirror.copy(tag, &format!("docker://{copy}"));
        for adapter in adapters() {
            let nodes = adapter.walk(&copy.parse().unwrap(), WalkOptions::default()).unwrap();
            let lines: Vec<Value> = nodes.iter().map(line).collect();
            assert_eq!(lines, listing(&mirror.memory, root), "{} of {tag}", adapter.name());
        }
    }
}

/// What each adapter pushes, skopeo copies, and umoci and our own check read the copy.
#[test]
fn skopeo_and_umoci_read_what_both_adapters_push() {
    let Some(skopeo) = Program::find("skopeo", "skopeo") else { return };
    let Some(program) = Program::find("docker-registry", "docker-registry") else { return };
    let Some(umoci) = Program::find("umoci", "umoci") else { return };
    let registry = DockerRegistry::start(&program, &Settings::new());
    let home = TempDir::with_prefix("pushed-").unwrap();
    let mut memory = Memory::new();
    let root = flat(&mut memory, Flavour::OCI);
    for client in adapters() {
        let name = client.name();
        let to = format!("{}/pushed/{name}:1", registry.address()).parse().unwrap();
        let tree = Arc::new(memory.clone());
        client.push(&root, &to, tree, TransferOptions::default()).unwrap();

        let folder = home.path().join(name);
        let (from, into) = (format!("docker://{to}"), format!("oci:{}:1", folder.display()));
        let mut command = skopeo.command(home.path());
        command.args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
        let copied = command.args(["--src-tls-verify=false", &from, &into]).output().unwrap();
        assert!(copied.status.success(), "{name}: {}", String::from_utf8_lossy(&copied.stderr));
        for (digest, content) in memory.contents() {
            let path = folder.join(oci_proto::layout::blob_path(digest));
            assert_eq!(read(&path), &content[..], "{name}: {digest}");
        }
        let listed = umoci.command(home.path()).args(["ls", "--layout"]).arg(&folder).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "1", "{name}");
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
