use crate::build::*;
use crate::types::platform::Platform;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = concat!(
    r#"{"mediaType":"application/vnd.oci.empty.v1+json","#,
    r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
    r#""size":2,"data":"e30="}"#
);

fn media_type(text: &str) -> MediaType {
    text.parse().unwrap()
}

fn described(text: &str, content: &'static [u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new(media_type(text), digest, content.len() as u64)
}

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    let mut annotations = Annotations::new();
    for (key, value) in pairs {
        annotations.insert(key, value).unwrap();
    }
    annotations
}

fn text(document: Document) -> String {
    let (descriptor, manifest) = document.build().unwrap();
    assert_eq!(descriptor.digest, Digest::of(Algorithm::Sha256, manifest.bytes()));
    assert_eq!(descriptor.size, manifest.bytes().len() as u64);
    assert_eq!(&descriptor.media_type, manifest.media_type());
    assert_eq!(descriptor.artifact_type.as_ref(), manifest.artifact_type());
    #[cfg(feature = "oci-spec")]
    assert!(manifest.to_image().is_ok() || manifest.to_index().is_ok(), "oci-spec rejects the document");
    String::from_utf8(manifest.bytes().to_vec()).unwrap()
}

#[test]
fn an_image_has_its_properties_in_the_order_of_the_specification() {
    let subject = described(MediaType::OCI_MANIFEST.as_str(), b"subject");
    let layer = Descriptor {
        data: Some(Bytes::from_static(b"layer")),
        artifact_type: Some(media_type("a/b")),
        ..described("text/plain", b"layer")
    };
    let layer = Child::from(&layer)
        .annotations(annotations(&[("org.opencontainers.image.title", "\"x\"\n"), ("a", "")]))
        .urls(["http://example.com/1".parse().unwrap(), "https://example.com/2?x=y".parse().unwrap()]);
    let document = Document::image(described(CONFIG, b"config"))
        .annotations(annotations(&[("b", "2"), ("a", "1")]))
        .subject(subject.clone())
        .entry(layer)
        .artifact_type(media_type("text/x"));
    let expected = [
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""artifactType":"text/x","#,
        r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","#,
        &format!(r#""digest":"{}","size":6}},"#, Digest::of(Algorithm::Sha256, b"config")),
        r#""layers":[{"mediaType":"text/plain","#,
        &format!(r#""digest":"{}","size":5,"#, Digest::of(Algorithm::Sha256, b"layer")),
        r#""urls":["http://example.com/1","https://example.com/2?x=y"],"#,
        r#""annotations":{"a":"","org.opencontainers.image.title":"\"x\"\n"},"#,
        r#""data":"bGF5ZXI=","artifactType":"a/b"}],"#,
        r#""subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        &format!(r#""digest":"{}","size":7}},"#, subject.digest),
        r#""annotations":{"a":"1","b":"2"}}"#,
    ];
    assert_eq!(text(document), expected.concat());
}

#[test]
fn an_index_has_its_properties_in_the_order_of_the_specification() {
    let image = |platform| Descriptor { platform, ..described(MediaType::OCI_MANIFEST.as_str(), b"image") };
    let windows = Platform::from_parts("windows", "arm64", Some("v8"), Some("10.0")).ok();
    let document = Document::index().entry(image(windows)).entry(image(None));
    let digest = image(None).digest;
    let expected = [
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","#,
        r#""manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        &format!(r#""digest":"{digest}","size":5,"#),
        r#""platform":{"architecture":"arm64","os":"windows","os.version":"10.0","variant":"v8"}},"#,
        r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        &format!(r#""digest":"{digest}","size":5}}]}}"#),
    ];
    assert_eq!(text(document), expected.concat());
    assert_eq!(
        text(Document::index()),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
    );
}

#[test]
fn an_artifact_without_files_has_the_empty_descriptor_as_config_and_layer() {
    let artifact_type = "application/vnd.example+type";
    let start = concat!(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""artifactType":"application/vnd.example+type","#,
    );
    assert_eq!(
        text(Document::artifact(media_type(artifact_type))),
        format!(r#"{start}"config":{EMPTY},"layers":[{EMPTY}]}}"#)
    );

    // Container images without layers, and indexes without manifests, are written as they are.
    let (_, image) = Document::image(described(CONFIG, b"config")).build().unwrap();
    let (_, index) = Document::index().artifact_type(media_type(artifact_type)).build().unwrap();
    assert_eq!((image.entries().len(), index.entries().len()), (0, 0));
}

#[test]
fn impossible_documents_are_rejected_with_the_place_and_the_reason() {
    let file = || described("text/plain", b"file");
    let wrong = |size| Descriptor { size, data: Some(Bytes::from_static(b"file")), ..file() };
    let other_data = Descriptor { data: Some(Bytes::from_static(b"eilf")), ..file() };
    let unverifiable = Descriptor { digest: "odd:abc".parse().unwrap(), ..wrong(5) };
    let not_empty = Descriptor { media_type: MediaType::OCI_EMPTY, ..file() };
    let url = |text: &str| Child::from(file()).urls([text.parse().unwrap()]);
    let image = || Document::image(described(CONFIG, b"config"));
    let computed = Digest::of(Algorithm::Sha256, b"eilf");

    let table = [
        (
            Document::image(Descriptor::empty()),
            "the image has the empty config and no artifact type; set an artifact type, or another config"
                .to_owned(),
        ),
        (
            Document::image(wrong(3)),
            "the descriptor at `config` does not match its content: the descriptor says 3 bytes, but the \
             content has 4"
                .to_owned(),
        ),
        (
            image().entry(file()).entry(other_data),
            format!(
                "the descriptor at `layers[1]` does not match its content: digest mismatch: computed {computed}"
            ),
        ),
        (
            Document::index().entry(unverifiable),
            "the descriptor at `manifests[0]` does not match its content: the descriptor says 5 bytes, but \
             the content has 4"
                .to_owned(),
        ),
        (
            image().entry(not_empty),
            "the descriptor at `layers[0]` does not match its content: the descriptor says 4 bytes, but the \
             content has 2"
                .to_owned(),
        ),
        (
            image().subject(wrong(9)),
            "the descriptor at `subject` does not match its content: the descriptor says 9 bytes, but the \
             content has 4"
                .to_owned(),
        ),
        (
            image().entry(url("/relative?secret")),
            "the URL `/relative` at `layers[0]` cannot be downloaded from; its scheme must be http or https"
                .to_owned(),
        ),
        (
            Document::index().entry(url("ftp://u:secret@h/file")),
            "the URL `ftp://h/file` at `manifests[0]` cannot be downloaded from; its scheme must be http or \
             https"
                .to_owned(),
        ),
        (
            image().entry(Descriptor { size: 1 << 63, ..file() }),
            "the document has an invalid value at `layers[0].size`: invalid value: integer \
             `9223372036854775808`, expected an integer from 0 to 9223372036854775807"
                .to_owned(),
        ),
    ];
    for (document, message) in table {
        let found = document.build().map(drop).map_err(|error| error.to_string());
        let found = found.expect_err(&message);
        assert!(found.starts_with(&message), "{found}\nexpected: {message}");
    }
}

#[test]
fn data_of_an_unknown_algorithm_is_compared_by_size_only() {
    let digest: Digest = "odd:abc".parse().unwrap();
    let data = Some(Bytes::from_static(b"file"));
    let file = Descriptor { data, ..Descriptor::new(MediaType::OCTET_STREAM, digest, 4) };
    let (_, manifest) = Document::index().entry(&file).build().unwrap();
    assert_eq!(manifest.entry(0).map(|entry| entry.to_owned()), Some(file));
}

#[test]
fn the_largest_document_has_4_mib() {
    let build = |len: usize| {
        Document::index().annotations(annotations(&[("a", &"x".repeat(len))])).build().map(|(d, _)| d.size)
    };
    let overhead = usize::try_from(build(0).unwrap()).unwrap();
    let limit = Document::MAX_LEN;
    let largest = usize::try_from(limit).unwrap() - overhead;
    assert_eq!(build(largest), Ok(limit));
    assert_eq!(build(largest + 1), Err(BuildError::TooLarge { size: limit + 1, limit }));
}
