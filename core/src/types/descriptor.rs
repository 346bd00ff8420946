//! Descriptors: the references that documents make to content.

use bytes::Bytes;

use crate::types::digest::{Algorithm, Digest};
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
    /// The content of the [empty descriptor](Self::empty).
    pub(crate) const EMPTY_CONTENT: &[u8] = b"{}";

    /// Creates a descriptor with only the three required properties.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, platform: None, artifact_type: None, data: None }
    }

    /// Returns the content, if the descriptor embeds it or if it is empty. Embedded data that is not the content counts
    /// as absent.
    ///
    /// Source: image-spec, descriptor.md, "Properties".
    pub fn embedded(&self) -> Option<Bytes> {
        let empty = (self.size == 0).then(Bytes::new);
        let algorithm = self.digest.algorithm()?;
        self.data.iter().chain(&empty).find(|bytes| self.is_content(algorithm, bytes)).cloned()
    }

    fn is_content(&self, algorithm: Algorithm, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.size && Digest::of(algorithm, bytes) == self.digest
    }

    /// Returns the empty descriptor, which embeds its content: the JSON object `{}`. It takes the place of a
    /// config or a layer that an artifact does not have.
    ///
    /// Source: image-spec, manifest.md, "Guidance for an Empty Descriptor".
    ///
    /// ```
    /// use oci_proto::{Descriptor, MediaType};
    ///
    /// let empty = Descriptor::empty();
    /// assert_eq!(empty.media_type, MediaType::OCI_EMPTY);
    /// assert_eq!(empty.data.as_deref(), Some(&b"{}"[..]));
    /// ```
    pub fn empty() -> Self {
        let content = Bytes::from_static(Self::EMPTY_CONTENT);
        let digest = Digest::of(Algorithm::Sha256, &content);
        let size = content.len() as u64;
        Self { data: Some(content), ..Self::new(MediaType::OCI_EMPTY, digest, size) }
    }
}
