use crate::layout::index::*;
use crate::layout::root::{NoRoot, Root};
use crate::manifest::evidence::Evidence;
use crate::types::digest::{Algorithm, Digest};
use serde_json::json;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

fn root(text: &str) -> Descriptor {
    Descriptor::new(MediaType::OCI_MANIFEST, digest(text), text.len() as u64)
}

fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

fn named(text: &str) -> Root {
    Root::Named(name(text))
}

fn read(document: &str) -> Result<Index, InvalidManifest> {
    Index::read(Bytes::copy_from_slice(document.as_bytes()))
}

#[test]
fn indexes_that_serialize_alike_are_equal() {
    let index = |root: &Descriptor| {
        let mut index = Index::new();
        index.set(root, None);
        index
    };
    assert_eq!(index(&root("a")), index(&root("a")));
    assert_ne!(index(&root("a")), index(&root("b")));
    assert_ne!(index(&root("a")), Index::new());
}

fn text(index: &Index) -> String {
    String::from_utf8(index.to_bytes()).unwrap()
}

fn entry(media_type: &str, content: &str, name: Option<&str>) -> String {
    let mut object = json!({ "digest": digest(content).to_string(), "size": content.len() });
    if !media_type.is_empty() {
        object["mediaType"] = media_type.into();
    }
    if let Some(name) = name {
        object["annotations"] = json!({ REF_NAME: name });
    }
    object.to_string()
}

fn document(entries: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

#[test]
fn unknown_properties_are_written_verbatim() {
    let odd = concat!(
        r#"{"annotations":{"a":"\u0062"},"future":{"n":1.10,"big":123456789012345678901234567890},"manifests":["#,
        r#"{"mediaType":"application/vnd.oci.image.index.v1+json", "size" : 3,"#,
        r#""digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","x":[ 1e3 ]}"#,
        r#"],"schemaVersion":2}"#,
    );
    let mut index = read(odd).unwrap();
    let written = text(&index);
    for kept in [
        r#""annotations":{"a":"\u0062"}"#,
        r#""future":{"n":1.10,"big":123456789012345678901234567890}"#,
        r#""size" : 3,"#,
        r#""x":[ 1e3 ]"#,
        r#""schemaVersion":2"#,
    ] {
        assert!(written.contains(kept), "{kept} is not in {written}");
    }
    assert_eq!(text(&read(&written).unwrap()), written, "rewriting changes nothing");

    index.set(&root("new"), Some(&name("new")));
    assert!(text(&index).starts_with(written.trim_end_matches("]}")), "{}", text(&index));
    assert_eq!(read(&text(&index)).unwrap(), index);
}

#[test]
fn a_new_index_has_a_fixed_key_order() {
    let mut index = Index::new();
    assert_eq!(
        text(&index),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
    );
    let mut image = root("a");
    image.platform = "linux/arm/v7".parse().ok();
    image.artifact_type = "text/x".parse().ok();
    image.data = Some(Bytes::from_static(b"a"));
    index.set(&image, Some(&name("1.0")));
    let entry = format!(
        concat!(
            r#"{{"mediaType":"{}","digest":"{}","size":1,"#,
            r#""annotations":{{"org.opencontainers.image.ref.name":"1.0"}},"#,
            r#""platform":{{"architecture":"arm","os":"linux","variant":"v7"}},"artifactType":"text/x"}}"#
        ),
        IMAGE,
        digest("a")
    );
    assert!(text(&index).ends_with(&format!(r#""manifests":[{entry}]}}"#)), "{}", text(&index));
    let again = read(&text(&index)).unwrap();
    assert_eq!(again, index);
    assert_eq!(again.entries()[0].descriptor(), index.entries()[0].descriptor());
}

#[test]
fn a_root_is_found_by_name_by_digest_or_as_the_only_one() {
    let two = read(&document(&[entry(IMAGE, "a", Some("1")), entry(IMAGE, "b", None)])).unwrap();
    let found = |root: &Root| two.find(root).map(|entry| entry.descriptor().digest.clone());
    assert_eq!(found(&named("1")), Ok(digest("a")));
    assert_eq!(found(&Root::Digest(digest("b"))), Ok(digest("b")));
    let shown = vec!["1".to_owned(), digest("b").to_string()];
    assert_eq!(found(&named("2")), Err(NoRoot::Unknown(shown.clone())));
    assert_eq!(found(&Root::Digest(digest("c"))), Err(NoRoot::Unknown(shown.clone())));
    assert_eq!(found(&Root::Only), Err(NoRoot::Several(shown)));

    // One root, with two names and without a name.
    let entries = [Some("1"), None, Some("2")].map(|name| entry(IMAGE, "a", name));
    let one = read(&document(&entries)).unwrap();
    for root in [Root::Only, named("1"), named("2"), Root::Digest(digest("a"))] {
        assert_eq!(one.find(&root).unwrap().descriptor().digest, digest("a"), "{root:?}");
    }
    assert_eq!(Index::new().find(&Root::Only).unwrap_err(), NoRoot::Empty);
}

#[test]
fn a_name_of_several_roots_is_ambiguous_but_digests_are_not() {
    let index = read(&document(&[entry(IMAGE, "a", Some("1")), entry(IMAGE, "b", Some("1"))])).unwrap();
    let error = index.find(&named("1")).unwrap_err();
    assert_eq!(
        error,
        NoRoot::Ambiguous { name: name("1"), roots: vec![digest("a").to_string(), digest("b").to_string()] }
    );
    assert!(error.to_string().contains(&digest("b").to_string()), "{error}");
    assert!(index.find(&Root::Digest(digest("b"))).is_ok());
}

/// As `ctr images export` and `docker save` write them.
#[test]
fn roots_under_one_tag_are_told_apart_by_their_full_names() {
    let full = |content: &str, image: &str| {
        let entry = entry(IMAGE, content, Some("latest"));
        let named =
            format!("\"annotations\":{{\"io.containerd.image.name\":\"docker.io/library/{image}:latest\",");
        entry.replace("\"annotations\":{", &named)
    };
    let index = read(&document(&[full("a", "one"), full("b", "two"), entry(IMAGE, "c", Some("3"))])).unwrap();
    let found = |text: &str| index.find(&named(text)).map(|entry| entry.descriptor().digest.clone());
    let [one, two] = ["docker.io/library/one:latest", "docker.io/library/two:latest"];
    assert_eq!((found(one), found(two)), (Ok(digest("a")), Ok(digest("b"))));
    let roots = vec![one.to_owned(), two.to_owned()];
    assert_eq!(found("latest"), Err(NoRoot::Ambiguous { name: name("latest"), roots }));
    assert_eq!(index.names(), [Some(one), Some(two), Some("3")]);
    let shown = vec![one.to_owned(), two.to_owned(), "3".to_owned()];
    assert_eq!(found("none"), Err(NoRoot::Unknown(shown)));

    // A tag of one root is its name.
    let index = read(&document(&[full("a", "one")])).unwrap();
    assert_eq!(index.names(), [Some("latest")]);
    assert!(index.find(&named("latest")).is_ok() && index.find(&named(one)).is_ok());
}

#[test]
fn a_tag_is_added_replaced_or_kept() {
    let entries =
        [("a", "1"), ("x", "2"), ("b", "1")].map(|(content, name)| entry(IMAGE, content, Some(name)));
    let mut index = read(&document(&entries)).unwrap();
    let names = |index: &Index| -> Vec<_> {
        let pair = |e: &Entry| (e.ref_name().map(str::to_owned), e.descriptor().digest.clone());
        index.entries().iter().map(pair).collect()
    };
    let pair = |name: &str, content: &str| (Some(name.to_owned()), digest(content));

    index.set(&root("b"), Some(&name("1")));
    assert_eq!(
        names(&index),
        [pair("2", "x"), pair("1", "b")],
        "the matching entry stays, the other is removed"
    );
    let before = text(&index);
    index.set(&root("b"), Some(&name("1")));
    index.set(&root("x"), None);
    assert_eq!(text(&index), before, "an existing entry is left unchanged");

    index.set(&root("c"), Some(&name("2")));
    assert_eq!(names(&index), [pair("2", "c"), pair("1", "b")], "the entry is replaced in place");
    index.set(&root("c"), Some(&name("3")));
    index.set(&root("d"), None);
    assert_eq!(names(&index)[2..], [pair("3", "c"), (None, digest("d"))], "new entries are appended");
}

#[test]
fn an_entry_may_lack_its_media_type() {
    let index = read(&document(&[entry("", "{}", Some("1"))])).unwrap();
    assert_eq!(index.entries()[0].descriptor().media_type, MediaType::OCTET_STREAM);

    // Other documents may not omit it.
    let evidence = Evidence { expected: Some(&MediaType::OCI_INDEX), ..Evidence::default() };
    let strict = Manifest::read(document(&[entry("", "{}", None)]).into(), evidence);
    assert!(matches!(strict, Err(InvalidManifest::Missing { key: "mediaType", .. })), "{strict:?}");
}

#[test]
fn an_ambiguous_or_invalid_document_is_rejected() {
    for (document, expected) in [
        ("[]", "an object"),
        (r#"{"manifests":[]}"#, "schemaVersion"),
        (r#"{"schemaVersion":2}"#, "matches neither an image nor an index"),
        (r#"{"schemaVersion":2,"manifests":null}"#, "null is not an array of descriptors"),
        (r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#, "twice"),
        (r#"{"schemaVersion":2,"x":1,"manifests":[],"x":1}"#, "twice"),
        (r#"{"schemaVersion":2,"manifests":[],"Manifests":[]}"#, "treat as"),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "ambiguous"),
        (r#"{"schemaVersion":2,"manifests":[],"mediaType":"text/x"}"#, "text/x"),
        (r#"{"schemaVersion":2,"manifests":[{"size":1,"digest":"sha256:../x"}]}"#, "manifests[0].digest"),
        (r#"{"schemaVersion":2,"manifests":[{"size":-1,"digest":"a:b"}]}"#, "manifests[0].size"),
        (r#"{"schemaVersion":2,"manifests":[{"size":1}]}"#, "no `digest` at `manifests[0]`"),
    ] {
        let error = read(document).expect_err(document).to_string();
        assert!(error.contains(expected), "{document} gave {error:?}, which lacks {expected:?}");
    }
}

#[test]
fn assigning_a_name_keeps_the_other_roots() {
    let mut index = Index::new();
    let shown = |index: &Index| {
        let entries = index.entries().iter();
        entries.map(|entry| (entry.descriptor.size, entry.ref_name.clone())).collect::<Vec<_>>()
    };
    let named = |name: &str| Some(name.to_owned());
    let (a, b) = (root("a"), root("bb"));
    index.assign(&a, None);
    index.assign(&a, None);
    index.assign(&a, Some(&name("1")));
    assert_eq!(shown(&index), [(1, named("1"))]);
    index.assign(&a, Some(&name("2")));
    index.assign(&b, Some(&name("1")));
    assert_eq!(shown(&index), [(1, named("2")), (2, named("1"))]);
    index.assign(&b, Some(&name("2")));
    assert_eq!(shown(&index), [(1, None), (2, named("1")), (2, named("2"))]);
    index.remove_name(&name("1"));
    index.remove_name(&name("2"));
    assert_eq!(shown(&index), [(1, None), (2, None)]);
    index.remove(&b.digest);
    assert_eq!(shown(&index), [(1, None)]);
    assert_eq!(read(&text(&index)).unwrap(), index);
}

#[test]
fn an_entry_that_loses_its_name_keeps_its_other_properties() {
    let entry = json!({
        "mediaType": IMAGE, "digest": digest("a").to_string(), "size": 1, "x": [1, {"y": null}],
        "annotations": { REF_NAME: "1", "other": "kept" },
    });
    let mut index = read(&document(&[entry.to_string()])).unwrap();
    let other = Descriptor::new(MediaType::OCI_INDEX, digest("a"), 1);
    index.assign(&root("bb"), Some(&name("1")));
    index.assign(&other, None);
    let mut expected = entry;
    expected["annotations"] = json!({ "other": "kept" });
    expected["mediaType"] = MediaType::OCI_INDEX.as_str().into();
    let written: Value = serde_json::from_str(&text(&index)).unwrap();
    assert_eq!(written["manifests"][0], expected);
    assert_eq!(read(&text(&index)).unwrap().entries()[0].descriptor, other);
    // It stays beside one without properties.
    index.assign(&other, Some(&name("2")));
    index.remove_name(&name("2"));
    assert_eq!(index.entries().len(), 2);
}
