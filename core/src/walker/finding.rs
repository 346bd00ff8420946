//! The findings of a check.

use std::fmt;

use crate::types::digest::Digest;

/// A problem that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The digest of the affected content; `None` for a file that does not correspond to a digest.
    pub digest: Option<Digest>,
    /// The kind of problem.
    pub problem: Problem,
    /// A message for the user: the position of the descriptor and a description of the problem.
    /// Excerpts are bounded and escaped.
    pub detail: String,
}

impl Finding {
    /// Creates a finding about content, or about a file without a digest.
    pub fn new(digest: Option<Digest>, problem: Problem, detail: impl fmt::Display) -> Self {
        Self { digest, problem, detail: detail.to_string() }
    }
}

/// The kinds of problems that a check of a registry or a layout distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "programs classify findings by kind, so a new kind affects each of them"
)]
pub enum Problem {
    /// The content is referred to but missing.
    Missing,
    /// The file of the content is a symbolic link, a directory or a device, which is not followed or
    /// opened.
    NotAFile,
    /// The size differs from the descriptor's.
    WrongSize,
    /// The digest differs from the descriptor's.
    WrongContent,
    /// The content is an invalid document.
    Malformed,
    /// Descriptors of the content disagree.
    Contradiction,
    /// The digest's algorithm is not supported.
    Unverifiable,
    /// The content cannot be read: the file system, the network or the registry failed.
    Unreadable,
    /// A limit was exceeded, so the content was not read.
    Limit,
}

impl Problem {
    /// Returns the name, as used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotAFile => "not-a-file",
            Self::WrongSize => "wrong-size",
            Self::WrongContent => "wrong-content",
            Self::Malformed => "malformed",
            Self::Contradiction => "contradiction",
            Self::Unverifiable => "unverifiable",
            Self::Unreadable => "unreadable",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
