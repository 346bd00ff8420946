//! Archives: writing them, and reading them in place.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::thread;

use oci_proto::layout::{RefName, Root, blob_path};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, Platform, WalkOptions};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{ArchiveWriter, Durability, Existing, Layout, LayoutErrorKind, check, check_archive};
use tempfile::TempDir;

use crate::support::{Stored, files, name, named};

/// Writes all of `memory` into an archive, then the root.
pub(crate) fn store(file: &Path, memory: &Memory, root: &Descriptor, name: Option<&RefName>) {
    let mut writer = ArchiveWriter::create_with(file, Existing::Replace, Durability::Unsynced).unwrap();
    for (digest, content) in memory.contents() {
        writer.put(&opaque(digest, content), content).unwrap();
    }
    writer.set_root(root, name).unwrap();
    writer.finish().unwrap();
}

fn opaque(digest: &Digest, content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64)
}

fn blob(content: &[u8]) -> Descriptor {
    opaque(&Digest::of(Algorithm::Sha256, content), content)
}

fn read(layout: &Layout, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    layout.blob(digest, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    files(directory).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn an_archive_reads_as_the_directory_with_the_same_content() {
    let stored = Stored::sample();
    let file = stored.beside("sample.tar");
    store(&file, &stored.memory, &stored.root, Some(&name("latest")));
    let directory = Layout::open(stored.path()).unwrap();
    let archive = Layout::open_archive(&file).unwrap();

    assert_eq!(archive.path(), file);
    assert_eq!(archive.roots().len(), 1);
    assert_eq!(archive.roots()[0].descriptor(), directory.roots()[0].descriptor());
    assert_eq!(archive.names(), [Some("latest")]);
    assert_eq!(archive.leftovers().blobs, 0);
    let roots = [
        Root::Only,
        named("latest"),
        Root::Digest(stored.root.digest.clone()),
        Root::Digest(stored.entry(1).digest),
        named("other"),
        Root::Digest(Digest::of(Algorithm::Sha256, b"elsewhere")),
    ];
    let platforms: [Option<Platform>; 3] = [None, "linux/arm64".parse().ok(), "plan9/mips".parse().ok()];
    for root in &roots {
        for platform in &platforms {
            let expected = directory.resolve(root, platform.as_ref());
            let found = archive.resolve(root, platform.as_ref());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{root:?}"),
                (Err(found), Err(expected)) => {
                    assert_eq!(found.kind().to_string(), expected.kind().to_string(), "{root:?}");
                }
                (found, expected) => panic!("{root:?}: {found:?}, not {expected:?}"),
            }
        }
    }
    let walk = |layout: &Layout| -> Vec<String> {
        let walk = layout.walk(&named("latest"), &WalkOptions::default()).unwrap();
        walk.map(|node| format!("{:?}", node.unwrap())).collect()
    };
    assert_eq!(walk(&archive), walk(&directory));
    assert!(walk(&archive).len() > 10);
    for (digest, content) in stored.memory.contents() {
        assert_eq!(read(&archive, digest), *content);
        assert_eq!(archive.bytes(digest).as_ref(), Some(content));
        assert_eq!(archive.size(digest), Some(content.len() as u64));
        archive.verify(&opaque(digest, content)).unwrap();
    }
    assert_eq!(
        archive.manifest(&stored.root).unwrap().bytes(),
        directory.manifest(&stored.root).unwrap().bytes()
    );
    let (mut of_archive, mut of_directory) =
        (check_archive(&file, None).unwrap(), check(stored.path(), None).unwrap());
    assert_eq!((of_archive.by_ref().count(), of_directory.by_ref().count()), (0, 0));
    assert_eq!((of_archive.contents(), of_archive.bytes()), (of_directory.contents(), of_directory.bytes()));
}

#[test]
fn any_small_layout_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("any.tar");
    for seed in 0..150_u64 {
        let mut random = Random(seed);
        let mut expected = BTreeMap::new();
        for _ in 0..random.below(8) {
            // Around the sizes of blocks.
            let size = random.below(4) * 512 + random.below(3);
            let content: Vec<u8> = (0..size).map(|_| random.byte()).collect();
            let algorithm = Algorithm::ALL[random.below(3)];
            expected.insert(Digest::of(algorithm, &content), content);
        }
        let mut writer = ArchiveWriter::create_with(&file, Existing::Replace, Durability::Unsynced).unwrap();
        let mut blobs = Vec::new();
        for (digest, content) in &expected {
            let descriptor = opaque(digest, content);
            match random.below(3) {
                0 => writer.put(&descriptor, content).unwrap(),
                1 => writer.copy(&descriptor, &content[..]).unwrap(),
                _ => blobs.push((writer.begin(&descriptor).unwrap(), &content[..])),
            }
        }
        // Several at a time, in pieces.
        while !blobs.is_empty() {
            let n = random.below(blobs.len());
            let (blob, left) = &mut blobs[n];
            let (piece, rest) = left.split_at(random.below(700).min(left.len()));
            blob.append(blob.offset(), piece).unwrap();
            *left = rest;
            if rest.is_empty() {
                blobs.swap_remove(n).0.finish().unwrap();
            }
        }
        let mut roots = Vec::new();
        for (n, (digest, content)) in expected.iter().enumerate() {
            if random.below(2) == 0 {
                writer.set_root(&opaque(digest, content), Some(&name(&format!("v{n}")))).unwrap();
                roots.push((format!("v{n}"), digest.clone()));
            }
        }
        writer.finish().unwrap();

        let layout = Layout::open_archive(&file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found: Vec<_> = layout
            .roots()
            .iter()
            .map(|root| (root.ref_name().unwrap().to_owned(), root.descriptor().digest.clone()))
            .collect();
        assert_eq!(found, roots, "seed {seed}");
        for (digest, content) in &expected {
            assert_eq!(&read(&layout, digest), content, "seed {seed}");
        }
    }
}

#[test]
fn an_archive_has_no_trace_of_its_machine() {
    let stored = Stored::sample();
    let written = ["a.tar", "b.tar"].map(|name| {
        let file = stored.beside(name);
        store(&file, &stored.memory, &stored.root, None);
        fs::read(file).unwrap()
    });
    assert_eq!(written[0], written[1]);
    let mut archive = tar::Archive::new(&written[0][..]);
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.username(), header.groupname());
        assert_eq!(owner, (0, 0, Ok(Some("")), Ok(Some(""))));
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
        names.push(entry.path().unwrap().to_string_lossy().into_owned());
    }
    let blobs = stored.memory.contents().map(|(digest, _)| blob_path(digest));
    let expected: Vec<_> =
        ["oci-layout".to_owned()].into_iter().chain(blobs).chain(["index.json".to_owned()]).collect();
    assert_eq!(names, expected);
    assert!(written[0].ends_with(&[0; 1024]) && written[0].len() % 512 == 0);
}

#[test]
fn threads_read_a_blob_at_offsets() {
    let stored = Stored::sample();
    let file = stored.beside("app.tar");
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let descriptor = blob(&content);
    let mut writer = ArchiveWriter::create(&file).unwrap();
    writer.put(&blob(b"before"), b"before").unwrap();
    writer.put(&descriptor, &content).unwrap();
    writer.put(&blob(b"after"), b"after").unwrap();
    writer.set_root(&descriptor, None).unwrap();
    writer.finish().unwrap();

    let blob = Layout::open_archive(&file).unwrap().open_unverified(&descriptor.digest).unwrap();
    assert_eq!(blob.size(), 100_000);
    thread::scope(|scope| {
        for first in 0..4 {
            let (blob, content) = (&blob, &content);
            scope.spawn(move || {
                for offset in (first..100_000).step_by(997) {
                    let mut buffer = [0; 300];
                    let read = blob.read_at(&mut buffer, offset as u64).unwrap();
                    assert_eq!(buffer[..read], content[offset..(offset + 300).min(content.len())]);
                }
            });
        }
    });
    // Not the members after it.
    let mut buffer = [0; 300];
    assert_eq!(blob.read_at(&mut buffer, 99_990).unwrap(), 10);
    for offset in [100_000, 100_001, u64::MAX] {
        assert_eq!(blob.read_at(&mut buffer, offset).unwrap(), 0);
    }
    let (mut one, mut other) = (blob.clone(), blob);
    one.seek(SeekFrom::End(-5)).unwrap();
    let mut rest = Vec::new();
    one.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, content[99_995..]);
    assert_eq!(other.seek(SeekFrom::Current(7)).unwrap(), 7);
    assert_eq!(other.read(&mut buffer).unwrap(), 300);
    assert_eq!(buffer, content[7..307]);
    assert!(other.seek(SeekFrom::Current(-400)).is_err());
}

/// A temporary directory, and the path of an archive in it.
fn place() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.tar");
    (directory, file)
}

#[test]
fn wrong_content_never_becomes_an_archive() {
    for (what, content, declared) in [
        ("other content", &b"other"[..], blob(b"right")),
        ("too short", b"righ", blob(b"right")),
        ("too long", b"right!", blob(b"right")),
    ] {
        let (directory, file) = place();
        let writer = ArchiveWriter::create(&file).unwrap();
        let error = writer.copy(&declared, content).expect_err(what);
        assert!(error.path().ends_with(blob_path(&declared.digest)), "{error}");
        assert!(!writer.has(&declared));
        let error = writer.finish().expect_err(what);
        assert!(matches!(error.kind(), LayoutErrorKind::Incomplete(digest) if *digest == declared.digest));
        assert!(names(directory.path()).is_empty(), "{what}: {:?}", names(directory.path()));
    }
    let (directory, file) = place();
    let writer = ArchiveWriter::create(&file).unwrap();
    let mut foreign = blob(b"");
    foreign.digest = "md4:00".parse().unwrap();
    assert!(matches!(writer.begin(&foreign).unwrap_err().kind(), LayoutErrorKind::Unverifiable));
    let mut huge = blob(b"x");
    huge.size = u64::MAX;
    let error = writer.begin(&huge).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Io(_)), "{error}");
    drop(writer);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_blob_that_failed_can_be_written_again() {
    let (_directory, file) = place();
    let mut writer = ArchiveWriter::create(&file).unwrap();
    let right = blob(b"right");
    writer.put(&right, b"wrong").unwrap_err();
    let mut begun = writer.begin(&right).unwrap();
    assert!(matches!(writer.begin(&right).unwrap_err().kind(), LayoutErrorKind::Busy));
    begun.append(0, b"wrong").unwrap();
    begun.restart();
    let order = begun.append(3, b"ht").unwrap_err();
    assert!(matches!(order.kind(), LayoutErrorKind::Order { expected: 0, given: 3 }));
    begun.append(0, b"right").unwrap();
    begun.finish().unwrap();
    let other = blob(b"other");
    let mut begun = writer.begin(&other).unwrap();
    begun.append(0, b"oth").unwrap();
    // The caller verifies, but the place of a blob has its size.
    assert!(begun.take_hasher().is_some() && begun.take_hasher().is_none());
    assert!(matches!(begun.finish().unwrap_err().kind(), LayoutErrorKind::Size { expected: 5, found: 3 }));
    writer.put(&other, b"other").unwrap();
    // Content that the archive has is not read again.
    writer.copy(&right, Failing).unwrap();
    assert!(matches!(writer.set_root(&blob(b"missing"), None).unwrap_err().kind(), LayoutErrorKind::Missing));
    writer.set_root(&right, None).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&Layout::open_archive(&file).unwrap(), &right.digest), b"right");
}

struct Failing;

impl io::Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is on fire"))
    }
}

#[test]
fn an_error_of_the_source_is_that_of_the_copy() {
    let stored = Stored::sample();
    let (_directory, file) = place();
    let writer = ArchiveWriter::create(&file).unwrap();
    let error = writer.copy(&blob(b"right"), Failing).unwrap_err();
    assert!(error.to_string().contains("on fire"), "{error}");

    let layer = stored.entry(0);
    let damaged = stored.file(&layer.digest);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let source = Layout::open(stored.path()).unwrap().blob(&layer.digest, None).unwrap();
    let error = writer.copy(&layer, source).unwrap_err();
    assert_eq!(error.path(), damaged);
    assert!(matches!(error.kind(), LayoutErrorKind::Content(_)), "{error}");
}

#[test]
fn an_existing_file_is_kept_unless_it_is_empty_or_to_be_replaced() {
    let (directory, file) = place();
    let write = |existing| -> Result<(), oci_proto_layout::LayoutError> {
        ArchiveWriter::create_with(&file, existing, Durability::Synced)?.finish()
    };
    fs::write(&file, "").unwrap();
    write(Existing::Keep).unwrap();
    assert!(Layout::open_archive(&file).unwrap().roots().is_empty());

    let error = write(Existing::Keep).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Exists), "{error}");
    assert!(error.to_string().contains("remove it"), "{error}");

    fs::write(&file, "precious").unwrap();
    let writer = ArchiveWriter::create_with(&file, Existing::Replace, Durability::Synced).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    drop(writer);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    write(Existing::Replace).unwrap();
    Layout::open_archive(&file).unwrap();

    // A file that appears while the archive is written.
    fs::remove_file(&file).unwrap();
    let writer = ArchiveWriter::create(&file).unwrap();
    assert_eq!(names(directory.path()).len(), 1);
    assert!(names(directory.path())[0].starts_with(".app.tar.partial-"));
    fs::write(&file, "precious").unwrap();
    assert!(matches!(writer.finish().unwrap_err().kind(), LayoutErrorKind::Exists));
    assert_eq!(files(directory.path()), [("app.tar".to_owned(), b"precious".to_vec())]);
}

#[test]
fn only_a_regular_file_is_replaced() {
    let (directory, file) = place();
    fs::create_dir(&file).unwrap();
    let beside = directory.path().join("beside");
    fs::write(&beside, "").unwrap();
    let refused = |path: &Path, expected: &str| {
        let writer = ArchiveWriter::create_with(path, Existing::Replace, Durability::Unsynced);
        let error = writer.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&file, "a directory");
    refused(&beside.join("app.tar"), "beside: expected a directory, found a file");
    refused(&directory.path().join("missing/app.tar"), "missing: not found");
    refused(&directory.path().join(".."), "a directory");
    #[cfg(unix)]
    {
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&beside, &link).unwrap();
        refused(&link, "a symbolic link");
    }
}

#[cfg(unix)]
#[test]
fn a_file_name_need_not_be_short_or_unicode() {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir().unwrap();
    for name in [&[b'n'; 255][..], b"a\xff"] {
        let file = directory.path().join(std::ffi::OsStr::from_bytes(name));
        let mut writer = ArchiveWriter::create(&file).unwrap();
        writer.put(&blob(b"x"), b"x").unwrap();
        writer.set_root(&blob(b"x"), None).unwrap();
        writer.finish().unwrap();
        assert_eq!(Layout::open_archive(&file).unwrap().roots().len(), 1);
    }
}

/// Random numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}
