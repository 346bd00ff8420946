//! The `oci-layout` file.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use crate::types::digest::excerpt;

/// The most bytes that an `oci-layout` file may have. It has one short property; others may be added, and a
/// hundred times as much leaves room for them.
pub const MARKER_BYTES: u64 = 4 << 10;

const KEY: &str = "imageLayoutVersion";
const VERSION: &str = "1.0.0";

/// What the `oci-layout` file of a new layout holds.
pub fn marker() -> &'static [u8] {
    br#"{"imageLayoutVersion":"1.0.0"}"#
}

/// Reads what an `oci-layout` file holds: one JSON object with the property `imageLayoutVersion`, once, which
/// is `1.0.0`. Other properties may be there, and are not read.
///
/// Source: image-spec, image-layout.md, "oci-layout file".
///
/// # Errors
/// It holds something else, or more than [`MARKER_BYTES`] bytes.
pub fn check_marker(bytes: &[u8]) -> Result<(), InvalidMarker> {
    if bytes.len() as u64 > MARKER_BYTES {
        return Err(InvalidMarker::TooLarge);
    }
    // What is skipped is not looked at: that all of it is text is asked first.
    let text = str::from_utf8(bytes).map_err(|error| InvalidMarker::Malformed(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let version = json.deserialize_map(Version).and_then(|version| json.end().map(|()| version));
    match version {
        Ok(Some(version)) if version == VERSION => Ok(()),
        Ok(Some(version)) => Err(InvalidMarker::Version(excerpt(&version))),
        Ok(None) => Err(InvalidMarker::NoVersion),
        Err(error) => Err(InvalidMarker::Malformed(excerpt(&error.to_string()))),
    }
}

/// Why an `oci-layout` file is refused. Excerpts are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMarker {
    /// It has more than [`MARKER_BYTES`] bytes.
    #[error("it has more than {MARKER_BYTES} bytes")]
    TooLarge,
    /// It is not a JSON object, or has its one property twice, or that is not a string.
    #[error("it is not a JSON object with the one string `imageLayoutVersion`: {0}")]
    Malformed(String),
    /// It has no `imageLayoutVersion`.
    #[error("it has no `imageLayoutVersion`")]
    NoVersion,
    /// The layout is of another version.
    #[error("the layout's version is `{0}`, and only {VERSION} can be read")]
    Version(String),
}

struct Version;

impl<'de> Visitor<'de> for Version {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut version = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == KEY {
                if version.replace(map.next_value::<String>()?).is_some() {
                    return Err(A::Error::duplicate_field(KEY));
                }
            } else if key.eq_ignore_ascii_case(KEY) {
                return Err(A::Error::custom("some readers take another key for it"));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_and_other_properties_are_not() {
        assert_eq!(check_marker(marker()), Ok(()));
        assert_eq!(
            check_marker(b" {\"x\": [{}], \"imageLayoutVersion\" : \"1.0.0\", \"y\": null}\n"),
            Ok(())
        );
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (text, said) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            (
                "null",
                "not a JSON object with the one string `imageLayoutVersion`: invalid type: null, expected an object",
            ),
            (r#"{"imageLayoutVersion":"1.0.0"}{}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":1}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":null}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#, "duplicate"),
            (r#"{"imageLayoutVersion":"1.0.0","imagelayoutversion":"2"}"#, "another key"),
            ("{}", "no `imageLayoutVersion`"),
            (r#"{"imageLayoutVersion":"1.1.0"}"#, "`1.1.0`"),
            (r#"{"imageLayoutVersion":""}"#, "version is ``"),
        ] {
            let error = check_marker(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(said), "{text} gave {error:?}, which lacks {said:?}");
        }
        let skipped = b"{\"imageLayoutVersion\":\"1.0.0\",\"x\":\"\xff\"}";
        assert!(matches!(check_marker(skipped), Err(InvalidMarker::Malformed(_))));
        let long = format!(r#"{{"imageLayoutVersion":"1.0.0","x":"{}"}}"#, "x".repeat(4096));
        assert_eq!(check_marker(long.as_bytes()), Err(InvalidMarker::TooLarge));
        let longest = format!("{:4096}", r#"{"imageLayoutVersion":"1.0.0"}"#);
        assert_eq!(check_marker(longest.as_bytes()), Ok(()));
    }
}
