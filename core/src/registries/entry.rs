//! An entry in the configuration of registries.

use crate::registries::prefix::{Namespace, Prefix};

/// The rules for the references with a prefix: where their content is, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    pub(crate) prefix: Prefix,
    pub(crate) location: Option<Namespace>,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirrors: Vec<Mirror>,
}

impl RegistryEntry {
    /// Creates an entry for the references with a prefix, which changes nothing.
    pub fn new(prefix: Prefix) -> Self {
        Self { prefix, location: None, insecure: false, blocked: false, mirrors: Vec::new() }
    }

    /// Replaces the prefix in references: their content is read from, and written to, the repositories at `location`.
    #[must_use]
    pub fn location(mut self, location: Namespace) -> Self {
        self.location = Some(location).filter(|location| self.prefix.namespace().as_ref() != Some(location));
        self
    }

    /// Sets whether the registry is accessed over plain HTTP.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Sets whether all operations on these references are refused.
    #[must_use]
    pub fn blocked(mut self, blocked: bool) -> Self {
        self.blocked = blocked;
        self
    }

    /// Adds a mirror, which is asked for content after those that were added before.
    #[must_use]
    pub fn mirror(mut self, mirror: Mirror) -> Self {
        self.mirrors.push(mirror);
        self
    }

    /// Returns the prefix.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }
}

/// A registry with copies of the content of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub(crate) location: Namespace,
    pub(crate) insecure: bool,
    pub(crate) pulls: MirrorPulls,
}

impl Mirror {
    /// Creates a mirror at a location, which replaces the prefix in references.
    pub fn new(location: Namespace, pulls: MirrorPulls) -> Self {
        Self { location, insecure: false, pulls }
    }

    /// Sets whether the mirror is accessed over plain HTTP.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }
}

/// The references for which a mirror is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a reference has a digest or only a tag")]
pub enum MirrorPulls {
    /// All references. The mirror says which content a tag names.
    #[default]
    All,
    /// References with a digest. A tag is resolved at the registry itself, and the content then read from the mirror.
    DigestOnly,
    /// References without a digest. The mirror says which content the tag names.
    TagOnly,
}

impl MirrorPulls {
    /// Returns the value with this name, as in `registries.conf`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::All, Self::DigestOnly, Self::TagOnly].into_iter().find(|pulls| pulls.as_str() == name)
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::DigestOnly => "digest-only",
            Self::TagOnly => "tag-only",
        }
    }
}
