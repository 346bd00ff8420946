//! Others who change a layout while it is written, and whatever a writer finds in place of its own files.

use std::fs;
use std::path::Path;

use oci_proto::layout::{blob_path, marker};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{Layout, LayoutErrorKind, LayoutWriter};

use crate::support::{Stored, files, name};

const CONTENT: &[u8] = b"the bytes of a blob";
const WORK: &str = ".oci-proto-partial";

fn blob(content: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64)
}

/// Replaces a directory by a link.
#[cfg(unix)]
fn swap(directory: &Path, elsewhere: &Path) {
    fs::rename(directory, directory.with_extension("moved")).unwrap();
    std::os::unix::fs::symlink(elsewhere, directory).unwrap();
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_swapped_for_a_link_leads_no_write_elsewhere() {
    for swapped in ["blobs/sha256", "blobs", WORK] {
        let stored = Stored::sample();
        let elsewhere = stored.beside("elsewhere");
        fs::create_dir_all(elsewhere.join("sha256")).unwrap();
        let mut writer = LayoutWriter::open(stored.path()).unwrap();
        let mut begun = writer.begin(&blob(CONTENT)).unwrap();
        begun.append(0, &CONTENT[..4]).unwrap();
        swap(&stored.path().join(swapped), &elsewhere);

        begun.append(4, &CONTENT[4..]).unwrap();
        let finished = begun.finish();
        let put = writer.put(&blob(b"another"), b"another");
        let root = writer.set_root(&blob(CONTENT), Some(&name("v2")));
        drop(writer);
        assert!(files(&elsewhere).is_empty(), "{swapped}: {:?}", files(&elsewhere));
        let moved = stored.path().join(swapped).with_extension("moved");
        if swapped == WORK {
            // The writer continues in the directory that it has opened.
            finished.and(put).and(root).unwrap();
            assert!(files(&moved).is_empty(), "{:?}", files(&moved));
        } else {
            for error in [finished.unwrap_err(), put.unwrap_err(), root.unwrap_err()] {
                let refused = matches!(error.kind(), LayoutErrorKind::NotADirectory("a symbolic link"));
                assert!(refused && error.path() == stored.path().join(swapped), "{error}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_partial_blob_with_a_second_name_is_not_written_to() {
    let stored = Stored::sample();
    let victim = stored.beside("victim");
    // Shorter and longer than the blob.
    for content in [&b"the by"[..], &[0; 100]] {
        fs::create_dir(stored.path().join(WORK)).unwrap();
        fs::write(&victim, content).unwrap();
        let descriptor = blob(CONTENT);
        let partial = stored.path().join(WORK).join(format!("sha256-{}", descriptor.digest.encoded()));
        fs::hard_link(&victim, &partial).unwrap();
        let writer = LayoutWriter::open(stored.path()).unwrap();
        let mut begun = writer.begin(&descriptor).unwrap();
        assert_eq!(begun.offset(), 0);
        begun.append(0, CONTENT).unwrap();
        begun.finish().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), content);
        writer.layout().verify(&descriptor).unwrap();
    }
}

/// Puts something in a place.
type Put<'a> = &'a dyn Fn(&Path);

/// Whatever can be in the place of a file.
#[cfg(unix)]
const ODD: [(&str, Put<'static>); 5] = [
    ("a directory", &|at| fs::create_dir(at).unwrap()),
    ("a full directory", &|at| {
        fs::create_dir_all(at.join("a/b/c")).unwrap();
        fs::write(at.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", at.join("a/link")).unwrap();
    }),
    ("a link", &|at| std::os::unix::fs::symlink("/nonexistent", at).unwrap()),
    ("a pipe", &|at| assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success())),
    ("a long file", &|at| fs::write(at, [0; 1000]).unwrap()),
];

#[cfg(unix)]
#[test]
fn anything_odd_in_place_of_a_temporary_file_is_replaced() {
    let descriptor = blob(CONTENT);
    let partial = format!("sha256-{}", descriptor.digest.encoded());
    for (what, put) in ODD {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(WORK)).unwrap();
        for name in [&partial, "index.json", "oci-layout"] {
            put(&home.path().join(WORK).join(name));
        }
        let mut writer = LayoutWriter::open(home.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let resumed = writer.resume(&descriptor).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(resumed.map(|resumed| resumed.offset()), Some(0), "{what}");
        put(&home.path().join(WORK).join(&partial));
        writer.put(&descriptor, CONTENT).unwrap_or_else(|error| panic!("{what}: {error}"));
        put(&home.path().join(WORK).join("index.json"));
        writer.set_root(&descriptor, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        writer.layout().verify(&descriptor).unwrap();
    }
}

/// A crash may lose the content of a file that is not synced: all of it, or only the bytes and not the length.
#[test]
fn an_own_file_that_is_empty_or_zeros_is_repaired() {
    for content in [&b""[..], &[0; 64]] {
        for lost in [&["oci-layout"][..], &["index.json"], &["oci-layout", "index.json"]] {
            let stored = Stored::sample();
            for name in lost {
                fs::write(stored.path().join(name), content).unwrap();
            }
            let error = Layout::open(stored.path()).unwrap_err();
            assert!(matches!(error.kind(), LayoutErrorKind::Blank), "{lost:?}: {error}");
            assert!(error.to_string().contains("pull into the layout"), "{error}");
            let mut writer = LayoutWriter::open(stored.path()).unwrap();
            writer.set_root(&stored.root, Some(&name("latest"))).unwrap();
            drop(writer);
            assert_eq!(files(&stored.path()), files(&Stored::sample().path()), "{lost:?}");
        }
    }
}

#[test]
fn a_new_layout_whose_files_a_crash_emptied_is_completed() {
    for names in [&["index.json"][..], &["oci-layout"], &["oci-layout", "index.json"]] {
        let home = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(home.path().join(name), "").unwrap();
        }
        drop(LayoutWriter::open(home.path()).unwrap());
        assert!(Layout::open(home.path()).unwrap().roots().is_empty());
        assert_eq!(fs::read(home.path().join("oci-layout")).unwrap(), marker());
    }
}

#[test]
fn a_blob_that_a_crash_emptied_is_missing_and_replaced() {
    let stored = Stored::sample();
    let descriptor = stored.entry(1);
    fs::write(stored.path().join(blob_path(&descriptor.digest)), "").unwrap();
    let writer = LayoutWriter::open(stored.path()).unwrap();
    assert!(!writer.layout().has(&descriptor));
    let content = oci_proto::server::Content::bytes(&stored.memory, &descriptor.digest).unwrap();
    writer.put(&descriptor, &content).unwrap();
    writer.layout().verify(&descriptor).unwrap();
}
