//! The body of the fuzz target `manifest`.

use bytes::Bytes;
use oci_proto::{DescriptorRef, Evidence, Kind, Manifest, MediaType};
use serde_json::Value;

/// A parsed document agrees with other parsers: with the generic values of `serde_json`, and with the types
/// of `oci-spec` for documents that it accepts.
///
/// The input is a line with a Content-Type, and the document.
pub fn manifest(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == b'\n');
    let Ok(content_type) = str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let document = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let evidence = Evidence { content_type: Some(content_type), ..Evidence::default() };
    let manifest = match Manifest::read(document.clone(), evidence) {
        Ok(manifest) => manifest,
        Err(error) => {
            // The document may be long, but errors are meant for people.
            assert!(error.to_string().len() < 4096);
            return;
        }
    };
    assert_eq!(manifest.bytes(), &document);

    let media_type = manifest.media_type();
    assert!(!media_type.is_generic() && !media_type.is_schema1(), "{media_type}");
    if let Ok(claimed) = content_type.parse::<MediaType>() {
        assert!(claimed == *media_type || claimed.is_generic(), "{claimed} became {media_type}");
    }
    let settled = Evidence { content_type: Some(media_type.as_str()), expected: Some(media_type) };
    let again = Manifest::read(document.clone(), settled).expect("its own media type does not conflict");
    assert_eq!(again.media_type(), media_type);
    assert_eq!(again.entries().len(), manifest.entries().len());

    if let Ok(value) = serde_json::from_slice(&document) {
        agrees_with_value(&manifest, &value);
    }
    agrees_with_types(&manifest);
}

fn agrees_with_value(manifest: &Manifest, value: &Value) {
    let list = match manifest.kind() {
        Kind::Index => &value["manifests"],
        Kind::Image => &value["layers"],
        Kind::Other => {
            assert_eq!((manifest.entries().len(), manifest.config().is_some()), (0, false));
            return;
        }
    };
    let list = list.as_array().expect("an index has manifests, and an image has layers");
    assert_eq!(manifest.entries().len(), list.len());
    for (entry, value) in manifest.entries().zip(list) {
        agrees(&entry, value);
    }
    for (descriptor, key) in [(manifest.config(), "config"), (manifest.subject(), "subject")] {
        assert_eq!(descriptor.is_some(), value[key].is_object(), "{key}");
        if let Some(descriptor) = descriptor {
            agrees(&descriptor, &value[key]);
        }
    }
    assert_eq!(manifest.artifact_type(), media_type(&value["artifactType"]).as_ref());
}

fn agrees(descriptor: &DescriptorRef<'_>, value: &Value) {
    assert_eq!(value["digest"], descriptor.digest().to_string());
    assert_eq!(value["size"], descriptor.size());
    assert_eq!(media_type(&value["mediaType"]).as_ref(), Some(descriptor.media_type()));
    assert_eq!(media_type(&value["artifactType"]).as_ref(), descriptor.artifact_type());
    let urls: Vec<_> = value["urls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(descriptor.urls().collect::<Vec<_>>(), urls);
    assert_eq!(descriptor.ref_name(), value["annotations"]["org.opencontainers.image.ref.name"].as_str());
    assert_eq!(descriptor.image_name(), value["annotations"]["io.containerd.image.name"].as_str());
    if let Some(data) = descriptor.data() {
        let text = value["data"].as_str().expect("data is text");
        assert_eq!(data.len(), text.trim_end_matches('=').len() * 3 / 4);
    }
    if descriptor.platform().is_some() {
        assert!(value["platform"]["os"].is_string() && value["platform"]["architecture"].is_string());
    }
}

/// An empty media type counts as missing.
fn media_type(value: &Value) -> Option<MediaType> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("an invalid media type is refused"))
}

fn agrees_with_types(manifest: &Manifest) {
    let typed = match manifest.kind() {
        Kind::Index => manifest.to_index().map(|index| index.manifests().clone()),
        Kind::Image => manifest.to_image().map(|image| image.layers().clone()),
        Kind::Other => return,
    };
    // Its types require more fields: those of a platform, for example.
    let Ok(typed) = typed else { return };
    assert_eq!(manifest.entries().len(), typed.len());
    for (entry, typed) in manifest.entries().zip(&typed) {
        assert_eq!(typed.digest().to_string(), entry.digest().to_string());
        assert_eq!(typed.size(), entry.size());
        assert_eq!(typed.media_type().to_string().parse().as_ref(), Ok(entry.media_type()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"urls":["https://h/x"],"data":"e30=",
         "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "annotations":{"org.opencontainers.image.ref.name":"1.0"},"artifactType":"a/b",
         "platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}"#;

    fn read() -> Manifest {
        Manifest::read(DOCUMENT.into(), Evidence::default()).expect("a valid index")
    }

    #[test]
    fn readers_that_agree_pass() {
        manifest(format!("application/json\n{DOCUMENT}").as_bytes());
        assert!(read().to_index().is_ok(), "the readers were compared");
    }

    #[test]
    fn every_disagreement_is_detected() {
        for (part, other) in [
            ("\"size\":7", "\"size\":8"),
            ("sha256:e3", "sha256:e4"),
            ("e.manifest.v1", "e.index.v1"),
            ("https://h/x", "https://h/y"),
            ("e30=", "e30gIA=="),
            ("\"1.0\"", "\"1.1\""),
            ("a/b", "a/c"),
            ("\"os\"", "\"OS\""),
            ("\"manifests\":[", "\"manifests\":[{},"),
        ] {
            let changed = DOCUMENT.replace(part, other);
            assert_ne!(changed, DOCUMENT, "{part}");
            let value = serde_json::from_str(&changed).expect("JSON");
            let compared = std::panic::catch_unwind(|| agrees_with_value(&read(), &value));
            assert!(compared.is_err(), "the comparison misses {other}");
        }
    }
}
