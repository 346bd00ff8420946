//! The `oci-layout` file.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use crate::manifest::keys::eq_ignore_case;
use crate::manifest::read::{BYTE_ORDER_MARK, BYTE_ORDER_MARK_FOUND};
use crate::types::digest::excerpt;

/// The maximum size of an `oci-layout` file, in bytes. Its one property takes 30 bytes; the rest is
/// room for future properties.
pub const MARKER_BYTES: u64 = 4 << 10;

const KEY: &str = "imageLayoutVersion";
const VERSION: &str = "1.0.0";

/// Returns the contents of a new layout's `oci-layout` file.
pub fn marker() -> &'static [u8] {
    br#"{"imageLayoutVersion":"1.0.0"}"#
}

/// Checks the contents of an `oci-layout` file: a JSON object with exactly one property
/// `imageLayoutVersion`, equal to `1.0.0`. Other properties are ignored.
///
/// Source: image-spec, image-layout.md, "oci-layout file".
///
/// # Errors
/// Fails if the contents are anything else, or longer than [`MARKER_BYTES`].
pub fn check_marker(bytes: &[u8]) -> Result<(), InvalidMarker> {
    if bytes.len() as u64 > MARKER_BYTES {
        return Err(InvalidMarker::TooLarge);
    }
    // The JSON parser does not check skipped values for UTF-8, so check all of the text first.
    let text = str::from_utf8(bytes).map_err(|error| InvalidMarker::Malformed(error.to_string()))?;
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(InvalidMarker::Malformed(BYTE_ORDER_MARK_FOUND.to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let version = json.deserialize_map(Version).and_then(|version| json.end().map(|()| version));
    match version {
        Ok(Some(version)) if version == VERSION => Ok(()),
        Ok(Some(version)) => Err(InvalidMarker::Version(excerpt(&version))),
        Ok(None) => Err(InvalidMarker::NoVersion),
        Err(error) => Err(InvalidMarker::Malformed(excerpt(&error.to_string()))),
    }
}

/// The error returned when an `oci-layout` file is invalid. Excerpts are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMarker {
    /// The file has more than [`MARKER_BYTES`] bytes.
    #[error("it has more than {MARKER_BYTES} bytes")]
    TooLarge,
    /// The file is not a JSON object, or its `imageLayoutVersion` is repeated or not a string.
    #[error("it is not a JSON object with one string `imageLayoutVersion`: {0}")]
    Malformed(String),
    /// The file has no `imageLayoutVersion`.
    #[error("it has no `imageLayoutVersion`")]
    NoVersion,
    /// The layout has another version.
    #[error("the layout's version is `{0}`, but only {VERSION} is supported")]
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
            } else if eq_ignore_case(&key, KEY) {
                return Err(A::Error::custom("another key differs from it only in case"));
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
    fn the_version_is_checked_and_other_properties_are_ignored() {
        assert_eq!(check_marker(marker()), Ok(()));
        assert_eq!(
            check_marker(b" {\"x\": [{}], \"imageLayoutVersion\" : \"1.0.0\", \"y\": null}\n"),
            Ok(())
        );
    }

    #[test]
    fn anything_else_is_rejected_with_its_reason() {
        for (text, expected) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            ("\u{feff}{}", "byte order mark"),
            (
                "null",
                "not a JSON object with one string `imageLayoutVersion`: invalid type: null, expected an object",
            ),
            (r#"{"imageLayoutVersion":"1.0.0"}{}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":1}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":null}"#, "not a JSON object"),
            (r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#, "duplicate"),
            (r#"{"imageLayoutVersion":"1.0.0","imagelayoutversion":"2"}"#, "another key"),
            (r#"{"imageLayoutVersion":"1.0.0","imageLayoutVer\u017fion":"2"}"#, "another key"),
            ("{}", "no `imageLayoutVersion`"),
            (r#"{"imageLayoutVersion":"1.1.0"}"#, "`1.1.0`"),
            (r#"{"imageLayoutVersion":""}"#, "version is ``"),
        ] {
            let error = check_marker(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text} gave {error:?}, which lacks {expected:?}");
        }
        let skipped = b"{\"imageLayoutVersion\":\"1.0.0\",\"x\":\"\xff\"}";
        assert!(matches!(check_marker(skipped), Err(InvalidMarker::Malformed(_))));
        let long = format!(r#"{{"imageLayoutVersion":"1.0.0","x":"{}"}}"#, "x".repeat(4096));
        assert_eq!(check_marker(long.as_bytes()), Err(InvalidMarker::TooLarge));
        let longest = format!("{:4096}", r#"{"imageLayoutVersion":"1.0.0"}"#);
        assert_eq!(check_marker(longest.as_bytes()), Ok(()));
    }
}
