//! References: registry, repository, tag and digest.

use std::fmt;
use std::str::FromStr;

use crate::types::digest::Digest;
use crate::types::reference::error::{InvalidReference, MAX_NAME_LEN, MAX_REFERENCE_LEN, Problem};
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;
use crate::types::reference::tag_or_digest::TagOrDigest;

pub(crate) mod error;
pub(crate) mod name;
pub(crate) mod registry;
pub(crate) mod tag_or_digest;
pub(crate) mod user_info;

/// A reference to content in a registry: a registry, a repository, and a tag, a digest or both.
///
/// Short forms are expanded as Docker expands them: `ubuntu` is `docker.io/library/ubuntu:latest`. The
/// first component is a registry if it contains a dot, a colon or an upper-case letter, or is
/// `localhost`. If a reference has both a tag and a digest, content is requested by the tag and verified
/// against the digest; a deletion, or a question whether it exists, concerns the digest alone. `Display` prints the
/// full form, which parses back to the same value.
///
/// Source: distribution-spec, "Pulling manifests" (repository, tag and total length).
///
/// ```
/// use oci_proto::Reference;
///
/// let reference: Reference = "ubuntu".parse()?;
/// assert_eq!(reference.to_string(), "docker.io/library/ubuntu:latest");
/// let reference: Reference = "localhost:5000/team/app:1.0".parse()?;
/// assert_eq!(reference.registry().as_str(), "localhost:5000");
/// assert_eq!(reference.repository().as_str(), "team/app");
/// # Ok::<(), oci_proto::InvalidReference>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: Registry,
    repository: Repository,
    name: TagOrDigest,
    /// The digest of the content, if the name is a tag and the reference has both.
    pinned: Option<Digest>,
}

impl Reference {
    /// The maximum length of a reference's text, in bytes.
    pub const MAX_LEN: usize = MAX_REFERENCE_LEN;

    /// Creates a reference to a tag in a repository.
    ///
    /// On `docker.io`, a repository of one component is in the namespace `library`.
    ///
    /// # Errors
    /// Fails if registry and repository together are longer than 255 bytes.
    pub fn with_tag(registry: Registry, repository: Repository, tag: Tag) -> Result<Self, InvalidReference> {
        Self::new(registry, repository, TagOrDigest::Tag(tag), None)
    }

    /// Creates a reference to a digest in a repository.
    ///
    /// On `docker.io`, a repository of one component is in the namespace `library`.
    ///
    /// # Errors
    /// Fails if registry and repository together are longer than 255 bytes.
    pub fn with_digest(
        registry: Registry,
        repository: Repository,
        digest: Digest,
    ) -> Result<Self, InvalidReference> {
        Self::new(registry, repository, TagOrDigest::Digest(digest), None)
    }

    /// Returns a reference to a digest, without a tag, in the same repository.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            name: TagOrDigest::Digest(digest),
            pinned: None,
        }
    }

    /// Returns the registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the tag. Always present if there is no digest.
    pub fn tag(&self) -> Option<&Tag> {
        match &self.name {
            TagOrDigest::Tag(tag) => Some(tag),
            TagOrDigest::Digest(_) => None,
        }
    }

    /// Returns the digest. Always present if there is no tag.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.name {
            TagOrDigest::Tag(_) => self.pinned.as_ref(),
            TagOrDigest::Digest(digest) => Some(digest),
        }
    }

    /// Returns a reference to the same tag and digest in another repository.
    pub(crate) fn moved_to(
        &self,
        registry: Registry,
        repository: Repository,
    ) -> Result<Self, InvalidReference> {
        Self::new(registry, repository, self.name.clone(), self.pinned.clone())
    }

    /// Parses the name of a repository that does not begin with a registry.
    pub(crate) fn short_name(text: &str) -> Result<Repository, InvalidReference> {
        match text.split_once('/') {
            Some((first, _)) if is_registry(first) => {
                Err(InvalidReference::new("a short name", text, Problem::NotShort))
            }
            _ => text.parse(),
        }
    }

    /// Parses a repository with its registry, without a tag or a digest.
    pub(crate) fn full_name(text: &str) -> Result<(Registry, Repository), InvalidReference> {
        match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => Ok((first.parse()?, rest.parse()?)),
            _ => Err(InvalidReference::new("a full name", text, Problem::NoRegistry)),
        }
    }

    /// Returns the name by which content is requested: the tag, if there is one.
    pub(crate) fn name(&self) -> &TagOrDigest {
        &self.name
    }

    /// Returns the most specific name: the digest, if there is one.
    pub(crate) fn exact_name(&self) -> TagOrDigest {
        self.digest().map_or_else(|| self.name.clone(), |digest| TagOrDigest::Digest(digest.clone()))
    }

    fn new(
        registry: Registry,
        mut repository: Repository,
        name: TagOrDigest,
        pinned: Option<Digest>,
    ) -> Result<Self, InvalidReference> {
        if registry.is_docker_hub() && !repository.as_str().contains('/') {
            repository = repository.in_library();
        }
        if registry.as_str().len() + 1 + repository.as_str().len() > MAX_NAME_LEN {
            let name = format!("{registry}/{repository}");
            return Err(InvalidReference::new(REFERENCE, &name, Problem::NameTooLong));
        }
        Ok(Self { registry, repository, name, pinned })
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem| InvalidReference::new(REFERENCE, text, problem);
        if text.len() > Self::MAX_LEN {
            return Err(invalid(Problem::TooLong));
        }
        if text.is_empty() {
            return Err(invalid(Problem::Empty));
        }
        if text.contains("://") {
            return Err(invalid(Problem::Scheme));
        }
        let (named, digest) = match text.split_once('@') {
            None => (text, None),
            Some((_, after)) if after.contains('/') => return Err(invalid(Problem::UserInfo)),
            Some((_, "")) => return Err(invalid(Problem::EmptyDigest)),
            Some((named, digest)) => {
                (named, Some(digest.parse().map_err(|problem| invalid(Problem::Digest(problem)))?))
            }
        };
        // A colon before the last slash separates the registry's port.
        let (before_last, last) = named.rsplit_once('/').map_or(("", named), |(b, l)| (b, l));
        if before_last.is_empty() && last.starts_with('[') {
            return Err(invalid(Problem::NoRepository));
        }
        let tag = last.split_once(':').map(|(_, tag)| tag);
        if let Some((algorithm, _)) = tag.and_then(|tag| tag.split_once(':')) {
            return Err(invalid(if algorithm.starts_with("sha") {
                Problem::DigestAsTag
            } else {
                Problem::TagGrammar
            }));
        }
        let name = &named[..named.len() - tag.map_or(0, |tag| tag.len() + 1)];
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => {
                (first.parse().map_err(|e: InvalidReference| invalid(e.problem))?, rest)
            }
            _ => (Registry::docker_hub(), name),
        };
        let repository = repository.parse().map_err(|e: InvalidReference| invalid(e.problem))?;
        let tag = tag.map(str::parse).transpose().map_err(|e: InvalidReference| invalid(e.problem))?;
        match (tag, digest) {
            (Some(tag), digest) => Self::new(registry, repository, TagOrDigest::Tag(tag), digest),
            (None, Some(digest)) => Self::new(registry, repository, TagOrDigest::Digest(digest), None),
            (None, None) => Self::new(registry, repository, TagOrDigest::Tag(Tag::latest()), None),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest() {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

const REFERENCE: &str = "a reference";

/// Returns whether the first of several components is a registry rather than part of the repository.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.bytes().any(|b| matches!(b, b'.' | b':' | b'[') || b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn printed(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|e| panic!("{e}")).to_string()
    }

    #[track_caller]
    fn error_of(text: &str) -> String {
        match text.parse::<Reference>() {
            Ok(reference) => panic!("{text:?} was parsed as {reference}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn short_forms_expand_to_docker_hub() {
        for (text, full) in [
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("a/b/c:d", "docker.io/a/b/c:d"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
            ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
            ("registry-1.docker.io/library/ubuntu", "docker.io/library/ubuntu:latest"),
            ("localhost", "docker.io/library/localhost:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
        ] {
            assert_eq!(printed(text), full, "{text}");
        }
    }

    #[test]
    fn a_first_component_that_looks_like_a_host_is_the_registry() {
        for (text, registry, repository) in [
            ("localhost/x", "localhost", "x"),
            ("LOCALHOST/x", "localhost", "x"),
            ("localhost:5000/x/y", "localhost:5000", "x/y"),
            ("ghcr.io/x", "ghcr.io", "x"),
            ("GHCR.io/x", "ghcr.io", "x"),
            ("Registry:80/x", "registry:80", "x"),
            ("[::1]/x", "[::1]", "x"),
            ("[0:0::1]:05000/x", "[::1]:5000", "x"),
            ("10.0.0.1:5000/x", "10.0.0.1:5000", "x"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.registry().as_str(), registry, "{text}");
            assert_eq!(reference.repository().as_str(), repository, "{text}");
        }
    }

    #[test]
    fn tag_and_digest_are_each_optional() {
        let both: Reference = format!("x.y/z:1@{DIGEST}").parse().unwrap();
        assert_eq!(both.tag().map(Tag::as_str), Some("1"));
        assert_eq!(both.digest().unwrap().to_string(), DIGEST);
        assert_eq!(printed(&both.to_string()), format!("x.y/z:1@{DIGEST}"));

        let digest: Reference = format!("x.y/z@{DIGEST}").parse().unwrap();
        assert_eq!(digest.tag(), None);
        assert_eq!(both.at(digest.digest().unwrap().clone()), digest);

        assert_eq!("x.y/z".parse::<Reference>().unwrap().tag(), Some(&Tag::latest()));
    }

    #[test]
    fn built_from_parts_equals_parsed_from_text() {
        let made = Reference::with_tag(
            "index.docker.io".parse().unwrap(),
            "ubuntu".parse().unwrap(),
            "24.04".parse().unwrap(),
        );
        assert_eq!(made, "ubuntu:24.04".parse());

        let long: Repository = "a".repeat(255).parse().unwrap();
        let digest: Digest = DIGEST.parse().unwrap();
        assert!(Reference::with_digest("x.y".parse().unwrap(), long, digest).is_err());
    }

    #[test]
    fn a_name_longer_than_255_bytes_is_rejected() {
        let repository = "a".repeat(255 - "x.y/".len());
        assert_eq!(printed(&format!("x.y/{repository}:1")), format!("x.y/{repository}:1"));
        assert!(error_of(&format!("x.y/{repository}a:1")).contains("255"));
        // Implied parts count too.
        assert!(error_of(&"a".repeat(255 - "docker.io/library/".len() + 1)).contains("255"));
        assert!(error_of(&"a".repeat(1 << 20)).contains("longer"));
        let longest =
            format!("x.y/{repository}:{}@x:{}", "t".repeat(Tag::MAX_LEN), "d".repeat(Digest::MAX_LEN - 2));
        assert_eq!((longest.len(), printed(&longest)), (Reference::MAX_LEN, longest.clone()));
        assert!(error_of(&format!("{longest}d")).contains("longer than 640 bytes"));
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn an_error_suggests_a_correction() {
        for (text, part) in [
            ("", "`registry.example/team/app:1.0`"),
            ("https://ghcr.io/x", "remove everything up to and including `://`"),
            ("Ubuntu", "lower case"),
            ("ghcr.io/Team/app", "lower case"),
            ("Team/app", "port"),
            ("ubuntu:", "the tag is empty"),
            ("ubuntu:.x", "a tag consists of"),
            ("ubuntu:a:b", "a tag consists of"),
            ("ubuntu:sha256:e3b0", "follows an `@`"),
            ("ubuntu@", "the digest is empty"),
            ("ubuntu@e3b0", "has no colon"),
            ("ubuntu@sha256:e3b0", "`sha256:e3b0` is not a digest: its value must be lower-case hexadecimal"),
            ("ghcr.io/", "the repository is missing"),
            ("ghcr.io/:1", "the repository is missing"),
            ("[::1]:5000", "the repository is missing"),
            ("[::1/x", "brackets"),
            ("2001:db8::1/x", "brackets"),
            ("localhost:0/x", "1 to 65535"),
            ("localhost:/x", "1 to 65535"),
            ("a..b/x", "63 letters"),
            ("me@ghcr.io/x", "it contains a user name"),
            ("ghcr.io/a/", "each component of a repository name"),
            ("127.1/x", "IPv4"),
        ] {
            let message = error_of(text);
            assert!(message.contains(part), "{text:?} gave {message:?}, which lacks {part:?}");
        }
    }

    #[test]
    fn an_error_hides_passwords() {
        for (text, shown) in [
            ("https://me:secret@ghcr.io/x", "`https://***@ghcr.io/x`"),
            ("https://me:secret@ghcr.io", "`https://***@ghcr.io`"),
            ("me:secret@ghcr.io/x", "`***@ghcr.io/x`"),
            ("//me:secret@ghcr.io/x:1", "`***@ghcr.io/x:1`"),
            ("https://me:a@secret@ghcr.io/x", "`https://***@ghcr.io/x`"),
            ("https://me:secret/a@ghcr.io", "`https://***@ghcr.io`"),
            ("me:a@secret/b@ghcr.io/x@sha256:e3b0", "`***@ghcr.io/x@sha256:e3b0`"),
            ("ubuntu@sha256:e3b0", "`ubuntu@sha256:e3b0`"),
        ] {
            let message = error_of(text);
            assert!(message.starts_with(shown), "{message}");
        }
    }
}
