//! Serializes descriptors to JSON.
//!
//! The keys are in the order of the specification's own types. Serialization does not depend on
//! `serde_json`'s `preserve_order` feature, which another crate in the build may enable.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Uri;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use crate::types::annotations::Annotations;
use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;

/// A descriptor's JSON object, with all properties that the specification defines.
///
/// Source: image-spec, descriptor.md, "Properties".
pub(crate) struct DescriptorJson<'a> {
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) urls: &'a [Uri],
    pub(crate) annotations: &'a Annotations,
}

impl<'a> From<&'a Descriptor> for DescriptorJson<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        const NONE: &Annotations = &Annotations::new();
        Self { descriptor, urls: &[], annotations: NONE }
    }
}

impl Serialize for DescriptorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { descriptor, urls, annotations } = self;
        let Descriptor { media_type, digest, size, platform, artifact_type, data } = descriptor;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("mediaType", media_type.as_str())?;
        object.serialize_entry("digest", &digest.to_string())?;
        object.serialize_entry("size", size)?;
        if !urls.is_empty() {
            let urls: Vec<String> = urls.iter().map(Uri::to_string).collect();
            object.serialize_entry("urls", &urls)?;
        }
        if !annotations.is_empty() {
            object.serialize_entry("annotations", &AnnotationsJson(annotations))?;
        }
        if let Some(data) = data {
            object.serialize_entry("data", &STANDARD.encode(data))?;
        }
        if let Some(platform) = platform {
            object.serialize_entry("platform", &PlatformJson(platform))?;
        }
        if let Some(artifact_type) = artifact_type {
            object.serialize_entry("artifactType", artifact_type.as_str())?;
        }
        object.end()
    }
}

/// The JSON object of annotations, with its keys sorted.
pub(crate) struct AnnotationsJson<'a>(pub(crate) &'a Annotations);

impl Serialize for AnnotationsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// A platform's JSON object. Indexes and image configs use the same properties.
struct PlatformJson<'a>(&'a Platform);

impl Serialize for PlatformJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(platform) = self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("architecture", platform.architecture())?;
        object.serialize_entry("os", platform.os())?;
        if let Some(os_version) = platform.os_version() {
            object.serialize_entry("os.version", os_version)?;
        }
        if let Some(variant) = platform.variant() {
            object.serialize_entry("variant", variant)?;
        }
        object.end()
    }
}

/// Returns the JSON object of a descriptor as a value.
pub(crate) fn descriptor_object(descriptor: &Descriptor) -> Value {
    value(&DescriptorJson::from(descriptor))
}

/// Returns the JSON object of a platform as a value.
pub(crate) fn platform_object(platform: &Platform) -> Value {
    value(&PlatformJson(platform))
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("keys are strings, and no property fails to serialize")
}

/// Writes an object without whitespace.
pub(crate) fn json_text(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("keys are strings, and no property fails to serialize")
}

/// Writes a value with the keys of every object sorted. The result does not depend on `serde_json`'s
/// `preserve_order` feature, which another crate in the build may enable.
pub(crate) fn sorted(value: Value) -> Bytes {
    fn sort_keys(value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let ordered: BTreeMap<String, Value> = object.into_iter().collect();
                Value::Object(ordered.into_iter().map(|(key, value)| (key, sort_keys(value))).collect())
            }
            Value::Array(values) => values.into_iter().map(sort_keys).collect(),
            other => other,
        }
    }
    Bytes::from(sort_keys(value).to_string())
}
