//! The parsed data of a document: flat tables, with strings as spans.

use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

/// The parsed data of a document; empty for an opaque one.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) artifact_type: Option<MediaType>,
    pub(super) config: Option<Entry>,
    pub(super) subject: Option<Entry>,
    /// The document's own annotations.
    pub(super) annotations: Option<Note>,
    /// The descriptors of `manifests` or of `layers`.
    pub(super) entries: Vec<Entry>,
    /// The distinct media types of the descriptors.
    pub(super) media_types: Vec<MediaType>,
    /// The optional strings of all descriptors. Those of one descriptor are contiguous.
    pub(super) notes: Vec<Note>,
    /// The strings that contain escapes in the document, decoded.
    pub(super) unescaped: String,
}

/// A descriptor.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: TypeIndex,
    pub(super) artifact_type: Option<TypeIndex>,
    pub(super) first_note: u32,
    pub(super) notes: u32,
}

/// A one-based index into [`Table::media_types`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeIndex(pub(super) std::num::NonZeroU32);

/// An optional part of a document, such as a string of a descriptor: its property and its span.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) property: Property,
    /// Whether the span lies in [`Table::unescaped`] instead of the document.
    pub(super) unescaped: bool,
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Os,
    Architecture,
    Variant,
    OsVersion,
    RefName,
    ImageName,
    /// All annotations, as a JSON object.
    Annotations,
    Data,
    Url,
}

impl Table {
    pub(super) fn media_type(&self, TypeIndex(number): TypeIndex) -> &MediaType {
        self.media_types
            .get(number.get() as usize - 1)
            .expect("an entry numbers the types of its own table, which only grows")
    }

    pub(super) fn notes(&self, entry: &Entry) -> &[Note] {
        let start = entry.first_note as usize;
        self.notes.get(start..start + entry.notes as usize).unwrap_or_default()
    }

    /// Returns the string of a note; `raw` is the document of this table.
    pub(super) fn text<'a>(&'a self, raw: &'a [u8], note: &Note) -> &'a str {
        let span = note.start as usize..note.start as usize + note.len as usize;
        if note.unescaped {
            self.unescaped.get(span).unwrap_or_default()
        } else {
            raw.get(span).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
        }
    }
}
