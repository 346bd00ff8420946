//! Directories that other programs have written, damaged, or left in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use oci_proto::layout::blob_path;
use oci_proto::server::{Memory, Storage as _};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, Time};
use serde_json::{Value, json};

use crate::directory::trace::Trace;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::registry::RegistryDirectory;
use crate::registry::space::RegistryOptions;
use crate::registry::tests::{
    Client, IMAGE, INDEX, check_all, image, index, open, open_traced, open_with_warnings, sha256, tree,
};
use crate::writer::LayoutWriter;

fn failed(path: &Path) -> LayoutError {
    RegistryDirectory::open(path, RegistryOptions::default()).unwrap_err()
}

/// Writes the core's sample as a layout, which lists only its root.
fn foreign(layout: &Path) -> Descriptor {
    let (memory, root) = Memory::sample();
    let mut writer = LayoutWriter::open(layout).unwrap();
    for (digest, content) in memory.contents() {
        let blob = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&blob, content).unwrap();
    }
    writer.set_root(&root, Some(&"latest".parse().unwrap())).unwrap();
    root
}

#[test]
fn a_layout_of_another_program_is_served_with_all_that_it_has() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("team/app");
    fs::create_dir_all(&layout).unwrap();
    let root = foreign(&layout);
    let (mut client, _) = open_with_warnings(home.path());
    assert_eq!(client.tags("team/app"), ["latest"]);
    let index = client.get("/v2/team/app/manifests/latest");
    let index: Value = serde_json::from_slice(&index).unwrap();
    let children: Vec<_> = index["manifests"].as_array().unwrap().clone();
    let target = |child: &Value| format!("/v2/team/app/manifests/{}", child["digest"].as_str().unwrap());
    let present: Vec<_> = children.iter().map(target).collect();
    let present: Vec<_> =
        present.into_iter().filter(|target| client.status("GET", target, "") == 200).collect();
    assert!(present.len() > 1, "{children:?}");

    // If the root goes, its children stay, now with entries of their own.
    assert_eq!(client.status("DELETE", &format!("/v2/team/app/manifests/{}", root.digest), ""), 202);
    let (_, storage) = client.registry.into_parts();
    drop(storage);
    let (mut client, _) = open_with_warnings(home.path());
    for target in &present {
        assert_eq!(client.status("GET", target, ""), 200, "{target}");
    }
    assert_eq!(client.status("DELETE", &present[0], ""), 202);
    let (_, storage) = client.registry.into_parts();
    drop(storage);
    let (mut client, _) = open_with_warnings(home.path());
    assert_eq!(client.status("GET", &present[0], ""), 404);
}

#[test]
fn what_another_program_has_listed_survives_a_push() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "{}");
    let document = image(&[]);
    let digest = client.put("app", "1", &document).to_string();
    drop(client);
    let path = home.path().join("app/index.json");
    let name = "org.opencontainers.image.ref.name";
    let entry = json!({
        "mediaType": IMAGE, "digest": digest, "size": document.len(), "platform": { "os": "linux", "architecture": "x" },
        "annotations": { name: "1", "other": "kept" },
    });
    let missing = json!({ "mediaType": IMAGE, "digest": sha256("missing").to_string(), "size": 7 });
    let other = json!({
        "mediaType": "text/plain", "digest": sha256("{}").to_string(), "size": 2, "annotations": { name: "text" },
    });
    let index = json!({
        "schemaVersion": 2, "manifests": [entry, missing, other], "annotations": { "a": "b" }, "unknown": [1, null],
    });
    fs::write(&path, index.to_string()).unwrap();
    let (mut client, warnings) = open_with_warnings(home.path());
    assert!(matches!(warnings[0].kind(), LayoutErrorKind::Missing), "{warnings:?}");
    assert_eq!(client.tags("app"), ["1", "text"]);
    let text = client.send("GET", "/v2/app/manifests/text", "");
    assert_eq!(
        (text.body(), &text.headers()["content-type"]),
        (&"{}".into(), &"text/plain".parse().unwrap())
    );
    client.put("app", "1", &super::index(&[]));
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for key in ["annotations", "unknown", "schemaVersion"] {
        assert_eq!(written[key], index[key]);
    }
    let mut without_name = entry;
    without_name["annotations"] = json!({ "other": "kept" });
    let entries = written["manifests"].as_array().unwrap();
    assert_eq!(entries[..3], [without_name, missing, other]);
    assert_eq!(entries.len(), 4);
}

#[test]
fn names_that_are_no_tags_are_warnings() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let (first, second) =
        (client.put("app", "1", &index(&[])), client.put("app", "2", &index(&[&index(&[])])));
    drop(client);
    let entry = |of: &Digest, name: &str| {
        let size = fs::metadata(home.path().join("app").join(blob_path(of))).unwrap().len();
        let name = json!({ "org.opencontainers.image.ref.name": name });
        json!({ "mediaType": INDEX, "digest": of.to_string(), "size": size, "annotations": name })
    };
    let entries = [
        entry(&first, "example.org/app:1"),
        entry(&first, "both"),
        entry(&second, "both"),
        entry(&second, "one"),
        entry(&second, "one"),
    ];
    let text = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
    fs::write(home.path().join("app/index.json"), text).unwrap();
    let (mut client, warnings) = open_with_warnings(home.path());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(client.tags("app"), ["one"]);
    assert_eq!(client.status("GET", &format!("/v2/app/manifests/{first}"), ""), 200);
    client.put("app", "both", &index(&[]));
    drop(client);
    let (mut client, _) = open_with_warnings(home.path());
    assert_eq!(client.tags("app"), ["both", "one"]);
}

#[test]
fn what_clients_may_push_does_not_prevent_a_start() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let text = client.blob("app", "no manifest").to_string();
    // Entries that are wrong: not a manifest, with another size, too large to be read, or of an unknown algorithm.
    let entry = |digest: &str, size: u64| json!({ "mediaType": IMAGE, "digest": digest, "size": size });
    let entries = [
        entry(&text, 11),
        entry(&text, 12),
        entry(&sha256("absent").to_string(), 1 << 40),
        entry(&format!("other:{}", "0".repeat(64)), 5),
    ];
    let document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    client.put("app", "1", &document);
    // A child that was pushed only as a blob.
    let child = image(&[]);
    let target = format!("/v2/app/blobs/uploads/?digest={}", sha256(&child));
    assert_eq!(client.status("POST", &target, child.clone()), 201);
    client.put("app", "2", &index(&[&child]));
    drop(client);
    let (mut client, warnings) = open_with_warnings(home.path());
    assert!(warnings.iter().all(|it| matches!(it.kind(), LayoutErrorKind::Missing)), "{warnings:?}");
    assert_eq!(client.get("/v2/app/manifests/1"), document);
    assert_eq!(client.get(&format!("/v2/app/blobs/{text}")), "no manifest");
    assert_eq!(client.get(&format!("/v2/app/blobs/{}", sha256(&child))), child);
}

#[test]
fn every_manifest_that_is_accepted_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "{}");
    let declaring = |document: &str, media_type: Option<&str>| {
        let mut document: Value = serde_json::from_str(document).unwrap();
        match media_type {
            Some(media_type) => document["mediaType"] = media_type.into(),
            None => _ = document.as_object_mut().unwrap().remove("mediaType"),
        }
        document.to_string()
    };
    let types = [IMAGE, INDEX, "application/json", "text/plain", "text/html", "application/x", ""];
    let mut documents = vec!["no JSON".to_owned(), "{}".to_owned(), "[]".to_owned(), "<html>".to_owned()];
    for document in [image(&[]), index(&[])] {
        documents.push(declaring(&document, None));
        documents.extend(types.iter().map(|media_type| declaring(&document, Some(media_type))));
    }
    let mut accepted = BTreeMap::new();
    for (n, document) in documents.iter().enumerate() {
        for (m, media_type) in types.iter().enumerate() {
            let target = format!("/v2/app/manifests/tag-{n}-{m}");
            let request = Request::put(&target).header(HOST, "registry").header(CONTENT_TYPE, *media_type);
            let request = request.body(Bytes::from(document.clone())).unwrap();
            if client.registry.respond(Time::ZERO, request).status() == 201 {
                accepted.insert(target, document);
            }
        }
    }
    assert!(accepted.len() > 20, "{accepted:?}");
    let seen = |client: &mut Client| {
        let get = |target: &String| {
            let response = client.send("GET", target, "");
            (response.headers()[CONTENT_TYPE].clone(), response.into_body())
        };
        accepted.keys().map(get).collect::<Vec<_>>()
    };
    let before = seen(&mut client);
    drop(client);
    let (mut client, _) = open_with_warnings(home.path());
    assert_eq!(seen(&mut client), before);
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let manifest = format!("app/{}", blob_path(&sha256(&image(&[]))));
    let longer = "x".repeat(image(&[]).len());
    // Each file with its new content, or without it.
    let damages = [
        ("app/oci-layout", Some("")),
        ("app/oci-layout", None),
        ("app/index.json", Some("{")),
        ("app/index.json", None),
        (&manifest, Some(&longer)),
        (&manifest, Some("short")),
    ];
    for (name, content) in damages {
        let home = tempfile::tempdir().unwrap();
        let mut client = open(home.path());
        client.blob("app", "{}");
        client.put("app", "1", &image(&[]));
        drop(client);
        let file = home.path().join(name);
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = failed(home.path());
        assert_eq!(error.path(), file, "{error}");
        // The lock is free again.
        let again = failed(home.path());
        assert_eq!(again.to_string(), error.to_string());
    }
}

#[test]
fn a_directory_is_served_by_one_process_and_is_no_layout() {
    let home = tempfile::tempdir().unwrap();
    let client = open(home.path());
    let (_, storage) = client.registry.into_parts();
    let other = storage.clone();
    drop(storage);
    let error = failed(home.path());
    assert!(matches!(error.kind(), LayoutErrorKind::Served), "{error}");
    assert!(error.to_string().ends_with("another process serves this directory; stop it first"), "{error}");
    drop(other);
    drop(open(home.path()));

    drop(LayoutWriter::open(home.path().join("app")).unwrap());
    let error = failed(&home.path().join("app"));
    assert!(matches!(error.kind(), LayoutErrorKind::IsALayout), "{error}");
    fs::write(home.path().join("file"), "").unwrap();
    failed(&home.path().join("file"));
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path();
    let mut client = open(root);
    let blob = client.blob("app", "content");
    client.upload("u", "app", "");
    client.upload("u", "app", "kept");
    drop(client);
    let kept = tree(root);
    let uploads = root.join(".uploads");
    for name in ["orphan", "other.repository", "bad name", "wrong", "linked"] {
        fs::write(uploads.join(name), "x").unwrap();
    }
    fs::write(uploads.join("wrong.repository"), "No Name").unwrap();
    fs::write(uploads.join("linked.repository"), "app").unwrap();
    fs::create_dir_all(root.join(".oci-proto-partial/temporary-1/x")).unwrap();
    fs::write(root.join(".oci-proto-partial/temporary-2"), "x").unwrap();
    // The process was killed after the upload became a blob. More bytes would change that.
    #[cfg(unix)]
    {
        fs::remove_file(uploads.join("linked")).unwrap();
        fs::hard_link(root.join("app").join(blob_path(&blob)), uploads.join("linked")).unwrap();
    }
    // A layout was begun.
    fs::create_dir_all(root.join("begun/blobs")).unwrap();
    fs::write(root.join("begun/index.json"), "").unwrap();
    let mut client = open(root);
    client.blob("begun", "content");
    drop(client);
    check_all(root);
    let mut now = tree(root);
    now.retain(|path, _| !path.starts_with("begun"));
    if cfg!(unix) {
        assert_eq!(now, kept);
    }
}

#[cfg(unix)]
#[test]
fn links_and_odd_files_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, outside) = (home.path(), outside.path());
    fs::create_dir(outside.join("layout")).unwrap();
    foreign(&outside.join("layout"));
    fs::write(outside.join("secret"), "secret").unwrap();
    let mut client = open(root);
    client.blob("app", "{}");
    client.put("app", "1", &image(&[]));
    drop(client);
    let untouched = tree(outside);

    symlink(outside.join("layout"), root.join("linked")).unwrap();
    symlink(outside, root.join("app/inner")).unwrap();
    fs::create_dir(root.join("No Name")).unwrap();
    fs::write(root.join("readme"), "").unwrap();
    symlink(outside.join("secret"), root.join("app").join(blob_path(&sha256("secret")))).unwrap();
    symlink(outside, root.join("app/blobs/sha512")).unwrap();
    symlink(outside.join("secret"), root.join(".uploads/up")).unwrap();
    fs::write(root.join(".uploads/up.repository"), "app").unwrap();
    let (mut client, warnings) = open_with_warnings(root);
    let mut warned: Vec<_> = warnings.iter().map(|it| it.path().strip_prefix(root).unwrap()).collect();
    warned.sort();
    assert_eq!(warned, ["No Name", "app/inner", "linked"].map(Path::new));

    assert_eq!(client.status("GET", &format!("/v2/app/blobs/{}", sha256("secret")), ""), 404);
    // The link is replaced, and not followed.
    client.blob("app", "secret");
    let pushes = ["linked", "app/inner", "linked/x", "app/inner/x", "readme", "readme/x"];
    for repository in pushes {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256("x"));
        assert_eq!(client.status("POST", &target, "x"), 500, "{repository}");
    }
    let long = Digest::of(Algorithm::Sha512, b"x");
    assert_eq!(client.status("POST", &format!("/v2/app/blobs/uploads/?digest={long}"), "x"), 500);
    for reserved in ["blobs", "app/blobs", "app/index.json/x", "oci-layout"] {
        let target = format!("/v2/{reserved}/blobs/uploads/?digest={}", sha256("x"));
        assert_eq!(client.status("POST", &target, "x"), 404, "{reserved}");
    }
    let (_, mut storage) = client.registry.into_parts();
    // Without the policy, the storage refuses them.
    let effect = oci_proto::server::Effect::PutManifest {
        digest: sha256(&index(&[])),
        manifest: oci_proto::Manifest::read(index(&[]).into(), oci_proto::Evidence::default()).unwrap(),
    };
    assert!(storage.apply(&[(&"app/blobs/x".parse().unwrap(), &[effect])]).is_err());
    assert!(!root.join("app/blobs/x").exists());
    assert_eq!(tree(outside), untouched);

    // What replaces the directories of a running registry is not followed either.
    fs::rename(root.join("app"), root.join("old")).unwrap();
    symlink(outside.join("layout"), root.join("app")).unwrap();
    let removed = oci_proto::server::Effect::RemoveBlob(sha256("{}"));
    assert!(storage.apply(&[(&"app".parse().unwrap(), &[removed])]).is_err());
    assert!(storage.read(&"app".parse().unwrap(), &sha256("{}"), 0..2).is_err());
    assert_eq!(tree(outside), untouched);
}

#[test]
fn what_is_found_at_the_start_is_durable_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    open(home.path()).put("team/app", "v1", &index(&[]));
    let trace = Trace::default();
    drop(open_traced(home.path(), &trace).unwrap());
    let calls = trace.calls();
    for directory in ["", "team", "team/app", "team/app/blobs", "team/app/blobs/sha256"] {
        let path = home.path().join(directory);
        let is_synced =
            calls.iter().any(|(call, at)| *call == "sync" && at.components().eq(path.components()));
        assert!(is_synced, "{directory}: {calls:#?}");
    }
}

#[test]
fn many_manifests_are_all_read_and_verified() {
    const COUNT: usize = 1000;
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "{}");
    drop(client);
    let layout = home.path().join("app");
    let mut entries = Vec::new();
    for n in 0..COUNT {
        let document = image(&[&n.to_string()]);
        let digest = sha256(&document);
        fs::write(layout.join(blob_path(&digest)), &document).unwrap();
        let name = json!({ "org.opencontainers.image.ref.name": format!("tag-{n}") });
        entries.push(json!({
            "mediaType": IMAGE, "digest": digest.to_string(), "size": document.len(), "annotations": name,
        }));
    }
    let index = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
    fs::write(layout.join("index.json"), index).unwrap();
    let (mut client, _) = open_with_warnings(home.path());
    for n in [0, 1, COUNT / 2, COUNT - 1] {
        assert_eq!(client.get(&format!("/v2/app/manifests/tag-{n}")), image(&[&n.to_string()]));
    }
    drop(client);

    let last = image(&[&(COUNT - 1).to_string()]);
    let path = layout.join(blob_path(&sha256(&last)));
    fs::write(&path, last.replace("sha256", "sha512")).unwrap();
    let error = failed(home.path());
    assert_eq!(error.path(), path);
    assert!(matches!(error.kind(), LayoutErrorKind::Content(_)), "{error}");
}
