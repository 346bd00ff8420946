//! The pass over a document's bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::manifest::error::{Broken, InvalidManifest, PathSegment};
use crate::manifest::keys::{DescriptorKey, Key as _, Seen, TopKey};
use crate::manifest::read::optional::{InAnnotations, InPlatform, InUrls};
use crate::manifest::read::values::{Number, SIZE, Text};
use crate::manifest::table::{Entry, Note, Table, TypeIndex, What};
use crate::types::digest::Digest;
use crate::types::media_type::{InvalidMediaType, MediaType};

/// Seeds that take whatever is there, and say what they expected where it is something else.
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

/// A document that follows the rules which images and indexes share.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) schema_version: Option<u64>,
    pub(super) media_type: Option<MediaType>,
    pub(super) has_config: bool,
    pub(super) has_layers: bool,
    pub(super) has_manifests: bool,
    pub(super) table: Table,
}

/// Whether a descriptor may lack its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untyped {
    Refused,
    /// It then has [`MediaType::OCTET_STREAM`], which says nothing.
    Taken,
}

/// Reads a document, once, borrowing its texts.
pub(super) fn read(raw: &[u8], untyped: Untyped) -> Result<Document, InvalidManifest> {
    if u32::try_from(raw.len()).is_err() {
        return Err(InvalidManifest::TooLarge(raw.len() as u64));
    }
    let text = str::from_utf8(raw).map_err(|error| InvalidManifest::Encoding(error.valid_up_to()))?;
    let mut pass = Pass {
        text,
        untyped,
        document: Document::default(),
        last_type: None,
        types: BTreeMap::new(),
        broken: None,
        trail: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    match Top(&mut pass).deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => Ok(pass.document),
        Err(error) => Err(InvalidManifest::of_pass(pass.broken, &pass.trail, &error)),
    }
}

/// What the visitors share.
pub(super) struct Pass<'de> {
    text: &'de str,
    untyped: Untyped,
    document: Document,
    /// Neighbours mostly have the same type.
    last_type: Option<(&'de str, TypeIndex)>,
    types: BTreeMap<Cow<'de, str>, TypeIndex>,
    broken: Option<Broken>,
    /// From the place of an error up to the top; filled on the way out.
    trail: Vec<PathSegment>,
}

impl<'de> Pass<'de> {
    pub(super) fn refuse<E: Error>(&mut self, broken: Broken) -> E {
        self.broken = Some(broken);
        E::custom("refused")
    }

    /// Notes where a failure was, on its way out.
    fn within<T, E>(&mut self, step: PathSegment, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.trail.push(step);
        }
        result
    }

    fn media_type<E: Error>(&mut self, text: &str) -> Result<Option<MediaType>, E> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|reason: InvalidMediaType| self.refuse(Broken::Value(reason.to_string())))
    }

    /// A descriptor's media type, each of which is kept once.
    fn type_index<E: Error>(&mut self, text: Cow<'de, str>) -> Result<Option<TypeIndex>, E> {
        if let Some((last, index)) = self.last_type
            && *last == *text
        {
            return Ok(Some(index));
        }
        let known = self.types.get(&text).copied();
        let index = if let Some(index) = known {
            index
        } else {
            let Some(media_type) = self.media_type(&text)? else { return Ok(None) };
            let types = &mut self.document.table.media_types;
            types.push(media_type);
            TypeIndex(NonZeroU32::MIN.saturating_add(narrow(types.len() - 1)))
        };
        if let Cow::Borrowed(text) = &text {
            self.last_type = Some((text, index));
        }
        if known.is_none() {
            self.types.insert(text, index);
        }
        Ok(Some(index))
    }

    fn note(&mut self, what: What, text: Cow<'de, str>) {
        let table = &mut self.document.table;
        let len = narrow(text.len());
        let (unescaped, start) = match text {
            // Borrowed texts are parts of the document: the distance is the place.
            Cow::Borrowed(part) => (false, part.as_ptr().addr() - self.text.as_ptr().addr()),
            Cow::Owned(part) => {
                table.unescaped.push_str(&part);
                (true, table.unescaped.len() - part.len())
            }
        };
        table.notes.push(Note { what, unescaped, start: narrow(start), len });
    }
}

#[expect(clippy::cast_possible_truncation, reason = "no place or count exceeds the document's length, a u32")]
fn narrow(number: usize) -> u32 {
    number as u32
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
                return Err(pass.refuse(Broken::Ambiguous(other.name())));
            }
            let read = pass.top_value(key, &mut map);
            pass.within(PathSegment::Key(key.name()), read)?;
        }
        Ok(())
    }
}

impl<'de> Pass<'de> {
    fn top_value<A: MapAccess<'de>>(&mut self, key: TopKey, map: &mut A) -> Result<(), A::Error> {
        match key {
            TopKey::SchemaVersion => {
                let version = map.next_value_seed(Number("a whole number"))?;
                self.document.schema_version = Some(version);
                match version {
                    1 => return Err(self.refuse(Broken::Schema1)),
                    2 => {}
                    other => return Err(self.refuse(Broken::SchemaVersion(other))),
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
            TopKey::Layers => self.document.has_layers = map.next_value_seed(List(self))?,
            TopKey::Manifests => self.document.has_manifests = map.next_value_seed(List(self))?,
        }
        Ok(())
    }
}

/// `manifests` or `layers`; whether it is there.
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
        // Hardly a descriptor takes less text, so that this is most often enough, and never much.
        pass.document.table.entries.reserve(pass.text.len() / 150);
        loop {
            let refused = match list.next_element_seed(OneDescriptor(pass)) {
                Ok(None) => return Ok(true),
                Ok(Some(true)) => continue,
                Ok(Some(false)) => pass.refuse(Broken::Value("null is not a descriptor".into())),
                Err(error) => error,
            };
            return pass.within(PathSegment::Index(pass.document.table.entries.len()), Err(refused));
        }
    }
}

/// A descriptor, which becomes the last of the entries; `false` for null.
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
        let mut parts = Parts { media_type: None, digest: None, size: None, artifact_type: None };
        let mut seen = Seen::new();
        while let Some(key) = seen.next::<DescriptorKey, A>(&mut map, pass)? {
            let read = parts.read(key, &mut map, pass);
            pass.within(PathSegment::Key(key.name()), read)?;
        }
        let Parts { mut media_type, digest, size, artifact_type } = parts;
        if media_type.is_none() && pass.untyped == Untyped::Taken {
            media_type = pass.type_index(MediaType::OCTET_STREAM.as_str().to_owned().into())?;
        }
        let missing = |key: DescriptorKey| Broken::Missing(key.name());
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

struct Parts {
    media_type: Option<TypeIndex>,
    digest: Option<Digest>,
    size: Option<u64>,
    artifact_type: Option<TypeIndex>,
}

impl Parts {
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
                            return Err(pass.refuse(Broken::Value(reason.to_string())));
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
            DescriptorKey::Annotations => map.next_value_seed(InAnnotations(pass))?,
            DescriptorKey::Data => {
                if let Some(text) = map.next_value_seed(Text)? {
                    pass.note(What::Data, text);
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
