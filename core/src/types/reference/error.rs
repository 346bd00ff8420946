//! Errors and length limits of references.

use crate::types::digest::{Digest, InvalidDigest, excerpt};
use crate::types::reference::user_info::without_user_info;

/// The maximum length of registry, slash and repository together, in bytes.
pub(super) const MAX_NAME_LEN: usize = 255;

/// The maximum length of a tag, in characters.
pub(super) const MAX_TAG_LEN: usize = 128;

/// The maximum length of a reference, in bytes: a name, a colon and a tag, an `@` and a digest.
pub(super) const MAX_REFERENCE_LEN: usize = MAX_NAME_LEN + 1 + MAX_TAG_LEN + 1 + Digest::MAX_LEN;

/// The error returned when a reference, or a part of one, fails to parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {problem}")]
pub struct InvalidReference {
    what: &'static str,
    text: String,
    pub(super) problem: Problem,
}

impl InvalidReference {
    pub(super) fn new(what: &'static str, text: &str, problem: Problem) -> Self {
        Self { what, text: excerpt(&without_user_info(text)), problem }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it is empty; write a name such as `ubuntu` or `registry.example/team/app:1.0`")]
    Empty,
    #[error("it is longer than {MAX_REFERENCE_LEN} bytes")]
    TooLong,
    #[error("registry and repository together are longer than {MAX_NAME_LEN} bytes")]
    NameTooLong,
    #[error("it begins like a URL; remove everything up to and including `://`")]
    Scheme,
    #[error("it contains a user name; remove everything up to and including the `@`")]
    UserInfo,
    #[error("the repository is missing; write `registry/repository`")]
    NoRepository,
    #[error("it begins with a registry")]
    NotShort,
    #[error("the registry is missing; write `registry/repository`")]
    NoRegistry,
    #[error("a repository name must be in lower case")]
    UpperCaseRepository,
    #[error(
        "each component of a repository name consists of a-z and 0-9, separated by one `.`, one or two `_`, or \
         any number of `-`, with one `/` between components"
    )]
    RepositoryGrammar,
    #[error("the tag is empty; remove the colon, or write a tag after it")]
    EmptyTag,
    #[error("a tag has at most {MAX_TAG_LEN} characters")]
    TagTooLong,
    #[error("a tag consists of letters, digits, `_`, `.` and `-`, and must not begin with `.` or `-`")]
    TagGrammar,
    #[error("the digest is empty; remove the `@`, or write a digest after it")]
    EmptyDigest,
    #[error("a digest follows an `@`, not a colon")]
    DigestAsTag,
    #[error("{0}")]
    Digest(#[source] InvalidDigest),
    #[error(
        "the registry's host name has a label that is not 1 to 63 letters, digits and inner hyphens, or is longer \
         than 253 characters"
    )]
    HostGrammar,
    #[error(
        "a registry name without a dot requires a port, as in `registry:443`; if you mean a repository, write it \
         in lower case"
    )]
    BareHost,
    #[error("the registry ends in a number, but is not an IPv4 address such as 192.0.2.1")]
    Ipv4,
    #[error("an IPv6 address must be in brackets and have no zone, as in `[2001:db8::1]:5000`")]
    Ipv6,
    #[error("a port is a number from 1 to 65535")]
    Port,
}
