//! What is kept of a document: flat tables, whose texts are spans.

use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

/// What was read of a document; empty for one that was not read.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) artifact_type: Option<MediaType>,
    pub(super) config: Option<Entry>,
    pub(super) subject: Option<Entry>,
    /// The descriptors of `manifests` or of `layers`.
    pub(super) entries: Vec<Entry>,
    /// Each media type that descriptors name, once.
    pub(super) media_types: Vec<MediaType>,
    /// Optional texts of all descriptors; those of one are neighbours.
    pub(super) notes: Vec<Note>,
    /// Texts that have escapes in the document, without them.
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

/// A place in [`Table::media_types`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeIndex(pub(super) std::num::NonZeroU32);

/// A text of a descriptor: what it is, and where.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) what: What,
    /// Whether the span is in [`Table::unescaped`], not in the document.
    pub(super) unescaped: bool,
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Os,
    Architecture,
    Variant,
    OsVersion,
    RefName,
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

    /// The text of a note; `raw` is the document that the table was read from.
    pub(super) fn text<'a>(&'a self, raw: &'a [u8], note: &Note) -> &'a str {
        let span = note.start as usize..note.start as usize + note.len as usize;
        if note.unescaped {
            self.unescaped.get(span).unwrap_or_default()
        } else {
            raw.get(span).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
        }
    }
}
