//! Names within a registry: repositories and tags.

use std::fmt;
use std::str::FromStr;

use crate::types::reference::error::{InvalidReference, MAX_NAME_LEN, MAX_TAG_LEN, Problem};

/// A repository name: lower-case components separated by slashes.
///
/// Source: distribution-spec, "Pulling manifests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Box<str>);

impl Repository {
    /// The maximum length of a name, in bytes.
    pub const MAX_LEN: usize = MAX_NAME_LEN;

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the repository of this name in the namespace `library`. The result may exceed
    /// [`MAX_LEN`](Self::MAX_LEN).
    pub(super) fn in_library(&self) -> Self {
        Self(format!("library/{self}").into())
    }
}

impl FromStr for Repository {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem| Err(InvalidReference::new("a repository", text, problem));
        if text.len() > Self::MAX_LEN {
            return invalid(Problem::NameTooLong);
        }
        if text.is_empty() {
            return invalid(Problem::NoRepository);
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return invalid(Problem::UpperCaseRepository);
        }
        if !text.split('/').all(is_component) {
            return invalid(Problem::RepositoryGrammar);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A tag: a mutable name of a manifest.
///
/// Source: distribution-spec, "Pulling manifests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The maximum length of a tag, in bytes.
    pub const MAX_LEN: usize = MAX_TAG_LEN;

    /// Returns `latest`, the default for a reference with neither a tag nor a digest.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// Returns a tag of at most [`MAX_LEN`](Self::MAX_LEN) of these characters. Those that a tag cannot contain
    /// are replaced by `-`, and one that it cannot start with by `_`.
    pub(crate) fn replacing(text: impl Iterator<Item = char>) -> Self {
        let allowed = |c: char| if is_tag_char(c) { c } else { '-' };
        let mut tag: String = text.map(allowed).take(Self::MAX_LEN).collect();
        if !tag.starts_with(is_word) {
            // All characters are ASCII.
            tag.replace_range(..tag.len().min(1), "_");
        }
        Self(tag.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem| Err(InvalidReference::new("a tag", text, problem));
        if text.is_empty() {
            return invalid(Problem::EmptyTag);
        }
        if text.len() > Self::MAX_LEN {
            return invalid(Problem::TagTooLong);
        }
        if !text.starts_with(is_word) || !text.chars().all(is_tag_char) {
            return invalid(Problem::TagGrammar);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_tag_char(c: char) -> bool {
    is_word(c) || matches!(c, '.' | '-')
}

/// Returns whether `text` matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_in_words = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    ends_in_words
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_follow_the_grammar_of_the_specification() {
        for text in ["a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b", "a.b/c__d/e-f"] {
            assert!(text.parse::<Repository>().is_ok(), "{text:?} was rejected");
        }
        for text in [
            "", "/", "a/", "/a", "a//b", ".a", "a.", "-a", "a-", "_a", "a_", "a..b", "a___b", "a._b", "a-.b",
            "a b", "a:b", "a@b", "\u{e9}", "a%2fb", "../a", "a/../b", "a/./b", "A",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn other_characters_are_replaced_in_a_tag() {
        let long = "x".repeat(Tag::MAX_LEN + 1);
        for (text, expected) in
            [("a+b=c.d_e-f", "a-b-c.d_e-f"), ("\u{e9}a", "_a"), (".a", "_a"), ("", "_"), (&long, &long[1..])]
        {
            let tag = Tag::replacing(text.chars());
            assert_eq!(tag.as_str(), expected, "{text}");
            assert_eq!(tag.as_str().parse(), Ok(tag), "{text}");
        }
    }

    #[test]
    fn tags_follow_the_grammar_of_the_specification() {
        for text in ["a", "_", "A.b-c_d", "1.0"] {
            assert!(text.parse::<Tag>().is_ok(), "{text:?} was rejected");
        }
        for text in ["", ".a", "-a", "a/b", "a+b", "a b", "a\n", "\u{e9}"] {
            assert!(text.parse::<Tag>().is_err(), "{text:?} was accepted");
        }
    }
}
