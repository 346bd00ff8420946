use std::borrow::Cow;

use bytes::Bytes;

use crate::manifest::Manifest;
use crate::manifest::error::InvalidManifest;
use crate::manifest::evidence::Evidence;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

const BLOB: &str = r#""mediaType":"a/b","digest":"x:y","size":1"#;

fn index(document: &str) -> Result<Manifest, InvalidManifest> {
    let document = document.replace("BLOB", BLOB);
    let content_type = Some("application/vnd.oci.image.index.v1+json");
    Manifest::read(document.into(), Evidence { content_type, ..Evidence::default() })
}

#[test]
fn escapes_are_decoded_in_every_string() {
    let index = index(
        r#"{"schemaVersion":2,"\u006danifests":[
            {BLOB,"platform":{"os":"lin\u0075x","architecture":"\u0061md64","variant":"v\u0031"}},
            {"mediaType":"\u0061/b","digest":"x\u003ay","size":1,"data":"\u0061GV5","urls":["\u002fb","c","\u002fd"],
             "annotations":{"org.opencontainers.image.ref.name":"v\u0032","other":"\u0031"}},
            {BLOB,"urls":["e"],"platform":{"os":"\u006c","architecture":"m"},"artifactType":"t\/u"}
        ]}"#,
    )
    .unwrap();
    let entries: Vec<_> = index.entries().collect();
    let platform = |at: usize| entries[at].platform().map(|platform| platform.to_string());
    assert_eq!([0, 1, 2].map(platform), [Some("linux/amd64/v1".into()), None, Some("l/m".into())]);
    let urls = |at: usize| entries[at].urls().collect::<Vec<_>>();
    assert_eq!([0, 1, 2].map(urls), [vec![], vec!["/b", "c", "/d"], vec!["e"]]);
    assert_eq!(entries[1].data(), Some(Bytes::from("hey")));
    assert_eq!(entries[1].ref_name(), Some("v2"));
    assert_eq!((entries[1].media_type().as_str(), entries[1].digest().to_string().as_str()), ("a/b", "x:y"));
    assert_eq!(entries[2].artifact_type().map(MediaType::as_str), Some("t/u"));
}

#[test]
fn annotations_are_those_that_are_strings() {
    let index = index(
        r#"{"schemaVersion":2,"manifests":[
            {BLOB,"annotations":{"b":"1","\u0061":"\n","n":null,"l":[{"x":"y"}],
                "org.opencontainers.image.ref.name":"v1","b":"2"}},
            {BLOB}
        ],"annotations":{ "own" : "\"", "number": 7 }}"#,
    )
    .unwrap();
    let own: Vec<_> = index.annotations().collect();
    assert_eq!(own, [("own".into(), "\"".into())]);
    let entry = index.entry(0).unwrap();
    let pairs: Vec<_> = entry.annotations().collect();
    let named = ("org.opencontainers.image.ref.name".into(), "v1".into());
    assert_eq!(pairs, [("b".into(), "1".into()), ("a".into(), "\n".into()), named, ("b".into(), "2".into())]);
    let one = |key| entry.annotation(key).map(Cow::into_owned);
    assert_eq!(["a", "b", "n"].map(one), [Some("\n".to_owned()), None, None], "`b` is ambiguous");
    assert_eq!(index.entry(1).unwrap().annotations().count(), 0);
}

#[test]
fn annotations_of_a_document_that_are_no_object_are_absent() {
    for annotations in ["null", "[]", "1", r#""a""#, r#"{"\ud800":"x","a":"1"}"#] {
        let document = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{annotations}}}"#);
        assert_eq!(index(&document).unwrap().annotations().count(), 0);
    }
}

#[test]
fn a_wrong_type_is_reported_with_its_path_and_the_expected_type() {
    for (document, place, wanted) in [
        ("[]", "", "an object"),
        (r#"{"schemaVersion":"2"}"#, "schemaVersion", "an integer"),
        (r#"{"mediaType":1}"#, "mediaType", "a string"),
        (r#"{"manifests":{}}"#, "manifests", "an array of descriptors"),
        (r#"{"manifests":[{BLOB},7]}"#, "manifests[1]", "a descriptor: an object"),
        (r#"{"subject":[]}"#, "subject", "a descriptor: an object"),
        (r#"{"manifests":[{"size":-1}]}"#, "manifests[0].size", "an integer from 0 to 9223372036854775807"),
        (r#"{"manifests":[{"platform":[]}]}"#, "manifests[0].platform", "a platform: an object"),
        (r#"{"manifests":[{"platform":{"os":1}}]}"#, "manifests[0].platform.os", "a string"),
        (r#"{"manifests":[{"annotations":[]}]}"#, "manifests[0].annotations", "annotations: an object"),
        (
            r#"{"manifests":[{"annotations":{"io.containerd.image.name":1}}]}"#,
            "manifests[0].annotations.io.containerd.image.name",
            "a string",
        ),
        (r#"{"manifests":[{"urls":{}}]}"#, "manifests[0].urls", "an array of strings"),
        (r#"{"manifests":[{"urls":["a",1]}]}"#, "manifests[0].urls[1]", "a string"),
    ] {
        let found = index(document).unwrap_err();
        let InvalidManifest::Value { place: at, problem } = &found else { panic!("{document}: {found:?}") };
        assert_eq!(at, place, "{document}");
        assert!(problem.contains(&format!("expected {wanted} at line 1")), "{document}: {problem}");
    }
}

#[test]
fn null_is_absent_except_in_a_list() {
    let all_null = format!(
        r#"{{"schemaVersion":2,"mediaType":null,"artifactType":null,"subject":null,
            "manifests":[{{{BLOB},"platform":null,"annotations":null,"urls":null,"data":null,"artifactType":null}}]}}"#
    );
    let index_of = index(&all_null).unwrap();
    let entry = index_of.entry(0).unwrap();
    assert_eq!(entry.digest(), &"x:y".parse::<Digest>().unwrap());
    assert_eq!(
        (entry.platform(), entry.data(), entry.ref_name(), entry.urls().count()),
        (None, None, None, 0)
    );
    assert!(index_of.subject().is_none() && index_of.artifact_type().is_none());
    for key in ["config", "layers"] {
        let document = format!(r#"{{"schemaVersion":2,"{key}":null,"manifests":[]}}"#);
        assert_eq!(index(&document).unwrap_err(), InvalidManifest::Ambiguous(key));
    }
    for (document, place) in [
        (r#"{"manifests":[null]}"#, "manifests[0]"),
        (r#"{"manifests":[{"urls":[null]}]}"#, "manifests[0].urls[0]"),
    ] {
        let found = index(document).unwrap_err();
        assert!(matches!(&found, InvalidManifest::Value { place: at, .. } if at == place), "{found:?}");
    }
}
