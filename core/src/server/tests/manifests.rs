//! Pushes and deletions of manifests, and lists.

use http::Method;
use serde_json::{Value, json};

use crate::server::policy::Policy;
use crate::server::tests::{Scenario, assert_error, percent};
use crate::types::digest::{Algorithm, Digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn image(more: &Value) -> String {
    let mut image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": ABSENT, "size": 2 },
        "layers": [],
    });
    image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    image.to_string()
}

fn index(more: &Value) -> String {
    let mut index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
    index.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    index.to_string()
}

fn subject() -> Value {
    json!({ "mediaType": MANIFEST, "digest": ABSENT, "size": 7 })
}

/// All kinds of documents that the conformance suite pushes, and more. What they refer to was never pushed.
fn documents() -> Vec<String> {
    let descriptor = |media_type: &str| json!({ "mediaType": media_type, "digest": ABSENT, "size": 2 });
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
        "data": "e30=",
    });
    let mut foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    foreign["urls"] = json!(["https://elsewhere.example/layer"]);
    let large: serde_json::Map<_, _> =
        (0..390).map(|n| (format!("key-{n}"), "x".repeat(10_000).into())).collect();
    vec![
        image(&json!({})),
        image(&json!({ "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")] })),
        image(&json!({ "layers": [descriptor("application/vnd.oci.image.layer.v1.tar")] })),
        image(&json!({ "layers": [foreign] })),
        image(&json!({ "annotations": large })),
        image(&json!({ "org.example.unknown": { "key": [1, null] } })),
        image(&json!({ "subject": subject() })),
        image(&json!({ "artifactType": "application/x.example", "config": empty, "layers": [empty] })),
        image(
            &json!({ "artifactType": "a/b", "config": empty, "layers": [descriptor("c/d")], "subject": subject() }),
        ),
        index(&json!({})),
        index(&json!({ "manifests": [descriptor(MANIFEST), descriptor(INDEX)] })),
        index(&json!({ "artifactType": "application/x.example", "subject": subject() })),
        index(&json!({ "org.example.unknown": 7 })),
    ]
}

#[test]
fn every_kind_of_document_is_pushed_read_and_deleted_with_every_algorithm() {
    for document in documents() {
        for algorithm in Algorithm::ALL {
            let mut scenario = Scenario::new();
            let digest = Digest::of(algorithm, document.as_bytes()).to_string();
            let media_type = serde_json::from_str::<Value>(&document).unwrap()["mediaType"].clone();
            let media_type = media_type.as_str().unwrap();
            let target = format!("/v2/team/app/manifests/{}?tag=v1&tag=v2", percent(&digest));
            let pushed = scenario.ask("PUT", &target, &[("content-type", media_type)], document.as_bytes());
            assert_eq!(pushed.status(), 201, "{:?}", pushed.body());
            assert_eq!(pushed.header("docker-content-digest"), Some(&*digest));
            assert_eq!(pushed.headers("oci-tag"), ["v1", "v2"]);
            let has_subject = document.contains("subject");
            assert_eq!(pushed.header("oci-subject"), Some(ABSENT).filter(|_| has_subject));
            for name in [&*digest, "v1", "v2"] {
                for method in [Method::GET, Method::HEAD] {
                    let read = scenario.send(&method, &format!("/v2/team/app/manifests/{name}"), b"");
                    assert_eq!(read.status(), 200);
                    assert_eq!(read.header("content-type"), Some(media_type));
                    assert_eq!(read.header("content-length"), Some(&*document.len().to_string()));
                    assert_eq!(read.header("docker-content-digest"), Some(&*digest));
                    assert!(method == Method::HEAD || read.body() == document.as_bytes());
                }
            }
            assert_eq!(scenario.get(&pushed.location()).status(), 200);
            // A tag, and then the manifest with the other tag.
            assert_eq!(scenario.delete("/v2/team/app/manifests/v1").status(), 202);
            assert_error(&scenario.get("/v2/team/app/manifests/v1"), 404, "MANIFEST_UNKNOWN");
            assert_eq!(scenario.get("/v2/team/app/tags/list").json()["tags"], json!(["v2"]));
            let manifest = format!("/v2/team/app/manifests/{digest}");
            assert_eq!(scenario.delete(&manifest).status(), 202);
            for name in [&*manifest, "/v2/team/app/manifests/v2"] {
                assert_error(&scenario.get(name), 404, "MANIFEST_UNKNOWN");
                assert_error(&scenario.delete(name), 404, "MANIFEST_UNKNOWN");
            }
        }
    }
}

#[test]
fn a_manifest_is_pushed_under_a_tag_which_moves() {
    let mut scenario = Scenario::new();
    let (first, second) = (image(&json!({})), index(&json!({})));
    for document in [&first, &second, &second] {
        let pushed = scenario.push("a", "v1", document);
        let digest = Digest::of(Algorithm::Sha256, document.as_bytes());
        assert_eq!(pushed.status(), 201);
        assert_eq!(pushed.header("docker-content-digest"), Some(&*digest.to_string()));
        assert_eq!(pushed.location(), "/v2/a/manifests/v1");
        assert_eq!(scenario.get("/v2/a/manifests/v1").body(), document.as_bytes());
    }
    let first = format!("/v2/a/manifests/{}", Digest::of(Algorithm::Sha256, first.as_bytes()));
    assert_eq!(scenario.get(&first).status(), 200, "a tag that moves leaves its manifest");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let mut scenario = Scenario::new();
    let document = image(&json!({}));
    let other = Digest::of(Algorithm::Sha512, b"other").to_string();
    assert_error(&scenario.push("a", &other, &document), 400, "DIGEST_INVALID");
    assert_error(&scenario.push("a", "sha256:baddigeststring", &document), 400, "DIGEST_INVALID");
    let md5 = "md5:d41d8cd98f00b204e9800998ecf8427e";
    assert_error(&scenario.push("a", md5, &document), 400, "DIGEST_INVALID");
    for text in ["", "{", "[]", "\"text\"", r#"{"schemaVersion":1}"#] {
        assert_error(&scenario.push("a", "v1", text), 400, "MANIFEST_INVALID");
    }
    let typed = scenario.ask("PUT", "/v2/a/manifests/v1", &[("content-type", INDEX)], document.as_bytes());
    assert_error(&typed, 400, "MANIFEST_INVALID");
    assert_error(&scenario.push("a", "v1?tag=v2", &document), 400, "TAG_INVALID");
    assert_eq!(scenario.push("a", ".v1", &document).status(), 404);
    assert_error(&scenario.push("Team/App", "v1", &document), 400, "NAME_INVALID");
    let digest = Digest::of(Algorithm::Sha256, document.as_bytes());
    let eleven: Vec<String> = (0..11).map(|n| format!("tag=v{n}")).collect();
    let many = scenario.push("a", &format!("{digest}?{}", eleven.join("&")), &document);
    assert_error(&many, 414, "TAG_INVALID");
    assert_eq!(scenario.push("a", &format!("{digest}?{}", eleven[1..].join("&")), &document).status(), 201);
    let mut small = Scenario::with(Policy { manifest_bytes: 10, ..Policy::open() });
    let length = document.len().to_string();
    for headers in [&[][..], &[("content-length", &*length)]] {
        let refused = small.ask("PUT", "/v2/a/manifests/v1", headers, document.as_bytes());
        assert_error(&refused, 413, "SIZE_INVALID");
    }
    assert_error(&small.get("/v2/a/tags/list"), 404, "NAME_UNKNOWN");
}

#[test]
fn referrers_are_listed_without_their_subject() {
    let mut scenario = Scenario::new();
    let list = format!("/v2/a/referrers/{ABSENT}");
    let empty = scenario.get(&list);
    assert_eq!((empty.status(), empty.header("content-type")), (200, Some(INDEX)));
    let none = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
    assert_eq!(empty.json(), none);
    let signature =
        image(&json!({ "artifactType": "a/signature", "subject": subject(), "annotations": { "k": "v" } }));
    let plain = image(&json!({ "subject": subject() }));
    let typeless = index(&json!({ "subject": subject() }));
    let mut expected = Vec::new();
    for (document, media_type, artifact_type) in [
        (&signature, MANIFEST, Some("a/signature")),
        (&plain, MANIFEST, Some("application/vnd.oci.image.config.v1+json")),
        (&typeless, INDEX, None),
    ] {
        let digest = Digest::of(Algorithm::Sha256, document.as_bytes()).to_string();
        assert_eq!(scenario.push("a", &digest, document).header("oci-subject"), Some(ABSENT));
        let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": document.len() });
        if let Some(artifact_type) = artifact_type {
            entry["artifactType"] = artifact_type.into();
        }
        if document.contains("annotations") {
            entry["annotations"] = json!({ "k": "v" });
        }
        expected.push(entry);
    }
    expected.sort_by_key(|entry| entry["digest"].to_string());
    let all = scenario.get(&list);
    assert_eq!(all.json()["manifests"], json!(expected));
    assert_eq!(all.header("oci-filters-applied"), None);
    for artifact_type in ["a/signature", "application/vnd.oci.image.config.v1+json", "a/none"] {
        let filtered = scenario.get(&format!("{list}?artifactType={}", percent(artifact_type)));
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        let with_type: Vec<_> =
            expected.iter().filter(|entry| entry["artifactType"] == artifact_type).cloned().collect();
        assert_eq!(filtered.json()["manifests"], json!(with_type));
    }
    for entry in &expected {
        let referrer = format!("/v2/a/manifests/{}", entry["digest"].as_str().unwrap());
        assert_eq!(scenario.delete(&referrer).status(), 202);
    }
    assert_eq!(scenario.get(&list).json(), none);
}

#[test]
fn tags_and_repositories_are_listed_in_pages() {
    let mut scenario = Scenario::new();
    let document = index(&json!({}));
    assert_eq!(scenario.get("/v2/_catalog").json(), json!({ "repositories": [] }));
    for tag in ["b", "a", "B", "c", "_"] {
        assert_eq!(scenario.push("team/app", tag, &document).status(), 201);
    }
    for repository in ["z", "a/b"] {
        scenario.push_blob(repository, b"content");
    }
    let tags = "/v2/team/app/tags/list";
    for (query, expected, next) in [
        ("", json!(["B", "_", "a", "b", "c"]), None),
        ("?last=_", json!(["a", "b", "c"]), None),
        ("?last=c", json!([]), None),
        ("?n=2", json!(["B", "_"]), Some("</v2/team/app/tags/list?n=2&last=_>; rel=\"next\"")),
        ("?last=_&n=3", json!(["a", "b", "c"]), None),
        ("?n=0", json!([]), None),
    ] {
        let list = scenario.get(&format!("{tags}{query}"));
        assert_eq!(list.json(), json!({ "name": "team/app", "tags": expected }), "{query}");
        assert_eq!(list.header("link"), next, "{query}");
    }
    assert_error(&scenario.get(&format!("{tags}?n=-1")), 400, "PAGINATION_NUMBER_INVALID");
    for (query, expected, next) in [
        ("", json!(["a/b", "team/app", "z"]), None),
        ("?n=1", json!(["a/b"]), Some("</v2/_catalog?n=1&last=a/b>; rel=\"next\"")),
        ("?n=5&last=a%2Fb", json!(["team/app", "z"]), None),
    ] {
        let list = scenario.get(&format!("/v2/_catalog{query}"));
        assert_eq!(list.json(), json!({ "repositories": expected }), "{query}");
        assert_eq!(list.header("link"), next, "{query}");
    }
    let blobs_only = scenario.get("/v2/z/tags/list");
    assert_eq!(blobs_only.json(), json!({ "name": "z", "tags": [] }));
}

#[test]
fn a_conditional_push_does_not_replace_what_another_client_wrote() {
    let mut scenario = Scenario::new();
    let (first, second) = (image(&json!({})), index(&json!({})));
    let mut push = |condition: (&str, &str), document: &str| {
        scenario.ask("PUT", "/v2/a/manifests/v1", &[condition], document.as_bytes())
    };
    let tag = |document: &str| format!("\"{}\"", Digest::of(Algorithm::Sha256, document.as_bytes()));
    assert_error(&push(("if-match", "*"), &first), 412, "DENIED");
    assert_eq!(push(("if-none-match", "*"), &first).status(), 201);
    assert_error(&push(("if-none-match", "*"), &second), 412, "DENIED");
    assert_error(&push(("if-match", &tag(&second)), &second), 412, "DENIED");
    assert_eq!(push(("if-match", &tag(&first)), &second).status(), 201);
}

#[test]
fn other_methods_are_told_which_there_are() {
    let mut scenario = Scenario::new();
    for (method, target, allowed) in [
        ("POST", "/v2/", "GET, HEAD"),
        ("PUT", "/v2/a/tags/list", "GET, HEAD"),
        ("POST", "/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PATCH", &format!("/v2/a/blobs/{ABSENT}"), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("POST", "/v2/a/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"),
    ] {
        let refused = scenario.ask(method, target, &[], b"");
        assert_error(&refused, 405, "UNSUPPORTED");
        assert_eq!(refused.header("allow"), Some(allowed), "{method} {target}");
    }
}

/// A proposal (distribution-spec 543), which regctl uses.
#[test]
fn a_push_by_tag_may_state_the_digest() {
    for algorithm in Algorithm::ALL {
        let mut scenario = Scenario::new();
        let document = image(&json!({}));
        let digest = Digest::of(algorithm, document.as_bytes());
        let target = format!("/v2/a/manifests/v1?digest={}", percent(&digest.to_string()));
        let mut put =
            |document: &str| scenario.ask("PUT", &target, &[("content-type", MANIFEST)], document.as_bytes());
        let pushed = put(&document);
        assert_eq!(
            (pushed.status(), pushed.header("docker-content-digest")),
            (201, Some(&*digest.to_string()))
        );
        assert_error(&put(&image(&json!({ "layers": null }))), 400, "DIGEST_INVALID");
        let shown = scenario.get("/v2/a/manifests/v1");
        assert_eq!(shown.header("docker-content-digest"), Some(&*digest.to_string()));
    }
}
