//! The annotations in a document, which are parsed when they are asked for.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::manifest::read::values::Text;

/// Returns the annotations in a JSON object, in its order. A value that is no string is left out. If a key is no Unicode,
/// there are none.
pub(super) fn annotations(json: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut found = Vec::new();
    match serde_json::Deserializer::from_str(json).deserialize_map(Members(&mut found)) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

/// Returns the annotation with a key. There is none if the key occurs more than once: parsers differ in which counts.
pub(super) fn annotation<'a>(json: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let mut found = annotations(json).into_iter().filter(|(found, _)| found == key);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

struct Members<'f, 'de>(&'f mut Vec<(Cow<'de, str>, Cow<'de, str>)>);

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // A key is never null.
        while let Some(Some(key)) = map.next_key_seed(Text)? {
            if let Some(value) = map.next_value_seed(MaybeText)? {
                self.0.push((key, value));
            }
        }
        Ok(())
    }
}

/// A string, or any other value, which counts as absent.
struct MaybeText;

impl<'de> DeserializeSeed<'de> for MaybeText {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(Text.deserialize(&mut serde_json::Deserializer::from_str(value.get())).unwrap_or_default())
    }
}
