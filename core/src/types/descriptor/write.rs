//! Descriptors as documents write them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;

/// A descriptor as a document writes it.
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

/// A platform as an index writes it, and a config, which has the same properties.
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

/// Writes a value with the keys of every object in order, even where the JSON library was told, by
/// someone else's choice of features, to keep them as they were inserted.
pub(crate) fn sorted(value: Value) -> Bytes {
    fn order(value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let ordered: BTreeMap<String, Value> = object.into_iter().collect();
                Value::Object(ordered.into_iter().map(|(key, value)| (key, order(value))).collect())
            }
            Value::Array(values) => values.into_iter().map(order).collect(),
            other => other,
        }
    }
    Bytes::from(order(value).to_string())
}
