//! Layouts to read, and their files to damage.

use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::layout::{RefName, Root, blob_path};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Checker, Descriptor, Digest, Limits, Manifest, MediaType, Role};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{Durability, LayoutWriter};
use tempfile::TempDir;

/// A layout in a temporary directory.
pub(crate) struct Stored {
    pub(crate) memory: Memory,
    pub(crate) root: Descriptor,
    directory: TempDir,
}

impl Stored {
    /// The core's sample, as `latest`.
    pub(crate) fn sample() -> Self {
        let (memory, root) = Memory::sample();
        Self::of(memory, root, Some("latest"))
    }

    pub(crate) fn of(memory: Memory, root: Descriptor, name: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stored = Self { memory, root, directory };
        store(&stored.path(), &stored.memory, &stored.root, name.map(self::name).as_ref());
        stored
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    /// A path beside the layout.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        self.path().join(blob_path(digest))
    }

    /// The nth entry of the root.
    pub(crate) fn entry(&self, n: usize) -> Descriptor {
        entries(&self.memory, &self.root)[n].clone()
    }
}

/// Writes all of `memory` into a layout, then the root.
pub(crate) fn store(directory: &Path, memory: &Memory, root: &Descriptor, name: Option<&RefName>) {
    let mut writer = LayoutWriter::open_with(directory, Durability::Unsynced).unwrap();
    for (digest, content) in memory.contents() {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&descriptor, content).unwrap();
    }
    writer.set_root(root, name).unwrap();
}

/// All documents and blobs under a root, once each.
pub(crate) fn everything(memory: &Memory, root: &Descriptor) -> Vec<(Descriptor, Role)> {
    let mut checker = Checker::new(&Limits::default());
    checker.add_root(root.clone());
    let mut all = Vec::new();
    while let Some(item) = checker.next_item() {
        all.push((item.descriptor.clone(), item.role));
        if item.role == Role::Document {
            let bytes = memory.bytes(&item.descriptor.digest).unwrap();
            checker.document(item, bytes, None);
        }
    }
    assert_eq!(checker.next_finding(), None);
    all
}

/// The entries of an index, or the config and the layers of an image.
pub(crate) fn entries(memory: &Memory, of: &Descriptor) -> Vec<Descriptor> {
    let manifest = Manifest::verified(memory.bytes(&of.digest).unwrap(), of, None).unwrap();
    manifest.children().map(|(_, child)| child.to_owned()).collect()
}

pub(crate) fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

pub(crate) fn named(text: &str) -> Root {
    Root::Named(name(text))
}

/// Each file under a directory with its content, and each link with its target.
pub(crate) fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_symlink() {
                found.push((name, fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()));
            } else {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
