//! Files with media types, and annotations, as arguments.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use oci_proto::MediaType;

use crate::args::mistake::Mistake;

/// A file, and its media type if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileArg {
    pub(crate) path: PathBuf,
    pub(crate) media_type: Option<MediaType>,
}

impl FileArg {
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().map(|text| Self::parse(&text))
    }

    /// The parser of a config, which has a media type.
    pub(super) fn config_parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|text| {
            let file = Self::parse(&text);
            match &file.media_type {
                Some(_) => Ok(file),
                None => Err(Mistake::new(format!(
                    "`{0}` has no media type; add one, as in {0}:application/vnd.example.config.v1+json",
                    text.display()
                ))),
            }
        })
    }

    /// Splits a media type off the end. It contains a slash; other colons belong to the path.
    fn parse(text: &OsStr) -> Self {
        let split = text.to_str().and_then(|text| text.rsplit_once(':'));
        if let Some((path, media_type)) = split
            && !path.is_empty()
            && media_type.contains('/')
            && let Ok(media_type) = media_type.parse()
        {
            return Self { path: path.into(), media_type: Some(media_type) };
        }
        Self { path: OsString::from(text).into(), media_type: None }
    }
}

pub(super) fn annotation(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_media_type_is_split_from_a_path() {
        for (text, path, media_type) in [
            ("a.txt", "a.txt", None),
            ("a.txt:text/plain", "a.txt", Some("text/plain")),
            ("a:b.txt", "a:b.txt", None),
            ("a:b.txt:text/plain", "a:b.txt", Some("text/plain")),
            ("a:b/c", "a", Some("b/c")),
            ("a:./b", "a:./b", None),
            ("a:b/c/d", "a:b/c/d", None),
            ("a:", "a:", None),
            (":b/c", ":b/c", None),
        ] {
            let expected =
                FileArg { path: path.into(), media_type: media_type.map(|text| text.parse().unwrap()) };
            assert_eq!(FileArg::parse(text.as_ref()), expected, "{text}");
        }
    }

    #[test]
    fn an_annotation_has_a_key() {
        assert_eq!(annotation("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(annotation("a="), Ok(("a".to_owned(), String::new())));
        assert!(annotation("=b").is_err() && annotation("a").is_err());
    }
}
