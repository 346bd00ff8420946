//! The platform in the config of an image.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::types::platform::Platform;

impl Platform {
    /// Returns the platform in the config of an image. One that is incomplete or invalid counts as absent.
    ///
    /// Source: image-spec, config.md.
    pub(crate) fn of_config(json: &[u8]) -> Option<Self> {
        let parts = serde_json::Deserializer::from_slice(json).deserialize_map(Parts::default()).ok()?;
        let [os, architecture, variant, os_version] = &parts.0;
        Self::from_parts(os.as_deref()?, architecture.as_deref()?, variant.as_deref(), os_version.as_deref())
            .ok()
    }
}

/// The members with these [`NAMES`].
#[derive(Default)]
struct Parts([Option<String>; 4]);

const NAMES: [&str; 4] = ["os", "architecture", "variant", "os.version"];

impl<'de> Visitor<'de> for Parts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the config of an image")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        let mut unseen = NAMES.to_vec();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match NAMES.iter().zip(&mut self.0).find(|(known, _)| **known == name) {
                Some((known, part)) => {
                    let at = unseen.iter().position(|name| name == known);
                    unseen.swap_remove(at.ok_or_else(|| A::Error::custom("duplicate member"))?);
                    *part = map.next_value()?;
                }
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_that_of_the_config() {
        for (json, expected) in [
            (
                r#"{"architecture":"arm64","os":"linux","variant":"v8","config":{"os":"x"}}"#,
                Some("linux/arm64/v8"),
            ),
            (
                r#"{"os":"windows","os.version":"10.0.1","architecture":"amd64"}"#,
                Some("windows(10.0.1)/amd64"),
            ),
            (r#"{"os":"linux","architecture":"amd64","variant":null}"#, Some("linux/amd64")),
            (r#"{"os":"linux"}"#, None),
            (r#"{"os":"linux","architecture":"amd64","os":"linux"}"#, None),
            (r#"{"os":"linux","architecture":"amd64","variant":null,"variant":"v8"}"#, None),
            (r#"{"os":"linux","architecture":"amd64","config":{},"config":{}}"#, Some("linux/amd64")),
            (r#"{"os":"","architecture":""}"#, None),
            (r#"{"os":1,"architecture":"amd64"}"#, None),
            (r#"{"os":"linux","architecture":"a/b"}"#, None),
            ("{}", None),
            ("[]", None),
            ("", None),
        ] {
            let platform = Platform::of_config(json.as_bytes());
            assert_eq!(platform.map(|platform| platform.to_string()).as_deref(), expected, "{json}");
        }
    }
}
