//! A registry in a file system that is full. This requires root and Linux, for a small file system in memory.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use oci_proto::server::{EmbeddedRegistry, Policy, Server};
use oci_proto::{Algorithm, Digest, Time};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{RegistryDirectory, RegistryOptions};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A mounted file system, which is unmounted when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a file system of this size, or says why not.
    fn new(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {error}")) }
}

/// Opens the registry, and asserts that nothing is wrong with it.
fn open(root: &Path) -> EmbeddedRegistry<RegistryDirectory> {
    let (storage, contents) = RegistryDirectory::open(root, RegistryOptions::default()).unwrap();
    assert!(contents.warnings().is_empty(), "{:?}", contents.warnings());
    let mut server = Server::with_policy(Policy::open(), 1);
    contents.load_into(&mut server, Time::ZERO);
    EmbeddedRegistry::new(server, storage)
}

fn ask(
    registry: &mut EmbeddedRegistry<RegistryDirectory>,
    method: &str,
    target: &str,
    body: impl Into<Bytes>,
) -> (u16, Bytes) {
    let request = Request::builder().method(method).uri(target).header(HOST, "registry");
    let request = request.header(CONTENT_TYPE, INDEX).body(body.into()).unwrap();
    let response = registry.respond(Time::ZERO, request);
    (response.status().as_u16(), response.into_body())
}

/// A blob and its manifest, for each number.
fn content(n: u32) -> (Vec<u8>, String) {
    let document =
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"n":"{n}"}}}}"#);
    (n.to_le_bytes().repeat(10_000), document)
}

fn push_blob(registry: &mut EmbeddedRegistry<RegistryDirectory>, n: u32) -> u16 {
    let blob = content(n).0;
    let digest = Digest::of(Algorithm::Sha256, &blob);
    ask(registry, "POST", &format!("/v2/app/blobs/uploads/?digest={digest}"), blob).0
}

fn push_manifest(registry: &mut EmbeddedRegistry<RegistryDirectory>, n: u32) -> u16 {
    ask(registry, "PUT", &format!("/v2/app/manifests/{n}"), content(n).1).0
}

/// Asserts that the registry has exactly these blobs and manifests, and no file under a wrong name.
fn assert_has(
    registry: &mut EmbeddedRegistry<RegistryDirectory>,
    root: &Path,
    blobs: &[u32],
    manifests: &[u32],
) {
    for n in blobs {
        let blob = content(*n).0;
        let digest = Digest::of(Algorithm::Sha256, &blob);
        assert!(ask(registry, "GET", &format!("/v2/app/blobs/{digest}"), "") == (200, blob.into()), "{n}");
    }
    for n in manifests {
        let manifest = (200, content(*n).1.into());
        assert_eq!(ask(registry, "GET", &format!("/v2/app/manifests/{n}"), ""), manifest);
    }
    let files = fs::read_dir(root.join("app/blobs/sha256")).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.collect();
    for file in &files {
        let digest = Digest::of(Algorithm::Sha256, &fs::read(file).unwrap());
        assert_eq!(file.file_name().unwrap().to_str(), Some(&*digest.encoded()));
    }
    assert_eq!(files.len(), blobs.len() + manifests.len());
    assert_eq!(fs::read_dir(root.join(".uploads")).unwrap().count(), 0);
}

#[test]
fn a_full_file_system_is_told_and_pushes_go_on_when_it_has_room() {
    let home = tempfile::tempdir().unwrap();
    // It lacks blocks, or names of files.
    for size in ["size=1m", "size=16m,nr_inodes=60"] {
        let root = home.path().join("full");
        let _mounted = match Mounted::new(&root, size) {
            Ok(mounted) => mounted,
            Err(reason) => {
                let name = "a_full_file_system_is_told_and_pushes_go_on_when_it_has_room";
                let text = format!("\n*** SKIPPED: {name}: {reason} ***\n");
                // Not captured, so that it is seen.
                let _ = std::io::stderr().write_all(text.as_bytes());
                return;
            }
        };
        let mut registry = open(&root);
        let (mut blobs, mut manifests, mut refused) = (Vec::new(), Vec::new(), 0);
        for n in 0..200 {
            for (status, stored) in
                [(push_blob(&mut registry, n), &mut blobs), (push_manifest(&mut registry, n), &mut manifests)]
            {
                match status {
                    201 => stored.push(n),
                    507 => refused += 1,
                    other => panic!("{size}: {other}"),
                }
            }
        }
        assert!(refused > 100 && blobs.len() > 5 && manifests.len() > 5, "{size}: {refused}");
        assert_has(&mut registry, &root, &blobs, &manifests);

        // What was acknowledged survives a restart, and a deletion makes room.
        drop(registry);
        let mut registry = open(&root);
        assert_has(&mut registry, &root, &blobs, &manifests);
        for n in blobs.drain(..3) {
            let digest = Digest::of(Algorithm::Sha256, &content(n).0);
            assert_eq!(ask(&mut registry, "DELETE", &format!("/v2/app/blobs/{digest}"), "").0, 202, "{size}");
        }
        assert_eq!((push_blob(&mut registry, 500), push_manifest(&mut registry, 500)), (201, 201), "{size}");
        blobs.push(500);
        manifests.push(500);
        assert_has(&mut registry, &root, &blobs, &manifests);
        drop(registry);
    }
}
