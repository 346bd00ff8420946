//! Copying trees between layouts and archives.

use std::fs;
use std::path::Path;

use oci_proto::layout::Root;
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Descriptor, MediaType};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{
    ArchiveWriter, Copied, CopyOptions, Layout, LayoutErrorKind, LayoutWriter, check, check_archive,
    copy_tree,
};

use crate::support::{Stored, name};

fn latest() -> Root {
    Root::Named(name("latest"))
}

/// Copies the whole layout into another. Returns the number of contents that were written and that existed.
fn copy(from: &Layout, to: &Path) -> (usize, usize) {
    let mut writer = LayoutWriter::open(to).unwrap();
    let (mut written, mut existing) = (0, 0);
    let count = |copied: Copied<'_>| match copied {
        Copied::Written(_) => written += 1,
        Copied::Existing(_) => existing += 1,
        other => panic!("{other:?}"),
    };
    copy_tree(from, &latest(), &mut writer, Some(&name("latest")), &CopyOptions::default(), count).unwrap();
    (written, existing)
}

#[test]
fn a_copied_tree_is_whole_and_is_copied_once() {
    let stored = Stored::sample();
    let from = Layout::open(stored.path()).unwrap();
    let to = stored.beside("copy");
    let (written, existing) = copy(&from, &to);
    assert_eq!((written, existing), (stored.memory.contents().count(), 0));
    assert_eq!(check(&to, None).unwrap().count(), 0);
    assert_eq!(copy(&from, &to), (0, written));
    assert_eq!(Layout::open(&to).unwrap().roots().len(), 1);
}

#[test]
fn a_tree_is_the_same_after_a_copy_through_an_archive() {
    let stored = Stored::sample();
    let (file, to) = (stored.beside("layout.tar"), stored.beside("copy"));
    let mut archive = ArchiveWriter::create(&file).unwrap();
    let from = Layout::open(stored.path()).unwrap();
    copy_tree(&from, &latest(), &mut archive, Some(&name("latest")), &CopyOptions::default(), |_| ())
        .unwrap();
    archive.finish().unwrap();
    assert_eq!(check_archive(&file, None).unwrap().count(), 0);
    copy(&Layout::open_archive(&file).unwrap(), &to);
    for (digest, content) in stored.memory.contents() {
        let path = to.join(oci_proto::layout::blob_path(digest));
        assert_eq!(fs::read(path).unwrap(), &content[..], "{digest}");
    }
}

#[test]
fn a_platform_is_copied_alone() {
    let stored = Stored::sample();
    let from = Layout::open(stored.path()).unwrap();
    let mut options = CopyOptions::default();
    options.platform = "linux/arm/v7".parse().ok();
    let mut writer = LayoutWriter::open(stored.beside("copy")).unwrap();
    let mut kinds = Vec::new();
    let note = |copied: Copied<'_>| {
        if let Copied::Written(descriptor) = copied {
            kinds.push(descriptor.media_type.kind());
        }
    };
    let root = copy_tree(&from, &latest(), &mut writer, None, &options, note).unwrap();
    assert_eq!(root.platform, options.platform);
    // The config, two layers, and the image last.
    assert_eq!(kinds.len(), 4);
    assert_eq!(kinds.last(), Some(&oci_proto::Kind::Image));
}

#[test]
fn missing_content_fails_the_copy_and_leaves_no_root() {
    let stored = Stored::sample();
    let layer = stored
        .memory
        .contents()
        .find(|(_, content)| content.starts_with(b"the layer that all of them share"))
        .map(|(digest, _)| digest.clone())
        .unwrap();
    fs::remove_file(stored.file(&layer)).unwrap();
    let from = Layout::open(stored.path()).unwrap();
    let to = stored.beside("copy");
    let mut writer = LayoutWriter::open(&to).unwrap();
    let error = copy_tree(&from, &latest(), &mut writer, None, &CopyOptions::default(), |_| ()).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Missing), "{error}");
    assert!(error.to_string().contains(&layer.encoded()), "{error}");
    drop(writer);
    assert!(Layout::open(&to).unwrap().roots().is_empty());
}

#[test]
fn a_missing_layer_that_is_not_distributable_is_skipped() {
    let mut memory = Memory::new();
    let foreign: MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".parse().unwrap();
    let layer = memory.add_blob(foreign, &b"not distributable"[..]);
    let config = memory.add_blob(MediaType::OCTET_STREAM, &b"{}"[..]);
    let entry = |of: &Descriptor| {
        format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, of.media_type, of.digest, of.size)
    };
    let image = "application/vnd.oci.image.manifest.v1+json";
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{image}","config":{},"layers":[{}]}}"#,
        entry(&config),
        entry(&layer)
    );
    let root = memory.add_document(image.parse().unwrap(), document);
    let root = memory.add_index(Flavour::OCI, [&root]);
    let stored = Stored::of(memory, root, Some("latest"));
    fs::remove_file(stored.file(&layer.digest)).unwrap();
    let mut writer = LayoutWriter::open(stored.beside("copy")).unwrap();
    let mut skipped = Vec::new();
    let note = |copied: Copied<'_>| {
        if let Copied::Skipped(descriptor) = copied {
            skipped.push(descriptor.digest.clone());
        }
    };
    let from = Layout::open(stored.path()).unwrap();
    copy_tree(&from, &latest(), &mut writer, None, &CopyOptions::default(), note).unwrap();
    assert_eq!(skipped, [layer.digest]);
}
