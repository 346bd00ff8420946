//! How content comes into a server.

use crate::Digest;

/// Why content was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{digest}: {problem}")]
pub struct AddError {
    digest: Digest,
    document: Option<Digest>,
    problem: AddProblem,
}

impl AddError {
    /// The content that is missing or wrong.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The document that names the content; none for the root.
    pub fn document(&self) -> Option<&Digest> {
        self.document.as_ref()
    }

    /// What is the matter with it.
    pub fn problem(&self) -> &AddProblem {
        &self.problem
    }
}

/// What is the matter with some content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddProblem {
    /// It is not there.
    #[error("the content is not there")]
    Missing,
}
