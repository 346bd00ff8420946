//! Media types, and the kind of document that each known one names.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::types::digest::excerpt;

/// A media type without parameters, in lower case.
///
/// Source: RFC 6838, section 4.2 (names); image-spec, media-types.md (known types).
///
/// ```
/// use oci_proto::{Kind, MediaType};
///
/// let media_type: MediaType = "Application/vnd.oci.image.index.v1+json; charset=utf-8".parse()?;
/// assert_eq!(media_type, MediaType::OCI_INDEX);
/// assert_eq!(media_type.kind(), Kind::Index);
/// # Ok::<(), oci_proto::InvalidMediaType>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

impl MediaType {
    /// An OCI image index.
    pub const OCI_INDEX: Self = Self(Cow::Borrowed("application/vnd.oci.image.index.v1+json"));
    /// An OCI image manifest.
    pub const OCI_MANIFEST: Self = Self(Cow::Borrowed("application/vnd.oci.image.manifest.v1+json"));
    /// A Docker manifest list (schema 2).
    pub const DOCKER_LIST: Self =
        Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.list.v2+json"));
    /// A Docker image manifest (schema 2).
    pub const DOCKER_MANIFEST: Self =
        Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.v2+json"));
    /// A Docker schema 1 manifest. Not supported; the error names it.
    pub const DOCKER_SCHEMA1: Self =
        Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.v1+json"));
    /// A signed Docker schema 1 manifest. Not supported; the error names it.
    pub const DOCKER_SCHEMA1_SIGNED: Self =
        Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.v1+prettyjws"));
    /// The empty JSON object `{}`, the config of many artifacts.
    pub const OCI_EMPTY: Self = Self(Cow::Borrowed("application/vnd.oci.empty.v1+json"));

    /// Arbitrary bytes: the default for content without a more specific type.
    pub const OCTET_STREAM: Self = Self(Cow::Borrowed("application/octet-stream"));

    /// The types that nearly every document uses. Parsing one of them does not allocate.
    const KNOWN: &[Self] = &[
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::DOCKER_LIST,
        Self::DOCKER_MANIFEST,
        Self::DOCKER_SCHEMA1,
        Self::DOCKER_SCHEMA1_SIGNED,
        Self::OCI_EMPTY,
        Self::OCTET_STREAM,
        Self(Cow::Borrowed("application/vnd.oci.image.config.v1+json")),
        Self(Cow::Borrowed("application/vnd.oci.image.layer.v1.tar")),
        Self(Cow::Borrowed("application/vnd.oci.image.layer.v1.tar+gzip")),
        Self(Cow::Borrowed("application/vnd.oci.image.layer.v1.tar+zstd")),
        Self(Cow::Borrowed("application/vnd.docker.container.image.v1+json")),
        Self(Cow::Borrowed("application/vnd.docker.image.rootfs.diff.tar.gzip")),
    ];

    /// Returns the text, `type/subtype`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the type with its text changed, or `redacted/redacted` if the result is not a media type.
    pub(crate) fn map_text(&self, change: &mut impl FnMut(&str) -> String) -> Self {
        change(self.as_str()).parse().unwrap_or(Self(Cow::Borrowed("redacted/redacted")))
    }

    /// Returns the kind of document that the type names.
    pub fn kind(&self) -> Kind {
        if *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST {
            Kind::Index
        } else if *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST {
            Kind::Image
        } else {
            Kind::Other
        }
    }

    /// Returns whether the type is generic: any JSON, bytes or text.
    pub fn is_generic(&self) -> bool {
        matches!(
            self.as_str(),
            "application/json"
                | "application/octet-stream"
                | "binary/octet-stream"
                | "text/json"
                | "text/plain"
        )
    }

    /// Returns whether the type is a web page, which a proxy or login page returns in place of a
    /// registry's response.
    pub(crate) fn is_web_page(&self) -> bool {
        matches!(self.as_str(), "text/html" | "application/xhtml+xml")
    }

    /// Returns whether the type is the config of an image, which states its platform.
    pub(crate) fn is_image_config(&self) -> bool {
        matches!(
            self.as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        )
    }

    /// Returns whether the type is a non-distributable layer. Registries and layouts may lack its
    /// content, which is hosted elsewhere.
    ///
    /// Source: image-spec, layer.md, "Non-Distributable Layers".
    pub fn is_nondistributable(&self) -> bool {
        self.as_str().starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.as_str().starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Returns whether the type is a Docker schema 1 manifest.
    pub fn is_schema1(&self) -> bool {
        *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_SIGNED
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    /// Parses a media type and drops any parameters after `;`.
    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        if let Some(known) = Self::KNOWN.iter().find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let essence = text.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let is_restricted_name = |name: &str| {
            let mut bytes = name.bytes();
            name.len() <= 127
                && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
                && bytes.all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, subtype)) if is_restricted_name(kind) && is_restricted_name(subtype) => {
                Ok(Self(Cow::Owned(essence.to_ascii_lowercase())))
            }
            _ => Err(InvalidMediaType(excerpt(text))),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kind of a document, which determines the children it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a document is an index, an image, or opaque")]
pub enum Kind {
    /// An OCI index or a Docker manifest list: refers to other manifests.
    Index,
    /// An OCI or Docker image manifest, including artifacts: refers to a config and layers.
    Image,
    /// Any other type: a leaf whose content is not parsed.
    Other,
}

impl Kind {
    /// Returns the lower-case name, as used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Image => "image",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error returned when a media type fails to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a media type: expected `type/subtype`")]
pub struct InvalidMediaType(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_ignored() {
        for text in [
            "application/vnd.oci.image.manifest.v1+json",
            "APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON",
            "application/vnd.oci.image.manifest.v1+json;charset=utf-8",
            "  application/vnd.oci.image.manifest.v1+json ; charset=\"utf-8\"",
        ] {
            assert_eq!(text.parse(), Ok(MediaType::OCI_MANIFEST), "{text:?}");
        }
        let other: MediaType = "Text/HTML; charset=utf-8".parse().unwrap();
        assert_eq!(other.as_str(), "text/html");
        assert_eq!(other.kind(), Kind::Other);
    }

    #[test]
    fn web_pages_and_schema_1_are_recognised() {
        let read = |text: &str| text.parse::<MediaType>().unwrap();
        for (text, web_page, schema1) in [
            ("text/html", true, false),
            ("application/xhtml+xml", true, false),
            ("application/vnd.docker.distribution.manifest.v1+json", false, true),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", false, true),
            ("application/vnd.docker.distribution.manifest.v2+json", false, false),
        ] {
            assert_eq!((read(text).is_web_page(), read(text).is_schema1()), (web_page, schema1), "{text}");
        }
    }

    #[test]
    fn types_and_kinds_display_as_their_names() {
        assert_eq!(format!("{:?}", MediaType::OCI_INDEX), MediaType::OCI_INDEX.as_str());
        let kinds = [Kind::Index, Kind::Image, Kind::Other].map(|kind| kind.to_string());
        assert_eq!(kinds, ["index", "image", "other"]);
        assert_eq!(format!("{:>6}", Kind::Index), " index");
    }

    #[test]
    fn rejects_anything_but_type_slash_subtype() {
        let long = format!("application/{}", "a".repeat(128));
        for text in
            ["", ";", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", "application", "a/\u{e9}", "a/b\0", &long]
        {
            assert!(text.parse::<MediaType>().is_err(), "{text:?} was accepted");
        }
    }
}
