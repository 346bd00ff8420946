//! Documents: images and indexes, read strictly, kept as they came.

use bytes::Bytes;

use crate::{Descriptor, Digest, Kind, MediaType, Platform};

/// A document that was read: an image, an index, or something of another type that is kept and not read.
#[derive(Clone, Debug)]
pub struct Manifest {
    raw: Bytes,
    media_type: MediaType,
    kind: Kind,
}

impl Manifest {
    /// Reads a document, deciding from all evidence what it is.
    ///
    /// # Errors
    /// The evidence conflicts, or the document breaks a rule.
    pub fn read(raw: Bytes, evidence: Evidence<'_>) -> Result<Self, InvalidManifest> {
        let _ = (raw, evidence);
        todo!()
    }
    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.raw
    }
    /// What was decided.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }
    /// Image, index or other.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The document's own artifactType, if any (not empty).
    pub fn artifact_type(&self) -> Option<&MediaType> {
        todo!()
    }
    /// An image's config.
    pub fn config(&self) -> Option<DescriptorRef<'_>> {
        todo!()
    }
    /// subject
    pub fn subject(&self) -> Option<DescriptorRef<'_>> {
        todo!()
    }
    /// The entries of an index (`manifests`) or the layers of an image, in document order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = DescriptorRef<'_>> + DoubleEndedIterator {
        std::iter::empty()
    }
    /// The nth of [`entries`](Self::entries).
    pub fn entry(&self, index: usize) -> Option<DescriptorRef<'_>> {
        let _ = index;
        todo!()
    }
}

/// What is known of a document besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "more evidence is a change to every caller")]
pub struct Evidence<'a> {
    /// The Content-Type header's value as it came.
    pub content_type: Option<&'a str>,
    /// What the descriptor that led to the document says it is.
    pub expected: Option<&'a MediaType>,
}

/// A descriptor inside a document, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorRef<'a> {
    _manifest: &'a Manifest,
}

impl<'a> DescriptorRef<'a> {
    /// Media type.
    pub fn media_type(&self) -> &'a MediaType {
        todo!()
    }
    /// Digest.
    pub fn digest(&self) -> &'a Digest {
        todo!()
    }
    /// Size.
    pub fn size(&self) -> u64 {
        todo!()
    }
    /// Platform, if there is one.
    pub fn platform(&self) -> Option<Platform> {
        todo!()
    }
    /// Owned.
    pub fn to_owned(&self) -> Descriptor {
        todo!()
    }
}

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// x
    #[error("x")]
    X,
}
