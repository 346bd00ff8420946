//! Descriptors: the references that documents make to content.

use bytes::Bytes;

use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;

pub(crate) mod write;

/// A descriptor: the media type, digest and size of some content, with optional properties.
///
/// Source: image-spec, descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The declared media type of the content.
    pub media_type: MediaType,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes; at most `i64::MAX`.
    pub size: u64,
    /// The platform, as set on an index entry.
    pub platform: Option<Platform>,
    /// The artifact type.
    pub artifact_type: Option<MediaType>,
    /// The content itself, if the document embeds it. It is decoded but not verified.
    pub data: Option<Bytes>,
}

impl Descriptor {
    /// Creates a descriptor with only the three required properties.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, platform: None, artifact_type: None, data: None }
    }
}
