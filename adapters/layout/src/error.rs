//! Why a layout cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::layout::{InvalidMarker, NoRoot};
use oci_proto::{Digest, InvalidManifest, Problem, VerifyError};

use crate::archive::invalid::InvalidArchive;

/// Why a layout cannot be read or written: a path and an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct LayoutError {
    path: PathBuf,
    #[source]
    kind: LayoutErrorKind,
}

impl LayoutError {
    pub(crate) fn new(path: &Path, kind: impl Into<LayoutErrorKind>) -> Self {
        Self { path: path.to_owned(), kind: kind.into() }
    }

    /// The path of the file or directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of error.
    pub fn kind(&self) -> &LayoutErrorKind {
        &self.kind
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.kind, LayoutErrorKind::Missing)
    }
}

/// The kinds of errors of a file or directory in a layout.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutErrorKind {
    /// It does not exist.
    #[error("not found")]
    Missing,
    /// It is not a regular file, and is neither followed nor opened.
    #[error("expected a file, found {0}")]
    NotAFile(&'static str),
    /// It is not a directory, and is not followed.
    #[error("expected a directory, found {0}")]
    NotADirectory(&'static str),
    /// The path given for the layout is not that of a directory.
    #[error("expected the directory of an image layout, found {0}")]
    NotALayout(&'static str),
    /// Its size is not that in its descriptor.
    #[error("size mismatch: {found} bytes, but its descriptor says {expected}")]
    Size {
        /// The size in the descriptor.
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// Its content does not match its digest.
    #[error("digest mismatch: computed {0}")]
    Content(Digest),
    /// It is too large to be read as a document.
    #[error("exceeds the limit of {0} bytes for documents")]
    TooLarge(u64),
    /// The algorithm of its digest is not supported.
    #[error("it cannot be verified: its digest algorithm is not sha256, sha384 or sha512")]
    Unverifiable,
    /// The documents under its roots are too many to be searched for referrers.
    #[error(
        "the documents under its roots exceed the limits of a search for referrers: {documents} documents, {bytes} \
         bytes"
    )]
    ManyDocuments {
        /// The maximum number of documents.
        documents: u64,
        /// The maximum size of all of them.
        bytes: u64,
    },
    /// The `oci-layout` or `index.json` file has no content, or only zeros.
    #[error(
        "the file is empty; its content may have been lost in a crash; pull into the layout to repair it"
    )]
    Blank,
    /// The `oci-layout` file is invalid.
    #[error(transparent)]
    Marker(#[from] InvalidMarker),
    /// A document is invalid.
    #[error(transparent)]
    Document(#[from] InvalidManifest),
    /// The root does not exist, or the name is ambiguous.
    #[error(transparent)]
    Root(#[from] NoRoot),
    /// The walk, or the selection of a platform, failed.
    #[error(transparent)]
    Walk(#[from] oci_proto::Error),
    /// The directory is neither a layout nor empty. It is not made a layout.
    #[error("the directory is neither an image layout nor empty: it contains {0}")]
    Foreign(String),
    /// The file is not an OCI archive that can be read.
    #[error(transparent)]
    Archive(#[from] InvalidArchive),
    /// The archive to be written exists, and is not empty. It is not replaced.
    #[error(
        "the file exists and is not empty, and is kept (skopeo would replace it); remove it, or write to \
         another file"
    )]
    Exists,
    /// Content of the archive that is being written is not complete.
    #[error("{0} is not complete")]
    Incomplete(Digest),
    /// Another writer has locked the layout.
    #[error(
        "another writer, in this process or another one, has locked the layout; retry when it has finished"
    )]
    Locked,
    /// Another process serves the directory of a registry.
    #[error("another process serves this directory; stop it first")]
    Served,
    /// The directory of a registry is a layout itself.
    #[error("the directory is an image layout, not a directory of layouts; use the directory above it")]
    IsALayout,
    /// The blobs of a registry would have more bytes than permitted.
    #[error("the quota of {0} bytes for all blobs is exhausted")]
    Quota(u64),
    /// Less space would be left than required.
    #[error("fewer than {0} bytes would be left free")]
    LittleSpace(u64),
    /// The storage of a registry could not undo a change that had failed, and accepts no further changes.
    #[error(
        "a change failed and could not be undone, so nothing more is written until the registry is started \
         again: {0}"
    )]
    NotUndone(#[source] Box<LayoutError>),
    /// The same writer is already writing the blob.
    #[error("the blob is already being written")]
    Busy,
    /// Bytes were appended at the wrong offset.
    #[error("bytes at offset {given}, but offset {expected} is next")]
    Order {
        /// The next offset.
        expected: u64,
        /// The given offset.
        given: u64,
    },
    /// A file system operation failed.
    #[error("{0}")]
    Io(#[source] Arc<io::Error>),
}

impl LayoutErrorKind {
    /// The kind of problem that a check reports.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Missing | Self::Root(_) => Problem::Missing,
            Self::NotAFile(_) | Self::NotADirectory(_) | Self::NotALayout(_) => Problem::NotAFile,
            Self::Size { .. } => Problem::WrongSize,
            Self::Content(_) => Problem::WrongContent,
            Self::TooLarge(_) | Self::ManyDocuments { .. } => Problem::Limit,
            Self::Unverifiable => Problem::Unverifiable,
            Self::Blank | Self::Marker(_) | Self::Document(_) | Self::Walk(_) | Self::Archive(_) => {
                Problem::Malformed
            }
            Self::Foreign(_)
            | Self::Exists
            | Self::Incomplete(_)
            | Self::Locked
            | Self::Served
            | Self::IsALayout
            | Self::Quota(_)
            | Self::LittleSpace(_)
            | Self::NotUndone(_)
            | Self::Busy
            | Self::Order { .. }
            | Self::Io(_) => Problem::Unreadable,
        }
    }
}

impl From<VerifyError> for LayoutErrorKind {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Size { expected, found } => Self::Size { expected, found },
            VerifyError::UnknownAlgorithm(_) => Self::Unverifiable,
            VerifyError::Digest { computed, .. } => Self::Content(computed),
            VerifyError::Manifest(refused) => Self::Document(refused),
        }
    }
}

impl From<io::Error> for LayoutErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(Arc::new(error)),
        }
    }
}
