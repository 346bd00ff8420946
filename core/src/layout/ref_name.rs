//! Names of a layout's roots.

use std::fmt;
use std::str::FromStr;

use crate::types::digest::excerpt;
use crate::types::reference::Reference;
use crate::types::reference::name::Tag;

/// The name of a root in a layout: usually a tag, or a longer name such as `team/app:1.0`.
///
/// A name has one to 640 characters, each a letter, a digit, or one of `-._:@+/`. Every tag is a valid
/// name.
///
/// Source: image-spec, annotations.md, `org.opencontainers.image.ref.name`, for the set of characters.
/// The grammar there is stricter and excludes tags that registries allow, such as `_` and `1..0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(Box<str>);

impl RefName {
    /// The maximum length of a name, in bytes: that of the longest reference.
    pub const MAX_LEN: usize = Reference::MAX_LEN;

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RefName {
    type Err = InvalidRefName;

    fn from_str(text: &str) -> Result<Self, InvalidRefName> {
        let invalid = |problem| Err(InvalidRefName { text: excerpt(text), problem });
        if text.is_empty() {
            return invalid("it is empty");
        }
        if text.len() > Self::MAX_LEN {
            return invalid("it is longer than 640 bytes");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:@+/".contains(&b)) {
            return invalid("it has a character that is not a letter, a digit, or one of `-._:@+/`");
        }
        Ok(Self(text.into()))
    }
}

impl From<&Tag> for RefName {
    fn from(tag: &Tag) -> Self {
        Self(tag.as_str().into())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The error returned when a name of a root fails to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid name in a layout: {problem}")]
pub struct InvalidRefName {
    text: String,
    problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_use_the_characters_of_the_specification() {
        for text in ["latest", "_", "1..0", "docker.io/library/ubuntu:24.04", "a@sha256:0", &"a".repeat(640)]
        {
            assert_eq!(text.parse::<RefName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "a b", "caf\u{e9}", "a\0", "a\\b", "a\n", &"a".repeat(641)] {
            assert!(text.parse::<RefName>().is_err(), "{text:?} was accepted");
        }
        let tag: Tag = "a".repeat(128).parse().unwrap();
        assert_eq!(RefName::from(&tag), tag.as_str().parse().unwrap());
    }
}
