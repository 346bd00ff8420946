//! Lists of tags and of referrers.

use serde_json::{Value, json};

use crate::server::memory::Flavour;
use crate::server::respond::tests::{Scenario, header, json_of};
use crate::server::respond::{ENTRIES, REFERRERS_BYTES};
use crate::types::media_type::MediaType;

#[test]
fn tags_are_listed_in_order_and_in_pages() {
    let mut scenario = Scenario::new();
    let image = scenario.image.clone();
    for tag in ["v3", "V9", "v2"] {
        scenario.add("a/b", Some(tag), &image);
    }
    let all = scenario.get("/v2/a/b/tags/list");
    assert_eq!(json_of(&all), json!({ "name": "a/b", "tags": ["V9", "v1", "v2", "v3"] }));
    assert_eq!(header(&all, "link"), None);

    let first = scenario.get("/v2/a/b/tags/list?n=3");
    assert_eq!(json_of(&first)["tags"], json!(["V9", "v1", "v2"]));
    assert_eq!(header(&first, "link"), Some("</v2/a/b/tags/list?n=3&last=v2>; rel=\"next\""));
    let second = scenario.get("/v2/a/b/tags/list?n=3&last=v2");
    assert_eq!(json_of(&second)["tags"], json!(["v3"]));
    assert_eq!(header(&second, "link"), None);

    assert_eq!(json_of(&scenario.get("/v2/a/b/tags/list?n=0"))["tags"], json!([]));
    // The tag in `last` need not exist.
    assert_eq!(json_of(&scenario.get("/v2/a/b/tags/list?last=v11"))["tags"], json!(["v2", "v3"]));
}

#[test]
fn a_long_list_of_tags_is_served_in_pages_even_if_the_client_asks_for_all() {
    let mut scenario = Scenario::new();
    let image = scenario.image.clone();
    for n in 0..ENTRIES {
        scenario.add("a/b", Some(&format!("t{n:04}")), &image);
    }
    for (query, next) in
        [("", "last=t0999"), ("?n=5000", "n=5000&last=t0999"), ("?n=1000", "n=1000&last=t0999")]
    {
        let page = scenario.get(&format!("/v2/a/b/tags/list{query}"));
        assert_eq!(json_of(&page)["tags"].as_array().unwrap().len(), 1000, "{query}");
        assert_eq!(
            header(&page, "link"),
            Some(&*format!("</v2/a/b/tags/list?{next}>; rel=\"next\"")),
            "{query}"
        );
    }
    let rest = scenario.get("/v2/a/b/tags/list?last=t0999");
    assert_eq!((&json_of(&rest)["tags"], header(&rest, "link")), (&json!(["v1"]), None));
}

#[test]
fn a_removed_referrer_is_not_listed() {
    let mut scenario = Scenario::new();
    let image = scenario.image.clone();
    let mut artifact = |text: &[u8]| {
        scenario.memory.add_artifact(Flavour::OCI, "text/x-note".parse().unwrap(), &[text], Some(&image))
    };
    let artifacts = [artifact(b"one"), artifact(b"two")];
    for artifact in &artifacts {
        scenario.add("a/b", None, artifact);
    }
    let target = format!("/v2/a/b/referrers/{}", image.digest);
    for (removed, left) in artifacts.iter().zip([1, 0]) {
        assert!(scenario.server.remove(&"a/b".parse().unwrap(), &removed.digest));
        assert_eq!(json_of(&scenario.get(&target))["manifests"].as_array().unwrap().len(), left);
    }
}

#[test]
fn referrers_of_a_subject_are_listed_and_filtered() {
    let mut scenario = Scenario::new();
    let image = scenario.image.clone();
    let sbom = "application/spdx+json".parse::<MediaType>().unwrap();
    let artifact = scenario.memory.add_artifact(Flavour::OCI, sbom, &[b"{}"], Some(&image));
    let annotated = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX.as_str(),
        "manifests": [],
        "annotations": { "by": "hand" },
        "subject": {
            "mediaType": image.media_type.as_str(),
            "digest": image.digest.to_string(),
            "size": image.size,
        },
    });
    let annotated = scenario.memory.add_document(MediaType::OCI_INDEX, annotated.to_string());
    scenario.add("a/b", None, &artifact);
    scenario.add("a/b", None, &annotated);

    let target = format!("/v2/a/b/referrers/{}", image.digest);
    let response = scenario.get(&target);
    assert_eq!(header(&response, "content-type"), Some(MediaType::OCI_INDEX.as_str()));
    assert_eq!(header(&response, "oci-filters-applied"), None);
    let mut listed: Vec<Value> = json_of(&response)["manifests"].as_array().unwrap().clone();
    listed.sort_by_key(|entry| entry["size"].as_u64());
    let mut expected = vec![
        json!({
            "mediaType": artifact.media_type.as_str(),
            "digest": artifact.digest.to_string(),
            "size": artifact.size,
            "artifactType": "application/spdx+json",
        }),
        json!({
            "mediaType": annotated.media_type.as_str(),
            "digest": annotated.digest.to_string(),
            "size": annotated.size,
            "annotations": { "by": "hand" },
        }),
    ];
    expected.sort_by_key(|entry| entry["size"].as_u64());
    assert_eq!(listed, expected);

    let filtered = scenario.get(&format!("{target}?artifactType=application/spdx%2Bjson"));
    assert_eq!(header(&filtered, "oci-filters-applied"), Some("artifactType"));
    assert_eq!(json_of(&filtered)["manifests"].as_array().unwrap().len(), 1);
    // A subject without referrers is not an error (end-12a).
    for repository in ["a/b", "unknown"] {
        let none = scenario.get(&format!("/v2/{repository}/referrers/{}", scenario.layer));
        let expected =
            json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [] });
        assert_eq!((none.status().as_u16(), json_of(&none)), (200, expected), "{repository}");
        assert_eq!(header(&none, "content-type"), Some(MediaType::OCI_INDEX.as_str()), "{repository}");
    }
}

#[test]
fn a_long_list_of_referrers_is_served_in_pages() {
    let mut scenario = Scenario::new();
    let image = scenario.image.clone();
    let (note, other) = ("text/x-note", "text/x-other");
    let total = ENTRIES + 20;
    for n in 0..total {
        let artifact_type = if n % 2 == 0 { note } else { other }.parse().unwrap();
        let content = n.to_string();
        let artifact =
            scenario.memory.add_artifact(Flavour::OCI, artifact_type, &[content.as_bytes()], Some(&image));
        scenario.add("a/b", None, &artifact);
    }
    // Few with large annotations: none of these pages has many bytes.
    for n in 0..3 {
        let large = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [],
            "annotations": { "large": n.to_string().repeat(REFERRERS_BYTES / 2) },
            "subject": {
                "mediaType": image.media_type.as_str(), "digest": image.digest.to_string(), "size": image.size,
            },
        });
        let large = scenario.memory.add_document(MediaType::OCI_INDEX, large.to_string());
        scenario.add("a/b", None, &large);
    }
    let path = format!("/v2/a/b/referrers/{}", image.digest);
    for (query, expected) in [("", total + 3), ("?artifactType=text/x-note", total.div_ceil(2))] {
        let (mut target, mut digests, mut pages) = (format!("{path}{query}"), Vec::new(), 0);
        loop {
            let page = scenario.get(&target);
            assert_eq!(header(&page, "content-type"), Some(MediaType::OCI_INDEX.as_str()));
            let applied = header(&page, "oci-filters-applied");
            assert_eq!(applied, (!query.is_empty()).then_some("artifactType"));
            let list = json_of(&page);
            let entries = list["manifests"].as_array().unwrap();
            let bytes: usize = entries.iter().map(|entry| entry.to_string().len()).sum();
            assert!(entries.len() <= ENTRIES && bytes <= REFERRERS_BYTES, "{} {bytes}", entries.len());
            digests.extend(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(link) = header(&page, "link") else { break };
            target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
        assert_eq!(digests.len(), expected, "{query}");
        assert!(digests.is_sorted_by(|a, b| a < b), "{query}");
        assert_eq!(pages > 1, query.is_empty(), "{query}");
    }
}
