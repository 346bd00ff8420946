//! Writing layouts.

use std::fs;

use oci_proto::layout::{Index, MARKER, marker};
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{Durability, Layout, LayoutErrorKind, LayoutWriter, check};

use crate::support::{Stored, files, name};

const CONTENT: &[u8] = b"the bytes of a blob";

fn blob(content: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64)
}

#[test]
fn a_new_layout_has_its_three_parts_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("deep/inside/layout");
    drop(LayoutWriter::open(&directory).unwrap());
    let expected =
        [("index.json".to_owned(), Index::new().to_bytes()), (MARKER.to_owned(), marker().to_vec())];
    assert_eq!(files(&directory), expected);
    assert!(fs::read_dir(directory.join("blobs")).unwrap().next().is_none());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "no temporary file is left");
    assert!(Layout::open(&directory).unwrap().roots().is_empty());
}

#[test]
fn writing_is_deterministic() {
    assert_eq!(files(&Stored::sample().path()), files(&Stored::sample().path()));
}

#[test]
fn a_blob_is_published_only_when_it_is_complete_and_verified() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let descriptor = blob(CONTENT);
    let mut partial = writer.begin(&descriptor).unwrap();
    partial.append(0, &CONTENT[..4]).unwrap();
    assert!(!writer.layout().has(&descriptor));
    partial.append(4, &CONTENT[4..]).unwrap();
    assert!(!writer.layout().has(&descriptor));
    partial.finish().unwrap();
    writer.layout().verify(&descriptor).unwrap();

    // Again, replacing a damaged file.
    fs::write(home.path().join(oci_proto::layout::blob_path(&descriptor.digest)), "damaged").unwrap();
    assert!(!writer.layout().has(&descriptor));
    writer.put(&descriptor, CONTENT).unwrap();
    writer.layout().verify(&descriptor).unwrap();
}

#[test]
fn empty_blobs_and_sha512_are_supported() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let empty = blob(b"");
    writer.begin(&empty).unwrap().finish().unwrap();
    let mut long = blob(CONTENT);
    long.digest = Digest::of(Algorithm::Sha512, CONTENT);
    writer.put(&long, CONTENT).unwrap();
    for descriptor in [empty, long] {
        writer.layout().verify(&descriptor).unwrap();
    }
}

#[test]
fn wrong_content_is_discarded() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let descriptor = blob(CONTENT);
    let wrong = vec![b'x'; CONTENT.len()];
    let error = writer.put(&descriptor, &wrong).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Content(_)), "{error}");
    assert!(!writer.layout().has(&descriptor));
    assert_eq!(writer.begin(&descriptor).unwrap().offset(), 0, "none of it is resumed");
}

#[test]
fn bytes_out_of_order_and_beyond_the_size_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let descriptor = blob(CONTENT);
    let mut partial = writer.begin(&descriptor).unwrap();
    partial.append(0, &CONTENT[..4]).unwrap();
    for place in [0, 3, 5] {
        let error = partial.append(place, &CONTENT[4..]).unwrap_err();
        assert!(matches!(error.kind(), LayoutErrorKind::Order { expected: 4, .. }), "{error}");
    }
    let error = partial.append(4, CONTENT).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Size { .. }), "{error}");
    partial.append(4, &CONTENT[4..]).unwrap();
    partial.finish().unwrap();

    let short = writer.begin(&blob(b"another")).unwrap();
    assert!(matches!(short.finish().unwrap_err().kind(), LayoutErrorKind::Size { expected: 7, found: 0 }));
}

#[test]
fn different_blobs_are_written_in_parallel_but_each_only_once() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let contents: Vec<Vec<u8>> = (0..8_u8).map(|n| vec![n; 10_000]).collect();
    std::thread::scope(|scope| {
        for content in &contents {
            let mut partial = writer.begin(&blob(content)).unwrap();
            scope.spawn(move || {
                for (n, chunk) in content.chunks(100).enumerate() {
                    partial.append(n as u64 * 100, chunk).unwrap();
                }
                partial.finish().unwrap();
            });
        }
    });
    for content in &contents {
        writer.layout().verify(&blob(content)).unwrap();
    }
    let first = writer.begin(&blob(CONTENT)).unwrap();
    assert!(matches!(writer.begin(&blob(CONTENT)).unwrap_err().kind(), LayoutErrorKind::Busy));
    drop(first);
    assert!(writer.begin(&blob(CONTENT)).is_ok());
}

#[test]
fn a_second_writer_is_refused_until_the_first_and_its_blobs_are_dropped() {
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let partial = writer.begin(&blob(CONTENT)).unwrap();
    let refused = || LayoutWriter::open(home.path()).unwrap_err();
    assert!(matches!(refused().kind(), LayoutErrorKind::Locked), "{}", refused());
    drop(writer);
    assert!(matches!(refused().kind(), LayoutErrorKind::Locked), "{}", refused());
    drop(partial);
    LayoutWriter::open(home.path()).unwrap();
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "the lock is removed");
}

#[test]
fn a_directory_with_other_files_is_refused_and_not_modified() {
    for (file, content) in [("README", "mine"), ("index.json", "{}"), ("blobs/x", "mine"), ("blobs", "mine")]
    {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let before = files(home.path());
        let error = LayoutWriter::open(home.path()).unwrap_err();
        assert!(matches!(error.kind(), LayoutErrorKind::Foreign(_)), "{file}: {error}");
        assert_eq!(files(home.path()), before, "{file}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "mine").unwrap();
    LayoutWriter::open(home.path().join("file")).unwrap_err();
    fs::write(home.path().join(MARKER), r#"{"imageLayoutVersion":"3"}"#).unwrap();
    let error = LayoutWriter::open(home.path()).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Marker(_)), "{error}");
}

#[test]
fn set_root_requires_the_content_and_keeps_changes_of_others() {
    let stored = Stored::sample();
    let mut writer = LayoutWriter::open(stored.path()).unwrap();
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, "linux/amd64".parse().ok(), &[]);
    let error = writer.set_root(&image, Some(&name("v2"))).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Missing), "{error}");
    writer.put(&image, &memory.bytes(&image.digest).unwrap()).unwrap();

    // Another program, which ignores the lock, adds a root and a property.
    let path = stored.path().join("index.json");
    let others =
        fs::read_to_string(&path).unwrap().replace("\"schemaVersion\"", "\"x\":1.0,\"schemaVersion\"");
    fs::write(&path, others.replace("latest", "theirs")).unwrap();
    writer.set_root(&image, Some(&name("v2"))).unwrap();
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("{\"x\":1.0,"), "{written}");
    let layout = Layout::open(stored.path()).unwrap();
    let names: Vec<_> = layout.roots().iter().map(|entry| entry.ref_name().unwrap()).collect();
    assert_eq!(names, ["theirs", "v2"]);
    assert_eq!(writer.layout().roots().len(), 2);
    assert_eq!(layout.roots()[1].descriptor(), &image);
}

#[cfg(unix)]
#[test]
fn links_are_replaced_and_never_written_through() {
    use std::os::unix::fs::symlink;
    let stored = Stored::sample();
    let victim = stored.beside("victim");
    fs::write(&victim, "precious").unwrap();
    let descriptor = blob(CONTENT);
    let work = stored.path().join(".oci-proto-partial");
    let partial = work.join(format!("sha256-{}", descriptor.digest.encoded()));
    fs::create_dir(&work).unwrap();
    symlink(&victim, &partial).unwrap();
    symlink(&victim, work.join("index.json")).unwrap();
    symlink(&victim, stored.file(&descriptor.digest)).unwrap();

    let mut writer = LayoutWriter::open(stored.path()).unwrap();
    writer.put(&descriptor, CONTENT).unwrap();
    writer.set_root(&descriptor, Some(&name("v2"))).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read(stored.file(&descriptor.digest)).unwrap(), CONTENT);
    drop(writer);

    // If a directory or the lock is a link, nothing is written.
    let elsewhere = stored.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &work).unwrap();
    let error = LayoutWriter::open(stored.path()).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::NotADirectory(_)), "{error}");
    fs::remove_file(&work).unwrap();
    fs::create_dir(&work).unwrap();
    symlink(&victim, work.join("lock")).unwrap();
    let error = LayoutWriter::open(stored.path()).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::NotAFile(_)), "{error}");
    fs::remove_file(work.join("lock")).unwrap();
    fs::rename(stored.path().join("blobs"), stored.beside("blobs")).unwrap();
    symlink(&elsewhere, stored.path().join("blobs")).unwrap();
    let writer = LayoutWriter::open(stored.path()).unwrap();
    let error = writer.put(&descriptor, CONTENT).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::NotADirectory(_)), "{error}");
    assert!(files(&elsewhere).is_empty());
}

#[test]
fn a_writer_that_is_not_durable_writes_the_same_files() {
    let stored = Stored::sample();
    let home = tempfile::tempdir().unwrap();
    let mut writer = LayoutWriter::open_with(home.path(), Durability::Unsynced).unwrap();
    for (descriptor, _) in crate::support::everything(&stored.memory, &stored.root) {
        writer.put(&descriptor, &stored.memory.bytes(&descriptor.digest).unwrap()).unwrap();
    }
    writer.set_root(&stored.root, Some(&name("latest"))).unwrap();
    drop(writer);
    assert_eq!(files(home.path()), files(&stored.path()));
    assert_eq!(check(home.path(), None).unwrap().count(), 0);
}

/// Permissions do not restrict root, for which opening succeeds.
#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_named_in_the_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let stored = Stored::sample();
    fs::set_permissions(stored.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let opened = LayoutWriter::open(stored.path());
    fs::set_permissions(stored.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if let Err(error) = opened {
        let text = error.to_string();
        assert!(text.contains(".oci-proto-partial") && text.contains("denied"), "{text}");
    }
}
