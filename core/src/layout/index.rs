//! The `index.json` file.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::layout::ref_name::RefName;
use crate::manifest::Manifest;
use crate::manifest::error::InvalidManifest;
use crate::manifest::evidence::Evidence;
use crate::types::descriptor::Descriptor;
use crate::types::descriptor::write::{descriptor_object, sorted};
use crate::types::media_type::MediaType;

/// The annotation that gives a root its name.
///
/// Source: image-spec, annotations.md.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ENTRIES: &str = "manifests";

/// A layout's `index.json`: its roots, in order, and all else that the document has.
///
/// It is read as strictly as a [`Manifest`]; but an entry may lack its media type (see [`typed`]). What is not
/// understood is kept as it was written, so that writing the document again loses nothing of it. One value is
/// always written as the same bytes.
#[derive(Clone, Debug)]
pub struct Index {
    /// The document's properties but for its entries, as they were written.
    properties: Vec<(String, Box<RawValue>)>,
    entries: Vec<Entry>,
}

/// A root in a layout's `index.json`.
#[derive(Clone, Debug)]
pub struct Entry {
    descriptor: Descriptor,
    ref_name: Option<String>,
    written: Box<RawValue>,
}

impl Entry {
    /// What the entry names. One without a media type has [`MediaType::OCTET_STREAM`].
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The name that the entry gives to it: as it was written, and not always a [`RefName`].
    pub fn ref_name(&self) -> Option<&str> {
        self.ref_name.as_deref()
    }

    fn new(descriptor: &Descriptor, name: Option<&RefName>) -> Self {
        let descriptor = Descriptor { data: None, ..descriptor.clone() };
        let mut object = descriptor_object(&descriptor);
        if let Some(name) = name {
            object["annotations"] = json!({ REF_NAME: name.as_str() });
        }
        let written = raw(String::from_utf8_lossy(&sorted(object)).into_owned());
        Self { descriptor, ref_name: name.map(|name| name.as_str().to_owned()), written }
    }
}

impl Index {
    /// The index of a layout that holds nothing yet.
    pub fn new() -> Self {
        let media_type = Value::from(MediaType::OCI_INDEX.as_str()).to_string();
        let properties = vec![
            ("schemaVersion".to_owned(), raw("2".to_owned())),
            ("mediaType".to_owned(), raw(media_type)),
        ];
        Self { properties, entries: Vec::new() }
    }

    /// Reads a layout's `index.json`.
    ///
    /// # Errors
    /// It is not an index, or breaks a rule.
    pub fn read(bytes: Bytes) -> Result<Self, InvalidManifest> {
        let manifest = Manifest::read_layout_index(bytes)?;
        let Written { properties, entries } = Written::read(manifest.bytes())?;
        // Both readings are of one array.
        let entries = manifest
            .entries()
            .zip(entries)
            .map(|(entry, written)| Entry {
                descriptor: entry.to_owned(),
                ref_name: entry.ref_name().map(str::to_owned),
                written,
            })
            .collect();
        Ok(Self { properties, entries })
    }

    /// The entries, in order. Several may name one root, and several may have one name: see
    /// [`find`](Self::find).
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Makes `root` a root, and `name` the name of it and of nothing else.
    ///
    /// An entry that has the name already is replaced, unless it is right, and then stays as it is. Others that
    /// have the name go. Without a name, a root that is there already stays as it is.
    pub fn set(&mut self, root: &Descriptor, name: Option<&RefName>) {
        let same =
            |entry: &Entry| entry.descriptor.digest == root.digest && entry.descriptor.size == root.size;
        let Some(name) = name else {
            if !self.entries.iter().any(same) {
                self.entries.push(Entry::new(root, None));
            }
            return;
        };
        let named = |entry: &Entry| entry.ref_name() == Some(name.as_str());
        let keep = self.entries.iter().position(|entry| named(entry) && same(entry));
        let place = keep.or_else(|| self.entries.iter().position(named));
        let Some(place) = place else {
            self.entries.push(Entry::new(root, Some(name)));
            return;
        };
        if keep.is_none()
            && let Some(entry) = self.entries.get_mut(place)
        {
            *entry = Entry::new(root, Some(name));
        }
        let mut n = 0;
        self.entries.retain(|entry| {
            n += 1;
            n - 1 == place || !named(entry)
        });
    }

    /// The document. Its properties stand where they stood, the entries at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from("{");
        for (key, value) in &self.properties {
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
            text.push(',');
        }
        text.push_str("\"manifests\":[");
        for (n, entry) in self.entries.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "," });
            text.push_str(entry.written.get());
        }
        text.push_str("]}");
        text.into_bytes()
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

/// Gives a root the media type that its verified content has, where its entry says nothing of that.
///
/// Content that is no document at all, or one of no known type, keeps the type that says nothing.
///
/// # Errors
/// It is a document that breaks a rule.
pub fn typed(root: Descriptor, content: Bytes) -> Result<Descriptor, InvalidManifest> {
    if !root.media_type.is_generic() {
        return Ok(root);
    }
    match Manifest::read(content, Evidence::default()) {
        Ok(manifest) => Ok(Descriptor { media_type: manifest.media_type().clone(), ..root }),
        Err(
            InvalidManifest::Unrecognised
            | InvalidManifest::Syntax { .. }
            | InvalidManifest::Encoding(_)
            | InvalidManifest::TooLarge(_),
        ) => Ok(root),
        Err(broken) => Err(broken),
    }
}

/// A document whose values are kept as they are written.
struct Written {
    properties: Vec<(String, Box<RawValue>)>,
    entries: Vec<Box<RawValue>>,
}

impl Written {
    /// Reads what the strict reader has read.
    fn read(document: &[u8]) -> Result<Self, InvalidManifest> {
        serde_json::Deserializer::from_slice(document)
            .deserialize_map(WrittenVisitor)
            .map_err(|error| InvalidManifest::Typed(crate::types::digest::excerpt(&error.to_string())))
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut written = Written { properties: Vec::new(), entries: Vec::new() };
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<Box<RawValue>>()?;
            if key == ENTRIES {
                written.entries = serde_json::from_str(value.get()).map_err(A::Error::custom)?;
            } else {
                written.properties.push((key, value));
            }
        }
        Ok(written)
    }
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("what serialises a value makes JSON")
}

#[cfg(test)]
mod tests;
