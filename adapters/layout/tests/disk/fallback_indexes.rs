//! Referrers that an index under a fallback tag lists.

use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::layout::{INDEX, blob_path};
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, fallback_tag};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{
    Copied, CopyOptions, Durability, Layout, LayoutError, LayoutErrorKind, LayoutWriter, copy_tree,
};
use tempfile::TempDir;

use crate::support::{name, named};

/// An image, two signatures of it, and a document of a type that is not known.
struct World {
    memory: Memory,
    image: Descriptor,
    signatures: [Descriptor; 2],
    unknown: Descriptor,
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[b"layer"]);
        let signatures = [&b"one"[..], b"two"].map(|content| {
            memory.add_artifact(Flavour::OCI, "a/signature".parse().unwrap(), &[content], Some(&image))
        });
        let unknown = "application/vnd.oci.artifact.manifest.v1+json".parse().unwrap();
        let unknown = Descriptor::new(unknown, Digest::of(Algorithm::Sha256, b"unknown"), 7);
        Self { memory, image, signatures, unknown, home: tempfile::tempdir().unwrap() }
    }

    /// Writes all content, the image as `1.0`, and an index of these under its fallback tag.
    fn listing(&mut self, listed: &[&Descriptor]) -> PathBuf {
        let list = self.memory.add_index(Flavour::OCI, listed.iter().copied());
        let tag = fallback_tag(&self.image.digest);
        self.layout(&[(&self.image, "1.0"), (&list, tag.as_str())])
    }

    fn layout(&self, roots: &[(&Descriptor, &str)]) -> PathBuf {
        let path = self.path("layout");
        let mut writer = LayoutWriter::open_with(&path, Durability::Unsynced).unwrap();
        for (digest, content) in self.memory.contents() {
            let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
            writer.put(&descriptor, content).unwrap();
        }
        for (root, tag) in roots {
            writer.set_root(root, Some(&name(tag))).unwrap();
        }
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

fn referrers(layout: &Path, subject: &Digest) -> Vec<Descriptor> {
    Layout::open(layout).unwrap().referrers(subject).unwrap().to_vec()
}

/// Removes all roots.
fn unlist(layout: &Path) {
    fs::write(layout.join(INDEX), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
}

/// Copies `1.0` with its referrers. Returns those that are skipped, and the roots of the copy.
fn copy(from: &Path, to: &Path) -> Result<(Vec<Digest>, Vec<Digest>), LayoutError> {
    let mut writer = LayoutWriter::open_with(to, Durability::Unsynced).unwrap();
    let mut options = CopyOptions::default();
    options.referrers = true;
    let mut skipped = Vec::new();
    let note = |copied: Copied<'_>| {
        if let Copied::Skipped(descriptor) = copied {
            skipped.push(descriptor.digest.clone());
        }
    };
    let from = Layout::open(from).unwrap();
    let copied = copy_tree(&from, &named("1.0"), &mut writer, Some(&name("1.0")), &options, note);
    let roots: Vec<_> = writer.layout().roots().iter().map(|root| root.descriptor().digest.clone()).collect();
    match copied {
        Ok(_) => Ok((skipped, roots)),
        Err(error) => {
            assert!(roots.is_empty());
            Err(error)
        }
    }
}

#[test]
fn a_listed_referrer_that_cannot_be_read_is_one_and_fails_the_copy() {
    for damage in ["missing", "shorter", "other bytes", "no document"] {
        let mut world = World::new();
        let [first, second] = world.signatures.clone();
        let broken = match damage {
            "no document" => {
                let digest = Digest::of(Algorithm::Sha256, b"[]");
                let _ = world.memory.add_blob(MediaType::OCTET_STREAM, &b"[]"[..]);
                Descriptor::new(MediaType::OCI_MANIFEST, digest, 2)
            }
            _ => second,
        };
        let path = world.listing(&[&broken, &first]);
        let file = path.join(blob_path(&broken.digest));
        let size = usize::try_from(broken.size).unwrap();
        match damage {
            "missing" => fs::remove_file(&file).unwrap(),
            "shorter" => fs::write(&file, b"{").unwrap(),
            "other bytes" => fs::write(&file, vec![b' '; size]).unwrap(),
            _ => {}
        }
        assert_eq!(referrers(&path, &world.image.digest), [first.clone(), broken.clone()], "{damage}");
        let error = copy(&path, &world.path("copy")).unwrap_err().to_string();
        assert!(error.contains(&broken.digest.encoded()), "{damage}: {error}");
        // The referrer alone is listed no more.
        unlist(&path);
        let path = world.listing(&[&first]);
        let (skipped, roots) = copy(&path, &world.path("copy")).unwrap();
        assert_eq!((skipped, roots), (vec![], vec![world.image.digest.clone(), first.digest]));
    }
}

#[test]
fn a_listed_referrer_of_an_unknown_type_is_skipped() {
    let mut world = World::new();
    let [first, _] = world.signatures.clone();
    let unknown = world.unknown.clone();
    let path = world.listing(&[&unknown, &first]);
    let all = [first.clone(), unknown.clone()];
    assert_eq!(referrers(&path, &world.image.digest), all);
    let layout = Layout::open(&path).unwrap();
    assert_eq!(layout.referrers_of_tree(&world.image).unwrap(), all);
    let (skipped, roots) = copy(&path, &world.path("copy")).unwrap();
    assert_eq!(skipped, [unknown.digest]);
    assert_eq!(roots, [world.image.digest, first.digest]);
}

#[test]
fn the_subject_of_a_referrer_counts_more_than_a_list_of_it() {
    let mut world = World::new();
    let [first, second] = world.signatures.clone();
    let [mut mistaken, mut also] = [first.clone(), first.clone()];
    mistaken.artifact_type = "a/mistake".parse().ok();
    also.media_type = "a/mistake".parse().unwrap();
    // Neither the image nor the list is a referrer of the image.
    let image = world.image.clone();
    let path = world.listing(&[&mistaken, &also, &image, &second]);
    assert_eq!(referrers(&path, &world.image.digest), [first, second]);
}

#[test]
fn what_is_listed_needs_no_subject_of_its_own() {
    let mut world = World::new();
    let other = world.memory.add_image(Flavour::OCI, None, &[b"without a subject"]);
    let path = world.listing(&[&other, &other]);
    assert_eq!(referrers(&path, &world.image.digest), [other]);
}

#[test]
fn a_tag_with_a_part_of_the_subject_and_one_in_a_full_name_are_those_of_the_subject() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
        let mut world = World::new();
        let unknown = world.unknown.clone();
        let subject = Digest::of(algorithm, b"subject");
        let of = Descriptor::new(MediaType::OCI_MANIFEST, subject.clone(), 7);
        let own = world.memory.add_artifact(Flavour::OCI, "a/b".parse().unwrap(), &[b"own"], Some(&of));
        let without = Digest::of(algorithm, b"another subject");
        let list = world.memory.add_index(Flavour::OCI, [&unknown, &own]);
        let full = format!("registry.example:5000/a:{}", fallback_tag(&without));
        let path = world.layout(&[(&list, fallback_tag(&subject).as_str()), (&list, &full)]);
        assert_eq!(referrers(&path, &subject), [own.clone(), unknown.clone()], "{algorithm:?}");
        assert_eq!(referrers(&path, &without), [unknown, own], "{algorithm:?}");
        assert_eq!(referrers(&path, &Digest::of(algorithm, b"a third")), []);
    }
}

#[test]
fn a_list_that_cannot_be_read_fails_for_its_subject_alone() {
    let mut world = World::new();
    let [first, second] = world.signatures.clone();
    let path = world.listing(&[&first]);
    let list = world.memory.add_index(Flavour::OCI, [&first]);
    fs::write(path.join(blob_path(&list.digest)), b"{}").unwrap();
    let layout = Layout::open(&path).unwrap();
    let error = layout.referrers(&world.image.digest).unwrap_err();
    assert!(error.to_string().contains(&list.digest.encoded()), "{error}");
    assert_eq!(layout.referrers(&second.digest).unwrap(), []);
    let error = copy(&path, &world.path("copy")).unwrap_err();
    assert!(error.to_string().contains(&list.digest.encoded()), "{error}");
}

#[test]
fn other_documents_under_a_fallback_tag_are_no_lists() {
    let mut world = World::new();
    let unknown = world.unknown.clone();
    let docker = world.memory.add_index(Flavour::DOCKER, [&unknown]);
    let entry = |of: &Descriptor| {
        format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, of.media_type, of.digest, of.size)
    };
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}],"subject":{}}}"#,
        MediaType::OCI_INDEX,
        entry(&unknown),
        entry(&world.image),
    );
    let referrer = world.memory.add_document(MediaType::OCI_INDEX, text);
    let tag = fallback_tag(&world.image.digest);
    let [signature, _] = world.signatures.clone();
    for (document, expected) in
        [(&docker, None), (&signature, Some(&signature)), (&referrer, Some(&referrer))]
    {
        let path = world.layout(&[(&world.image, "1.0"), (document, tag.as_str())]);
        let found: Vec<_> = referrers(&path, &world.image.digest).into_iter().map(|one| one.digest).collect();
        assert_eq!(found, expected.map(|one| one.digest.clone()).into_iter().collect::<Vec<_>>());
        unlist(&path);
    }

    // An index that is tagged with its own digest has children, not referrers.
    let index = world.memory.add_index(Flavour::OCI, [&world.image, &unknown]);
    let path = world.layout(&[(&index, fallback_tag(&index.digest).as_str())]);
    assert_eq!(referrers(&path, &index.digest), []);
}

#[test]
fn lists_have_limits() {
    let mut world = World::new();
    let listed: Vec<_> = (0..1000_u32)
        .map(|n| {
            Descriptor::new(
                world.unknown.media_type.clone(),
                Digest::of(Algorithm::Sha256, &n.to_be_bytes()),
                7,
            )
        })
        .collect();
    let path = world.listing(&listed.iter().collect::<Vec<_>>());
    let list = world.memory.add_index(Flavour::OCI, &listed);
    for (tags, is_permitted) in [(50, true), (51, false)] {
        let entries: Vec<_> = (0..tags)
            .map(|n: u32| {
                let tag = fallback_tag(&Digest::of(Algorithm::Sha256, &n.to_be_bytes()));
                format!(
                    r#"{{"mediaType":"{}","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}"#,
                    list.media_type, list.digest, list.size
                )
            })
            .collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        fs::write(path.join(INDEX), text).unwrap();
        match Layout::open(&path).unwrap().referrers(&Digest::of(Algorithm::Sha256, &0_u32.to_be_bytes())) {
            // The first entry is the subject itself.
            Ok(referrers) => assert!(is_permitted && referrers.len() == 999),
            Err(error) => {
                assert!(matches!(error.kind(), LayoutErrorKind::ManyDocuments { .. }), "{error}");
                assert!(!is_permitted, "{error}");
            }
        }
    }
}
