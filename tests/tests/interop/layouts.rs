//! Layouts exchanged with skopeo and umoci.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use oci_proto::layout::{RefName, Root};
use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Checker, Descriptor, Digest, Found, Limits, MediaType, Role, WalkOptions};
use oci_proto_layout::{Layout, LayoutWriter, check};
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{Program, Served, flat, line, listing, ocip};
use serde_json::Value;
use tempfile::TempDir;

/// Both programs, with their own home directory.
struct Programs {
    skopeo: Program,
    umoci: Program,
    home: TempDir,
}

impl Programs {
    /// Returns `None` if one of them is not installed.
    fn find() -> Option<Self> {
        let skopeo = Program::find("skopeo", "skopeo")?;
        let umoci = Program::find("umoci", "umoci")?;
        Some(Self { skopeo, umoci, home: TempDir::with_prefix("layouts-").unwrap() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, program: &Program, arguments: &[&OsStr]) -> Vec<u8> {
        let mut command = program.command(self.home.path());
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn skopeo(&self, arguments: &[&str]) -> Vec<u8> {
        // This home directory has no policy, and signatures are not tested.
        let arguments = ["--insecure-policy"].iter().chain(arguments);
        self.run(&self.skopeo, &arguments.map(OsStr::new).collect::<Vec<_>>())
    }

    /// Copies everything under a root unchanged.
    fn copy(&self, from: &str, to: &str) {
        let options = ["--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        self.skopeo(&[&["copy"], &options[..], &[from, to]].concat());
    }

    fn umoci(&self, arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
        String::from_utf8(self.run(&self.umoci, &arguments)).unwrap()
    }

    /// A layout written by umoci: an image with one layer with one file, as `1.0` and as `latest`.
    fn written_by_umoci(&self) -> PathBuf {
        let folder = self.at("umoci");
        let image = named(&folder, "1.0");
        fs::write(self.at("greeting"), "hello\n").unwrap();
        self.umoci(&["init", "--layout", text(&folder)]);
        self.umoci(&["new", "--image", &image]);
        let from = self.at("greeting");
        self.umoci(&["insert", "--rootless", "--image", &image, text(&from), "/etc/greeting"]);
        self.umoci(&["tag", "--image", &image, "latest"]);
        folder
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn named(folder: &Path, name: &str) -> String {
    format!("{}:{name}", text(folder))
}

fn root(name: &str) -> Root {
    Root::Named(name.parse().unwrap())
}

/// The blobs of a layout by path.
fn blobs(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for algorithm in fs::read_dir(folder.join("blobs")).unwrap() {
        for blob in fs::read_dir(algorithm.unwrap().path()).unwrap() {
            let path = blob.unwrap().path();
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Runs `ocip`, which must succeed, and returns the lines of its stdout as JSON.
fn ocip_json(arguments: &[&str]) -> Vec<Value> {
    let output = ocip().args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ocip {arguments:?}: {stderr}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A running `ocip serve`, stopped on drop.
struct Serving {
    child: Child,
    /// The address to pull from.
    places: Vec<String>,
}

impl Serving {
    fn start(folder: &Path, places: usize) -> Self {
        let mut child = ocip()
            .args(["serve", "--listen", "127.0.0.1:0", text(folder)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let places = lines.skip(1).take(places).map(|line| line.trim().to_owned()).collect();
        Self { child, places }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_layout_by_skopeo_is_walked_checked_served_and_copied() {
    let Some(programs) = Programs::find() else { return };
    let mut memory = Memory::new();
    let expected = flat(&mut memory, Flavour::OCI);
    let mut server = Server::new();
    server.add(&"app".parse().unwrap(), Some(&"1.0".parse().unwrap()), &expected, &memory).unwrap();
    let registry = Served::start(server, memory.clone());
    let first = programs.at("first");
    programs
        .copy(&format!("docker://{}/app:1.0", registry.address()), &format!("oci:{}", named(&first, "1.0")));

    let layout = Layout::open(&first).unwrap();
    assert_eq!(layout.resolve(&root("1.0"), None).unwrap().digest, expected.digest);
    let nodes: Vec<_> =
        layout.walk(&root("1.0"), &WalkOptions::default()).unwrap().map(Result::unwrap).collect();
    let lines = listing(&memory, &expected);
    assert_eq!(nodes.iter().map(line).collect::<Vec<_>>(), lines);
    assert_eq!(check(&first, None).unwrap().collect::<Vec<_>>(), []);
    let name = format!("oci:{}", named(&first, "1.0"));
    assert_eq!(ocip_json(&["tree", "--quiet", "--json", &name]), lines);
    assert!(ocip_json(&["check", "--quiet", "--json", &name]).is_empty());

    let serving = Serving::start(&first, 1);
    let [place] = &serving.places[..] else { panic!("{:?}", serving.places) };
    for adapter in adapters() {
        let nodes = adapter.walk(&place.parse().unwrap(), WalkOptions::default()).unwrap();
        assert_eq!(nodes.iter().map(line).collect::<Vec<_>>(), lines, "{}", adapter.name());
    }
    let second = programs.at("second");
    programs.copy(&format!("docker://{place}"), &format!("oci:{}", named(&second, "1.0")));
    assert_eq!(blobs(&second), blobs(&first), "our server must not change a byte");
    let copied = Layout::open(&second).unwrap().resolve(&root("1.0"), None).unwrap();
    assert_eq!(copied.digest, expected.digest);
}

#[test]
fn a_layout_by_umoci_is_walked_checked_served_and_copied() {
    let Some(programs) = Programs::find() else { return };
    let folder = programs.written_by_umoci();
    let layout = Layout::open(&folder).unwrap();
    let one = layout.resolve(&Root::Only, None).unwrap();
    assert_eq!(one, layout.resolve(&root("latest"), None).unwrap(), "both names have the same root");
    let mut options = WalkOptions::default();
    options.blobs = true;
    let nodes: Vec<_> = layout.walk(&root("1.0"), &options).unwrap().map(Result::unwrap).collect();
    assert!(matches!(nodes[0].found, Found::Manifest(_)), "{:?}", nodes[0]);
    assert_eq!(nodes.len(), 3, "an image, its config and its layer: {nodes:?}");
    assert_eq!(check(&folder, None).unwrap().collect::<Vec<_>>(), []);

    let serving = Serving::start(&folder, 2);
    let copied = programs.at("copied");
    for (place, name) in serving.places.iter().zip(["1.0", "latest"]) {
        assert!(place.ends_with(&format!("/layout:{name}")), "{:?}", serving.places);
        programs.copy(&format!("docker://{place}"), &format!("oci:{}", named(&copied, name)));
        let resolved = Layout::open(&copied).unwrap().resolve(&root(name), None).unwrap();
        assert_eq!(resolved.digest, one.digest, "{name}");
    }
    for (path, bytes) in blobs(&copied) {
        assert!(fs::read(folder.join(&path)).unwrap() == bytes, "{} differs", path.display());
    }
}

/// Writes the content of another layout under a root, and leaves an incomplete blob beside it.
fn written_by_us(from: &Layout, of: &Descriptor, folder: &Path, name: &RefName) {
    let mut writer = LayoutWriter::open(folder).unwrap();
    let mut audit = Checker::new(&Limits::default());
    audit.add_root(of.clone());
    while let Some(item) = audit.next_item() {
        let mut content = Vec::new();
        let mut blob = from.blob(&item.descriptor.digest, Some(item.descriptor.size)).unwrap();
        std::io::Read::read_to_end(&mut blob, &mut content).unwrap();
        writer.put(&item.descriptor, &content).unwrap();
        if item.role == Role::Document {
            audit.document(item, content.into(), None);
        }
    }
    assert_eq!(audit.next_finding(), None);
    writer.set_root(of, Some(name)).unwrap();
    let other = Digest::of(Algorithm::Sha256, b"a blob that never comes");
    let mut left = writer.begin(&Descriptor::new(MediaType::OCTET_STREAM, other, 1000)).unwrap();
    left.append(0, b"its beginning").unwrap();
}

#[test]
fn a_layout_by_ocip_is_read_by_skopeo_and_umoci() {
    let Some(programs) = Programs::find() else { return };
    let theirs = Layout::open(programs.written_by_umoci()).unwrap();
    let image = theirs.resolve(&Root::Only, None).unwrap();
    let folder = programs.at("ours");
    written_by_us(&theirs, &image, &folder, &"v2".parse().unwrap());

    let raw = programs.skopeo(&["inspect", "--raw", &format!("oci:{}", named(&folder, "v2"))]);
    assert_eq!(Digest::of(Algorithm::Sha256, &raw), image.digest);
    let out = programs.at("out");
    programs.copy(&format!("oci:{}", named(&folder, "v2")), &format!("dir:{}", text(&out)));
    assert_eq!(fs::read(out.join("manifest.json")).unwrap(), raw);

    assert_eq!(programs.umoci(&["ls", "--layout", text(&folder)]), "v2\n");
    programs.umoci(&["stat", "--image", &named(&folder, "v2")]);
    let bundle = programs.at("bundle");
    programs.umoci(&["unpack", "--rootless", "--image", &named(&folder, "v2"), text(&bundle)]);
    assert_eq!(fs::read_to_string(bundle.join("rootfs/etc/greeting")).unwrap(), "hello\n");

    // umoci removes unreferenced blobs and changes the index: the layout stays valid and writable.
    programs.umoci(&["tag", "--image", &named(&folder, "v2"), "v3"]);
    programs.umoci(&["gc", "--layout", text(&folder)]);
    assert_eq!(check(&folder, None).unwrap().collect::<Vec<_>>(), []);
    let mut writer = LayoutWriter::open(&folder).unwrap();
    writer.set_root(&image, Some(&"v4".parse().unwrap())).unwrap();
    drop(writer);
    assert_eq!(programs.umoci(&["ls", "--layout", text(&folder)]), "v2\nv3\nv4\n");
}
