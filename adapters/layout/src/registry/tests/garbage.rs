//! What a collection removes, and what it keeps.

use std::fs;
use std::path::Path;
use std::time::Duration;

use oci_proto::Digest;
use oci_proto::layout::blob_path;
use oci_proto::server::Storage as _;
use serde_json::{Value, json};

use crate::directory::Directory;
use crate::directory::trace::{Fault, Trace};
use crate::error::{LayoutError, LayoutErrorKind};
use crate::registry::RegistryDirectory;
use crate::registry::garbage::{Collected, GarbageOptions, Removed, collect, collect_garbage};
use crate::registry::space::RegistryOptions;
use crate::registry::tests::{Client, check_all, image, index, listed, open, sha256, tree};
use crate::writer::LayoutWriter;

const NEEDED: GarbageOptions = GarbageOptions { untagged: false, min_age: Duration::ZERO, dry_run: false };
const TAGGED: GarbageOptions = GarbageOptions { untagged: true, ..NEEDED };

fn close(client: Client) {
    drop(client.registry.into_parts());
}

/// Collects, and returns the digests that were removed.
#[track_caller]
fn collected(root: &Path, options: GarbageOptions) -> (Vec<Digest>, Collected) {
    let mut removed: Vec<Removed> = Vec::new();
    let collected = collect_garbage(root, &options, |content| removed.push(content.clone())).unwrap();
    assert_eq!(collected.contents, removed.len() as u64);
    assert_eq!(collected.bytes, removed.iter().map(|content| content.size).sum::<u64>());
    for Removed { repository, digest, .. } in &removed {
        let file = root.join(repository.as_str()).join(blob_path(digest));
        assert_eq!(file.exists(), options.dry_run, "{}", file.display());
    }
    (removed.into_iter().map(|content| content.digest).collect(), collected)
}

/// Asserts that exactly this is removed, without warnings.
#[track_caller]
fn assert_removes(root: &Path, options: GarbageOptions, expected: &[&str]) {
    let (mut removed, collected) = collected(root, options);
    assert!(collected.warnings.is_empty(), "{:?}", collected.warnings);
    let mut expected: Vec<_> = expected.iter().map(|content| sha256(content)).collect();
    expected.sort_unstable();
    removed.sort_unstable();
    assert_eq!(removed, expected);
    check_all(root);
}

fn failed(root: &Path) -> LayoutError {
    collect_garbage(root, &NEEDED, |removed| panic!("{removed:?}")).unwrap_err()
}

/// An image with a subject.
fn referrer(layer: &str, subject: &str) -> String {
    let mut document: Value = serde_json::from_str(&image(&[layer])).unwrap();
    let media_type: Value = serde_json::from_str::<Value>(subject).unwrap()["mediaType"].clone();
    let digest = sha256(subject).to_string();
    document["subject"] = json!({ "mediaType": media_type, "digest": digest, "size": subject.len() });
    document.to_string()
}

/// Pushes a manifest without a tag.
#[track_caller]
fn put_untagged(client: &mut Client, document: &str) {
    client.put("app", &sha256(document).to_string(), document);
}

#[test]
fn only_blobs_that_no_manifest_needs_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    for layer in ["{}", "one", "shared", "unneeded"] {
        client.blob("app", layer);
        client.blob("team/app", layer);
    }
    let first = image(&["one", "shared"]);
    client.put("app", "1", &first);
    client.put("app", "2", &image(&["shared"]));
    client.put("team/app", "1", &image(&["one", "shared", "unneeded"]));
    // The blobs of this stay, but only one of them is shared with another image.
    client.status("DELETE", &format!("/v2/app/manifests/{}", sha256(&first)), "");
    close(client);
    fs::write(home.path().join("app/notes.txt"), "kept").unwrap();
    fs::write(home.path().join("app/blobs/sha256/notes.txt"), "kept").unwrap();
    fs::create_dir(home.path().join("app/blobs/backup")).unwrap();
    fs::write(home.path().join("app/blobs/backup/abc"), "kept").unwrap();

    assert_removes(home.path(), NEEDED, &["one", "unneeded"]);
    for kept in ["app/notes.txt", "app/blobs/sha256/notes.txt", "app/blobs/backup/abc"] {
        assert_eq!(fs::read_to_string(home.path().join(kept)).unwrap(), "kept");
    }
    assert_removes(home.path(), NEEDED, &[]);
    let mut client = open(home.path());
    assert_eq!(client.get(&format!("/v2/team/app/blobs/{}", sha256("unneeded"))), "unneeded");
}

/// Pushes a nested index with a tag, whose image has a referrer with one of its own, and an image without a tag, to
/// which a referrer without a tag belongs.
fn nested(root: &Path) -> [String; 7] {
    let mut client = open(root);
    for layer in ["{}", "inner", "signature", "countersignature", "old", "old signature"] {
        client.blob("app", layer);
    }
    let inner = image(&["inner"]);
    let middle = index(&[&inner]);
    let outer = index(&[&middle]);
    let signature = referrer("signature", &inner);
    let countersignature = referrer("countersignature", &signature);
    let old = image(&["old"]);
    let old_signature = referrer("old signature", &old);
    for document in [&inner, &middle, &countersignature, &signature, &old, &old_signature] {
        put_untagged(&mut client, document);
    }
    client.put("app", "latest", &outer);
    close(client);
    [inner, middle, outer, signature, countersignature, old, old_signature]
}

#[test]
fn manifests_without_a_tag_are_removed_only_on_request() {
    let home = tempfile::tempdir().unwrap();
    let [inner, middle, outer, signature, countersignature, old, old_signature] = nested(home.path());
    assert_removes(home.path(), NEEDED, &[]);
    assert_removes(home.path(), TAGGED, &[&old, &old_signature, "old", "old signature"]);
    let mut left: Vec<_> = listed(home.path(), "app").into_iter().map(|(digest, _)| digest).collect();
    left.sort_unstable();
    let mut kept = [inner, middle, outer, signature, countersignature.clone()]
        .map(|document| sha256(&document).to_string());
    kept.sort_unstable();
    assert_eq!(left, kept);
    let mut client = open(home.path());
    let target = format!("/v2/app/manifests/{}", sha256(&countersignature));
    assert_eq!(client.get(&target), countersignature);
}

#[test]
fn the_subject_of_a_tagged_manifest_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    for layer in ["{}", "layer", "signature"] {
        client.blob("app", layer);
    }
    let subject = image(&["layer"]);
    put_untagged(&mut client, &subject);
    client.put("app", "signature", &referrer("signature", &subject));
    close(client);
    assert_removes(home.path(), TAGGED, &[]);
}

#[test]
fn children_that_another_program_did_not_list_are_kept_with_their_parent() {
    let home = tempfile::tempdir().unwrap();
    let [inner, middle, outer, ..] = nested(home.path());
    let path = home.path().join("app/index.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entries = document["manifests"].as_array_mut().unwrap();
    let unlisted = [sha256(&inner).to_string(), sha256(&middle).to_string()];
    entries.retain(|entry| !unlisted.contains(&entry["digest"].as_str().unwrap().to_owned()));
    fs::write(&path, document.to_string()).unwrap();
    assert_removes(home.path(), NEEDED, &[]);
    let (removed, _) = collected(home.path(), TAGGED);
    assert_eq!(removed.len(), 4);
    let mut client = open(home.path());
    assert_eq!(client.get("/v2/app/manifests/latest"), outer);
    assert_eq!(client.get(&format!("/v2/app/manifests/{}", sha256(&inner))), inner);
}

#[test]
fn everything_that_a_document_of_an_unknown_type_mentions_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut writer = LayoutWriter::open(home.path().join("app")).unwrap();
    let put = |media_type: &str, content: &str| {
        let size = content.len() as u64;
        let root = oci_proto::Descriptor::new(media_type.parse().unwrap(), sha256(content), size);
        writer.put(&root, content.as_bytes()).unwrap();
        root
    };
    put("application/octet-stream", "mentioned");
    put("application/octet-stream", "unneeded");
    let digest = sha256("mentioned");
    let old = put("application/vnd.example+json", &format!(r#"{{"fsLayers":[{{"blobSum":"{digest}"}}]}}"#));
    writer.set_root(&old, None).unwrap();
    drop(writer);
    assert_removes(home.path(), TAGGED, &["unneeded"]);
}

#[test]
fn a_dry_run_reports_the_same_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    nested(home.path());
    let mut client = open(home.path());
    client.blob("app", "unneeded");
    close(client);
    fs::create_dir(home.path().join(".oci-proto-partial")).unwrap();
    fs::write(home.path().join(".oci-proto-partial/temporary-1"), "temporary").unwrap();
    fs::write(home.path().join(".uploads/nothing"), "left").unwrap();
    let before = tree(home.path());
    let dry = collected(home.path(), GarbageOptions { dry_run: true, ..TAGGED });
    assert_eq!(tree(home.path()), before);
    assert_eq!((dry.1.repositories, dry.1.temporary, dry.1.temporary_bytes), (1, 2, 13));
    let wet = collected(home.path(), TAGGED);
    assert_eq!((dry.0, format!("{:?}", dry.1)), (wet.0, format!("{:?}", wet.1)));
    assert!(!home.path().join(".oci-proto-partial").exists());
    assert!(!home.path().join(".uploads/nothing").exists());
}

#[test]
fn unfinished_uploads_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.upload("upload", "app", "");
    client.upload("upload", "app", "part");
    let (_, storage) = client.registry.into_parts();
    drop(storage);
    let before = tree(&home.path().join(".uploads"));
    assert_eq!(before.len(), 2);
    let (_, collected) = collected(home.path(), TAGGED);
    assert_eq!(collected.temporary, 0);
    assert_eq!(tree(&home.path().join(".uploads")), before);
}

#[test]
fn a_repository_with_an_unreadable_manifest_is_skipped() {
    for damage in ["damaged", "missing", "directory", "no index", "locked"] {
        let home = tempfile::tempdir().unwrap();
        let mut client = open(home.path());
        for repository in ["app", "other"] {
            client.blob(repository, "{}");
            client.blob(repository, "unneeded");
            client.put(repository, "1", &image(&[]));
        }
        close(client);
        let manifest = home.path().join("app").join(blob_path(&sha256(&image(&[]))));
        let mut lock = None;
        match damage {
            "damaged" => fs::write(&manifest, image(&[]).replace('2', "3")).unwrap(),
            "missing" => fs::remove_file(&manifest).unwrap(),
            "directory" => {
                fs::remove_file(&manifest).unwrap();
                fs::create_dir(&manifest).unwrap();
            }
            "no index" => fs::write(home.path().join("app/index.json"), "{").unwrap(),
            _ => lock = Some(LayoutWriter::open(home.path().join("app")).unwrap()),
        }
        let before = tree(&home.path().join("app"));
        let (removed, collected) = collected(home.path(), TAGGED);
        assert_eq!((removed, collected.repositories), (vec![sha256("unneeded")], 1), "{damage}");
        assert_eq!(collected.warnings.len(), 1, "{damage}: {:?}", collected.warnings);
        assert!(collected.warnings[0].path().starts_with(home.path().join("app")), "{damage}");
        assert_eq!(tree(&home.path().join("app")), before, "{damage}");
        assert!(!home.path().join("other").join(blob_path(&sha256("unneeded"))).exists());
        drop(lock);
    }
}

#[test]
fn an_index_may_lack_children_but_not_have_damaged_ones() {
    let home = tempfile::tempdir().unwrap();
    let mut writer = LayoutWriter::open(home.path().join("app")).unwrap();
    let child = image(&[]);
    let root = index(&[&child, &image(&["missing"])]);
    for (media_type, content) in [("a/child", &child), ("a/b", &"unneeded".to_owned()), (super::INDEX, &root)]
    {
        let size = content.len() as u64;
        let descriptor = oci_proto::Descriptor::new(media_type.parse().unwrap(), sha256(content), size);
        writer.put(&descriptor, content.as_bytes()).unwrap();
        if media_type == super::INDEX {
            writer.set_root(&descriptor, None).unwrap();
        }
    }
    drop(writer);
    let file = home.path().join("app").join(blob_path(&sha256(&child)));
    fs::write(&file, "damaged").unwrap();
    let (removed, with_damage) = collected(home.path(), NEEDED);
    assert_eq!((removed.len(), with_damage.repositories), (0, 0));
    let kind = with_damage.warnings[0].kind();
    assert!(matches!(kind, LayoutErrorKind::Content(_)), "{kind:?}");
    fs::write(&file, &child).unwrap();
    let (removed, intact) = collected(home.path(), NEEDED);
    assert_eq!(removed, [sha256("unneeded")]);
    assert!(intact.warnings.is_empty());
}

#[test]
fn a_directory_that_is_served_is_not_collected() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "unneeded");
    let error = failed(home.path());
    assert!(matches!(error.kind(), LayoutErrorKind::Served), "{error}");
    close(client);
    assert_removes(home.path(), NEEDED, &["unneeded"]);
}

#[test]
fn anything_but_a_directory_of_layouts_is_an_error_and_stays() {
    let home = tempfile::tempdir().unwrap();
    let absent = home.path().join("absent");
    assert!(matches!(failed(&absent).kind(), LayoutErrorKind::Missing));
    assert!(!absent.exists());
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(failed(&file).kind(), LayoutErrorKind::NotALayout(_)));
    let layout = home.path().join("layout");
    drop(LayoutWriter::open(&layout).unwrap());
    fs::create_dir(layout.join(".oci-proto-partial")).unwrap();
    fs::write(layout.join(".oci-proto-partial/partial"), "kept").unwrap();
    let before = tree(&layout);
    assert!(matches!(failed(&layout).kind(), LayoutErrorKind::IsALayout));
    assert_eq!(tree(&layout), before);
}

#[test]
fn a_collection_that_stops_anywhere_leaves_a_valid_registry() {
    for n in 0.. {
        let home = tempfile::tempdir().unwrap();
        let [_, _, outer, ..] = nested(home.path());
        let trace = Trace::default();
        let root = Directory::open(home.path()).unwrap().traced(trace.clone());
        trace.inject(n, Some(Fault::Always));
        let mut removed = 0;
        let result = collect(&root, TAGGED, |_| removed += 1);
        trace.inject(0, None);
        check_all(home.path());
        let mut client = open(home.path());
        assert_eq!(client.get("/v2/app/manifests/latest"), outer);
        close(client);
        let (rest, _) = collected(home.path(), TAGGED);
        assert_eq!(removed + rest.len(), 4, "call {n}");
        if result.is_ok_and(|collected| collected.contents == 4) {
            break;
        }
    }
}

#[test]
fn the_index_is_on_disk_before_content_is_removed() {
    let home = tempfile::tempdir().unwrap();
    nested(home.path());
    let trace = Trace::default();
    let root = Directory::open(home.path()).unwrap().traced(trace.clone());
    collect(&root, TAGGED, |_| {}).unwrap();
    let calls = trace.calls();
    let app = home.path().join("app");
    let blobs = app.join("blobs/sha256");
    let synced = calls.iter().position(|call| *call == ("sync", app.clone())).unwrap();
    assert!(calls[..synced].contains(&("to", app.join("index.json"))));
    let is_removal =
        |(call, path): &(&str, std::path::PathBuf)| *call == "remove" && path.starts_with(&blobs);
    assert!(!calls[..synced].iter().any(is_removal));
    let last = calls.iter().rposition(is_removal).unwrap();
    assert!(calls[last..].contains(&("sync", blobs)));
}

#[test]
fn a_registry_counts_what_is_left_after_a_collection() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "unneeded");
    close(client);
    assert_removes(home.path(), NEEDED, &["unneeded"]);
    let options = RegistryOptions { quota: Some(8), ..RegistryOptions::default() };
    let (mut storage, _) = RegistryDirectory::open(home.path(), options).unwrap();
    let repository = "app".parse().unwrap();
    storage.write(&repository, &"id".parse().unwrap(), 0, b"12345678").unwrap();
}

#[test]
fn recent_content_is_kept_for_a_push_that_has_not_reached_its_manifest() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "{}");
    client.blob("app", "a layer");
    client.blob("app", "unneeded");
    let child = client.put("app", "1", &image(&["a layer"]));
    assert_eq!(client.status("DELETE", "/v2/app/manifests/1", ""), 202);
    close(client);
    for options in [GarbageOptions::default(), GarbageOptions { untagged: true, ..GarbageOptions::default() }]
    {
        let before = listed(home.path(), "app");
        let (removed, collected) = collected(home.path(), options);
        assert_eq!(removed, []);
        let without_manifest = if options.untagged { 4 } else { 1 };
        assert_eq!(collected.recent, without_manifest);
        assert!(collected.recent_bytes >= 8);
        assert_eq!(listed(home.path(), "app"), before);
    }

    let (removed, collected) = collected(home.path(), TAGGED);
    assert!(removed.contains(&child) && removed.len() == 4, "{removed:?}");
    assert_eq!((collected.recent, collected.recent_bytes), (0, 0));
}

#[test]
fn a_blob_with_several_names_is_as_old_as_its_last_mount() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let digest = client.blob("a", "unneeded");
    let mount = |client: &mut Client<_>, to: &str| {
        let target = format!("/v2/{to}/blobs/uploads/?mount={digest}&from=a");
        assert_eq!(client.status("POST", &target, ""), 201, "{to}");
    };
    mount(&mut client, "b");
    mount(&mut client, "c");
    let age = || {
        let old = std::time::SystemTime::now() - Duration::from_secs(1_000_000);
        let layer = home.path().join("a").join(blob_path(&digest));
        fs::File::options().append(true).open(layer).unwrap().set_modified(old).unwrap();
    };
    age();
    // Also where it is already.
    mount(&mut client, "c");
    close(client);
    let (removed, counts) = collected(home.path(), GarbageOptions::default());
    assert_eq!((removed, counts.recent), (Vec::new(), 3));
    age();
    // Removing one name does not make the others recent.
    let (removed, counts) = collected(home.path(), GarbageOptions::default());
    assert_eq!((removed.len(), counts.recent), (3, 0), "{removed:?}");
}
