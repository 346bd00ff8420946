//! Why a document is refused.

use std::fmt::Write as _;

use crate::types::digest::excerpt;
use crate::types::media_type::{Kind, MediaType};

/// Why a document was refused.
///
/// A `place` is a path from the document's top, such as `manifests[17].digest`. Excerpts are bounded
/// and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// Two pieces of evidence say different things of what the document is.
    #[error("the evidence conflicts: {first} says {first_says}, and {second} says {second_says}")]
    Conflict {
        /// Who says one thing.
        first: &'static str,
        /// What it says.
        first_says: String,
        /// Who says another.
        second: &'static str,
        /// What that says.
        second_says: String,
    },
    /// Nothing says what the document is.
    #[error(
        "what the document is cannot be told: neither its Content-Type nor its mediaType says, and it is shaped \
         neither like an image nor like an index"
    )]
    Unrecognised,
    /// The Content-Type header is not a media type.
    #[error("the Content-Type header is unusable: {0}")]
    ContentType(String),
    /// The registry's answer is a web page.
    #[error(
        "the registry answered with a web page instead of a manifest: a proxy or a login page may be in between, \
         or the host is not a registry"
    )]
    WebPage,
    /// A Docker schema 1 manifest.
    #[error(
        "the document is a Docker schema 1 manifest, which is obsolete and not read; push the image anew"
    )]
    Schema1,
    /// The schema version is not 2.
    #[error("the document's schemaVersion is {}, and must be 2", version(*.0))]
    SchemaVersion(Option<u64>),
    /// The document could be read as an index and as an image.
    #[error("the document is ambiguous: it has `manifests` as an index has, and `{0}` as an image has")]
    Ambiguous(&'static str),
    /// The document has more than `u32::MAX` bytes.
    #[error("the document has {0} bytes, and only 4294967295 can be read")]
    TooLarge(u64),
    /// The document is not UTF-8.
    #[error("the document is not UTF-8 from byte {0} on")]
    Encoding(usize),
    /// The document is not JSON, or something follows it.
    #[error("the document is not JSON{}: {problem}", at(place))]
    Syntax {
        /// Where it was being read.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// A value is not what belongs there.
    #[error("the document has a wrong value{}: {problem}", at(place))]
    Value {
        /// Where.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something that must be there is not.
    #[error("the document has no `{key}`{}", at(place))]
    Missing {
        /// The object that should have it; empty for the document itself.
        place: String,
        /// Its key.
        key: &'static str,
    },
    /// An object has a key twice: readers differ in which one they take.
    #[error("the document has the key `{key}` twice{}", at(place))]
    Duplicate {
        /// The object; empty for the document itself.
        place: String,
        /// An excerpt of the key.
        key: String,
    },
    /// A key that readers which ignore case take for one that matters.
    #[error("the document has the key `{key}`{}, which some readers take for `{known}`", at(place))]
    Case {
        /// The object; empty for the document itself.
        place: String,
        /// An excerpt of the key.
        key: String,
        /// The key that it resembles.
        known: &'static str,
    },
    /// The document is not of the kind that was asked for.
    #[error("the document is of the type {media_type}, not an {wanted}")]
    Kind {
        /// What was asked for.
        wanted: Kind,
        /// What the document is.
        media_type: MediaType,
    },
    /// The document was read, but does not fit the types of `oci-spec`.
    #[error("the document does not fit its type: {0}")]
    Typed(String),
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at `{place}`") }
}

fn version(version: Option<u64>) -> String {
    version.map_or_else(|| "missing".to_owned(), |number| number.to_string())
}

/// A rule that the pass saw broken; where, is known when the pass has ended.
pub(super) enum Broken {
    Schema1,
    SchemaVersion(u64),
    Ambiguous(&'static str),
    Value(String),
    Missing(&'static str),
    Duplicate(String),
    Case { key: String, known: &'static str },
}

/// One step from the place of an error up to the top.
pub(super) enum PathSegment {
    Key(&'static str),
    Index(usize),
}

impl InvalidManifest {
    /// What ended a pass: the broken rule, or else what the JSON reader says.
    pub(super) fn of_pass(broken: Option<Broken>, trail: &[PathSegment], error: &serde_json::Error) -> Self {
        let mut place = String::new();
        for step in trail.iter().rev() {
            // Writing to a String cannot fail.
            let _ = match step {
                PathSegment::Key(key) if place.is_empty() => write!(place, "{key}"),
                PathSegment::Key(key) => write!(place, ".{key}"),
                PathSegment::Index(index) => write!(place, "[{index}]"),
            };
        }
        match broken {
            Some(Broken::Schema1) => Self::Schema1,
            Some(Broken::SchemaVersion(version)) => Self::SchemaVersion(Some(version)),
            Some(Broken::Ambiguous(key)) => Self::Ambiguous(key),
            Some(Broken::Value(problem)) => Self::Value { place, problem },
            Some(Broken::Missing(key)) => Self::Missing { place, key },
            Some(Broken::Duplicate(key)) => Self::Duplicate { place, key: excerpt(&key) },
            Some(Broken::Case { key, known }) => Self::Case { place, key: excerpt(&key), known },
            None => {
                let problem = shortened(&error.to_string());
                if error.is_data() { Self::Value { place, problem } } else { Self::Syntax { place, problem } }
            }
        }
    }
}

/// A message of the JSON reader, which may quote a text of any length, without its middle.
pub(super) fn shortened(message: &str) -> String {
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
    fn a_long_message_is_shown_without_its_middle() {
        assert_eq!(shortened(&"y".repeat(160)), "y".repeat(160));
        let message = format!("{}{}{}", "a".repeat(80), "b", "c".repeat(80));
        assert_eq!(shortened(&message), format!("{}... {}", "a".repeat(80), "c".repeat(80)));
        assert_eq!(shortened("a\n\"b\""), r#"a\n\"b\""#);
    }
}
