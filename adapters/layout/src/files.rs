//! The files of blobs.

use std::fs::File;

use bytes::Bytes;
use oci_proto::Digest;
use oci_proto::layout::{BLOBS, blob_path};

use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};

/// Opens the file of a digest for reading, and returns its size.
pub(crate) fn open_blob(layout: &Directory, digest: &Digest) -> Result<(File, u64), LayoutError> {
    blob_directory(layout, digest)?.open_file(&digest.encoded(), Access::Read)
}

/// The size of the file of a digest, which is not opened.
pub(crate) fn blob_size(layout: &Directory, digest: &Digest) -> Result<u64, LayoutError> {
    blob_directory(layout, digest)?.size(&digest.encoded())
}

/// Reads the whole file of a digest, of at most `limit` bytes.
pub(crate) fn read_blob(layout: &Directory, digest: &Digest, limit: u64) -> Result<Bytes, LayoutError> {
    blob_directory(layout, digest)?.read(&digest.encoded(), limit)
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
