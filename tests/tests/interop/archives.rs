//! Archives of layouts, exchanged with skopeo and tar.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use oci_proto::layout::Root;
use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, WalkOptions};
use oci_proto_layout::{ArchiveWriter, Layout, LayoutWriter, check, check_archive};
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::{Program, Served, flat, line, listing};
use serde_json::Value;
use tempfile::TempDir;

/// A program, with its own home directory.
struct Home {
    program: Program,
    home: TempDir,
}

impl Home {
    /// Returns `None` if the program is not installed.
    fn find(program: &str) -> Option<Self> {
        let program = Program::find(program, program)?;
        Some(Self { program, home: TempDir::with_prefix("archives-").unwrap() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.program.command(self.home.path());
        command.args(arguments.iter().map(OsStr::new)).stdin(Stdio::null()).current_dir(self.home.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Copies everything under a root unchanged, with skopeo.
    fn copy(&self, from: &str, to: &str) {
        let options = ["--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        self.run(&[&["--insecure-policy", "copy"], &options[..], &[from, to]].concat());
    }
}

/// A tree of images, with its listing.
fn tree(flavour: Flavour) -> (Memory, Descriptor, Vec<Value>) {
    let mut memory = Memory::new();
    let root = flat(&mut memory, flavour);
    let lines = listing(&memory, &root);
    (memory, root, lines)
}

fn opaque((digest, content): (&Digest, &bytes::Bytes)) -> Descriptor {
    Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64)
}

/// The same tree, in an archive that we write.
fn write(file: &Path, flavour: Flavour) -> Descriptor {
    let (memory, root, _) = tree(flavour);
    let mut writer = ArchiveWriter::create(file).unwrap();
    for (digest, content) in memory.contents() {
        writer.put(&opaque((digest, content)), content).unwrap();
    }
    writer.set_root(&root, Some(&"1.0".parse().unwrap())).unwrap();
    writer.finish().unwrap();
    root
}

/// Reads an archive with the tree as `1.0`.
fn expect(file: &Path, root: &Descriptor, lines: &[Value]) -> Layout {
    let archive = Layout::open_archive(file).unwrap();
    let name = Root::Named("1.0".parse().unwrap());
    assert_eq!(archive.resolve(&name, None).unwrap().digest, root.digest);
    let nodes: Vec<_> =
        archive.walk(&name, &WalkOptions::default()).unwrap().map(|node| line(&node.unwrap())).collect();
    assert_eq!(nodes, lines);
    assert_eq!(check_archive(file, None).unwrap().collect::<Vec<_>>(), []);
    archive
}

#[test]
fn an_archive_by_skopeo_is_walked_checked_and_served() {
    let Some(skopeo) = Home::find("skopeo") else { return };
    let (memory, root, lines) = tree(Flavour::OCI);
    let (repository, tag) = ("app".parse().unwrap(), "1.0".parse().unwrap());
    let mut server = Server::new();
    server.add(&repository, Some(&tag), &root, &memory).unwrap();
    let registry = Served::start(server, memory.clone());
    let file = skopeo.at("first.tar");
    skopeo.copy(&format!("docker://{}/app:1.0", registry.address()), "oci-archive:first.tar:1.0");
    let archive = expect(&file, &root, &lines);

    let mut server = Server::new();
    server.add(&repository, Some(&tag), &root, &archive).unwrap();
    let registry = Served::start(server, archive);
    let place = format!("{}/app:1.0", registry.address());
    for adapter in adapters() {
        let nodes = adapter.walk(&place.parse().unwrap(), WalkOptions::default()).unwrap();
        assert_eq!(nodes.iter().map(line).collect::<Vec<_>>(), lines, "{}", adapter.name());
    }
    skopeo.copy(&format!("docker://{place}"), "oci-archive:second.tar:1.0");
    expect(&skopeo.at("second.tar"), &root, &lines);
}

#[test]
fn an_archive_by_us_is_read_by_skopeo() {
    let Some(skopeo) = Home::find("skopeo") else { return };
    let root = write(&skopeo.at("ours.tar"), Flavour::OCI);
    let raw = skopeo.run(&["inspect", "--raw", "oci-archive:ours.tar:1.0"]);
    assert_eq!(raw.len() as u64, root.size);
    skopeo.copy("oci-archive:ours.tar:1.0", "oci:layout:1.0");
    let layout = Layout::open(skopeo.at("layout")).unwrap();
    let name = Root::Named("1.0".parse().unwrap());
    assert_eq!(layout.resolve(&name, None).unwrap().digest, root.digest);
    assert_eq!(check(skopeo.at("layout"), None).unwrap().collect::<Vec<_>>(), []);
}

#[test]
fn archives_of_every_format_of_tar_are_read() {
    let Some(tar) = Home::find("tar") else { return };
    let (sha256, sha512) = (Flavour::OCI, Flavour::OCI.by(Algorithm::Sha512));
    // The older formats have no long names.
    for (format, flavour) in
        [("gnu", sha512), ("oldgnu", sha512), ("pax", sha512), ("ustar", sha256), ("v7", sha256)]
    {
        let (memory, root, lines) = tree(flavour);
        let mut writer = LayoutWriter::open(tar.at(format)).unwrap();
        for (digest, content) in memory.contents() {
            writer.put(&opaque((digest, content)), content).unwrap();
        }
        writer.set_root(&root, Some(&"1.0".parse().unwrap())).unwrap();
        drop(writer);
        let option = format!("--format={format}");
        tar.run(&[&option, "-cf", "app.tar", "-C", format, "."]);
        expect(&tar.at("app.tar"), &root, &lines);
        // With a second index, which counts.
        tar.run(&[&option, "-cf", "app.tar", "-C", format, "oci-layout", "index.json", "blobs"]);
        fs::write(tar.at("index.json"), "{}").unwrap();
        tar.run(&[&option, "-rf", "app.tar", "index.json"]);
        Layout::open_archive(tar.at("app.tar")).unwrap_err();
        tar.run(&[&option, "-rf", "app.tar", "-C", format, "index.json"]);
        expect(&tar.at("app.tar"), &root, &lines);
    }
}

#[test]
fn an_archive_by_us_is_unpacked_by_tar() {
    let Some(tar) = Home::find("tar") else { return };
    // The paths of these digests do not fit in a header.
    let root = write(&tar.at("ours.tar"), Flavour::OCI.by(Algorithm::Sha512));
    fs::create_dir(tar.at("unpacked")).unwrap();
    tar.run(&["-xf", "ours.tar", "-C", "unpacked"]);
    let found = Layout::open(tar.at("unpacked")).unwrap().resolve(&Root::Only, None).unwrap();
    assert_eq!(found.digest, root.digest);
    assert_eq!(check(tar.at("unpacked"), None).unwrap().collect::<Vec<_>>(), []);
}
