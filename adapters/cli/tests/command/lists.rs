//! Lists and deletes: `ocip tags`, `ocip referrers` and `ocip delete`.

use std::net::SocketAddr;

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::support::{on_both, registry, response, sample, scripted, scripted_by_head, with_headers};

#[test]
fn tags_are_printed_one_a_line() {
    let name = format!("{}/demo", sample());
    let ran = on_both(&["tags", &name]).succeeded();
    assert_eq!((ran.text(), ran.stderr.as_str()), ("latest\n", ""));
    assert_eq!(on_both(&["tags", "--json", &name]).succeeded().text(), "{\"tag\":\"latest\"}\n");
    on_both(&["tags", &format!("{}/other", sample())]).failed(1, &["404", "NAME_UNKNOWN", "hint: check"]);
}

#[test]
fn all_pages_of_tags_are_printed_before_an_error() {
    let address = scripted(|path| {
        let (next, tags) = match path.split_once("?p=").map_or("", |(_, page)| page) {
            "" => ("2", r#"["a","b c",7]"#),
            "2" => ("3", r#"["b"]"#),
            _ => ("2", r#"["c"]"#),
        };
        let body = format!(r#"{{"tags":{tags}}}"#);
        let link = format!("Link: </v2/app/tags/list?p={next}>; rel=\"next\"\r\n");
        with_headers(response("200 OK", "application/json", body.as_bytes()), link.trim_end().as_bytes())
    });
    let ran = on_both(&["tags", &format!("{address}/app")]);
    ran.failed(1, &["/v2/app/tags/list?p=", "links to itself"]);
    assert_eq!(ran.text(), "a\nb\nc\n");

    let address = scripted(|_| response("200 OK", "application/json", br#"{"tags":["a","b c",7]}"#));
    let ran = on_both(&["tags", &format!("{address}/app")]).succeeded();
    assert_eq!((ran.text(), ran.stderr.as_str()), ("a\n", "warning: 2 invalid tags left out\n"));
}

/// A registry with two referrers of a digest.
fn with_referrers() -> (SocketAddr, Digest, [Digest; 2]) {
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let [first, second] = [b"1", b"2"].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": first.to_string(), "size": 1234,
          "artifactType": "application/spdx+json", "annotations": { "b": "2", "a": "1" } },
        { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": second.to_string(), "size": 5 },
    ]});
    let path = format!("/v2/app/referrers/{subject}");
    let address = scripted(move |asked| {
        if asked.split('?').next() == Some(&path) {
            response("200 OK", "application/vnd.oci.image.index.v1+json", index.to_string().as_bytes())
        } else {
            response("404 Not Found", "application/json", b"{}")
        }
    });
    (address, subject, [first, second])
}

#[test]
fn referrers_are_printed_in_columns_or_as_json() {
    let (address, subject, [first, second]) = with_referrers();
    let name = format!("{address}/app@{subject}");
    let expected = format!("{first}    1.23 kB  application/spdx+json\n{second}        5 B  -\n");
    assert_eq!(on_both(&["referrers", &name]).succeeded().text(), expected);

    let ran = on_both(&["referrers", "--json", &name]).succeeded();
    let lines: Vec<Value> = ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let expected = [
        json!({ "mediaType": manifest, "digest": first.to_string(), "size": 1234,
            "artifactType": "application/spdx+json", "annotations": { "a": "1", "b": "2" } }),
        json!({ "mediaType": manifest, "digest": second.to_string(), "size": 5 }),
    ];
    assert_eq!(lines, expected);

    let ran = on_both(&["referrers", "--artifact-type", "application/spdx+json", &name]).succeeded();
    assert_eq!(ran.text().lines().count(), 1);
    let ran = on_both(&["referrers", "--artifact-type", "application/other", &name]).succeeded();
    let none = format!("no referrers of {name} with the artifact type application/other\n");
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", none.as_str()));
}

#[test]
fn referrers_of_a_tag_are_those_of_its_manifest() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"layer"]);
    let name = format!("{}/demo", registry(&memory, &image));
    let ran = on_both(&["referrers", &name]).succeeded();
    let none = format!("no referrers of {name}:latest\n");
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", none.as_str()));
    assert_eq!(on_both(&["-q", "referrers", &name]).succeeded().stderr, "");
    on_both(&["referrers", &format!("{name}:none")]).failed(1, &["404", "/manifests/none"]);
}

#[test]
fn a_tag_a_manifest_and_a_blob_are_deleted() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let address = scripted_by_head(move |head| {
        let deleted = [
            "DELETE /v2/app/manifests/1 HTTP/1.1".to_owned(),
            format!("DELETE /v2/app/manifests/{digest} HTTP/1.1"),
            format!("DELETE /v2/app/blobs/{digest} HTTP/1.1"),
        ];
        let is_expected = head.first().is_some_and(|line| deleted.contains(line));
        response(if is_expected { "202 Accepted" } else { "404 Not Found" }, "application/json", b"")
    });
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let (tag, by_digest) = (format!("{address}/app:1"), format!("{address}/app@{digest}"));
    for (arguments, note) in [
        (&["delete", &tag][..], format!("deleted the tag {tag}\n")),
        (&["delete", &by_digest], format!("deleted the manifest {by_digest}\n")),
        (&["delete", "--blob", &by_digest], format!("deleted the blob {by_digest}\n")),
    ] {
        let ran = on_both(arguments).succeeded();
        assert_eq!((ran.text(), ran.stderr.as_str()), ("", note.as_str()));
    }
}

#[test]
fn deletion_that_is_refused_says_why() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    // The embedded registry is read-only.
    let name = format!("{}/demo", sample());
    on_both(&["delete", &format!("{name}:latest")]).failed(
        1,
        &[
            "405",
            "hint: the registry deletes no single tags, or nothing at all",
            "all other tags that name it",
        ],
    );
    on_both(&["delete", &format!("{name}@{digest}")]).failed(1, &["hint: the registry does not allow this"]);

    let address = scripted(|_| response("404 Not Found", "application/json", b"{}"));
    for (arguments, hint) in [
        (&["delete", &format!("{address}/app:1")][..], "hint: check the repository and the tag;"),
        (&["delete", &format!("{address}/app@{digest}")], "hint: if it is a blob, delete it with --blob;"),
        (
            &["delete", "--blob", &format!("{address}/app@{digest}")],
            "hint: if it is a manifest, omit --blob;",
        ),
    ] {
        on_both(arguments).failed(1, &["404", hint]);
    }
}
