//! The files of a layout, in a directory or in an archive.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::layout::{BLOBS, blob_path};

use crate::archive::Archive;
use crate::blob_file::BlobFile;
use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};

/// The files of a layout, for reading. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    Directory(Directory),
    Archive(Archive),
}

impl Files {
    /// The path of the directory or archive.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Archive(archive) => archive.path(),
        }
    }

    /// The path of a name, for errors.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// An error of a file.
    pub(crate) fn wrong(&self, name: &str, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        LayoutError::new(&self.join(name), kind)
    }

    /// Reads one of the files that are not blobs, of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Bytes, LayoutError> {
        match self {
            Self::Directory(directory) => directory.read(name, limit),
            Self::Archive(archive) => archive.read(name, limit),
        }
    }

    /// Opens the file of a digest.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<BlobFile, LayoutError> {
        match self {
            Self::Directory(directory) => {
                let (file, size) =
                    blob_directory(directory, digest)?.open_file(&digest.encoded(), Access::Read)?;
                Ok(BlobFile::whole(file, size))
            }
            Self::Archive(archive) => archive.open_file(&blob_path(digest)),
        }
    }

    /// The size of the file of a digest, which is not opened.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Result<u64, LayoutError> {
        match self {
            Self::Directory(directory) => blob_directory(directory, digest)?.size(&digest.encoded()),
            Self::Archive(archive) => archive.size(&blob_path(digest)),
        }
    }

    /// Reads the whole file of a digest, of at most `limit` bytes.
    pub(crate) fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Bytes, LayoutError> {
        match self {
            Self::Directory(directory) => blob_directory(directory, digest)?.read(&digest.encoded(), limit),
            Self::Archive(archive) => archive.read(&blob_path(digest), limit),
        }
    }

    /// Called when a layout is checked. Fails if it has no directory for blobs, which the image layout specification
    /// requires even of a layout without blobs. An archive has no directories of its own, only the paths of its files.
    pub(crate) fn check_blobs(&self) -> Result<(), LayoutError> {
        match self {
            Self::Directory(directory) => directory.directory(BLOBS).map(drop),
            Self::Archive(_) => Ok(()),
        }
    }
}

impl From<Directory> for Files {
    fn from(directory: Directory) -> Self {
        Self::Directory(directory)
    }
}

impl From<Archive> for Files {
    fn from(archive: Archive) -> Self {
        Self::Archive(archive)
    }
}

/// Opens the directory of the blobs of an algorithm.
pub(crate) fn blob_directory(layout: &Directory, digest: &Digest) -> Result<Directory, LayoutError> {
    layout.directory(BLOBS)?.directory(digest.algorithm_name()).map_err(|error| match error.kind() {
        // An algorithm without blobs needs no directory.
        LayoutErrorKind::Missing => {
            LayoutError::new(&layout.join(blob_path(digest)), LayoutErrorKind::Missing)
        }
        _ => error,
    })
}
