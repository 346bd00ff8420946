//! Why a file is not an OCI archive.

/// Why a file cannot be read as an OCI archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidArchive {
    /// It is compressed.
    #[error(
        "the archive is compressed with {format}, and is read only uncompressed; decompress it first, as with \
         `{program} -d`"
    )]
    Compressed {
        /// The name of the format.
        format: &'static str,
        /// The program that decompresses it.
        program: &'static str,
    },
    /// It is not a tar archive.
    #[error("the file is not a tar archive")]
    NotTar,
    /// It is an archive in Docker's own format, without the files of a layout.
    #[error(
        "this is a Docker archive, as `docker save` wrote before Docker 25, not an OCI archive; convert it \
         with `skopeo copy docker-archive:FILE oci-archive:FILE`"
    )]
    Docker,
    /// It ends too early.
    #[error("the archive is truncated: it ends at byte {length}, {missing}; copy or download it again")]
    Truncated {
        /// The size of the file in bytes.
        length: u64,
        /// The part in which, or before which, it ends.
        missing: String,
    },
    /// A header is invalid.
    #[error("the archive is damaged: the header at byte {at} {problem}")]
    Header {
        /// The offset of the header in bytes.
        at: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It has too many members.
    #[error("the archive has more than {0} members, the limit")]
    TooMany(usize),
}
