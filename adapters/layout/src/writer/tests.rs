//! The order of the calls that decide what a power failure leaves.

use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::layout::Root;
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Checker, Descriptor, Digest, Held, Limits, MediaType, Role};

use super::*;
use crate::copy_tree::{Copied, CopyOptions, copy_tree};
use crate::destination::LayoutDestination;
use crate::directory::trace::Trace;

type Call = (&'static str, PathBuf);

/// Everything under a root, once each: children before the documents that refer to them.
fn everything(memory: &Memory, root: &Descriptor) -> Vec<(Descriptor, Role)> {
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
    all.reverse();
    all
}

/// Does what a client does to pull, and returns the calls.
fn pulled(at: &Path, memory: &Memory, root: &Descriptor, durability: Durability) -> Vec<Call> {
    let trace = Trace::default();
    let directory = Directory::open(at).unwrap().traced(trace.clone());
    let layout = LayoutDestination::new(LayoutWriter::of(directory, durability).unwrap());
    for (descriptor, role) in everything(memory, root) {
        let content = memory.bytes(&descriptor.digest).unwrap();
        match layout.held(&descriptor).unwrap() {
            Held::Whole | Held::Document(_) => continue,
            Held::Nothing | Held::Part { .. } => {}
        }
        if role == Role::Document || content.is_empty() {
            layout.store(&descriptor, &content).unwrap();
        } else {
            write(&layout, &descriptor, &content);
        }
    }
    layout.done(root, Some(&"latest".parse().unwrap())).unwrap();
    trace.calls()
}

/// Writes a blob, which is published later.
fn write(layout: &LayoutDestination, blob: &Descriptor, content: &[u8]) {
    layout.append_at(0, &blob.digest, Some(blob.size), content).unwrap();
    layout.publish(&blob.digest).unwrap();
}

/// Fails unless each file is synced between its creation and its renaming.
fn check_renames(calls: &[Call]) {
    for (n, (call, path)) in calls.iter().enumerate() {
        if *call == "from" {
            let of_file = calls[..n].iter().rev().filter(|(_, other)| other == path);
            let before: Vec<_> = of_file.map(|(call, _)| *call).filter(|call| *call != "write").collect();
            assert!(
                before.starts_with(&["sync", "create"]),
                "{} was renamed after {before:?}",
                path.display()
            );
        }
    }
}

/// The position of the last such call.
fn last(calls: &[Call], call: &str, path: &Path) -> usize {
    let found = calls.iter().rposition(|(other, at)| *other == call && at == path);
    found.unwrap_or_else(|| panic!("no {call} of {}", path.display()))
}

#[test]
fn no_file_gets_its_name_before_its_content_is_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let (memory, root) = Memory::sample();
    let calls = pulled(home.path(), &memory, &root, Durability::Synced);
    check_renames(&calls);

    // Children have their names before their parents.
    let blobs = home.path().join("blobs/sha256");
    let renamed = calls.iter().filter(|(call, path)| *call == "to" && path.starts_with(&blobs));
    let renamed: Vec<_> = renamed.map(|(_, path)| path.file_name().unwrap().to_str().unwrap()).collect();
    let expected: Vec<_> =
        everything(&memory, &root).iter().map(|(child, _)| child.digest.encoded()).collect();
    assert_eq!(renamed, expected);
}

#[test]
fn the_index_comes_after_the_names_that_it_depends_on() {
    let home = tempfile::tempdir().unwrap();
    let (memory, root) = Memory::sample();
    let calls = pulled(home.path(), &memory, &root, Durability::Synced);
    let index = last(&calls, "to", &home.path().join("index.json"));
    for (n, (call, path)) in calls[..index].iter().enumerate() {
        let parent = path.parent().unwrap();
        // The directory for temporary files need not survive.
        if matches!(*call, "to" | "make") && !path.ends_with(WORK) {
            let synced = calls[n..index].contains(&("sync", parent.to_owned()));
            assert!(synced, "{call} {} is not on disk when the index is written", path.display());
        }
    }
    assert_eq!(calls.last(), Some(&("sync", home.path().to_owned())));
    assert!(last(&calls, "sync", home.path()) > index);
}

#[test]
fn the_marker_comes_after_the_rest_of_a_new_layout() {
    let home = tempfile::tempdir().unwrap();
    let trace = Trace::default();
    let directory = Directory::open(home.path()).unwrap().traced(trace.clone());
    LayoutWriter::of(directory, Durability::Synced).unwrap();
    let calls = trace.calls();
    check_renames(&calls);
    let marker = last(&calls, "to", &home.path().join(MARKER));
    assert!(last(&calls, "to", &home.path().join(INDEX)) < marker, "{calls:?}");
    assert!(last(&calls, "make", &home.path().join(BLOBS)) < marker, "{calls:?}");
    assert!(last(&calls, "sync", home.path()) > marker, "{calls:?}");
}

#[test]
fn existing_content_is_synced_before_a_pull_relies_on_it() {
    let home = tempfile::tempdir().unwrap();
    let (memory, root) = Memory::sample();
    let calls = pulled(home.path(), &memory, &root, Durability::Unsynced);
    assert!(calls.iter().all(|(call, _)| *call != "sync"), "{calls:?}");

    let calls = pulled(home.path(), &memory, &root, Durability::Synced);
    assert!(calls.iter().all(|(call, path)| *call != "to" || path.starts_with(home.path().join(WORK))));
    for (descriptor, _) in everything(&memory, &root) {
        last(&calls, "sync", &home.path().join("blobs/sha256").join(descriptor.digest.encoded()));
    }
    for name in ["blobs/sha256", "blobs", "", MARKER, INDEX] {
        last(&calls, "sync", &home.path().join(name).components().collect::<PathBuf>());
    }
}

#[test]
fn existing_content_is_synced_before_a_copy_relies_on_it() {
    let (source, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (memory, root) = Memory::sample();
    for at in [source.path(), home.path()] {
        pulled(at, &memory, &root, Durability::Unsynced);
    }
    let trace = Trace::default();
    let directory = Directory::open(home.path()).unwrap().traced(trace.clone());
    let mut writer = LayoutWriter::of(directory, Durability::Synced).unwrap();
    let (from, latest) = (Layout::open(source.path()).unwrap(), Root::Named("latest".parse().unwrap()));
    let mut existing = 0;
    copy_tree(
        &from,
        &latest,
        &mut writer,
        Some(&"copy".parse().unwrap()),
        &CopyOptions::default(),
        |copied| match copied {
            Copied::Existing(_) => existing += 1,
            other => panic!("{other:?}"),
        },
    )
    .unwrap();
    let (calls, all) = (trace.calls(), everything(&memory, &root));
    assert_eq!(existing, all.len());
    let index = last(&calls, "to", &home.path().join(INDEX));
    for (descriptor, _) in all {
        let file = home.path().join("blobs/sha256").join(descriptor.digest.encoded());
        assert!(last(&calls, "sync", &file) < index);
    }
}

#[test]
fn content_in_memory_is_written_only_if_the_layout_does_not_have_it() {
    let home = tempfile::tempdir().unwrap();
    let content = b"embedded";
    let digest = Digest::of(oci_proto::Algorithm::Sha256, content);
    let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
    let file = home.path().join(oci_proto::layout::blob_path(&blob.digest));
    let stored = |durability| {
        let trace = Trace::default();
        let directory = Directory::open(home.path()).unwrap().traced(trace.clone());
        let layout = LayoutDestination::new(LayoutWriter::of(directory, durability).unwrap());
        layout.store(&blob, content).unwrap();
        layout.done(&blob, None).unwrap();
        assert_eq!(fs::read(&file).unwrap(), content);
        let calls = trace.calls();
        (calls.contains(&("to", file.clone())), calls.contains(&("sync", file.clone())))
    };
    assert_eq!(stored(Durability::Unsynced), (true, false));
    assert_eq!(stored(Durability::Unsynced), (false, false));
    // The earlier writer has not synced it.
    assert_eq!(stored(Durability::Synced), (false, cfg!(unix)));
    for damaged in [&b"EMBEDDED"[..], b"emb", b""] {
        fs::write(&file, damaged).unwrap();
        assert!(stored(Durability::Unsynced).0, "{damaged:?}");
    }
    fs::remove_file(&file).unwrap();
    assert!(stored(Durability::Synced).0);
}

#[cfg(unix)]
#[test]
fn a_blob_that_cannot_be_published_fails_the_pull() {
    let home = tempfile::tempdir().unwrap();
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    let content = b"content";
    let digest = Digest::of(oci_proto::Algorithm::Sha256, content);
    let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
    // A directory cannot be replaced by a file.
    let name = home.path().join(oci_proto::layout::blob_path(&blob.digest));
    fs::create_dir_all(name.join("x")).unwrap();
    write(&layout, &blob, content);
    let error = layout.done(&blob, None).unwrap_err();
    assert_eq!(error.path(), name);
    layout.store(&blob, content).unwrap_err();
}

#[test]
fn a_dropped_writer_keeps_what_waits_as_partial_blobs() {
    let home = tempfile::tempdir().unwrap();
    let contents: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 5000]).collect();
    let blobs = contents.iter().map(|content| {
        let digest = Digest::of(oci_proto::Algorithm::Sha256, content);
        (Descriptor::new(MediaType::OCTET_STREAM, digest, 5000), content)
    });
    let layout = LayoutDestination::at(home.path(), Durability::Synced).unwrap();
    for (blob, content) in blobs.clone() {
        write(&layout, &blob, content);
    }
    drop(layout);
    // The lock is free at once, and nothing is renamed any more.
    let layout = LayoutDestination::new(LayoutWriter::open(home.path()).unwrap());
    for (blob, _) in blobs {
        let held = layout.held(&blob).unwrap();
        let whole = matches!(held, Held::Whole) || matches!(held, Held::Part { offset: 5000, .. });
        assert!(whole, "{held:?}");
    }
}
