//! Reading layouts.

use std::fs;
use std::io::Read as _;

use oci_proto::layout::{NoRoot, Root};
use oci_proto::server::{Content as _, Flavour, Memory, Server};
use oci_proto::{Algorithm, Descriptor, Digest, Found, Kind, MediaType, Node, WalkOptions};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{Layout, LayoutError, LayoutErrorKind, LayoutWriter, check};
use serde_json::{Value, json};

use crate::support::{Stored, entries, everything, named, store};

fn walk(layout: &Layout, root: &Root, options: &WalkOptions) -> Result<Vec<Node>, LayoutError> {
    layout.walk(root, options)?.collect()
}

#[test]
fn a_walk_reports_the_nodes_in_the_order_of_the_documents() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    let nodes = walk(&layout, &named("latest"), &WalkOptions::default()).unwrap();
    let shape: Vec<_> = nodes.iter().map(|node| (node.depth, node.kind)).collect();
    let (index, image) = (Kind::Index, Kind::Image);
    let expected = [
        (0, index),
        (1, index),
        (2, image),
        (2, image),
        (2, image),
        (1, index),
        (2, image),
        (2, image),
        (1, image),
        (1, image),
        (1, Kind::Other),
    ];
    assert_eq!(shape, expected);
    assert!(matches!(nodes[9].found, Found::Repeated), "{:?}", nodes[9]);
    for node in nodes {
        if let Found::Manifest(manifest) = node.found {
            assert_eq!(Some(manifest.bytes()), stored.memory.bytes(&node.descriptor.digest).as_ref());
        }
    }
}

#[test]
fn a_walk_with_blobs_reports_configs_and_layers() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    let mut options = WalkOptions::default();
    options.blobs = true;
    let nodes = walk(&layout, &Root::Only, &options).unwrap();
    let leaves = nodes.iter().filter(|node| matches!(node.found, Found::Leaf)).count();
    let blobs = everything(&stored.memory, &stored.root).len()
        - nodes.iter().filter(|node| matches!(node.found, Found::Manifest(_))).count();
    assert_eq!(leaves, blobs);
}

#[test]
fn a_root_is_resolved_if_it_is_the_only_one_or_by_name_or_digest() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    for root in [Root::Only, named("latest"), Root::Digest(stored.root.digest.clone())] {
        assert_eq!(layout.resolve(&root, None).unwrap(), stored.root, "{root:?}");
    }
    let error = layout.resolve(&named("none"), None).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Root(NoRoot::Unknown(_))), "{error}");
    assert!(
        error.to_string().contains("index.json: the layout has no such root; available: latest"),
        "{error}"
    );
}

#[test]
fn a_digest_names_any_content_and_its_type_is_detected() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    for (descriptor, _) in everything(&stored.memory, &stored.root) {
        let found = layout.resolve(&Root::Digest(descriptor.digest.clone()), None).unwrap();
        assert_eq!((&found.digest, found.size), (&descriptor.digest, descriptor.size));
        match descriptor.media_type.kind() {
            Kind::Other => assert_eq!(found.media_type, MediaType::OCTET_STREAM),
            _ => assert_eq!(found.media_type, descriptor.media_type),
        }
    }
    let nowhere = Digest::of(Algorithm::Sha256, b"nowhere");
    let error = layout.resolve(&Root::Digest(nowhere), None).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Missing), "{error}");
}

#[test]
fn a_digest_does_not_depend_on_the_index() {
    let stored = Stored::sample();
    let (root, note) = (Root::Digest(stored.root.digest.clone()), stored.entry(4));
    let wrong = json!({ "digest": stored.root.digest.to_string(), "size": 1, "mediaType": "a/b" });
    for index in [
        json!({ "schemaVersion": 2, "manifests": null }).to_string(),
        json!({ "schemaVersion": 2, "manifests": [wrong] }).to_string(),
        "\u{feff}{}".to_owned(),
        String::new(),
    ] {
        fs::write(stored.path().join("index.json"), &index).unwrap();
        let layout = Layout::open_for(stored.path(), &root).unwrap();
        assert_eq!(layout.resolve(&root, None).unwrap(), stored.root, "{index}");
        let note = Root::Digest(note.digest.clone());
        assert_eq!(layout.resolve(&note, None).unwrap().size, stored.entry(4).size);
    }
    Layout::open_for(stored.path(), &Root::Only).unwrap_err();
    let findings: Vec<_> = check(stored.path(), Some(&root)).unwrap().collect();
    assert_eq!(findings.len(), 1, "only index.json is wrong: {findings:?}");
    fs::remove_file(stored.file(&note.digest)).unwrap();
    assert_eq!(check(stored.path(), Some(&root)).unwrap().count(), 2, "the content is checked all the same");
    fs::remove_file(stored.path().join("index.json")).unwrap();
    Layout::open_for(stored.path(), &root).unwrap().resolve(&root, None).unwrap();
}

#[test]
fn a_platform_selects_in_nested_indexes() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    let inner = stored.entry(0);
    let arm = entries(&stored.memory, &inner)[2].clone();
    let chosen = layout.resolve(&Root::Only, "linux/arm/v7".parse().ok().as_ref()).unwrap();
    assert_eq!(chosen, arm);

    let mut options = WalkOptions::default();
    options.platform = "linux/arm/v7".parse().ok();
    let nodes = walk(&layout, &Root::Only, &options).unwrap();
    assert_eq!(nodes.iter().map(|n| &n.descriptor).collect::<Vec<_>>(), [&arm]);

    let error = layout.resolve(&Root::Only, "plan9/mips".parse().ok().as_ref()).unwrap_err();
    assert!(error.to_string().contains("no image for platform plan9/mips"), "{error}");
}

#[test]
fn the_platform_of_a_single_image_is_that_of_its_config() {
    let mut memory = Memory::new();
    let mut image = memory.add_image(Flavour::OCI, "linux/arm64".parse().ok(), &[b"x"]);
    image.platform = None;
    let stored = Stored::of(memory, image.clone(), None);
    let layout = Layout::open(stored.path()).unwrap();
    let platform = |text: &str| text.parse().ok();
    assert_eq!(layout.resolve(&Root::Only, platform("linux/arm64").as_ref()).unwrap(), image);
    let error = layout.resolve(&Root::Only, platform("linux/amd64").as_ref()).unwrap_err();
    let expected = "no image for platform linux/amd64; available: linux/arm64";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn entries_without_a_media_type_are_detected_from_their_content() {
    let stored = Stored::sample();
    let path = stored.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"][0].as_object_mut().unwrap().remove("mediaType").unwrap();
    index.as_object_mut().unwrap().remove("mediaType").unwrap();
    fs::write(&path, index.to_string()).unwrap();

    let layout = Layout::open(stored.path()).unwrap();
    assert_eq!(layout.resolve(&Root::Only, None).unwrap().media_type, MediaType::OCI_INDEX);
    assert_eq!(walk(&layout, &named("latest"), &WalkOptions::default()).unwrap().len(), 11);
}

#[test]
fn a_layout_of_several_roots_requires_a_name() {
    let stored = Stored::sample();
    let mut memory = Memory::new();
    let other = memory.add_image(Flavour::DOCKER, None, &[b"x"]);
    store(&stored.path(), &memory, &other, Some(&"v2".parse().unwrap()));
    let layout = Layout::open(stored.path()).unwrap();
    assert_eq!(layout.roots().len(), 2);
    let error = layout.resolve(&Root::Only, None).unwrap_err();
    assert!(error.to_string().contains("latest, v2"), "{error}");
    assert_eq!(layout.resolve(&named("v2"), None).unwrap(), other);
}

#[test]
fn a_blob_is_read_to_its_end_and_verified() {
    let mut memory = Memory::new();
    let layer: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let root = memory.add_image(Flavour::OCI.by(Algorithm::Sha512), None, &[&layer, b""]);
    let stored = Stored::of(memory, root, None);
    let layout = Layout::open(stored.path()).unwrap();
    for part in entries(&stored.memory, &stored.root) {
        for size in [None, Some(part.size)] {
            let mut blob = layout.blob(&part.digest, size).unwrap();
            assert_eq!(blob.size(), part.size);
            let mut bytes = Vec::new();
            blob.read_to_end(&mut bytes).unwrap();
            assert_eq!(Some(&bytes[..]), stored.memory.bytes(&part.digest).as_deref());
            assert_eq!(blob.read(&mut [0]).unwrap(), 0, "end of file is permanent");
        }
        let error = layout.blob(&part.digest, Some(part.size + 1)).unwrap_err();
        assert!(matches!(error.kind(), LayoutErrorKind::Size { .. }), "{error}");
    }
}

#[test]
fn wrong_content_never_reaches_end_of_file() {
    let stored = Stored::sample();
    let part = entries(&stored.memory, &stored.entry(3))[1].clone();
    fs::write(stored.file(&part.digest), vec![b'x'; usize::try_from(part.size).unwrap()]).unwrap();
    let layout = Layout::open(stored.path()).unwrap();
    let mut blob = layout.blob(&part.digest, None).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let error = blob.read_to_end(&mut bytes).unwrap_err();
        let error = error.downcast::<LayoutError>().unwrap();
        assert!(matches!(error.kind(), LayoutErrorKind::Content(_)), "{error}");
    }
    assert_eq!(bytes.len() as u64, part.size, "it fails at the end, and keeps failing");
}

#[test]
fn a_missing_child_is_reported_and_fails_a_strict_walk() {
    let stored = Stored::sample();
    let list = stored.entry(1);
    fs::remove_file(stored.file(&list.digest)).unwrap();
    let layout = Layout::open(stored.path()).unwrap();
    let nodes = walk(&layout, &Root::Only, &WalkOptions::default()).unwrap();
    let missing: Vec<_> = nodes.iter().filter(|n| matches!(n.found, Found::Missing)).collect();
    assert_eq!(missing.iter().map(|n| &n.descriptor.digest).collect::<Vec<_>>(), [&list.digest]);

    let mut options = WalkOptions::default();
    options.strict = true;
    let walked: Vec<_> = layout.walk(&Root::Only, &options).unwrap().collect();
    let error = walked.last().unwrap().as_ref().unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Missing), "{error}");
    assert_eq!(error.path(), stored.file(&list.digest));
    assert_eq!(walked.len(), 6, "the nodes before it are yielded");
}

#[test]
fn a_manifest_that_contradicts_its_descriptor_is_refused() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    assert_eq!(layout.manifest(&stored.root).unwrap().entries().len(), 5);
    let Descriptor { digest, size, .. } = stored.root.clone();
    let error = layout.manifest(&Descriptor::new(MediaType::OCI_MANIFEST, digest, size)).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Document(_)), "{error}");
}

#[test]
fn a_server_serves_a_layout() {
    let stored = Stored::sample();
    let layout = Layout::open(stored.path()).unwrap();
    let mut server = Server::new();
    let tag = "latest".parse().unwrap();
    server.add(&"demo".parse().unwrap(), Some(&tag), &stored.root, &layout).unwrap();
    fs::remove_file(stored.file(&stored.entry(0).digest)).unwrap();
    let error = server.add(&"demo".parse().unwrap(), Some(&tag), &stored.root, &layout).unwrap_err();
    assert_eq!(error.digest(), &stored.entry(0).digest);
}

#[test]
fn only_layouts_are_opened() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Layout::open(directory.path()).unwrap_err();
    assert!(matches!(open().kind(), LayoutErrorKind::Missing), "{}", open());
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(
        open()
            .to_string()
            .ends_with("oci-layout: the layout's version is `2.0.0`, but only 1.0.0 is supported")
    );
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    assert!(matches!(open().kind(), LayoutErrorKind::Missing), "{}", open());
    fs::write(directory.path().join("index.json"), json!({ "schemaVersion": 2, "layers": [] }).to_string())
        .unwrap();
    assert!(matches!(open().kind(), LayoutErrorKind::Document(_)), "{}", open());
    let file = directory.path().join("oci-layout");
    let refused = |error: LayoutError| {
        assert!(matches!(error.kind(), LayoutErrorKind::NotALayout("a file")), "{error}");
    };
    refused(Layout::open(&file).unwrap_err());
    refused(LayoutWriter::open(&file).unwrap_err());
    assert!(matches!(Layout::open(file.join("x")).unwrap_err().kind(), LayoutErrorKind::Io(_)));
}
