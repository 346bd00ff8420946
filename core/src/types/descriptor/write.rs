//! Serializes descriptors to JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;

/// Returns the JSON object of a descriptor.
pub(crate) fn descriptor_object(descriptor: &Descriptor) -> Value {
    let mut object = Map::new();
    object.insert("mediaType".into(), descriptor.media_type.as_str().into());
    object.insert("digest".into(), descriptor.digest.to_string().into());
    object.insert("size".into(), descriptor.size.into());
    if let Some(platform) = &descriptor.platform {
        object.insert("platform".into(), platform_object(platform).into());
    }
    if let Some(artifact_type) = &descriptor.artifact_type {
        object.insert("artifactType".into(), artifact_type.as_str().into());
    }
    if let Some(data) = &descriptor.data {
        object.insert("data".into(), STANDARD.encode(data).into());
    }
    object.into()
}

/// Returns the JSON properties of a platform. Indexes and image configs use the same ones.
pub(crate) fn platform_object(platform: &Platform) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("architecture".into(), platform.architecture().into());
    object.insert("os".into(), platform.os().into());
    if let Some(variant) = platform.variant() {
        object.insert("variant".into(), variant.into());
    }
    if let Some(os_version) = platform.os_version() {
        object.insert("os.version".into(), os_version.into());
    }
    object
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
