//! Layouts to read, and their files to damage.

use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::layout::{RefName, Root, blob_path};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Checker, Descriptor, Digest, Evidence, Limits, Manifest, MediaType, Role};
use oci_proto_layout::LayoutWriter;
use oci_proto_layout::oci_proto;
use tempfile::TempDir;

/// A layout in a folder of a test's own.
pub(crate) struct Stored {
    pub(crate) memory: Memory,
    pub(crate) root: Descriptor,
    folder: TempDir,
}

impl Stored {
    /// The core's sample, as `latest`.
    pub(crate) fn sample() -> Self {
        let (memory, root) = Memory::sample();
        Self::of(memory, root, Some("latest"))
    }

    pub(crate) fn of(memory: Memory, root: Descriptor, name: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stored = Self { memory, root, folder };
        store(&stored.path(), &stored.memory, &stored.root, name.map(self::name).as_ref());
        stored
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    /// A path beside the layout.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, digest: &Digest) -> PathBuf {
        self.path().join(blob_path(digest))
    }

    /// The nth entry of the root.
    pub(crate) fn entry(&self, n: usize) -> Descriptor {
        entries(&self.memory, &self.root)[n].clone()
    }
}

/// Writes all that there is: content, then the root.
pub(crate) fn store(folder: &Path, memory: &Memory, root: &Descriptor, name: Option<&RefName>) {
    let mut writer = LayoutWriter::open(folder).unwrap();
    for (digest, content) in memory.contents() {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&descriptor, content).unwrap();
    }
    writer.set_root(root, name).unwrap();
}

/// All documents and blobs under a root, once each.
pub(crate) fn everything(memory: &Memory, root: &Descriptor) -> Vec<(Descriptor, Role)> {
    let mut audit = Checker::new(&Limits::default());
    audit.add_root(root.clone());
    let mut all = Vec::new();
    while let Some(item) = audit.next_item() {
        all.push((item.descriptor.clone(), item.role));
        if item.role == Role::Document {
            let bytes = memory.bytes(&item.descriptor.digest).unwrap();
            audit.document(item, bytes, None);
        }
    }
    assert_eq!(audit.next_finding(), None);
    all
}

/// The entries of an index, or the config and the layers of an image.
pub(crate) fn entries(memory: &Memory, of: &Descriptor) -> Vec<Descriptor> {
    let evidence = Evidence { expected: Some(&of.media_type), ..Evidence::default() };
    let manifest = Manifest::read(memory.bytes(&of.digest).unwrap(), evidence).unwrap();
    manifest.config().into_iter().chain(manifest.entries()).map(|entry| entry.to_owned()).collect()
}

pub(crate) fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

pub(crate) fn named(text: &str) -> Root {
    Root::Named(name(text))
}

/// Each file under a folder, and what it holds; each link, and where it leads.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
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
