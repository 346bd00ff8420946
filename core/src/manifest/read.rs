//! The parsing pass over a document's bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::manifest::error::{InvalidManifest, PathSegment, Violation};
use crate::manifest::keys::{DescriptorKey, Key as _, Seen, TopKey};
use crate::manifest::pass::{Document, Pass, Purpose, narrow};
use crate::manifest::read::optional::{InPlatform, InUrls};
use crate::manifest::read::values::{Number, SIZE, Text};
use crate::manifest::table::{Entry, Property, TypeIndex};
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

/// Implements seeds that accept any JSON value, so that a wrong type is reported with the expected one.
macro_rules! any_value {
    ($($seed:ident => $value:ty),+ $(,)?) => {$(
        impl<'de> DeserializeSeed<'de> for $seed<'_, 'de> {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    )+};
}

pub(crate) mod optional;
#[cfg(test)]
mod tests;
pub(crate) mod values;

/// The first character of files of some editors.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
pub(crate) const BYTE_ORDER_MARK_FOUND: &str =
    "it starts with a byte order mark, which JSON does not allow; save it as UTF-8 without one";

/// Parses a document in one pass, borrowing its strings.
pub(super) fn read(raw: &[u8], purpose: Purpose) -> Result<Document, InvalidManifest> {
    if u32::try_from(raw.len()).is_err() {
        return Err(InvalidManifest::TooLarge(raw.len() as u64));
    }
    let text = str::from_utf8(raw).map_err(|error| InvalidManifest::Encoding(error.valid_up_to()))?;
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(InvalidManifest::Syntax {
            place: String::new(),
            problem: BYTE_ORDER_MARK_FOUND.to_owned(),
        });
    }
    let mut pass = Pass::new(text, purpose);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Top(&mut pass).deserialize(&mut json).and_then(|()| json.end());
    pass.finish(read)
}

/// The document.
struct Top<'p, 'de>(&'p mut Pass<'de>);

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(pass) = self;
        let mut seen = Seen::new();
        while let Some(key) = seen.next::<TopKey, A>(&mut map, pass)? {
            if seen.has(TopKey::Manifests)
                && let Some(other) = [TopKey::Config, TopKey::Layers].into_iter().find(|key| seen.has(*key))
            {
                return Err(pass.refuse(Violation::Ambiguous(other.name())));
            }
            let read = pass.top_value(key, &mut map);
            let is_null = match key {
                TopKey::Config => !pass.document.has_config,
                TopKey::Layers => !pass.document.has_layers,
                TopKey::Manifests => !pass.document.has_manifests,
                _ => false,
            };
            if is_null {
                pass.document.nulls.push(key.name());
            }
            pass.within(PathSegment::Key(key.name()), read)?;
        }
        Ok(())
    }
}

impl<'de> Pass<'de> {
    fn top_value<A: MapAccess<'de>>(&mut self, key: TopKey, map: &mut A) -> Result<(), A::Error> {
        match key {
            TopKey::SchemaVersion => {
                let version = map.next_value_seed(Number("an integer"))?;
                self.document.schema_version = Some(version);
                match version {
                    1 => return Err(self.refuse(Violation::Schema1)),
                    2 => {}
                    other => return Err(self.refuse(Violation::SchemaVersion(other))),
                }
            }
            TopKey::MediaType => {
                if let Some(text) = map.next_value_seed(Text)? {
                    self.document.media_type = self.media_type(&text)?;
                }
            }
            TopKey::ArtifactType => {
                if let Some(text) = map.next_value_seed(Text)? {
                    self.document.table.artifact_type = self.media_type(&text)?;
                }
            }
            TopKey::Config => {
                self.document.has_config = map.next_value_seed(OneDescriptor(self))?;
                if self.document.has_config {
                    self.document.table.config = self.document.table.entries.pop();
                }
            }
            TopKey::Subject => {
                if map.next_value_seed(OneDescriptor(self))? {
                    self.document.table.subject = self.document.table.entries.pop();
                }
            }
            TopKey::Annotations => self.own_annotations(map.next_value::<&RawValue>()?.get()),
            TopKey::Layers => self.document.has_layers = map.next_value_seed(List(self))?,
            TopKey::Manifests => {
                let is_list = map.next_value_seed(List(self))?;
                self.document.has_manifests = is_list || self.purpose == Purpose::Referrers;
            }
        }
        Ok(())
    }
}

/// `manifests` or `layers`. The value is whether it is present.
struct List<'p, 'de>(&'p mut Pass<'de>);

impl<'de> Visitor<'de> for List<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of descriptors")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self(pass) = self;
        // Few descriptors take less text, so this usually suffices and never reserves much.
        pass.document.table.entries.reserve(pass.text.len() / 150);
        loop {
            let refused = match list.next_element_seed(OneDescriptor(pass)) {
                Ok(None) => return Ok(true),
                Ok(Some(true)) => continue,
                Ok(Some(false)) => pass.refuse(Violation::Value("null is not a descriptor".into())),
                Err(error) => error,
            };
            return pass.within(PathSegment::Index(pass.document.table.entries.len()), Err(refused));
        }
    }
}

/// A descriptor, which is appended to the entries. The value is `false` for null.
struct OneDescriptor<'p, 'de>(&'p mut Pass<'de>);

impl<'de> Visitor<'de> for OneDescriptor<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor: an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self(pass) = self;
        let first_note = pass.document.table.notes.len();
        let mut fields = Fields { media_type: None, digest: None, size: None, artifact_type: None };
        let mut seen = Seen::new();
        while let Some(key) = seen.next::<DescriptorKey, A>(&mut map, pass)? {
            let read = fields.read(key, &mut map, pass);
            pass.within(PathSegment::Key(key.name()), read)?;
        }
        let Fields { mut media_type, digest, size, artifact_type } = fields;
        if media_type.is_none() && pass.purpose == Purpose::LayoutIndex {
            media_type = pass.type_index(MediaType::OCTET_STREAM.as_str().to_owned().into())?;
        }
        let missing = |key: DescriptorKey| Violation::Missing(key.name());
        let media_type = media_type.ok_or_else(|| pass.refuse(missing(DescriptorKey::MediaType)))?;
        let digest = digest.ok_or_else(|| pass.refuse(missing(DescriptorKey::Digest)))?;
        let size = size.ok_or_else(|| pass.refuse(missing(DescriptorKey::Size)))?;
        let notes = narrow(pass.document.table.notes.len() - first_note);
        let first_note = narrow(first_note);
        pass.document.table.entries.push(Entry {
            digest,
            size,
            media_type,
            artifact_type,
            first_note,
            notes,
        });
        Ok(true)
    }
}

struct Fields {
    media_type: Option<TypeIndex>,
    digest: Option<Digest>,
    size: Option<u64>,
    artifact_type: Option<TypeIndex>,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: DescriptorKey,
        map: &mut A,
        pass: &mut Pass<'de>,
    ) -> Result<(), A::Error> {
        match key {
            DescriptorKey::MediaType => {
                if let Some(text) = map.next_value_seed(Text)? {
                    self.media_type = pass.type_index(text)?;
                }
            }
            DescriptorKey::Digest => {
                if let Some(text) = map.next_value_seed(Text)? {
                    match text.parse() {
                        Ok(digest) => self.digest = Some(digest),
                        Err(reason) => {
                            let reason: crate::types::digest::InvalidDigest = reason;
                            return Err(pass.refuse(Violation::Value(reason.to_string())));
                        }
                    }
                }
            }
            DescriptorKey::Size => self.size = Some(map.next_value_seed(Number(SIZE))?),
            DescriptorKey::ArtifactType => {
                if let Some(text) = map.next_value_seed(Text)? {
                    self.artifact_type = pass.type_index(text)?;
                }
            }
            DescriptorKey::Platform => map.next_value_seed(InPlatform(pass))?,
            DescriptorKey::Annotations => pass.annotations(map.next_value::<&RawValue>()?.get())?,
            DescriptorKey::Data => {
                if let Some(text) = map.next_value_seed(Text)? {
                    pass.note(Property::Data, text);
                }
            }
            DescriptorKey::Urls => map.next_value_seed(InUrls(pass))?,
        }
        Ok(())
    }
}

any_value! {
    Top => (),
    List => bool,
    OneDescriptor => bool,
}
