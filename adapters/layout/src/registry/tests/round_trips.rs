//! Pushes, deletions and restarts.

use std::collections::BTreeMap;
use std::fs;

use oci_proto::layout::blob_path;
use oci_proto::server::{EmbeddedRegistry, Storage as _};
use oci_proto::{Algorithm, Digest, Time};

use crate::registry::RegistryDirectory;
use crate::registry::space::RegistryOptions;
use crate::registry::tests::{
    Client, check_all, image, index, listed, open, open_with_warnings, server, sha256,
};

#[test]
fn what_is_pushed_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("new/registry");
    let mut client = open(&root);
    let (config, layer, empty) =
        (client.blob("team/app", "{}"), client.blob("team/app", "a layer"), client.blob("team/app", ""));
    let (first, second) = (image(&["a layer"]), image(&["a layer", ""]));
    for tag in ["1", "latest"] {
        client.put("team/app", tag, &first);
    }
    assert_eq!(
        client.status("PUT", &format!("/v2/team/app/manifests/{}", sha256(&second)), second.clone()),
        201
    );
    let both = client.put("team/app", "both", &index(&[&first, &second]));
    client.put("team", "nested", &index(&[]));

    for _ in 0..2 {
        assert_eq!(check_all(&root), ["team", "team/app"].map(str::to_owned).into());
        assert_eq!(client.tags("team/app"), ["1", "both", "latest"]);
        assert_eq!(client.tags("team"), ["nested"]);
        assert_eq!(client.get("/v2/team/app/manifests/latest"), first);
        assert_eq!(client.get(&format!("/v2/team/app/manifests/{}", sha256(&second))), second);
        assert_eq!(client.get(&format!("/v2/team/app/manifests/{both}")), index(&[&first, &second]));
        for (digest, content) in [(&config, "{}"), (&layer, "a layer"), (&empty, "")] {
            assert_eq!(client.get(&format!("/v2/team/app/blobs/{digest}")), content);
        }
        // A manifest is no blob.
        assert_eq!(client.status("GET", &format!("/v2/team/app/blobs/{both}"), ""), 404);
        client = client.restart();
    }
    let one = |document: &str, name: Option<&str>| (sha256(document).to_string(), name.map(str::to_owned));
    let expected = [
        one(&first, Some("1")),
        one(&first, Some("latest")),
        one(&second, None),
        one(&index(&[&first, &second]), Some("both")),
    ];
    assert_eq!(listed(&root, "team/app"), expected);
    drop(client);
    assert_eq!(fs::read_dir(root.join(".uploads")).unwrap().count(), 0);
    assert!(!root.join(".oci-proto-partial").exists());
}

#[test]
fn tags_move_and_deletions_last() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    client.blob("app", "{}");
    let layer = client.blob("app", "a layer");
    let (first, second) = (image(&[]), image(&["a layer"]));
    client.put("app", "1", &first);
    client.put("app", "1", &second);
    client.put("app", "2", &second);
    // The first stays, without a tag.
    let mut client = client.restart();
    assert_eq!(client.get(&format!("/v2/app/manifests/{}", sha256(&first))), first);
    assert_eq!(listed(home.path(), "app").len(), 3);

    assert_eq!(client.status("DELETE", "/v2/app/manifests/2", ""), 202);
    assert_eq!(client.status("DELETE", &format!("/v2/app/manifests/{}", sha256(&first)), ""), 202);
    let mut client = client.restart();
    assert_eq!(client.tags("app"), ["1"]);
    assert_eq!(listed(home.path(), "app"), [(sha256(&second).to_string(), Some("1".to_owned()))]);
    for target in [format!("manifests/{}", sha256(&first)), format!("blobs/{}", sha256(&first))] {
        assert_eq!(client.status("GET", &format!("/v2/app/{target}"), ""), 404, "{target}");
    }
    check_all(home.path());

    // A blob goes even if a manifest refers to it.
    assert_eq!(client.status("DELETE", &format!("/v2/app/blobs/{layer}"), ""), 202);
    assert!(!home.path().join("app").join(blob_path(&layer)).exists());
    drop(client);
    let (mut client, warnings) = open_with_warnings(home.path());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].path().ends_with(blob_path(&layer)));
    assert_eq!(client.status("GET", &format!("/v2/app/blobs/{layer}"), ""), 404);
}

#[test]
fn content_that_is_both_a_blob_and_a_manifest_goes_with_the_last_of_them() {
    for manifest_first in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut client = open(home.path());
        let document = index(&[]);
        let digest = sha256(&document);
        let file = home.path().join("app").join(blob_path(&digest));
        client.put("app", "1", &document);
        let target = format!("/v2/app/blobs/uploads/?digest={digest}");
        assert_eq!(client.status("POST", &target, document.clone()), 201);
        let mut targets = [format!("/v2/app/manifests/{digest}"), format!("/v2/app/blobs/{digest}")];
        if !manifest_first {
            targets.reverse();
        }
        assert_eq!(client.status("DELETE", &targets[0], ""), 202);
        assert_eq!(client.get(&targets[1]), document);
        let mut client = client.restart();
        assert_eq!(client.get(&targets[1]), document);
        assert_eq!(client.status("GET", &targets[0], ""), 404);
        assert_eq!(client.status("DELETE", &targets[1], ""), 202);
        assert!(!file.exists());
    }
}

#[test]
fn an_upload_is_resumed_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        assert_eq!(client.upload("u", "team/app", ""), 202);
        assert_eq!(client.upload("u", "team/app", "some "), 202);
        client = client.restart();
        assert_eq!(client.upload("u", "team/app", "more "), 202);
        client = client.restart();
        let status = client.send("GET", &client.uploads["u"].clone(), "");
        assert_eq!((status.status().as_u16(), &status.headers()["range"]), (204, &"0-9".parse().unwrap()));
        // Another repository does not have it.
        let stolen = client.uploads["u"].replace("team/app", "team");
        assert_eq!(client.status("PATCH", &stolen, "x"), 404);
        let digest = Digest::of(algorithm, b"some more bytes");
        let close = format!("{}?digest={digest}", client.uploads["u"]);
        assert_eq!(client.status("PUT", &close, "bytes"), 201);
        client = client.restart();
        assert_eq!(client.get(&format!("/v2/team/app/blobs/{digest}")), "some more bytes");
    }
    // One that is cancelled, or has the wrong content, leaves nothing.
    for target in ["", "?digest=sha256:0000000000000000000000000000000000000000000000000000000000000000"] {
        client.upload("u", "team/app", "");
        client.upload("u", "team/app", "some ");
        let location = client.uploads["u"].clone();
        if target.is_empty() {
            assert_eq!(client.status("DELETE", &location, ""), 204);
        } else {
            assert_eq!(client.status("PUT", &format!("{location}{target}"), ""), 400);
        }
        assert_eq!(fs::read_dir(home.path().join(".uploads")).unwrap().count(), 0);
    }
    check_all(home.path());
}

#[test]
fn a_blob_is_mounted_as_a_link_and_stays_when_the_other_goes() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let digest = client.blob("a", "shared");
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(client.status("POST", &mount, ""), 201);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let file = home.path().join("b").join(blob_path(&digest));
        assert_eq!(fs::metadata(file).unwrap().nlink(), 2);
    }
    assert_eq!(client.status("DELETE", &format!("/v2/a/blobs/{digest}"), ""), 202);
    let mut client = client.restart();
    assert_eq!(client.get(&format!("/v2/b/blobs/{digest}")), "shared");
    assert_eq!(client.status("GET", &format!("/v2/a/blobs/{digest}"), ""), 404);
}

#[test]
fn every_algorithm_is_stored() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let document = index(&[]);
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, document.as_bytes());
        assert_eq!(client.status("PUT", &format!("/v2/app/manifests/{digest}?tag=x"), document.clone()), 201);
        let blob = Digest::of(algorithm, b"content");
        assert_eq!(client.status("POST", &format!("/v2/app/blobs/uploads/?digest={blob}"), "content"), 201);
        client = client.restart();
        assert_eq!(client.get(&format!("/v2/app/manifests/{digest}")), document);
        assert_eq!(client.get(&format!("/v2/app/blobs/{blob}")), "content");
    }
    check_all(home.path());
}

#[test]
fn ranges_of_a_blob_are_read() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let digest = client.blob("app", "0123456789");
    let (_, storage) = client.registry.into_parts();
    let repository = "app".parse().unwrap();
    assert_eq!(storage.read(&repository, &digest, 2..5).unwrap(), "234");
    assert_eq!(storage.read(&repository, &digest, 10..10).unwrap(), "");
    let mut blob = storage.open_blob(&repository, &digest, 7..10).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut blob, &mut rest).unwrap();
    assert_eq!(rest, "789");
    assert_eq!(storage.read(&repository, &digest, 5..11), Err(oci_proto::server::Unavailable::Unreadable));
    for other in ["other", "app/inner"] {
        let read = storage.read(&other.parse().unwrap(), &digest, 0..1);
        assert_eq!(read, Err(oci_proto::server::Unavailable::Missing));
    }
}

#[test]
fn a_quota_and_a_floor_of_free_space_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let limited = |options: RegistryOptions| {
        let (storage, contents) = RegistryDirectory::open(home.path(), options).unwrap();
        let mut server = server();
        contents.load_into(&mut server, Time::ZERO);
        Client { registry: EmbeddedRegistry::new(server, storage), uploads: BTreeMap::new() }
    };
    let document = index(&[]);
    let push = |content: &str| format!("/v2/app/blobs/uploads/?digest={}", sha256(content));
    let mut client =
        limited(RegistryOptions { quota: Some(20 + document.len() as u64), ..RegistryOptions::default() });
    let first = client.blob("app", "0123456789");
    assert_eq!(client.status("POST", &push("abcdefghijk"), "abcdefghijk"), 201);
    assert_eq!(client.status("PUT", "/v2/app/manifests/1", document.clone()), 507);
    assert_eq!(client.status("DELETE", &format!("/v2/app/blobs/{first}"), ""), 202);
    client.put("app", "1", &document);
    assert_eq!(client.status("POST", &push("0123456789"), "0123456789"), 507);
    assert_eq!(client.status("POST", &push("012345678"), "012345678"), 201);
    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=app", sha256("012345678"));
    assert_eq!(client.status("POST", &mount, ""), 507);
    let (_, storage) = client.registry.into_parts();
    assert!(storage.last_error().unwrap().to_string().contains("quota"), "{:?}", storage.last_error());
    assert!(!home.path().join("b").exists());
    drop(storage);

    if cfg!(unix) {
        let mut client = limited(RegistryOptions { min_free: u64::MAX, ..RegistryOptions::default() });
        assert_eq!(client.status("POST", &push("more"), "more"), 507);
        assert_eq!(client.status("PUT", "/v2/app/manifests/2", index(&[&document])), 507);
        // Less can be stored.
        assert_eq!(client.status("DELETE", "/v2/app/manifests/1", ""), 202);
    }
    check_all(home.path());
}

#[test]
fn handles_write_uploads_at_the_same_time() {
    let home = tempfile::tempdir().unwrap();
    let (storage, _) = RegistryDirectory::open(home.path(), RegistryOptions::default()).unwrap();
    let repository: oci_proto::Repository = "app".parse().unwrap();
    std::thread::scope(|scope| {
        for n in 0..4_u8 {
            let (mut storage, repository) = (storage.clone(), repository.clone());
            scope.spawn(move || {
                let id = format!("upload-{n}").parse().unwrap();
                for chunk in 0..20 {
                    storage.write(&repository, &id, chunk * 1000, &[n; 1000]).unwrap();
                }
                storage.sync(&id).unwrap();
            });
        }
    });
    for n in 0..4_u8 {
        let mut read = Vec::new();
        let id = format!("upload-{n}").parse().unwrap();
        storage.read_upload(&id, 500..20_000, &mut |bytes| read.extend_from_slice(bytes)).unwrap();
        assert_eq!(read, vec![n; 19_500]);
    }
}

#[test]
fn bytes_of_an_upload_that_do_not_count_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let (mut storage, _) = RegistryDirectory::open(home.path(), RegistryOptions::default()).unwrap();
    let (repository, id) = ("app".parse().unwrap(), "id".parse().unwrap());
    storage.write(&repository, &id, 0, b"0123456789").unwrap();
    // A request was refused after its bytes were written, and another one begins where it began.
    storage.write(&repository, &id, 4, b"abc").unwrap();
    assert!(storage.write(&repository, &id, 8, b"gap").is_err());
    storage.sync(&id).unwrap();
    drop(storage);
    let (mut storage, contents) = RegistryDirectory::open(home.path(), RegistryOptions::default()).unwrap();
    assert_eq!(contents.uploads[0].size, 7);
    // Another one was refused, and the blob ends before its bytes.
    let digest = sha256("0123a");
    let commit = oci_proto::server::Effect::Commit { upload: id.clone(), digest: digest.clone(), size: 5 };
    storage.apply(&[(&repository, &[commit])]).unwrap();
    assert_eq!(storage.read(&repository, &digest, 0..5).unwrap(), "0123a");
    let file = home.path().join("app").join(blob_path(&digest));
    assert_eq!(fs::metadata(file).unwrap().len(), 5);
    // It has ended, and does not begin in the middle.
    assert!(storage.write(&repository, &id, 5, b"more").is_err());
    assert!(storage.read_upload(&id, 0..5, &mut |_| {}).is_err());
}

#[test]
fn content_that_is_pushed_again_replaces_a_damaged_file() {
    let home = tempfile::tempdir().unwrap();
    let mut client = open(home.path());
    let digest = client.blob("app", "content");
    let file = home.path().join("app").join(blob_path(&digest));
    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=app");
    assert_eq!(client.status("POST", &mount, ""), 201);
    fs::write(&file, "damaged").unwrap();
    client.blob("app", "content");
    assert_eq!(client.get(&format!("/v2/app/blobs/{digest}")), "content");

    // A file of a document that no manifest was made of yet.
    let document = image(&[]);
    let digest = sha256(&document);
    let target = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(client.status("POST", &target, document.clone()), 201);
    let file = home.path().join("app").join(blob_path(&digest));
    fs::write(&file, document.replace("sha256", "sha512")).unwrap();
    client.put("app", "1", &document);
    assert_eq!(fs::read_to_string(&file).unwrap(), document);
    client.blob("app", "{}");
    assert_eq!(client.restart().get("/v2/app/manifests/1"), document);
}
