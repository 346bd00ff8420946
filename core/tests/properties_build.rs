//! Properties of built documents, over generated values of all properties.

use bytes::Bytes;
use http::Uri;
use oci_proto::build::{Annotations, Child, Document};
use oci_proto::{Algorithm, Descriptor, Digest, Kind, Manifest, MediaType, Part, Platform};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any text, with the characters that JSON escapes more often than by chance.
const TEXT: &str = "([\"\\\\/\u{0}-\u{1f}\u{7f}\u{2028}]|\\PC){0,6}";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotations in any order of insertion, with unique keys.
type Pairs = Vec<(String, String)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    let key = prop_oneof![
        Just(REF_NAME.to_owned()),
        // A parser must not treat it as the other.
        Just(REF_NAME.to_uppercase()),
        TEXT.prop_filter("empty", |key| !key.is_empty()),
    ];
    btree_map(key, TEXT, 0..4).prop_map(|pairs| pairs.into_iter().collect()).prop_shuffle()
}

fn media_type() -> impl Strategy<Value = MediaType> {
    prop_oneof![
        Just(MediaType::OCI_MANIFEST),
        Just(MediaType::OCI_INDEX),
        Just(MediaType::DOCKER_SCHEMA1),
        Just(MediaType::OCTET_STREAM),
        "[a-z]{1,6}/[a-z0-9!#$&^_.+-]{1,12}".prop_filter_map("invalid", |text| text.parse().ok()),
    ]
}

fn platform() -> impl Strategy<Value = Platform> {
    let part = "[A-Za-z0-9_.-]{1,8}";
    (part, part, option::of(part), option::of(part)).prop_map(|(os, architecture, variant, version)| {
        Platform::from_parts(&os, &architecture, variant.as_deref(), version.as_deref()).unwrap()
    })
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let algorithm = prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha384), Just(Algorithm::Sha512)];
    let known = (algorithm, vec(any::<u8>(), 0..8), any::<bool>(), 0..=i64::MAX as u64).prop_map(
        |(algorithm, content, embedded, size)| {
            let (digest, length) = (Digest::of(algorithm, &content), content.len() as u64);
            if embedded { (digest, length, Some(Bytes::from(content))) } else { (digest, size, None) }
        },
    );
    let unknown = ("[a-z0-9]{1,4}([+._-][a-z0-9]{1,4})?:[a-zA-Z0-9=_-]{1,9}", 0..=i64::MAX as u64)
        .prop_filter_map("a known algorithm", |(text, size)| Some((text.parse().ok()?, size, None)));
    let content = prop_oneof![3 => known, 1 => unknown];
    let any = (media_type(), content, option::of(platform()), option::of(media_type())).prop_map(
        |(media_type, (digest, size, data), platform, artifact_type)| {
            let mut descriptor = Descriptor::new(media_type, digest, size);
            (descriptor.platform, descriptor.artifact_type, descriptor.data) =
                (platform, artifact_type, data);
            descriptor
        },
    );
    prop_oneof![9 => any, 1 => Just(Descriptor::empty())]
}

/// A child, in the form in which it is given to the builder.
#[derive(Clone, Debug)]
struct Given {
    descriptor: Descriptor,
    urls: Vec<Uri>,
    annotations: Pairs,
}

fn given() -> impl Strategy<Value = Given> {
    let url = "https?://[a-z]{1,5}(:[1-9][0-9]{0,3})?/[a-zA-Z0-9._~!$'()*,;=:@-]{0,6}(\\?[a-z&=/%]{0,4})?";
    let urls = vec(url.prop_filter_map("invalid", |url| url.parse().ok()), 0..3);
    (descriptor(), urls, pairs()).prop_map(|(descriptor, urls, annotations)| Given {
        descriptor,
        urls,
        annotations,
    })
}

#[derive(Clone, Debug)]
struct Inputs {
    config: Option<Given>,
    entries: Vec<Given>,
    artifact_type: Option<MediaType>,
    subject: Option<Descriptor>,
    annotations: Pairs,
}

impl Inputs {
    /// Builds the document, with annotations inserted in their order, or in reverse.
    fn build(&self, reverse: bool) -> (Descriptor, Manifest) {
        let annotations = |pairs: &Pairs| {
            let mut ordered: Vec<_> = pairs.iter().collect();
            if reverse {
                ordered.reverse();
            }
            let mut annotations = Annotations::new();
            for (key, value) in ordered {
                annotations.insert(key, value).unwrap();
            }
            annotations
        };
        let child = |given: &Given| {
            Child::from(&given.descriptor)
                .urls(given.urls.iter().cloned())
                .annotations(annotations(&given.annotations))
        };
        let mut document =
            self.config.as_ref().map_or_else(Document::index, |config| Document::image(child(config)));
        for entry in &self.entries {
            document = document.entry(child(entry));
        }
        if let Some(artifact_type) = &self.artifact_type {
            document = document.artifact_type(artifact_type.clone());
        }
        if let Some(subject) = &self.subject {
            document = document.subject(subject.clone());
        }
        document.annotations(annotations(&self.annotations)).build().unwrap()
    }
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let parts = (
        option::of(given()),
        vec(given(), 0..5),
        option::of(media_type()),
        option::of(descriptor()),
        pairs(),
    );
    parts.prop_map(|(config, entries, mut artifact_type, subject, annotations)| {
        if config.as_ref().is_some_and(|config| config.descriptor.media_type == MediaType::OCI_EMPTY) {
            artifact_type.get_or_insert(MediaType::OCTET_STREAM);
        }
        Inputs { config, entries, artifact_type, subject, annotations }
    })
}

fn object(pairs: &Pairs) -> Option<Value> {
    (!pairs.is_empty()).then(|| pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_strict_parser_reads_back_all_that_was_given(inputs in inputs()) {
        let (descriptor, built) = inputs.build(false);
        let content_type = Some(descriptor.media_type.as_str());
        let read = Manifest::verified(built.bytes().clone(), &descriptor, content_type).unwrap();
        let kind = if inputs.config.is_some() { Kind::Image } else { Kind::Index };
        prop_assert_eq!(read.kind(), kind);
        prop_assert_eq!(read.artifact_type(), inputs.artifact_type.as_ref());
        prop_assert_eq!(&descriptor.artifact_type, &inputs.artifact_type);
        prop_assert_eq!(read.subject().map(|subject| subject.to_owned()), inputs.subject);

        let mut expected: Vec<Given> = inputs.config.iter().chain(&inputs.entries).cloned().collect();
        if kind == Kind::Image && inputs.artifact_type.is_some() && inputs.entries.is_empty() {
            let descriptor = Descriptor::empty();
            expected.push(Given { descriptor, urls: Vec::new(), annotations: Vec::new() });
        }
        let document: Value = serde_json::from_slice(built.bytes()).unwrap();
        prop_assert_eq!(document.get("annotations").cloned(), object(&inputs.annotations));
        prop_assert_eq!(read.children().count(), expected.len());
        for ((part, child), given) in read.children().zip(expected) {
            prop_assert_eq!(child.to_owned(), given.descriptor);
            let urls: Vec<String> = given.urls.iter().map(Uri::to_string).collect();
            prop_assert_eq!(child.urls().collect::<Vec<_>>(), urls);
            let ref_name = given.annotations.iter().find(|(key, _)| key == REF_NAME);
            prop_assert_eq!(child.ref_name(), ref_name.map(|(_, value)| value.as_str()));
            let written = match part {
                Part::Config => &document["config"],
                Part::Layer(n) => &document["layers"][n],
                Part::Entry(n) => &document["manifests"][n],
            };
            prop_assert_eq!(written.get("annotations").cloned(), object(&given.annotations));
        }
    }

    #[test]
    fn equal_documents_are_equal_bytes_whatever_the_order_of_annotations(inputs in inputs()) {
        let (descriptor, manifest) = inputs.build(false);
        let (again, reversed) = inputs.build(true);
        prop_assert_eq!(descriptor, again);
        prop_assert_eq!(manifest.bytes(), reversed.bytes());
    }
}
