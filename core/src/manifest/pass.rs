//! The state that the visitors of a document share: the data parsed so far, and the violation that
//! ended it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::de::Error;

use crate::manifest::error::{InvalidManifest, PathSegment, Violation};
use crate::manifest::table::{Note, Property, Table, TypeIndex};
use crate::types::media_type::{InvalidMediaType, MediaType};

/// A document that follows the common rules of images and indexes.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) schema_version: Option<u64>,
    pub(super) media_type: Option<MediaType>,
    pub(super) has_config: bool,
    pub(super) has_layers: bool,
    pub(super) has_manifests: bool,
    /// The keys of required properties that are null, which counts as missing.
    pub(super) nulls: Vec<&'static str>,
    pub(super) table: Table,
}

/// The purpose of a document, which relaxes some rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A manifest of a registry.
    Manifest,
    /// The `index.json` of an image layout. The media type of a descriptor defaults to
    /// [`MediaType::OCTET_STREAM`].
    LayoutIndex,
    /// A list of referrers. All annotations of its descriptors are checked, and `manifests` may be null.
    Referrers,
}

/// The shared state of the visitors.
pub(super) struct Pass<'de> {
    pub(super) text: &'de str,
    pub(super) purpose: Purpose,
    pub(super) document: Document,
    /// Cache: consecutive descriptors usually have the same type.
    last_type: Option<(&'de str, TypeIndex)>,
    types: BTreeMap<Cow<'de, str>, TypeIndex>,
    violation: Option<Violation>,
    /// The path of an error from the inside out, filled while unwinding.
    trail: Vec<PathSegment>,
}

impl<'de> Pass<'de> {
    pub(super) fn new(text: &'de str, purpose: Purpose) -> Self {
        Self {
            text,
            purpose,
            document: Document::default(),
            last_type: None,
            types: BTreeMap::new(),
            violation: None,
            trail: Vec::new(),
        }
    }

    /// Returns the document or the error.
    pub(super) fn finish(self, read: Result<(), serde_json::Error>) -> Result<Document, InvalidManifest> {
        match read {
            Ok(()) => Ok(self.document),
            Err(error) => Err(InvalidManifest::of_pass(self.violation, &self.trail, &error)),
        }
    }

    pub(super) fn refuse<E: Error>(&mut self, violation: Violation) -> E {
        self.violation = Some(violation);
        E::custom("refused")
    }

    /// Records a path segment if `result` is an error.
    pub(super) fn within<T, E>(&mut self, step: PathSegment, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.trail.push(step);
        }
        result
    }

    pub(super) fn media_type<E: Error>(&mut self, text: &str) -> Result<Option<MediaType>, E> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|reason: InvalidMediaType| self.refuse(Violation::Value(reason.to_string())))
    }

    /// Interns a descriptor's media type.
    pub(super) fn type_index<E: Error>(&mut self, text: Cow<'de, str>) -> Result<Option<TypeIndex>, E> {
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

    pub(super) fn note(&mut self, property: Property, text: Cow<'de, str>) {
        let note = self.span(property, text);
        self.document.table.notes.push(note);
    }

    pub(super) fn span(&mut self, property: Property, text: Cow<'de, str>) -> Note {
        let table = &mut self.document.table;
        let len = narrow(text.len());
        let (unescaped, start) = match text {
            // A borrowed string is part of the document, so its offset is the pointer distance.
            Cow::Borrowed(part) => (false, part.as_ptr().addr() - self.text.as_ptr().addr()),
            Cow::Owned(part) => {
                table.unescaped.push_str(&part);
                (true, table.unescaped.len() - part.len())
            }
        };
        Note { property, unescaped, start: narrow(start), len }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "no offset or count exceeds the document's length, a u32"
)]
pub(super) fn narrow(number: usize) -> u32 {
    number as u32
}
