//! Referrers in layouts and archives: found, copied and pulled.

use std::fs;
use std::path::Path;

use oci_proto::layout::{INDEX, Root, blob_path};
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Evidence, Manifest, MediaType, Referrer};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{
    ArchiveWriter, CopyOptions, Durability, Layout, LayoutDestination, LayoutErrorKind, LayoutWriter, check,
    check_archive, copy_tree,
};
use tempfile::TempDir;

use crate::support::{name, named};

/// The content of the signature of the index.
const SIGNED: &[u8] = &[b'x'; 9000];

/// An index of two images; a signature of it and one of an image, and an attestation of the first signature.
struct World {
    memory: Memory,
    root: Descriptor,
    image: Descriptor,
    signature: Descriptor,
    attestation: Descriptor,
    of_image: Descriptor,
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, "linux/amd64".parse().ok(), &[b"one"]);
        let other = memory.add_image(Flavour::OCI, "linux/arm64".parse().ok(), &[b"two"]);
        let root = memory.add_index(Flavour::OCI, [&image, &other]);
        let mut artifact = |of: &Descriptor, content: &[u8]| {
            memory.add_artifact(Flavour::OCI, "a/signature".parse().unwrap(), &[content], Some(of))
        };
        let signature = artifact(&root, SIGNED);
        let attestation = artifact(&signature, b"of the signature");
        let of_image = artifact(&image, b"of an image");
        let home = tempfile::tempdir().unwrap();
        Self { memory, root, image, signature, attestation, of_image, home }
    }

    /// Writes all content into a layout, with these roots.
    fn layout(&self, roots: &[(&Descriptor, Option<&str>)]) -> Layout {
        let path = self.home.path().join("layout");
        let mut writer = LayoutWriter::open_with(&path, Durability::Unsynced).unwrap();
        for (digest, content) in self.memory.contents() {
            writer.put(&opaque(digest, content), content).unwrap();
        }
        for (root, name) in roots {
            writer.set_root(root, name.map(crate::support::name).as_ref()).unwrap();
        }
        Layout::open(path).unwrap()
    }

    /// The layout whose referrers are roots without a name.
    fn with_roots(&self) -> Layout {
        self.layout(&[
            (&self.root, Some("1.0")),
            (&self.signature, None),
            (&self.attestation, None),
            (&self.of_image, None),
        ])
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }
}

fn opaque(digest: &Digest, content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64)
}

fn found<'a>(layout: &'a Layout, subject: &Descriptor) -> Vec<&'a Descriptor> {
    layout.referrers(&subject.digest).unwrap().iter().collect()
}

/// The roots of a layout, with their names.
fn roots(layout: &Layout) -> Vec<(Digest, Option<&str>)> {
    let digests = layout.roots().iter().map(|root| root.descriptor().digest.clone());
    digests.zip(layout.names()).collect()
}

fn with_referrers() -> CopyOptions {
    let mut options = CopyOptions::default();
    options.referrers = true;
    options
}

fn copy(from: &Layout, root: &Root, to: &Path, options: &CopyOptions) -> Layout {
    let mut writer = LayoutWriter::open_with(to, Durability::Unsynced).unwrap();
    copy_tree(from, root, &mut writer, Some(&name("copy")), options, |_| ()).unwrap();
    Layout::open(to).unwrap()
}

#[test]
fn referrers_are_found_as_roots_with_and_without_names_and_in_fallback_indexes() {
    for habit in ["without names", "with names", "in fallback indexes"] {
        let mut world = World::new();
        let World { root, image, signature, attestation, of_image, .. } = &world;
        let referrers = [(signature, root), (attestation, signature), (of_image, image)]
            .map(|(a, b)| (a.clone(), b.clone()));
        let mut listed = vec![(root.clone(), Some("1.0".to_owned()))];
        for (n, (referrer, subject)) in referrers.iter().enumerate() {
            listed.push(match habit {
                "without names" => (referrer.clone(), None),
                "with names" => (referrer.clone(), Some(format!("signature-{n}"))),
                _ => {
                    let fallback = subject.digest.to_string().replace(':', "-");
                    (world.memory.add_index(Flavour::OCI, [referrer]), Some(fallback))
                }
            });
        }
        let listed: Vec<_> = listed.iter().map(|(root, name)| (root, name.as_deref())).collect();
        let layout = world.layout(&listed);
        let archive = world.path("layout.tar");
        let mut writer = ArchiveWriter::create(&archive).unwrap();
        for (digest, content) in world.memory.contents() {
            writer.put(&opaque(digest, content), content).unwrap();
        }
        for (root, name) in &listed {
            writer.set_root(root, name.map(crate::support::name).as_ref()).unwrap();
        }
        writer.finish().unwrap();
        for layout in [layout, Layout::open_archive(&archive).unwrap()] {
            for (referrer, subject) in &referrers {
                assert_eq!(found(&layout, subject), [referrer], "{habit}");
            }
            // An index under a fallback tag is not a referrer.
            assert_eq!(found(&layout, &world.attestation), Vec::<&Descriptor>::new(), "{habit}");
            let all = layout.referrers_of_tree(&world.root).unwrap();
            let [signature, attestation, of_image] = [&world.signature, &world.attestation, &world.of_image];
            assert_eq!(all, [signature, of_image, attestation].map(Clone::clone), "{habit}");
        }
    }
}

#[test]
fn a_root_without_a_media_type_is_a_referrer_by_its_content() {
    let world = World::new();
    let generic = opaque(&world.signature.digest, &world.memory.bytes(&world.signature.digest).unwrap());
    let layout = world.layout(&[(&world.root, None), (&generic, None)]);
    assert_eq!(found(&layout, &world.root), [&world.signature]);
}

#[test]
fn an_artifact_without_a_type_is_listed_with_that_of_its_config() {
    let mut world = World::new();
    let config = world.memory.add_blob("a/config".parse().unwrap(), &b"{}"[..]);
    let part = |of: &Descriptor| {
        format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, of.media_type, of.digest, of.size)
    };
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[],"subject":{}}}"#,
        MediaType::OCI_MANIFEST,
        part(&config),
        part(&world.root)
    );
    let referrer = world.memory.add_document(MediaType::OCI_MANIFEST, document);
    let layout = world.layout(&[(&referrer, None)]);
    assert_eq!(found(&layout, &world.root)[0].artifact_type, "a/config".parse().ok());
}

#[test]
fn referrers_are_copied_to_any_depth_as_roots_without_names() {
    let world = World::new();
    let from = world.with_roots();
    let to = world.path("copy");
    let copied = copy(&from, &named("1.0"), &to, &with_referrers());
    let expected = [
        (&world.root, Some("copy")),
        (&world.signature, None),
        (&world.of_image, None),
        (&world.attestation, None),
    ];
    assert_eq!(roots(&copied), expected.map(|(root, name)| (root.digest.clone(), name)));
    assert_eq!(check(&to, None).unwrap().count(), 0);
    for (digest, content) in world.memory.contents() {
        assert_eq!(copied.bytes(digest).as_ref(), Some(content), "{digest}");
    }
    // A second copy changes nothing, and without the option no referrer is copied.
    let index = fs::read(to.join(INDEX)).unwrap();
    copy(&from, &named("1.0"), &to, &with_referrers());
    assert_eq!(fs::read(to.join(INDEX)).unwrap(), index);
    let alone = copy(&from, &named("1.0"), &world.path("alone"), &CopyOptions::default());
    assert_eq!(roots(&alone), [(world.root.digest.clone(), Some("copy"))]);
    assert!(alone.bytes(&world.signature.digest).is_none());
}

#[test]
fn referrers_are_copied_into_an_archive_and_out_of_it() {
    let world = World::new();
    let file = world.path("copy.tar");
    let mut writer = ArchiveWriter::create(&file).unwrap();
    copy_tree(&world.with_roots(), &named("1.0"), &mut writer, None, &with_referrers(), |_| ()).unwrap();
    writer.finish().unwrap();
    assert_eq!(check_archive(&file, None).unwrap().count(), 0);
    let archive = Layout::open_archive(&file).unwrap();
    // The roots without a name that are referrers do not count.
    let copied = copy(&archive, &Root::Only, &world.path("copy"), &with_referrers());
    assert_eq!(copied.roots().len(), 4);
    assert_eq!(found(&copied, &world.signature), [&world.attestation]);
}

#[test]
fn only_the_referrers_of_the_selected_platform_are_copied() {
    let world = World::new();
    let mut options = with_referrers();
    options.platform = "linux/amd64".parse().ok();
    let copied = copy(&world.with_roots(), &named("1.0"), &world.path("copy"), &options);
    let expected = [(&world.image, Some("copy")), (&world.of_image, None)];
    assert_eq!(roots(&copied), expected.map(|(root, name)| (root.digest.clone(), name)));
}

#[test]
fn a_referrer_that_is_a_root_keeps_its_name_and_one_in_the_tree_is_no_root() {
    let mut world = World::new();
    let from = world.with_roots();
    let to = world.path("copy");
    let mut writer = LayoutWriter::open_with(&to, Durability::Unsynced).unwrap();
    copy_tree(
        &from,
        &Root::Digest(world.signature.digest.clone()),
        &mut writer,
        Some(&name("mine")),
        &CopyOptions::default(),
        |_| (),
    )
    .unwrap();
    drop(writer);
    let copied = copy(&from, &named("1.0"), &to, &with_referrers());
    assert_eq!(roots(&copied)[0], (world.signature.digest.clone(), Some("mine")));
    assert_eq!(copied.roots().len(), 4);

    // An index of an image with its own signature.
    let whole = world.memory.add_index(Flavour::OCI, [&world.image, &world.of_image]);
    let layout = world.layout(&[(&whole, Some("whole"))]);
    assert_eq!(found(&layout, &world.image), [&world.of_image]);
    assert_eq!(layout.referrers_of_tree(&whole).unwrap(), []);
}

#[test]
fn documents_that_are_missing_or_invalid_are_left_out_and_do_not_fail_the_search() {
    let mut world = World::new();
    // Each would have the other as its subject.
    let [one, two] = [&b"first"[..], b"second"].map(|text| Digest::of(Algorithm::Sha256, text));
    let claims: Vec<_> = [(&one, &two), (&two, &one)]
        .into_iter()
        .map(|(digest, subject)| {
            let empty = Descriptor::empty();
            let text = format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[],"subject":{{"mediaType":"{}","digest":"{subject}","size":2}}}}"#,
                empty.media_type, empty.digest, MediaType::OCI_MANIFEST,
            );
            (Descriptor::new(MediaType::OCI_MANIFEST, digest.clone(), text.len() as u64), text)
        })
        .collect();
    let mut wrong_size = world.signature.clone();
    wrong_size.size += 1;
    let mixed =
        world.memory.add_index(Flavour::OCI, [&claims[0].0, &claims[1].0, &wrong_size, &world.signature]);
    let layout = world.layout(&[(&world.root, Some("1.0")), (&mixed, None), (&world.attestation, None)]);
    for (descriptor, text) in &claims {
        fs::write(layout.path().join(blob_path(&descriptor.digest)), text).unwrap();
    }
    // A subject that the layout does not have.
    fs::remove_file(layout.path().join(blob_path(&world.signature.digest))).unwrap();
    let search = Layout::open(layout.path()).unwrap();
    assert_eq!(found(&search, &world.root), Vec::<&Descriptor>::new());
    assert_eq!(found(&search, &world.signature), [&world.attestation]);
    for (descriptor, _) in &claims {
        assert_eq!(found(&search, descriptor), Vec::<&Descriptor>::new());
    }
    let copied = copy(&search, &named("1.0"), &world.path("copy"), &with_referrers());
    assert_eq!(copied.roots().len(), 1);

    // The right one of two descriptors counts.
    fs::write(
        layout.path().join(blob_path(&world.signature.digest)),
        world.memory.bytes(&world.signature.digest).unwrap(),
    )
    .unwrap();
    let search = Layout::open(layout.path()).unwrap();
    assert_eq!(found(&search, &world.root), [&world.signature]);
}

#[test]
fn a_referrer_with_missing_content_fails_the_copy_and_leaves_no_root() {
    let world = World::new();
    let from = world.with_roots();
    let content = Digest::of(Algorithm::Sha256, b"of the signature");
    fs::remove_file(from.path().join(blob_path(&content))).unwrap();
    let mut writer = LayoutWriter::open(world.path("copy")).unwrap();
    let error = copy_tree(&from, &named("1.0"), &mut writer, None, &with_referrers(), |_| ()).unwrap_err();
    assert!(error.to_string().contains(&content.encoded()), "{error}");
    assert!(writer.layout().roots().is_empty());
    drop(writer);
    assert!(Layout::open(world.path("copy")).unwrap().roots().is_empty());
    copy(&from, &named("1.0"), &world.path("copy"), &CopyOptions::default());
}

#[test]
fn a_search_has_limits() {
    let world = World::new();
    let layout = world.with_roots();
    let entry = |n: u32| {
        let digest = Digest::of(Algorithm::Sha256, &n.to_be_bytes());
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":1000}}"#, MediaType::OCI_MANIFEST)
    };
    for (entries, is_permitted) in [(50_000, true), (50_001, false)] {
        let entries: Vec<_> = (0..entries).map(entry).collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        fs::write(layout.path().join(INDEX), text).unwrap();
        let found = Layout::open(layout.path()).unwrap();
        match found.referrers(&world.root.digest) {
            Ok(referrers) => assert!(is_permitted && referrers.is_empty()),
            Err(error) => {
                assert!(matches!(error.kind(), LayoutErrorKind::ManyDocuments { .. }), "{error}");
                assert!(!is_permitted, "{error}");
            }
        }
    }
}

#[test]
fn a_layout_that_was_written_to_has_new_referrers() {
    let world = World::new();
    let path = world.layout(&[(&world.root, None)]).path().to_owned();
    let mut writer = LayoutWriter::open(&path).unwrap();
    let before = writer.layout().clone();
    assert_eq!(found(&before, &world.root), Vec::<&Descriptor>::new());
    writer.set_root(&world.signature, None).unwrap();
    assert_eq!(found(writer.layout(), &world.root), [&world.signature]);
    // As of opening.
    assert_eq!(found(&before, &world.root), Vec::<&Descriptor>::new());
}

#[test]
fn the_only_root_is_the_one_that_is_no_referrer() {
    let world = World::new();
    let layout = world.with_roots();
    assert_eq!(layout.resolve(&Root::Only, None).unwrap().digest, world.root.digest);
    let layout = world.layout(&[(&world.of_image, Some("signature"))]);
    let error = layout.resolve(&Root::Only, None).unwrap_err().to_string();
    assert!(error.contains("several roots; name one of: 1.0, "), "{error}");
}

#[test]
fn a_pull_makes_its_referrers_roots_together_with_its_root() {
    let world = World::new();
    let path = world.layout(&[(&world.of_image, Some("mine"))]).path().to_owned();
    let skipped = Descriptor::new("a/b".parse().unwrap(), Digest::of(Algorithm::Sha256, b"skipped"), 7);
    let World { signature, attestation, of_image, .. } = &world;
    let mut memory = world.memory.clone();
    let list = memory.add_index(Flavour::OCI, [attestation, signature, of_image, &skipped]);
    let list = Manifest::read(memory.bytes(&list.digest).unwrap(), Evidence::default()).unwrap();
    let referrers: Vec<_> = list.entries().map(Referrer::from).collect();

    let pull = || {
        let destination = LayoutDestination::new(LayoutWriter::open(&path).unwrap());
        // In several lists.
        destination.referrers(&referrers[..2]);
        destination.referrers(&referrers[1..]);
        destination.done(&world.root, Some(&name("1.0"))).unwrap();
        fs::read(path.join(INDEX)).unwrap()
    };
    let index = pull();
    let layout = Layout::open(&path).unwrap();
    let mut expected = [signature, attestation].map(|referrer| referrer.digest.clone());
    expected.sort();
    let [first, second] = expected;
    assert_eq!(
        roots(&layout),
        [
            (of_image.digest.clone(), Some("mine")),
            (world.root.digest.clone(), Some("1.0")),
            (first, None),
            (second, None)
        ]
    );
    assert_eq!(layout.roots()[2].descriptor().artifact_type, "a/signature".parse().ok());
    assert_eq!(pull(), index);
}

#[test]
fn an_archive_can_be_finished_without_a_tree_that_is_damaged() {
    let world = World::new();
    let from = world.layout(&[(&world.root, Some("1.0")), (&world.signature, Some("signature"))]);
    let damaged = from.path().join(blob_path(&Digest::of(Algorithm::Sha256, SIGNED)));
    fs::write(damaged, [b'y'; SIGNED.len()]).unwrap();
    let file = world.path("copy.tar");
    let mut writer = ArchiveWriter::create(&file).unwrap();
    let options = CopyOptions::default();
    let mut copy = |tag: &str| {
        let (root, tag) = (named(tag), name(tag));
        copy_tree(&from, &root, &mut writer, Some(&tag), &options, |_| ())
    };
    copy("1.0").unwrap();
    let error = copy("signature").unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Content(_)), "{error}");
    writer.finish().unwrap();
    assert_eq!(check_archive(&file, None).unwrap().count(), 0);
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(16).any(|part| part == [b'y'; 16]));
    assert!(bytes.ends_with(&[0; 1024]));
}
