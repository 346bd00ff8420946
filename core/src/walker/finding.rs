//! What a check finds wrong.

use std::fmt;

use crate::types::digest::Digest;

/// Something that a check found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The content that is wrong; none where a file is that no digest names.
    pub digest: Option<Digest>,
    /// What sort of wrong it is.
    pub problem: Problem,
    /// Where the content is named, and what is the matter with it: a sentence for a person. What it quotes is
    /// bounded and escaped.
    pub detail: String,
}

impl Finding {
    /// A finding about content that a digest names, or about a file that none does.
    pub fn new(digest: Option<Digest>, problem: Problem, detail: impl fmt::Display) -> Self {
        Self { digest, problem, detail: detail.to_string() }
    }
}

/// The sorts of wrong that a check tells apart, in a registry as in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "programs sort findings by it: another sort is news to each of them"
)]
pub enum Problem {
    /// It is named and not there.
    Missing,
    /// What is there under its name is a symbolic link, a folder or a device: it is not followed or opened.
    NotAFile,
    /// It has another size than the descriptor says.
    WrongSize,
    /// It has another digest than the one that names it.
    WrongContent,
    /// It is a document that breaks a rule.
    Malformed,
    /// Descriptors say different things of it.
    Contradiction,
    /// Its digest is of an algorithm that is not computed here.
    Unverifiable,
    /// It cannot be read: the file system, the network or the registry refused.
    Unreadable,
    /// A bound was met: it was not looked into.
    Limit,
}

impl Problem {
    /// The word that outputs use.
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
