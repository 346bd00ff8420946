//! Errors of parsing and verification.

use std::fmt::Write as _;

use crate::types::digest::{Digest, excerpt};
use crate::types::media_type::{Kind, MediaType};

/// The error returned when a document is invalid.
///
/// A `place` is a path from the document's root, such as `manifests[17].digest`. Excerpts are bounded
/// and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// Two pieces of evidence disagree on the document's type.
    #[error("conflicting document types: {first} says {first_says}, and {second} says {second_says}")]
    Conflict {
        /// The first piece of evidence.
        first: &'static str,
        /// The type according to the first.
        first_says: String,
        /// The second piece of evidence.
        second: &'static str,
        /// The type according to the second.
        second_says: String,
    },
    /// No evidence determines the document's type.
    #[error(
        "cannot determine the document's type: neither Content-Type nor mediaType names it, and its structure \
         matches neither an image nor an index"
    )]
    Unrecognised,
    /// The Content-Type header is not a media type.
    #[error("invalid Content-Type header: {0}")]
    ContentType(String),
    /// The registry returned a web page.
    #[error(
        "the registry returned a web page instead of a manifest: a proxy or login page may have intercepted the \
         request, or the host is not a registry"
    )]
    WebPage,
    /// A Docker schema 1 manifest.
    #[error(
        "the document is a Docker schema 1 manifest, which is obsolete and not supported; push the image again \
         with a current tool"
    )]
    Schema1,
    /// The schema version is not 2.
    #[error("the document's schemaVersion is {}, but must be 2", version(*.0))]
    SchemaVersion(Option<u64>),
    /// The document could be parsed as both an index and an image.
    #[error("the document is ambiguous: it has both `manifests`, like an index, and `{0}`, like an image")]
    Ambiguous(&'static str),
    /// The document has more than `u32::MAX` bytes.
    #[error("the document has {0} bytes, but at most 4294967295 are supported")]
    TooLarge(u64),
    /// The document is not UTF-8.
    #[error("the document is not UTF-8: invalid byte at offset {0}")]
    Encoding(usize),
    /// The document is not JSON, or has trailing data.
    #[error("the document is not valid JSON{}: {problem}", at(place))]
    Syntax {
        /// The path at which parsing stopped.
        place: String,
        /// The parser's message.
        problem: String,
    },
    /// A value is invalid.
    #[error("the document has an invalid value{}: {problem}", at(place))]
    Value {
        /// The path of the value.
        place: String,
        /// The reason.
        problem: String,
    },
    /// A required property is missing.
    #[error("the document has no `{key}`{}", at(place))]
    Missing {
        /// The path of the object; empty for the document itself.
        place: String,
        /// The missing key.
        key: &'static str,
    },
    /// An object has a duplicate key. Parsers differ in which value they use.
    #[error("the document has the key `{key}` twice{}", at(place))]
    Duplicate {
        /// The path of the object; empty for the document itself.
        place: String,
        /// An excerpt of the key.
        key: String,
    },
    /// A key differs only in case from a known one. Case-insensitive parsers treat them as equal.
    #[error("the document has the key `{key}`{}, which some readers treat as `{known}`", at(place))]
    Case {
        /// The path of the object; empty for the document itself.
        place: String,
        /// An excerpt of the key.
        key: String,
        /// The known key.
        known: &'static str,
    },
    /// The document is not of the requested kind.
    #[error("the document's type is {media_type}, not an {wanted}")]
    Kind {
        /// The requested kind.
        wanted: Kind,
        /// The document's media type.
        media_type: MediaType,
    },
    /// The document is valid, but does not deserialize into the types of `oci-spec`.
    #[error("the document does not fit the `oci-spec` type: {0}")]
    Typed(String),
}

impl InvalidManifest {
    /// Returns whether the content is not a document of any known type, as opposed to an invalid document.
    pub(super) fn is_no_document(&self) -> bool {
        matches!(self, Self::Unrecognised | Self::Syntax { .. } | Self::Encoding(_) | Self::TooLarge(_))
    }
}

impl InvalidManifest {
    /// Rewrites the texts that come from the document or its headers. `change` receives one text at a time.
    pub(crate) fn map_texts(&mut self, change: &mut impl FnMut(&str) -> String) {
        let texts = match self {
            Self::Conflict { first_says, second_says, .. } => vec![first_says, second_says],
            Self::ContentType(text) | Self::Typed(text) => vec![text],
            Self::Syntax { place, problem } | Self::Value { place, problem } => vec![place, problem],
            Self::Missing { place, .. } => vec![place],
            Self::Duplicate { place, key } | Self::Case { place, key, .. } => vec![place, key],
            Self::Kind { media_type, .. } => {
                *media_type = media_type.map_text(change);
                Vec::new()
            }
            Self::Unrecognised
            | Self::WebPage
            | Self::Schema1
            | Self::SchemaVersion(_)
            | Self::Ambiguous(_)
            | Self::TooLarge(_)
            | Self::Encoding(_) => Vec::new(),
        };
        for text in texts {
            *text = change(text);
        }
    }
}

/// The error returned when content does not match its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "one variant for each step of verification")]
pub enum VerifyError {
    /// The size differs.
    #[error("the descriptor says {expected} bytes, but the content has {found}")]
    Size {
        /// The size in the descriptor.
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// The digest's algorithm is not supported, so the content cannot be verified.
    #[error("its digest algorithm is not sha256, sha384 or sha512")]
    UnknownAlgorithm(Digest),
    /// The digest differs.
    #[error("digest mismatch: computed {computed}")]
    Digest {
        /// The digest in the descriptor.
        expected: Digest,
        /// The digest of the actual content.
        computed: Digest,
    },
    /// The document is invalid.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at `{place}`") }
}

fn version(version: Option<u64>) -> String {
    version.map_or_else(|| "missing".to_owned(), |number| number.to_string())
}

/// A violation that the pass found. Its position is known only once the pass has unwound.
pub(super) enum Violation {
    Schema1,
    SchemaVersion(u64),
    Ambiguous(&'static str),
    Value(String),
    Missing(&'static str),
    Duplicate(String),
    Case { key: String, known: &'static str },
}

/// One segment of an error's path, collected from the inside out.
pub(super) enum PathSegment {
    Key(&'static str),
    Index(usize),
}

impl InvalidManifest {
    /// Builds the error that ended a pass: the violation, or else the JSON parser's error.
    pub(super) fn of_pass(
        violation: Option<Violation>,
        trail: &[PathSegment],
        error: &serde_json::Error,
    ) -> Self {
        let mut place = String::new();
        for step in trail.iter().rev() {
            // Writing to a String cannot fail.
            let _ = match step {
                PathSegment::Key(key) if place.is_empty() => write!(place, "{key}"),
                PathSegment::Key(key) => write!(place, ".{key}"),
                PathSegment::Index(index) => write!(place, "[{index}]"),
            };
        }
        match violation {
            Some(Violation::Schema1) => Self::Schema1,
            Some(Violation::SchemaVersion(version)) => Self::SchemaVersion(Some(version)),
            Some(Violation::Ambiguous(key)) => Self::Ambiguous(key),
            Some(Violation::Value(problem)) => Self::Value { place, problem },
            Some(Violation::Missing(key)) => Self::Missing { place, key },
            Some(Violation::Duplicate(key)) => Self::Duplicate { place, key: excerpt(&key) },
            Some(Violation::Case { key, known }) => Self::Case { place, key: excerpt(&key), known },
            None => {
                let problem = shortened(&error.to_string());
                if error.is_data() { Self::Value { place, problem } } else { Self::Syntax { place, problem } }
            }
        }
    }
}

/// Shortens a message of the JSON parser, which may quote text of any length, by removing its middle.
pub(crate) fn shortened(message: &str) -> String {
    const END: usize = 80;
    let tail = message.char_indices().rev().nth(END - 1).map_or(0, |(start, _)| start);
    match message.char_indices().nth(END) {
        Some((end, _)) if end < tail => format!("{} {}", excerpt(message), excerpt(&message[tail..])),
        _ => message.chars().flat_map(char::escape_debug).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_message_loses_its_middle() {
        assert_eq!(shortened(&"y".repeat(160)), "y".repeat(160));
        let message = format!("{}{}{}", "a".repeat(80), "b", "c".repeat(80));
        assert_eq!(shortened(&message), format!("{}... {}", "a".repeat(80), "c".repeat(80)));
        assert_eq!(shortened("a\n\"b\""), r#"a\n\"b\""#);
    }
}
