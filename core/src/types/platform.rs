//! Platforms: parsing, formatting and normalization.

use std::fmt;
use std::str::FromStr;

use crate::types::digest::excerpt;

mod config;
pub(crate) mod rank;

/// A platform: an operating system and an architecture, with an optional version and variant.
///
/// The text form is `os/architecture[/variant]`. A version in parentheses may follow the operating
/// system: `windows(10.0.17763.1)/amd64`. Parsing ignores case and replaces aliases (`macos`, `x86_64`,
/// `x86-64`, `aarch64`, `i386`, `armhf`, `armel`) with Go's names. The platforms of documents are kept
/// verbatim (see [`from_parts`](Self::from_parts)); [`rank`](Self::rank) treats aliases as equal.
///
/// Source: image-spec, image-index.md, "platform"; the text form and the names are containerd's.
///
/// ```
/// use oci_proto::Platform;
///
/// let asked: Platform = "linux/arm/v7".parse()?;
/// let offered = ["linux/amd64", "linux/arm/v6", "linux/arm/v8"];
/// let entries = offered.iter().map(|text| (text.parse::<Platform>().ok(), text));
/// assert_eq!(asked.best(entries), Some(&"linux/arm/v6"));
/// # Ok::<(), oci_proto::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: Box<str>,
    architecture: Box<str>,
    variant: Option<Box<str>>,
    os_version: Option<Box<str>>,
}

impl Platform {
    /// The maximum length of each part, in bytes.
    pub const MAX_PART_LEN: usize = 64;

    /// Creates a platform from the parts that a document gives, and keeps them verbatim.
    ///
    /// An empty variant or version is treated as absent.
    ///
    /// # Errors
    /// Fails if the operating system or the architecture is empty, or if a part is longer than
    /// [`MAX_PART_LEN`](Self::MAX_PART_LEN) or has a character other than letters, digits, `_`, `.` and
    /// `-`.
    pub fn from_parts(
        os: &str,
        architecture: &str,
        variant: Option<&str>,
        os_version: Option<&str>,
    ) -> Result<Self, InvalidPlatform> {
        let optional =
            |part: Option<&str>| part.filter(|text| !text.is_empty()).map(checked_part).transpose();
        Ok(Self {
            os: checked_part(os)?,
            architecture: checked_part(architecture)?,
            variant: optional(variant)?,
            os_version: optional(os_version)?,
        })
    }

    /// Parses the text form, and keeps the parts verbatim.
    pub(crate) fn verbatim(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = |problem| InvalidPlatform { text: excerpt(text), problem };
        let mut parts = text.split('/');
        let (Some(os), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid("write os/architecture or os/architecture/variant, as in `linux/arm64`"));
        };
        let (os, os_version) = match os.split_once('(') {
            None => (os, None),
            Some((os, version)) => match version.strip_suffix(')') {
                Some(version) => (os, Some(version)),
                None => return Err(invalid("the version's parenthesis is not closed before the slash")),
            },
        };
        if variant == Some("") || os_version == Some("") {
            return Err(invalid("a part is empty; omit its slash or parentheses too"));
        }
        Self::from_parts(os, architecture, variant, os_version)
            .map_err(|InvalidPlatform { problem, .. }| invalid(problem))
    }

    /// Returns the platform with its parts changed; a part that is not valid is kept.
    pub(crate) fn map_texts(&self, change: &mut impl FnMut(&str) -> String) -> Self {
        let mut changed = |part: &str| {
            let text = change(part);
            checked_part(&text).unwrap_or_else(|_| part.into())
        };
        Self {
            os: changed(&self.os),
            architecture: changed(&self.architecture),
            variant: self.variant.as_deref().map(&mut changed),
            os_version: self.os_version.as_deref().map(changed),
        }
    }

    /// Returns the operating system, one of Go's GOOS values.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the architecture, one of Go's GOARCH values.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the architecture's variant, such as `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Returns whether a part is `unknown`. Build tools assign `unknown/unknown` to attestations.
    pub fn is_unknown(&self) -> bool {
        let is_unknown = |part: &str| part.eq_ignore_ascii_case("unknown");
        is_unknown(&self.os) || is_unknown(&self.architecture)
    }

    /// Returns the operating system's version.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let verbatim = Self::verbatim(text)?;
        let normalized = Normalized::of(&verbatim);
        Ok(Self {
            os: normalized.os.into(),
            architecture: normalized.architecture.into(),
            variant: normalized.variant.map(Into::into),
            os_version: verbatim.os_version,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

/// The error returned when a platform fails to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: {problem}")]
pub struct InvalidPlatform {
    text: String,
    problem: &'static str,
}

fn checked_part(part: &str) -> Result<Box<str>, InvalidPlatform> {
    let problem = if part.is_empty() {
        "a part is empty"
    } else if part.len() > Platform::MAX_PART_LEN {
        "a part is longer than 64 bytes"
    } else if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
        "a part has a character that is not a letter, a digit, `_`, `.` or `-`"
    } else {
        return Ok(part.into());
    };
    Err(InvalidPlatform { text: excerpt(part), problem })
}

/// A normalized platform: Go's names in lower case, and variants with their `v`.
struct Normalized {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Normalized {
    fn of(platform: &Platform) -> Self {
        let mut os = platform.os.to_ascii_lowercase();
        if os == "macos" {
            "darwin".clone_into(&mut os);
        }
        let architecture = platform.architecture.to_ascii_lowercase();
        let mut variant = platform.variant().map(str::to_ascii_lowercase);
        let (architecture, implied) = match architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        if let Some(implied) = implied {
            variant = Some(implied.to_owned());
        }
        if matches!(architecture, "arm" | "arm64")
            && let Some(number) = &variant
            && matches!(number.as_str(), "5" | "6" | "7" | "8" | "9")
        {
            variant = Some(format!("v{number}"));
        }
        Self { os, architecture: architecture.to_owned(), variant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::platform::rank::Rank;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn aliases_are_replaced_when_parsing() {
        for (text, printed) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/x86-64/v2", "linux/amd64/v2"),
            ("macos/aarch64", "darwin/arm64"),
            ("linux/i386", "linux/386"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm", "linux/arm"),
            ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), printed);
            assert_eq!(platform(printed), platform(text));
        }
    }

    #[test]
    fn document_values_are_kept_verbatim_and_compared_by_meaning() {
        let offered = Platform::from_parts("Linux", "x86_64", Some(""), Some("")).unwrap();
        assert_eq!((offered.os(), offered.architecture()), ("Linux", "x86_64"));
        assert_eq!((offered.variant(), offered.os_version()), (None, None));
        assert_eq!(platform("linux/amd64").rank(&offered), Some(Rank::EXACT));
    }

    #[test]
    fn rejects_malformed_text() {
        let long = format!("linux/{}", "a".repeat(65));
        let very_long = "/".repeat(1 << 20);
        assert!(long[..long.len() - 1].parse::<Platform>().is_ok());
        for text in [
            "",
            "linux",
            "/",
            "linux/",
            "/amd64",
            "linux/arm/",
            "linux/arm/v7/x",
            "linux/a b",
            "linux/\u{e9}",
            "windows(1/amd64",
            "windows()/amd64",
            "windows(1)x/amd64",
            "linux/*",
            &long,
            &very_long,
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was accepted");
        }
    }
}
