//! The error of building a document.

use crate::manifest::error::{InvalidManifest, VerifyError};

/// The error returned when a document cannot be built.
///
/// A `place` is a path in the document, such as `layers[3]`. Excerpts are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An image has the empty config, and no artifact type.
    ///
    /// Source: image-spec, manifest.md, "artifactType".
    #[error("the image has the empty config and no artifact type; set an artifact type, or another config")]
    NoArtifactType,
    /// The content that a descriptor embeds, or that its media type implies, does not match its size or digest.
    #[error("the descriptor at `{place}` does not match its content: {problem}")]
    Content {
        /// The path of the descriptor.
        place: String,
        /// The mismatch.
        problem: VerifyError,
    },
    /// A URL is neither http nor https.
    #[error("the URL `{url}` at `{place}` cannot be downloaded from; its scheme must be http or https")]
    Url {
        /// The path of the descriptor.
        place: String,
        /// An excerpt of the URL, without user name, query and fragment.
        url: String,
    },
    /// The document is larger than [`Document::MAX_LEN`](crate::build::Document::MAX_LEN).
    #[error(
        "the document has {size} bytes, but registries need not accept more than {limit}; embed less data, or \
         divide it into several documents"
    )]
    TooLarge {
        /// The document's size in bytes.
        size: u64,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The strict parser rejects the document, for example because a descriptor's size is over `i64::MAX`.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
}
