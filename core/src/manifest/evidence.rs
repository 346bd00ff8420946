//! Determines the type of a document.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::manifest::error::InvalidManifest;
use crate::manifest::pass::{Document, Purpose};
use crate::manifest::read::read;
use crate::manifest::table::Table;
use crate::types::media_type::{Kind, MediaType};

/// Evidence of a document's type besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "new evidence changes every caller")]
pub struct Evidence<'a> {
    /// The verbatim value of the Content-Type header.
    pub content_type: Option<&'a str>,
    /// The media type in the descriptor that refers to the document.
    pub expected: Option<&'a MediaType>,
}

/// Determines a document's type, and parses it if it is an image or an index.
pub(super) fn decide(
    raw: &[u8],
    evidence: Evidence<'_>,
    purpose: Purpose,
) -> Result<(MediaType, Table), InvalidManifest> {
    let header = content_type(evidence.content_type, raw)?;
    let expected = evidence.expected.and_then(specific);
    let claims = Claims { header, document: None, expected };
    claims.agree()?;
    match (&claims.header, &claims.expected) {
        // The type of an opaque document is trusted.
        (Some(header), _) if header.kind() == Kind::Other => claims.leaf(),
        (None, Some(expected)) if expected.kind() == Kind::Other => {
            claims.with_document(own_type(raw).as_ref())?.leaf()
        }
        _ => match read(raw, purpose) {
            Ok(document) => claims.with_document(document.media_type.as_ref())?.check_structure(document),
            // The rules for images and indexes do not apply to a document that declares another type.
            Err(refused) => match own_type(raw).filter(|own| own.kind() == Kind::Other) {
                Some(own) => claims.with_document(Some(&own))?.leaf(),
                None if raw.trim_ascii_start().starts_with(b"<") => Err(InvalidManifest::WebPage),
                None => Err(refused),
            },
        },
    }
}

/// Returns the type in the Content-Type header, if it is specific. A JSON document that is labelled as a web page is
/// judged by its content.
fn content_type(value: Option<&str>, raw: &[u8]) -> Result<Option<MediaType>, InvalidManifest> {
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return Ok(None) };
    let media_type: MediaType =
        value.parse().map_err(|reason| InvalidManifest::ContentType(format!("{reason}")))?;
    if media_type.is_web_page() {
        let is_json = raw.trim_ascii_start().starts_with(b"{");
        return if is_json { Ok(None) } else { Err(InvalidManifest::WebPage) };
    }
    Ok(specific(&media_type))
}

/// Returns the type unless it is generic.
fn specific(media_type: &MediaType) -> Option<MediaType> {
    (!media_type.is_generic()).then(|| media_type.clone())
}

/// The types that the evidence claims for the document. A generic type is not a claim.
struct Claims {
    header: Option<MediaType>,
    document: Option<MediaType>,
    expected: Option<MediaType>,
}

const HEADER: &str = "the Content-Type header";
const DOCUMENT: &str = "the document's mediaType";
const EXPECTED: &str = "its descriptor";
const STRUCTURE: &str = "the document's structure";

impl Claims {
    fn with_document(self, own: Option<&MediaType>) -> Result<Self, InvalidManifest> {
        let document = own.and_then(specific);
        let claims = Self { document, ..self };
        claims.agree()?;
        Ok(claims)
    }

    fn agree(&self) -> Result<(), InvalidManifest> {
        let mut claims = self.all();
        let Some((first, media_type)) = claims.next() else { return Ok(()) };
        if let Some((second, other)) = claims.find(|(_, other)| *other != media_type) {
            return Err(conflict(first, media_type, second, &format!("`{other}`")));
        }
        if media_type.is_schema1() { Err(InvalidManifest::Schema1) } else { Ok(()) }
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &MediaType)> {
        [(HEADER, &self.header), (DOCUMENT, &self.document), (EXPECTED, &self.expected)]
            .into_iter()
            .filter_map(|(source, claim)| Some((source, claim.as_ref()?)))
    }

    fn leaf(self) -> Result<(MediaType, Table), InvalidManifest> {
        let media_type = self.header.or(self.document).or(self.expected);
        Ok((media_type.ok_or(InvalidManifest::Unrecognised)?, Table::default()))
    }

    /// Checks the claims against a parsed document.
    fn check_structure(self, document: Document) -> Result<(MediaType, Table), InvalidManifest> {
        let Some((source, media_type)) = self.all().next() else {
            return from_structure(document);
        };
        let like_image = document.has_config || document.has_layers;
        match media_type.kind() {
            Kind::Other => return self.leaf(),
            Kind::Index if like_image => return Err(conflict(source, media_type, STRUCTURE, "an image")),
            Kind::Image if document.has_manifests => {
                return Err(conflict(source, media_type, STRUCTURE, "an index"));
            }
            Kind::Index | Kind::Image => {}
        }
        if document.schema_version != Some(2) {
            return Err(InvalidManifest::SchemaVersion(document.schema_version));
        }
        let required: &[_] = match media_type.kind() {
            Kind::Index => &[("manifests", document.has_manifests)],
            _ => &[("config", document.has_config), ("layers", document.has_layers)],
        };
        match required.iter().find(|(_, present)| !present) {
            Some((key, _)) => Err(missing(key, &document)),
            None => Ok((media_type.clone(), document.table)),
        }
    }
}

fn from_structure(document: Document) -> Result<(MediaType, Table), InvalidManifest> {
    let media_type = if document.has_manifests {
        MediaType::OCI_INDEX
    } else if document.has_config && document.has_layers {
        MediaType::OCI_MANIFEST
    } else {
        return Err(match document.nulls.first() {
            Some(key) if document.schema_version == Some(2) => missing(key, &document),
            _ => InvalidManifest::Unrecognised,
        });
    };
    match document.schema_version {
        Some(2) => Ok((media_type, document.table)),
        other => Err(InvalidManifest::SchemaVersion(other)),
    }
}

/// The error of a required property that is missing or null.
fn missing(key: &'static str, document: &Document) -> InvalidManifest {
    if !document.nulls.contains(&key) {
        return InvalidManifest::Missing { place: String::new(), key };
    }
    let expected = if key == "config" { "a descriptor" } else { "an array of descriptors" };
    InvalidManifest::Value { place: key.to_owned(), problem: format!("null is not {expected}") }
}

fn conflict(
    first: &'static str,
    media_type: &MediaType,
    second: &'static str,
    says: &str,
) -> InvalidManifest {
    let first_says = format!("`{media_type}`");
    InvalidManifest::Conflict { first, first_says, second, second_says: says.to_owned() }
}

/// Returns the `mediaType` of a document that need not be valid otherwise. Returns `None` if it is not
/// a JSON object, or has no such key, or has it more than once.
fn own_type(raw: &[u8]) -> Option<MediaType> {
    struct Sniff;

    impl<'de> Visitor<'de> for Sniff {
        type Value = Option<MediaType>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut own = None;
            let mut count = 0;
            while let Some(key) = map.next_key::<String>()? {
                if key == "mediaType" {
                    own = map.next_value::<Option<String>>()?.and_then(|text| text.parse().ok());
                    count += 1;
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(own.filter(|_| count == 1))
        }
    }

    let mut json = serde_json::Deserializer::from_slice(raw);
    let own = json.deserialize_map(Sniff).ok()?;
    json.end().ok()?;
    own.as_ref().and_then(specific)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THING: &str = "application/vnd.example.thing";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const BLOB: &str = r#"{"mediaType":"a/b","digest":"x:y","size":1}"#;

    /// Returns the determined type of a document, or the error message.
    fn found(header: Option<&str>, descriptor: Option<&str>, document: &str) -> String {
        let expected = descriptor.map(|text| text.parse().unwrap());
        let evidence = Evidence { content_type: header, expected: expected.as_ref() };
        let document = document.replace("THING", THING).replace("BLOB", BLOB);
        match decide(document.as_bytes(), evidence, Purpose::Manifest) {
            Ok((media_type, _)) => media_type.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_document_of_another_type_need_not_follow_image_rules() {
        for document in
            [r#"{"mediaType":"THING","layers":7}"#, r#"{"Layers":1,"mediaType":"THING","layers":7}"#]
        {
            assert_eq!(found(None, None, document), THING, "{document}");
            assert_eq!(found(Some("application/json"), Some(THING), document), THING, "{document}");
            assert_eq!(found(Some(THING), None, document), THING, "{document}");
        }
        // The Content-Type decides alone.
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        assert_eq!(found(Some(THING), None, index), THING);
        assert!(found(None, Some(THING), index).contains("conflict"), "{}", found(None, Some(THING), index));
        // The declaration must be unique, at the top level and in valid JSON.
        for (document, why) in [
            (r#"{"mediaType":"THING","mediaType":"THING"}"#, "the document has the key `mediaType` twice"),
            (r#"{"layers":[{"mediaType":"THING"}]}"#, "the document has no `digest`"),
            (r#"{"mediaType":"THING","layers":7} {}"#, "the document has an invalid value"),
            (r#"["mediaType","THING"]"#, "the document has an invalid value"),
        ] {
            let found = found(None, None, document);
            assert!(found.starts_with(why), "{document} returned {found:?}");
        }
    }

    #[test]
    fn content_of_another_descriptor_type_may_be_anything() {
        for document in ["", "no JSON", "{}", r#"{"mediaType":"THING"}"#, r#"{"mediaType":"text/plain"}"#] {
            assert_eq!(found(None, Some(THING), document), THING, "{document}");
        }
        let other = found(None, Some(THING), r#"{"mediaType":"application/vnd.example.other"}"#);
        assert!(other.starts_with("conflicting document types: the document's mediaType says"), "{other}");
    }

    #[test]
    fn the_structure_decides_without_other_evidence() {
        for (document, expected) in [
            (r#"{"schemaVersion":2,"manifests":[]}"#, INDEX),
            (
                r#"{"schemaVersion":2,"config":BLOB,"layers":[]}"#,
                "application/vnd.oci.image.manifest.v1+json",
            ),
            (r#"{"schemaVersion":2,"config":BLOB}"#, "cannot determine the document's type"),
            (r#"{"schemaVersion":2,"layers":[]}"#, "cannot determine the document's type"),
            (r#"{"manifests":[]}"#, "the document's schemaVersion is missing"),
        ] {
            let found = found(None, None, document);
            assert!(found.starts_with(expected), "{document} returned {found:?}");
        }
    }

    #[test]
    fn null_in_place_of_a_required_property_is_named() {
        let image = "application/vnd.oci.image.manifest.v1+json";
        for (media_type, document, key, expected) in [
            (INDEX, r#"{"schemaVersion":2,"manifests":null}"#, "manifests", "an array of descriptors"),
            (
                image,
                r#"{"schemaVersion":2,"config":BLOB,"layers":null}"#,
                "layers",
                "an array of descriptors",
            ),
            (image, r#"{"schemaVersion":2,"config":null,"layers":[]}"#, "config", "a descriptor"),
        ] {
            let message = format!("the document has an invalid value at `{key}`: null is not {expected}");
            assert_eq!(found(Some(media_type), None, document), message);
            assert_eq!(found(None, None, document), message, "its structure shows what it is");
        }
        let missing = found(Some(INDEX), None, r#"{"schemaVersion":2}"#);
        assert_eq!(missing, "the document has no `manifests`");
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        let found = found(Some(INDEX), None, "\u{feff}{\"schemaVersion\":2,\"manifests\":[]}");
        assert!(found.contains("starts with a byte order mark"), "{found}");
    }

    #[test]
    fn a_declared_index_must_not_have_image_properties() {
        for document in [r#"{"schemaVersion":2,"config":BLOB}"#, r#"{"schemaVersion":2,"layers":[]}"#] {
            let found = found(Some(INDEX), None, document);
            assert!(
                found.ends_with("and the document's structure says an image"),
                "{document} returned {found:?}"
            );
        }
    }
}
