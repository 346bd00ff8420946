//! What users name: registry, repository, tag, digest.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// A reference to something in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: Registry,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// Names a tag in a repository.
    pub fn with_tag(registry: Registry, repository: Repository, tag: Tag) -> Self {
        Self { registry, repository, tag: Some(tag), digest: None }
    }
    /// Names a digest in a repository.
    pub fn with_digest(registry: Registry, repository: Repository, digest: Digest) -> Self {
        Self { registry, repository, tag: None, digest: Some(digest) }
    }
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
    /// The tag.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }
    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;
    fn from_str(_: &str) -> Result<Self, InvalidReference> {
        todo!()
    }
}
impl fmt::Display for Reference {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// A registry: host and port. (`docker.io` has another API host.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(Box<str>);

impl Registry {
    /// The name as users write it, canonical (`docker.io`).
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The authority that requests go to: host and optional port (`registry-1.docker.io`).
    pub fn api_authority(&self) -> http::uri::Authority {
        todo!()
    }
    /// The host alone of the API authority, without brackets or port.
    pub fn api_host(&self) -> &str {
        todo!()
    }
    /// The key in a credentials file.
    pub fn credentials_key(&self) -> &str {
        todo!()
    }
    /// Whether the host is this machine's loopback (`localhost`, 127.0.0.0/8, `::1`).
    pub fn is_loopback(&self) -> bool {
        todo!()
    }
}
impl FromStr for Registry {
    type Err = InvalidReference;
    fn from_str(_: &str) -> Result<Self, InvalidReference> {
        todo!()
    }
}
impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Box<str>);
impl Repository {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for Repository {
    type Err = InvalidReference;
    fn from_str(_: &str) -> Result<Self, InvalidReference> {
        todo!()
    }
}
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);
impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for Tag {
    type Err = InvalidReference;
    fn from_str(_: &str) -> Result<Self, InvalidReference> {
        todo!()
    }
}
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a reference: {problem}")]
pub struct InvalidReference {
    text: String,
    problem: &'static str,
}
