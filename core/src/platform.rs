//! Platforms, and which of several fits best.

use std::fmt;
use std::str::FromStr;

/// An operating system, an architecture, and their refinements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: Box<str>,
    architecture: Box<str>,
    variant: Option<Box<str>>,
    os_version: Option<Box<str>>,
}

impl Platform {
    /// Reads `os/arch[/variant]` where each part is already separate.
    ///
    /// # Errors
    /// A part is empty, too long, or has a character outside the grammar.
    pub fn from_parts(
        os: &str,
        architecture: &str,
        variant: Option<&str>,
        os_version: Option<&str>,
    ) -> Result<Self, InvalidPlatform> {
        let _ = (os, architecture, variant, os_version);
        todo!()
    }
    /// GOOS.
    pub fn os(&self) -> &str {
        &self.os
    }
    /// GOARCH.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }
    /// Variant.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }
    /// os.version.
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }
    /// How well `offered` serves somebody who asks for `self`; smaller is better; none if it does not.
    pub fn rank(&self, offered: &Self) -> Option<Rank> {
        let _ = offered;
        todo!()
    }
}

/// How well a platform fits: smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// The entry names no platform: the last resort.
    pub const LAST_RESORT: Self = Self(u8::MAX);
    /// Nothing fits better.
    pub const EXACT: Self = Self(0);
}

impl FromStr for Platform {
    type Err = InvalidPlatform;
    fn from_str(_: &str) -> Result<Self, InvalidPlatform> {
        todo!()
    }
}
impl fmt::Display for Platform {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: {problem}")]
pub struct InvalidPlatform {
    text: String,
    problem: &'static str,
}
