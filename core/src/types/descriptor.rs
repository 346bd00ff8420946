//! Descriptors: what a document says of the content that it names.

use bytes::Bytes;

use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;

pub(crate) mod write;

/// A descriptor: the type, digest and size of some content, and what its document adds to that.
///
/// Source: image-spec, descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// What the content is said to be.
    pub media_type: MediaType,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes; at most `i64::MAX`.
    pub size: u64,
    /// The platform that an index gives for an entry.
    pub platform: Option<Platform>,
    /// The type of an artifact.
    pub artifact_type: Option<MediaType>,
    /// The content itself, where the document carries it: already decoded, and not yet verified.
    pub data: Option<Bytes>,
}

impl Descriptor {
    /// A descriptor with nothing but the three properties that each one has.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, platform: None, artifact_type: None, data: None }
    }
}
