//! Values as strings in serde's formats, parsed as strictly as their text elsewhere.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;

/// Parses a string without copying it first.
struct Text<T>(PhantomData<T>, &'static str);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($type:ty, $name:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData, $name))
            }
        }
    )*};
}

as_text! {
    Digest, "a digest";
    MediaType, "a media type";
    Platform, "a platform such as linux/arm64";
    Reference, "a reference to content in a registry";
    Registry, "a registry";
    Repository, "a repository";
    Tag, "a tag";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_text<T>(valid: &[&str], invalid: &[&str])
    where
        T: Serialize
            + for<'de> Deserialize<'de>
            + FromStr<Err: fmt::Debug + fmt::Display>
            + PartialEq
            + fmt::Debug,
    {
        for text in valid {
            let json = serde_json::to_string(text).unwrap();
            let value: T = serde_json::from_str(&json).unwrap();
            assert_eq!(value, text.parse().unwrap());
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
        for text in invalid {
            let error = serde_json::from_str::<T>(&serde_json::to_string(text).unwrap()).unwrap_err();
            let parsed = text.parse::<T>().unwrap_err().to_string();
            assert!(error.to_string().starts_with(&parsed), "{error}");
        }
        assert!(serde_json::from_str::<T>("1").unwrap_err().to_string().contains("expected a"));
    }

    #[test]
    fn values_are_strings_and_parsed_strictly() {
        let sha256 = format!("sha256:{}", "0a".repeat(32));
        let upper = sha256.replace('a', "A");
        assert_text::<Digest>(&[&sha256], &[&upper, "", "sha256:00"]);
        assert_text::<MediaType>(&["application/vnd.oci.image.manifest.v1+json"], &["json", "a/b\n"]);
        assert_text::<Platform>(&["linux/arm/v7", "windows(10.0.17763.1)/amd64"], &["linux", "linux//v7"]);
        let reference = format!("registry.example:5000/team/app:1.0@{sha256}");
        assert_text::<Reference>(&[&reference, "docker.io/library/ubuntu:latest"], &["UPPER", "a b"]);
        assert_text::<Registry>(&["registry.example", "[::1]:5000"], &["https://registry.example"]);
        assert_text::<Repository>(&["team/app"], &["Team", "/"]);
        assert_text::<Tag>(&["v1.0"], &["", ".a"]);
    }
}
