//! The directory for temporary files in a layout.

use oci_proto::Digest;

/// The directory for partial blobs, new documents and the lock.
pub(crate) const WORK: &str = ".oci-proto-partial";

/// The file name of a partial blob.
pub(crate) fn partial_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm_name(), digest.encoded())
}

/// Whether a file name is that of a partial blob.
pub(crate) fn is_partial(name: &str) -> bool {
    let digest = name.split_once('-');
    digest.is_some_and(|(algorithm, encoded)| format!("{algorithm}:{encoded}").parse::<Digest>().is_ok())
}
