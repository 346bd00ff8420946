//! Why a layout cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::layout::{InvalidMarker, NoRoot};
use oci_proto::{Digest, InvalidManifest, Problem};

/// Why a layout cannot be read or written: where, and what is the matter there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {trouble}", path.display())]
pub struct LayoutError {
    path: PathBuf,
    #[source]
    trouble: Trouble,
}

impl LayoutError {
    pub(crate) fn new(path: &Path, trouble: impl Into<Trouble>) -> Self {
        Self { path: path.to_owned(), trouble: trouble.into() }
    }

    /// The file or the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is the matter.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

/// What is the matter with a file or a folder of a layout.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// It is not there.
    #[error("it is not there")]
    Missing,
    /// It is something else than a file, and is not followed or opened.
    #[error("{0} is in the place of a file, and is not followed")]
    NotAFile(&'static str),
    /// It is something else than a folder, and is not followed.
    #[error("{0} is in the place of a folder, and is not followed")]
    NotAFolder(&'static str),
    /// What was named as a layout is something else than a folder.
    #[error("it is {0}, and an image layout is a folder")]
    NoLayout(&'static str),
    /// It has another size than its descriptor says.
    #[error("it has {found} bytes, and its descriptor says {expected}")]
    Size {
        /// What the descriptor says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// It has other content than its name says.
    #[error("its content is that of {0}")]
    Content(Digest),
    /// It is too large to be read as a document.
    #[error("it has more than {0} bytes, the most that are read of a document")]
    TooLarge(u64),
    /// Its name is a digest of an algorithm that is not computed here.
    #[error("it cannot be verified: its digest's algorithm is not sha256, sha384 or sha512")]
    Unverifiable,
    /// The `oci-layout` file is refused.
    #[error(transparent)]
    Marker(#[from] InvalidMarker),
    /// A document is refused.
    #[error(transparent)]
    Document(#[from] InvalidManifest),
    /// There is no such root.
    #[error(transparent)]
    Root(#[from] NoRoot),
    /// The walk, or the choice of a platform, failed.
    #[error(transparent)]
    Walk(#[from] oci_proto::Error),
    /// The folder is no layout, and not empty: it is not made one.
    #[error(
        "the folder is not an image layout, and is not made one, since there is something else in it: {0}"
    )]
    Foreign(String),
    /// Another writer is at work.
    #[error("another writer is at work on the layout; wait until it has ended")]
    Locked,
    /// The blob is being written already.
    #[error("it is being written already, by the same writer")]
    Busy,
    /// Bytes came for another place than the next.
    #[error("bytes for the place {given} came where those for {expected} are next")]
    Order {
        /// Where the next bytes belong.
        expected: u64,
        /// Where they were said to belong.
        given: u64,
    },
    /// The file system refused.
    #[error("{0}")]
    Io(#[source] Arc<io::Error>),
}

impl Trouble {
    /// What a check calls it.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Missing | Self::Root(_) => Problem::Missing,
            Self::NotAFile(_) | Self::NotAFolder(_) | Self::NoLayout(_) => Problem::NotAFile,
            Self::Size { .. } => Problem::WrongSize,
            Self::Content(_) => Problem::WrongContent,
            Self::TooLarge(_) => Problem::Limit,
            Self::Unverifiable => Problem::Unverifiable,
            Self::Marker(_) | Self::Document(_) | Self::Walk(_) => Problem::Malformed,
            Self::Foreign(_) | Self::Locked | Self::Busy | Self::Order { .. } | Self::Io(_) => {
                Problem::Unreadable
            }
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(Arc::new(error)),
        }
    }
}
