//! Content in memory, and a builder of samples.

use bytes::Bytes;

use super::Content;
use crate::{Algorithm, Descriptor, Digest, MediaType, Platform};

/// Content in memory, and a builder of samples for demonstrations, tests and documentation.
#[derive(Clone, Debug, Default)]
pub struct Memory {}

impl Memory {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The demonstration's tree, and the descriptor of its root.
    pub fn sample() -> (Self, Descriptor) {
        todo!()
    }

    /// Adds bytes of any sort. The digest is by sha256.
    pub fn add_blob(&mut self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        let _ = (media_type, bytes.into());
        todo!()
    }

    /// Adds a document verbatim, whatever is in it. The digest is by sha256.
    pub fn add_document(&mut self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        let _ = (media_type, bytes.into());
        todo!()
    }

    /// Adds bytes of any sort, named by a digest of the given algorithm.
    pub fn add_with(
        &mut self,
        algorithm: Algorithm,
        media_type: MediaType,
        bytes: impl Into<Bytes>,
    ) -> Descriptor {
        let _ = (algorithm, media_type, bytes.into());
        todo!()
    }

    /// Adds an image: its layers, a config, and a manifest, whose descriptor is returned with the platform.
    ///
    /// `"linux/amd64".parse().ok()` is a short way to write the platform.
    pub fn add_image(
        &mut self,
        flavour: Flavour,
        platform: Option<Platform>,
        layers: &[&[u8]],
    ) -> Descriptor {
        let _ = (flavour, platform, layers);
        todo!()
    }

    /// Adds an index of entries, which are images, artifacts, other indexes, or anything else.
    pub fn add_index<'a>(
        &mut self,
        flavour: Flavour,
        entries: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Descriptor {
        let _ = (flavour, entries.into_iter().count());
        todo!()
    }

    /// Adds an artifact: files of the artifact's type, the empty config, and an image manifest with
    /// artifactType, and with a subject where there is one.
    pub fn add_artifact(
        &mut self,
        flavour: Flavour,
        artifact_type: MediaType,
        files: &[&[u8]],
        subject: Option<&Descriptor>,
    ) -> Descriptor {
        let _ = (flavour, artifact_type, files, subject);
        todo!()
    }

    /// Takes content away. Returns whether it was there.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let _ = digest;
        todo!()
    }
}

impl Content for Memory {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        let _ = digest;
        todo!()
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        let _ = digest;
        todo!()
    }
}

/// How [`Memory`] writes a document: [`OCI`](Self::OCI) or [`DOCKER`](Self::DOCKER), and the
/// departures from those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flavour {
    docker: bool,
    algorithm: Algorithm,
    names_itself: bool,
}

impl Flavour {
    /// OCI documents, named by sha256, with their own mediaType.
    pub const OCI: Self = Self { docker: false, algorithm: Algorithm::Sha256, names_itself: true };
    /// Docker schema 2 documents, named by sha256, with their own mediaType.
    pub const DOCKER: Self = Self { docker: true, ..Self::OCI };

    /// The document, and its blobs, are named by digests of this algorithm.
    #[must_use]
    pub const fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// The document does not say its own mediaType.
    #[must_use]
    pub const fn without_media_type(self) -> Self {
        Self { names_itself: false, ..self }
    }
}
