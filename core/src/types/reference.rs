//! What users name: registry, repository, tag, digest.

use std::fmt;
use std::str::FromStr;

use crate::types::digest::{Digest, InvalidDigest, excerpt};
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::registry::Registry;

pub(crate) mod name;
pub(crate) mod registry;
pub(crate) mod tag_or_digest;

/// A reference to something in a registry: a registry, a repository, and a tag, a digest or both.
///
/// Short forms are read as Docker reads them: `ubuntu` is `docker.io/library/ubuntu:latest`. The
/// first component is a registry where it has a dot, a colon or an upper-case letter, or is
/// `localhost`. Where both tag and digest are given, the tag is what to ask for and the digest is
/// what to hold the answer against. What is printed is the full form, and reads back as the same
/// value.
///
/// Source: distribution-spec, "Pulling manifests" (repository, tag, and the total length).
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
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// The longest text that is read as a reference, in bytes.
    pub const MAX_LEN: usize = MAX_NAME_LEN + 1 + Tag::MAX_LEN + 1 + Digest::MAX_LEN;

    /// Names a tag in a repository.
    ///
    /// On `docker.io` a repository of one component is the one in `library/`.
    ///
    /// # Errors
    /// Registry and repository together are longer than 255 bytes.
    pub fn with_tag(registry: Registry, repository: Repository, tag: Tag) -> Result<Self, InvalidReference> {
        Self::new(registry, repository, Some(tag), None)
    }

    /// Names a digest in a repository.
    ///
    /// On `docker.io` a repository of one component is the one in `library/`.
    ///
    /// # Errors
    /// Registry and repository together are longer than 255 bytes.
    pub fn with_digest(
        registry: Registry,
        repository: Repository,
        digest: Digest,
    ) -> Result<Self, InvalidReference> {
        Self::new(registry, repository, None, Some(digest))
    }

    /// Names a digest, and no tag, in the same repository.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag. There is one where there is no digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest. There is one where there is no tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    fn new(
        registry: Registry,
        mut repository: Repository,
        tag: Option<Tag>,
        digest: Option<Digest>,
    ) -> Result<Self, InvalidReference> {
        if registry.is_docker_hub() && !repository.as_str().contains('/') {
            repository = repository.in_library();
        }
        if registry.as_str().len() + 1 + repository.as_str().len() > MAX_NAME_LEN {
            let name = format!("{registry}/{repository}");
            return Err(InvalidReference::new(REFERENCE, &name, Problem::NameTooLong));
        }
        Ok(Self { registry, repository, tag, digest })
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
            Some((named, digest)) => {
                (named, Some(digest.parse().map_err(|problem| invalid(Problem::Digest(problem)))?))
            }
        };
        // A colon before the last slash belongs to the registry's port.
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
            Some((first, rest)) if names_registry(first) => {
                (first.parse().map_err(|e: InvalidReference| invalid(e.problem))?, rest)
            }
            _ => (Registry::docker_hub(), name),
        };
        let repository = repository.parse().map_err(|e: InvalidReference| invalid(e.problem))?;
        let tag = match tag {
            Some(tag) => Some(tag.parse().map_err(|e: InvalidReference| invalid(e.problem))?),
            None if digest.is_none() => Some(Tag::latest()),
            None => None,
        };
        Self::new(registry, repository, tag, digest)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is not a reference, or not the part of one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {problem}")]
pub struct InvalidReference {
    what: &'static str,
    text: String,
    problem: Problem,
}

impl InvalidReference {
    fn new(what: &'static str, text: &str, problem: Problem) -> Self {
        Self { what, text: excerpt(&without_user_info(text)), problem }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("it is empty; write a name such as `ubuntu` or `registry.example/team/app:1.0`")]
    Empty,
    #[error("it is longer than {max} bytes", max = Reference::MAX_LEN)]
    TooLong,
    #[error("registry and repository together are longer than {MAX_NAME_LEN} bytes")]
    NameTooLong,
    #[error("it begins as a URL; leave out everything up to and with `://`")]
    Scheme,
    #[error("a user name has no place in it; leave out everything up to and with the `@`")]
    UserInfo,
    #[error("the repository is missing; write `registry/repository`")]
    NoRepository,
    #[error("a repository's name is in lower case")]
    UpperCaseRepository,
    #[error(
        "each part of a repository's name is made of a-z and 0-9, with one `.`, one or two `_`, or any \
         number of `-` between them, and one `/` between parts"
    )]
    RepositoryGrammar,
    #[error("the tag is empty; leave out the colon, or write a tag behind it")]
    EmptyTag,
    #[error("a tag has at most {max} characters", max = Tag::MAX_LEN)]
    TagTooLong,
    #[error("a tag is made of letters, digits, `_`, `.` and `-`, and begins with none of the last two")]
    TagGrammar,
    #[error("a digest follows an `@`, not a colon")]
    DigestAsTag,
    #[error("{0}")]
    Digest(#[source] InvalidDigest),
    #[error(
        "the registry's name has a part that is not 1 to 63 letters, digits and inner hyphens, or is longer \
         than 253 characters"
    )]
    HostGrammar,
    #[error(
        "a registry's name without a dot needs a port, as in `registry:443`; if it is meant as a repository, \
         write it in lower case"
    )]
    BareHost,
    #[error("the registry ends in a number, but is not an IPv4 address such as 192.0.2.1")]
    Ipv4,
    #[error("an IPv6 address goes in brackets and has no zone, as in `[2001:db8::1]:5000`")]
    Ipv6,
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// The most bytes that registry, slash and repository have together.
const MAX_NAME_LEN: usize = 255;

const REFERENCE: &str = "a reference";

/// Whether the first of several components names a registry rather than a part of a repository.
fn names_registry(first: &str) -> bool {
    first == "localhost" || first.bytes().any(|b| matches!(b, b'.' | b':' | b'[') || b.is_ascii_uppercase())
}

/// A text that somebody gave for a reference, without what may be a password: no error and no log is a place for one.
///
/// ```
/// use oci_proto::without_user_info;
///
/// assert_eq!(without_user_info("https://me:secret@registry.example/app"), "https://***@registry.example/app");
/// assert_eq!(without_user_info("registry.example/app@sha256:12"), "registry.example/app@sha256:12");
/// ```
pub fn without_user_info(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    // Without a scheme, an `@` with no slash behind it is a digest's. A password may have one, too.
    let end = if start > 0 { rest.len() } else { rest.rfind('/').unwrap_or_default() };
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}***{}", &rest[at..]),
        None => text.to_owned(),
    }
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
    fn refused(text: &str) -> String {
        match text.parse::<Reference>() {
            Ok(reference) => panic!("{text:?} was read as {reference}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn short_forms_mean_docker_hub() {
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
    fn a_first_component_that_looks_like_a_host_is_one() {
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
    fn tag_and_digest_may_both_be_given_or_either() {
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
    fn made_from_parts_equals_read_from_text() {
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
    fn the_name_has_at_most_255_bytes() {
        let repository = "a".repeat(255 - "x.y/".len());
        assert_eq!(printed(&format!("x.y/{repository}:1")), format!("x.y/{repository}:1"));
        assert!(refused(&format!("x.y/{repository}a:1")).contains("255"));
        // What is implied counts too.
        assert!(refused(&"a".repeat(255 - "docker.io/library/".len() + 1)).contains("255"));
        assert!(refused(&"a".repeat(1 << 20)).contains("longer"));
        let longest =
            format!("x.y/{repository}:{}@x:{}", "t".repeat(Tag::MAX_LEN), "d".repeat(Digest::MAX_LEN - 2));
        assert_eq!((longest.len(), printed(&longest)), (Reference::MAX_LEN, longest.clone()));
        assert!(refused(&format!("{longest}d")).contains("longer than 640 bytes"));
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn an_error_says_what_to_write_instead() {
        for (text, part) in [
            ("", "`registry.example/team/app:1.0`"),
            ("https://ghcr.io/x", "leave out everything up to and with `://`"),
            ("Ubuntu", "lower case"),
            ("ghcr.io/Team/app", "lower case"),
            ("Team/app", "port"),
            ("ubuntu:", "the tag is empty"),
            ("ubuntu:.x", "a tag is made of"),
            ("ubuntu:a:b", "a tag is made of"),
            ("ubuntu:sha256:e3b0", "follows an `@`"),
            ("ubuntu@", "has no colon"),
            ("ubuntu@sha256:e3b0", "`sha256:e3b0` is not a digest: its value is not exactly"),
            ("ghcr.io/", "the repository is missing"),
            ("ghcr.io/:1", "the repository is missing"),
            ("[::1]:5000", "the repository is missing"),
            ("[::1/x", "brackets"),
            ("2001:db8::1/x", "brackets"),
            ("localhost:0/x", "1 to 65535"),
            ("localhost:/x", "1 to 65535"),
            ("a..b/x", "63 letters"),
            ("me@ghcr.io/x", "a user name has no place in it"),
            ("ghcr.io/a/", "each part of a repository's name"),
            ("127.1/x", "IPv4"),
        ] {
            let message = refused(text);
            assert!(message.contains(part), "{text:?} gave {message:?}, which lacks {part:?}");
        }
    }

    #[test]
    fn an_error_keeps_a_password_to_itself() {
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
            let message = refused(text);
            assert!(message.starts_with(shown), "{message}");
        }
    }
}
