//! The `index.json` file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::build::child::Child;
use crate::layout::ref_name::RefName;
use crate::manifest::Manifest;
use crate::manifest::error::InvalidManifest;
use crate::types::annotations::Annotations;
use crate::types::descriptor::Descriptor;
use crate::types::descriptor::write::json_text;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

/// The annotation that names a root.
///
/// Source: image-spec, annotations.md.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ENTRIES: &str = "manifests";
const ANNOTATIONS: &str = "annotations";
const MEDIA_TYPE: &str = "mediaType";

/// A layout's `index.json`: its roots, in order, and all other properties.
///
/// Parsing is as strict as for a [`Manifest`], except that an entry may lack a media type (see
/// [`Manifest::sniffed`]). Unknown properties are kept verbatim, so rewriting the document loses
/// nothing. Equal values are written as equal bytes.
#[derive(Clone, Debug)]
pub struct Index {
    /// The document's properties other than its entries, verbatim.
    properties: Vec<(String, Box<RawValue>)>,
    entries: Vec<Entry>,
}

/// A root in a layout's `index.json`.
#[derive(Clone, Debug)]
pub struct Entry {
    descriptor: Descriptor,
    ref_name: Option<String>,
    image_name: Option<String>,
    verbatim: Box<RawValue>,
}

impl Entry {
    /// Returns the root's descriptor. Its media type defaults to [`MediaType::OCTET_STREAM`].
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the root's name verbatim. It need not be a valid [`RefName`].
    pub fn ref_name(&self) -> Option<&str> {
        self.ref_name.as_deref()
    }

    /// Returns the root's full name verbatim, such as `docker.io/library/alpine:3.20`. containerd and
    /// Docker write it in the annotation `io.containerd.image.name`, where two images may have one
    /// [`ref_name`](Self::ref_name), which is only their tag.
    pub fn image_name(&self) -> Option<&str> {
        self.image_name.as_deref()
    }

    fn new(descriptor: &Descriptor, name: Option<&RefName>) -> Self {
        let descriptor = Descriptor { data: None, ..descriptor.clone() };
        let mut child = Child::from(&descriptor);
        if let Some(name) = name {
            child = child.annotations(Annotations::single(REF_NAME, name.as_str()));
        }
        let verbatim = raw(json_text(&child.json()));
        let ref_name = name.map(|name| name.as_str().to_owned());
        Self { descriptor, ref_name, image_name: None, verbatim }
    }

    fn remove_ref_name(&mut self) {
        self.ref_name = None;
        let mut all = properties(&self.verbatim);
        let mut annotations = all.remove(ANNOTATIONS).map(|text| properties(&text)).unwrap_or_default();
        annotations.remove(REF_NAME);
        if !annotations.is_empty() {
            all.insert(ANNOTATIONS.to_owned(), object(&annotations));
        }
        self.verbatim = object(&all);
    }

    fn set_media_type(&mut self, media_type: &MediaType) {
        self.descriptor.media_type = media_type.clone();
        let mut all = properties(&self.verbatim);
        all.insert(MEDIA_TYPE.to_owned(), raw(Value::from(media_type.as_str()).to_string()));
        self.verbatim = object(&all);
    }

    /// Returns whether the entry has no other properties than a descriptor must have.
    fn is_plain(&self) -> bool {
        properties(&self.verbatim).keys().all(|key| [MEDIA_TYPE, "digest", "size"].contains(&key.as_str()))
    }
}

impl Index {
    /// Creates an index without entries.
    pub fn new() -> Self {
        let media_type = Value::from(MediaType::OCI_INDEX.as_str()).to_string();
        let properties =
            vec![("schemaVersion".to_owned(), raw("2".to_owned())), (MEDIA_TYPE.to_owned(), raw(media_type))];
        Self { properties, entries: Vec::new() }
    }

    /// Parses a layout's `index.json`.
    ///
    /// # Errors
    /// Fails if the document is not a valid index.
    pub fn read(bytes: Bytes) -> Result<Self, InvalidManifest> {
        let manifest = Manifest::read_layout_index(bytes)?;
        let Verbatim { properties, entries } = Verbatim::read(manifest.bytes())?;
        // Both parsers read the same array, so the lengths are equal.
        let entries = manifest
            .entries()
            .zip(entries)
            .map(|(entry, verbatim)| Entry {
                descriptor: entry.to_owned(),
                ref_name: entry.ref_name().map(str::to_owned),
                image_name: entry.image_name().map(str::to_owned),
                verbatim,
            })
            .collect();
        Ok(Self { properties, entries })
    }

    /// Returns the entries, in order. Several entries may refer to one root, and several may have one
    /// name; see [`find`](Self::find).
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the name of each entry: its [`ref_name`](Entry::ref_name), or its
    /// [`image_name`](Entry::image_name) if it has no other name, or if another root has the same one.
    /// [`find`](Self::find) finds an entry by this name unless another root has the same.
    pub fn names(&self) -> Vec<Option<&str>> {
        let mut roots = BTreeMap::new();
        let mut shared = BTreeSet::new();
        for entry in &self.entries {
            let digest = &entry.descriptor.digest;
            if let Some(name) = entry.ref_name()
                && *roots.entry(name).or_insert(digest) != digest
            {
                shared.insert(name);
            }
        }
        let names = self.entries.iter().map(|entry| match (entry.ref_name(), entry.image_name()) {
            (Some(name), Some(_)) if !shared.contains(name) => Some(name),
            (_, Some(full)) => Some(full),
            (name, None) => name,
        });
        names.collect()
    }

    /// Adds `root` and assigns `name` to it alone.
    ///
    /// An entry that already has this name is kept if it refers to `root`, and replaced otherwise; any
    /// further entries with the name are removed. Without a name, an existing root is left unchanged.
    pub fn set(&mut self, root: &Descriptor, name: Option<&RefName>) {
        let is_same_root =
            |entry: &Entry| entry.descriptor.digest == root.digest && entry.descriptor.size == root.size;
        let Some(name) = name else {
            if !self.entries.iter().any(is_same_root) {
                self.entries.push(Entry::new(root, None));
            }
            return;
        };
        let has_name = |entry: &Entry| entry.ref_name() == Some(name.as_str());
        let keep = self.entries.iter().position(|entry| has_name(entry) && is_same_root(entry));
        let place = keep.or_else(|| self.entries.iter().position(has_name));
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
            n - 1 == place || !has_name(entry)
        });
    }

    /// Adds `root`, and moves `name` to it, without removing any root: the entries of other roots with this name
    /// stay, without it.
    ///
    /// An entry of `root` without a name gets the name, if it has no properties of its own. All entries of `root` get
    /// its media type.
    pub fn assign(&mut self, root: &Descriptor, name: Option<&RefName>) {
        let is_root = |entry: &Entry| entry.descriptor.digest == root.digest;
        for entry in self.entries.iter_mut().filter(|entry| is_root(entry)) {
            if entry.descriptor.media_type != root.media_type {
                entry.set_media_type(&root.media_type);
            }
        }
        let Some(name) = name else {
            if !self.entries.iter().any(is_root) {
                self.entries.push(Entry::new(root, None));
            }
            return;
        };
        self.remove_name_except(name, Some(&root.digest));
        if self.entries.iter().any(|entry| entry.ref_name() == Some(name.as_str())) {
            return;
        }
        let is_free = |entry: &&mut Entry| is_root(entry) && entry.ref_name.is_none() && entry.is_plain();
        let named = Entry::new(root, Some(name));
        match self.entries.iter_mut().find(is_free) {
            Some(entry) => *entry = named,
            None => self.entries.push(named),
        }
    }

    /// Removes a name. Its root stays, without it.
    pub fn remove_name(&mut self, name: &RefName) {
        self.remove_name_except(name, None);
    }

    /// Removes all entries of a root.
    pub fn remove(&mut self, digest: &Digest) {
        self.entries.retain(|entry| entry.descriptor.digest != *digest);
    }

    /// Removes a name from all roots but one. An entry with nothing else is removed if its root has another one.
    fn remove_name_except(&mut self, name: &RefName, except: Option<&Digest>) {
        let has_name = |entry: &Entry| {
            entry.ref_name() == Some(name.as_str()) && except != Some(&entry.descriptor.digest)
        };
        let named = self.entries.iter().filter(|entry| has_name(entry));
        let mut counts: BTreeMap<Digest, usize> =
            named.map(|entry| (entry.descriptor.digest.clone(), 0)).collect();
        if counts.is_empty() {
            return;
        }
        for entry in &self.entries {
            if let Some(count) = counts.get_mut(&entry.descriptor.digest) {
                *count += 1;
            }
        }
        self.entries.retain_mut(|entry| {
            if !has_name(entry) {
                return true;
            }
            entry.remove_ref_name();
            match counts.get_mut(&entry.descriptor.digest) {
                Some(count) if *count > 1 && entry.is_plain() => {
                    *count -= 1;
                    false
                }
                _ => true,
            }
        });
    }

    /// Serializes the document. Properties keep their order; the entries come last.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|entry| entry.verbatim.get().len() + 1).sum::<usize>();
        let properties = self.properties.iter().map(|(key, value)| key.len() + value.get().len() + 4);
        let mut text = String::with_capacity(entries + properties.sum::<usize>() + 16);
        text.push('{');
        for (key, value) in &self.properties {
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
            text.push(',');
        }
        text.push_str("\"manifests\":[");
        for (n, entry) in self.entries.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "," });
            text.push_str(entry.verbatim.get());
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

/// A document with its values kept verbatim.
struct Verbatim {
    properties: Vec<(String, Box<RawValue>)>,
    entries: Vec<Box<RawValue>>,
}

impl Verbatim {
    /// Parses a document that the strict parser has accepted.
    fn read(document: &[u8]) -> Result<Self, InvalidManifest> {
        serde_json::Deserializer::from_slice(document)
            .deserialize_map(VerbatimVisitor)
            .map_err(|error| InvalidManifest::Typed(crate::types::digest::excerpt(&error.to_string())))
    }
}

struct VerbatimVisitor;

impl<'de> Visitor<'de> for VerbatimVisitor {
    type Value = Verbatim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verbatim, A::Error> {
        let mut verbatim = Verbatim { properties: Vec::new(), entries: Vec::new() };
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<Box<RawValue>>()?;
            if key == ENTRIES {
                verbatim.entries = serde_json::from_str(value.get()).map_err(A::Error::custom)?;
            } else {
                verbatim.properties.push((key, value));
            }
        }
        Ok(verbatim)
    }
}

/// Returns the properties of an object, verbatim, or none of anything else.
fn properties(of: &RawValue) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(of.get()).unwrap_or_default()
}

fn object(properties: &BTreeMap<String, Box<RawValue>>) -> Box<RawValue> {
    serde_json::value::to_raw_value(properties).expect("text keys and valid JSON are an object")
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("a serialized value is valid JSON")
}

#[cfg(test)]
mod tests;
