//! The order of calls, and what is left if one of them fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::Digest;
use oci_proto::layout::{INDEX as INDEX_JSON, MARKER, blob_path};
use oci_proto::server::{EmbeddedRegistry, Storage as _};

use super::script::{SCRIPT, expected, look};
use crate::directory::trace::{Fault, Trace};
use crate::error::LayoutErrorKind;
use crate::registry::tests::{Client, check_all, index, listed, open, open_traced, sha256, tree};

/// Fails unless each file is synced before it gets a name in a layout, and each directory before what relies on it.
fn check_order(root: &Path, calls: &[(&'static str, PathBuf)]) {
    let is_temporary = |path: &Path| path.starts_with(root.join(".oci-proto-partial"));
    for (n, (call, path)) in calls.iter().enumerate() {
        let (is_new, source) = match (*call, n.checked_sub(1).map(|before| &calls[before])) {
            ("to", Some((before, source))) => (["from", "link"].contains(before), source),
            _ => continue,
        };
        assert!(is_new);
        // What leaves a layout was synced when it came.
        if is_temporary(path) || path.starts_with(root.join(".uploads")) {
            continue;
        }
        let mut of_source = calls[..n - 1].iter().rev().filter(|(_, other)| other == source);
        let is_durable = |call: &str| call == "sync" || call == "to";
        let last = of_source.next().map(|(call, _)| *call);
        assert!(last.is_some_and(is_durable), "{} gets its name after {last:?}", path.display());
        if path.ends_with(INDEX_JSON) || path.ends_with(MARKER) {
            let repository = path.parent().unwrap();
            for (m, (call, other)) in calls[..n].iter().enumerate() {
                if matches!(*call, "to" | "make")
                    && other.starts_with(repository)
                    && !other.ends_with(INDEX_JSON)
                {
                    let parent = other.parent().unwrap().to_owned();
                    let is_synced = calls[m..n].contains(&("sync", parent));
                    assert!(is_synced, "{} is not on disk before {}", other.display(), path.display());
                }
            }
            let is_synced = calls[n..].contains(&("sync", repository.to_owned()));
            assert!(is_synced, "{} is not on disk at the end", path.display());
        }
    }
}

#[test]
fn no_name_is_published_before_its_content_is_on_disk() {
    for trace in [Trace::default(), Trace::without_links()] {
        let home = tempfile::tempdir().unwrap();
        let mut client = open_traced(home.path(), &trace).unwrap();
        let mut done = 0;
        for (step, expected) in SCRIPT.iter().zip(expected().iter().skip(1)) {
            assert!(step.send(&mut client), "{step:?}");
            assert_eq!(&look(&mut client), expected, "{step:?}");
            let calls = trace.calls();
            check_order(home.path(), &calls);
            // A response waits for the last name, and for the last removal.
            for (n, (call, path)) in calls.iter().enumerate().skip(done) {
                let is_blob = path.parent().is_some_and(|at| at.ends_with("blobs/sha256"));
                if matches!(*call, "to" | "from") && is_blob {
                    let parent = path.parent().unwrap().to_owned();
                    assert!(calls[n..].contains(&("sync", parent)), "{step:?}: {}", path.display());
                }
            }
            done = calls.len();
            check_all(home.path());
        }
    }
}

/// The content of an upload may have more bytes than count.
fn without_uploads(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = tree(root);
    all.retain(|path, _| !path.starts_with(".uploads") && !path.starts_with(".oci-proto-partial"));
    all
}

#[test]
fn a_call_that_fails_leaves_everything_as_it_was() {
    let mut faults = 0;
    for trace in [Trace::default(), Trace::without_links()] {
        let home = tempfile::tempdir().unwrap();
        let mut client = open_traced(home.path(), &trace).unwrap();
        for (step, expected) in SCRIPT.iter().zip(expected().windows(2)) {
            let before = without_uploads(home.path());
            let temporary = || fs::read_dir(home.path().join(".oci-proto-partial")).unwrap().count();
            // A fault in the last calls of a successful request leaves a temporary file.
            let temporary_before = temporary();
            for n in 0.. {
                // One call fails, and the request is sent again with a later fault, until none occurs.
                trace.inject(n, Some(Fault::Once));
                let is_done = step.send(&mut client);
                let is_over = trace.inject(0, None);
                if is_done {
                    assert_eq!(look(&mut client), expected[1], "{step:?}, call {n}");
                    check_all(home.path());
                    break;
                }
                assert!(!is_over);
                faults += 1;
                assert_eq!(look(&mut client), expected[0], "{step:?}, call {n}");
                assert_eq!(without_uploads(home.path()), before, "{step:?}, call {n}");
                assert!(temporary() <= temporary_before, "{step:?}, call {n}");
            }
        }
        let (_, storage) = client.registry.into_parts();
        assert!(storage.shared.broken.get().is_none());
    }
    assert!(faults > 200, "{faults} faults");
}

#[test]
fn a_storage_that_cannot_undo_writes_no_more_until_it_is_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let trace = Trace::default();
    let mut client = open_traced(home.path(), &trace).unwrap();
    let digest = client.blob("app", "content");
    // The rename of index.json is one of the calls, and its directory cannot be synced.
    let mut n = 0;
    while {
        trace.inject(n, Some(Fault::Always));
        assert!([500, 507].contains(&client.status("PUT", "/v2/app/manifests/1", index(&[]))));
        trace.inject(0, None);
        n += 1;
        let (server, storage) = client.registry.into_parts();
        let is_broken = storage.shared.broken.get().is_some();
        let told = storage.last_error().unwrap();
        assert_eq!(matches!(told.kind(), LayoutErrorKind::NotUndone(_)), is_broken, "{told}");
        client = Client { registry: EmbeddedRegistry::new(server, storage), uploads: BTreeMap::new() };
        !is_broken
    } {}
    // The disk has recovered, but not the storage.
    assert_eq!(client.status("PUT", "/v2/app/manifests/1", index(&[])), 500);
    assert_eq!(client.status("DELETE", &format!("/v2/app/blobs/{digest}"), ""), 500);
    let push = format!("/v2/app/blobs/uploads/?digest={}", sha256("more"));
    assert_eq!(client.status("POST", &push, "more"), 500);
    assert_eq!(client.get(&format!("/v2/app/blobs/{digest}")), "content");
    let (_, storage) = client.registry.into_parts();
    let error = storage.shared.broken.get().unwrap().to_string();
    assert!(error.contains("could not be undone"), "{error}");
    drop(storage);
    check_all(home.path());
    let mut client = open(home.path());
    client.put("app", "1", &index(&[]));
    assert!(home.path().join("app").join(blob_path(&digest)).exists());
}

#[test]
fn replies_are_applied_together_with_one_index_each() {
    use oci_proto::server::Effect;
    let home = tempfile::tempdir().unwrap();
    let trace = Trace::default();
    let (_, mut storage) = open_traced(home.path(), &trace).unwrap().registry.into_parts();
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    let put = |n: usize| {
        let document = index(&vec!["{\"mediaType\":\"text/plain\"}"; n]);
        let manifest = oci_proto::Manifest::read(document.clone().into(), oci_proto::Evidence::default());
        let digest = sha256(&document);
        let tag = format!("tag-{n}").parse().unwrap();
        [
            Effect::PutManifest { digest: digest.clone(), manifest: manifest.unwrap() },
            Effect::SetTag(tag, digest),
        ]
    };
    let effects: Vec<_> = (0..10).map(put).collect();
    let changes: Vec<_> =
        effects.iter().map(|effects| (&a, &effects[..])).chain([(&b, &effects[0][..])]).collect();
    storage.apply(&changes).unwrap();
    for (repository, count) in [("a", 10), ("b", 1)] {
        let path = home.path().join(repository).join(INDEX_JSON);
        // The first is that of the new layout.
        let renamed = trace.calls().iter().filter(|(call, at)| *call == "to" && *at == path).count();
        assert_eq!(renamed, 2);
        assert_eq!(listed(home.path(), repository).len(), count);
    }
    // The last of several changes counts, and what one of them has added, another may remove.
    let (last, removed) = (put(11), put(12));
    let undo = [Effect::RemoveTag("tag-12".parse().unwrap()), Effect::RemoveManifest(sha256_of(&removed[0]))];
    storage.apply(&[(&a, &last), (&a, &removed), (&a, &undo)]).unwrap();
    assert_eq!(listed(home.path(), "a").len(), 11);
    let file = home.path().join("a").join(blob_path(&sha256_of(&removed[0])));
    assert!(!file.exists());

    // One that could not be read again is refused, whatever the policy permits.
    let large = format!("{}{}", index(&[]), " ".repeat(9 << 20));
    let manifest = oci_proto::Manifest::read(large.clone().into(), oci_proto::Evidence::default()).unwrap();
    let large = Effect::PutManifest { digest: sha256(&large), manifest };
    assert_eq!(storage.apply(&[(&a, &[large])]), Err(oci_proto::server::Failure::Full));

    // A failure in the second repository undoes the first.
    let before = without_uploads(home.path());
    let wrong = [Effect::SetTag("x".parse().unwrap(), sha256("unknown"))];
    assert!(storage.apply(&[(&a, &put(20)), (&b, &wrong)]).is_err());
    assert_eq!(without_uploads(home.path()), before);
    let calls = (0..1000)
        .take_while(|n| {
            let earlier = trace.calls().len();
            trace.inject(*n, Some(Fault::Once));
            let is_done = storage.apply(&[(&a, &put(30)), (&b, &put(30))]).is_ok();
            trace.inject(0, None);
            if !is_done {
                assert_eq!(without_uploads(home.path()), before, "call {n}");
                // An index that is restored is on disk before what only the other one needs is removed.
                let calls = &trace.calls()[earlier..];
                for repository in ["a", "b"].map(|name| home.path().join(name)) {
                    let is_restored = |(call, path): &(&str, PathBuf)| {
                        *call == "to" && *path == repository.join(INDEX_JSON)
                    };
                    if let Some(n) = calls.iter().rposition(is_restored) {
                        assert_eq!(calls[n + 1], ("sync", repository));
                    }
                }
            }
            !is_done
        })
        .count();
    assert!(calls > 15, "{calls} calls");
    assert_eq!((listed(home.path(), "a").len(), listed(home.path(), "b").len()), (12, 2));
}

fn sha256_of(effect: &oci_proto::server::Effect) -> Digest {
    match effect {
        oci_proto::server::Effect::PutManifest { digest, .. } => digest.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upload_and_its_repository_are_on_disk_when_its_bytes_are_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let trace = Trace::default();
    let (_, mut storage) = open_traced(home.path(), &trace).unwrap().registry.into_parts();
    let earlier = trace.calls().len();
    let id = "id".parse().unwrap();
    storage.write(&"app".parse().unwrap(), &id, 0, b"bytes").unwrap();
    storage.sync(&id).unwrap();
    let uploads = home.path().join(".uploads");
    let (record, data) = (uploads.join("id.repository"), uploads.join("id"));
    let expected = [
        ("create", record.clone()),
        ("write", record.clone()),
        ("sync", record),
        ("create", data.clone()),
        ("sync", uploads),
        ("write", data.clone()),
        ("sync", data),
    ];
    assert_eq!(trace.calls()[earlier..], expected);
}
