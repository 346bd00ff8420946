//! Platforms, and which of several fits best.

use std::fmt;
use std::str::FromStr;

use crate::types::digest::excerpt;

pub(crate) mod rank;

/// An operating system, an architecture, and their refinements.
///
/// The text form is `os/architecture[/variant]`, where the operating system's version may follow it
/// in parentheses: `windows(10.0.17763.1)/amd64`. Text is read as users write it: without case, and
/// with other names for the same thing (`macos`, `x86_64`, `x86-64`, `aarch64`, `i386`, `armhf`,
/// `armel`) replaced by Go's. What a document says is kept as it stands (see
/// [`from_parts`](Self::from_parts)), and those names count as equal when platforms are compared by
/// [`rank`](Self::rank).
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
    /// The longest part, in bytes.
    pub const MAX_PART_LEN: usize = 64;

    /// Takes the parts as a document gives them, and keeps them as they are.
    ///
    /// An empty variant or version counts as absent.
    ///
    /// # Errors
    /// The operating system or the architecture is empty, or a part is too long or has a character
    /// that is not a letter, a digit, `_`, `.` or `-`.
    pub fn from_parts(
        os: &str,
        architecture: &str,
        variant: Option<&str>,
        os_version: Option<&str>,
    ) -> Result<Self, InvalidPlatform> {
        let optional = |part: Option<&str>| part.filter(|text| !text.is_empty()).map(valid).transpose();
        Ok(Self {
            os: valid(os)?,
            architecture: valid(architecture)?,
            variant: optional(variant)?,
            os_version: optional(os_version)?,
        })
    }

    /// The operating system, one of Go's GOOS values.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, one of Go's GOARCH values.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The architecture's variant, such as `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The operating system's version.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
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
            return Err(invalid("a part is empty; leave out its slash or parentheses too"));
        }
        let written = Self::from_parts(os, architecture, variant, os_version)
            .map_err(|InvalidPlatform { problem, .. }| invalid(problem))?;
        let normal = Normal::of(&written);
        Ok(Self {
            os: normal.os.into(),
            architecture: normal.architecture.into(),
            variant: normal.variant.map(Into::into),
            os_version: written.os_version,
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

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: {problem}")]
pub struct InvalidPlatform {
    text: String,
    problem: &'static str,
}

fn valid(part: &str) -> Result<Box<str>, InvalidPlatform> {
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

/// A platform with Go's names, in lower case, and variants with their `v`.
struct Normal {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Normal {
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
    fn other_names_for_the_same_thing_are_replaced_in_text() {
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
    fn what_a_document_says_is_kept_and_compared_by_meaning() {
        let offered = Platform::from_parts("Linux", "x86_64", Some(""), Some("")).unwrap();
        assert_eq!((offered.os(), offered.architecture()), ("Linux", "x86_64"));
        assert_eq!((offered.variant(), offered.os_version()), (None, None));
        assert_eq!(platform("linux/amd64").rank(&offered), Some(Rank::EXACT));
    }

    #[test]
    fn refuses_what_is_not_a_platform() {
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
