//! Builds documents: image manifests, artifacts and image indexes.
//!
//! A [`Document`] is built from its children's descriptors, and returned as a [`Manifest`] with its
//! [`Descriptor`]. Equal documents are written as equal bytes: keys are in the order of the specification,
//! annotations are sorted, and there is no whitespace.
//!
//! A bill of materials, attached to an image:
//!
//! ```
//! use oci_proto::build::{Annotations, Child, Document};
//! use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
//!
//! // The image, as resolved, and the file to attach.
//! let image = Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(Algorithm::Sha256, b"..."), 3);
//! let spdx: MediaType = "application/spdx+json".parse()?;
//! let sbom = br#"{"spdxVersion":"SPDX-2.3"}"#;
//! let sbom = Descriptor::new(spdx.clone(), Digest::of(Algorithm::Sha256, sbom), sbom.len() as u64);
//!
//! let mut title = Annotations::new();
//! title.insert("org.opencontainers.image.title", "sbom.spdx.json")?;
//! let (descriptor, manifest) = Document::artifact(spdx.clone())
//!     .entry(Child::from(&sbom).annotations(title))
//!     .subject(image.clone())
//!     .build()?;
//!
//! assert_eq!(manifest.artifact_type(), Some(&spdx));
//! assert_eq!(manifest.subject().map(|subject| subject.to_owned()), Some(image));
//! assert_eq!(manifest.entry(0).map(|layer| layer.to_owned()), Some(sbom));
//! assert_eq!(descriptor.digest, Digest::of(Algorithm::Sha256, manifest.bytes()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: image-spec, manifest.md, image-index.md, descriptor.md and annotations.md.

pub(crate) mod child;
pub(crate) mod error;
#[cfg(test)]
mod tests;

pub use crate::build::child::Child;
pub use crate::build::error::BuildError;
pub use crate::types::annotations::{Annotations, InvalidAnnotation};

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::header::url::unusable_shown;
use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::manifest::error::VerifyError;
use crate::manifest::evidence::Evidence;
use crate::manifest::verify::Expectation;
use crate::types::descriptor::Descriptor;
use crate::types::descriptor::write::{AnnotationsJson, DescriptorJson, json_text};
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::MediaType;

/// A document to be built: an image manifest or an image index.
///
/// See the [module](self) for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// An image's config; an index has none.
    config: Option<Child>,
    entries: Vec<Child>,
    artifact_type: Option<MediaType>,
    subject: Option<Descriptor>,
    annotations: Annotations,
}

impl Document {
    /// The maximum size of a document, in bytes. Registries and clients should support manifests of this size
    /// (distribution-spec, "Pushing Manifests"); many reject larger ones.
    pub const MAX_LEN: u64 = 4 << 20;

    /// Starts an image manifest with this config.
    pub fn image(config: impl Into<Child>) -> Self {
        Self { config: Some(config.into()), ..Self::index() }
    }

    /// Starts an image manifest for content other than a container image. It has this artifact type and, as
    /// its config, the [empty descriptor](Descriptor::empty).
    ///
    /// If the artifact has a config, use [`image`](Self::image) and [`artifact_type`](Self::artifact_type).
    ///
    /// Source: image-spec, manifest.md, "Guidelines for Artifact Usage".
    pub fn artifact(artifact_type: MediaType) -> Self {
        Self::image(Descriptor::empty()).artifact_type(artifact_type)
    }

    /// Starts an image index.
    pub fn index() -> Self {
        Self {
            config: None,
            entries: Vec::new(),
            artifact_type: None,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// Adds an entry after those added before: a layer of an image, or a manifest of an index.
    ///
    /// An image with an artifact type that has no entries is written with the
    /// [empty descriptor](Descriptor::empty) as its only layer, since some registries reject images without
    /// layers.
    ///
    /// Source: image-spec, manifest.md, "Guidelines for Artifact Usage".
    #[must_use]
    pub fn entry(mut self, entry: impl Into<Child>) -> Self {
        self.entries.push(entry.into());
        self
    }

    /// Sets the artifact type.
    #[must_use]
    pub fn artifact_type(mut self, artifact_type: MediaType) -> Self {
        self.artifact_type = Some(artifact_type);
        self
    }

    /// Sets the subject: the manifest that this document is attached to.
    #[must_use]
    pub fn subject(mut self, subject: Descriptor) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Sets the annotations of the document itself.
    #[must_use]
    pub fn annotations(mut self, annotations: Annotations) -> Self {
        self.annotations = annotations;
        self
    }

    /// Builds the document. [`Manifest::bytes`] of the result has its bytes.
    ///
    /// The descriptor has a sha256 digest and the document's artifact type. A caller that pushes the document
    /// must push the empty descriptor's content, `{}`, like that of every other child.
    ///
    /// # Errors
    /// Fails if
    /// - an image has the empty config and no artifact type,
    /// - a descriptor does not match the data that it embeds, or `{}` if it has the empty type,
    /// - a descriptor's size is over `i64::MAX`,
    /// - a URL is neither http nor https, or
    /// - the document is larger than [`MAX_LEN`](Self::MAX_LEN).
    pub fn build(mut self) -> Result<(Descriptor, Manifest), BuildError> {
        if let Some(config) = &self.config {
            if self.artifact_type.is_none() && config.descriptor().media_type == MediaType::OCI_EMPTY {
                return Err(BuildError::NoArtifactType);
            }
            if self.artifact_type.is_some() && self.entries.is_empty() {
                self.entries.push(Descriptor::empty().into());
            }
        }
        self.check_descriptors()?;
        let bytes = Bytes::from(json_text(&DocumentJson(&self)));
        let (size, limit) = (bytes.len() as u64, Self::MAX_LEN);
        if size > limit {
            return Err(BuildError::TooLarge { size, limit });
        }
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let evidence = Evidence { expected: Some(self.media_type()), ..Evidence::default() };
        let manifest = Manifest::read(bytes, evidence)?;
        let descriptor = Descriptor {
            artifact_type: self.artifact_type,
            ..Descriptor::new(manifest.media_type().clone(), digest, size)
        };
        Ok((descriptor, manifest))
    }

    fn media_type(&self) -> &'static MediaType {
        if self.config.is_some() { &MediaType::OCI_MANIFEST } else { &MediaType::OCI_INDEX }
    }

    fn check_descriptors(&self) -> Result<(), BuildError> {
        if let Some(config) = &self.config {
            check_child("config", config)?;
        }
        for (n, entry) in self.entries.iter().enumerate() {
            let part = if self.config.is_some() { Part::Layer(n) } else { Part::Entry(n) };
            check_child(&part.to_string(), entry)?;
        }
        self.subject.as_ref().map_or(Ok(()), |subject| check_content("subject", subject))
    }
}

fn check_child(place: &str, child: &Child) -> Result<(), BuildError> {
    if let Some(url) = child.unusable_url() {
        let url = unusable_shown(&url.to_string());
        return Err(BuildError::Url { place: place.to_owned(), url });
    }
    check_content(place, child.descriptor())
}

/// Compares a descriptor with its content, if it embeds it or its type implies it.
fn check_content(place: &str, descriptor: &Descriptor) -> Result<(), BuildError> {
    let implied = (descriptor.media_type == MediaType::OCI_EMPTY).then_some(Descriptor::EMPTY_CONTENT);
    for content in descriptor.data.as_deref().into_iter().chain(implied) {
        match Expectation::from(descriptor).verify(content) {
            // The size was compared before.
            Ok(()) | Err(VerifyError::UnknownAlgorithm(_)) => {}
            Err(problem) => return Err(BuildError::Content { place: place.to_owned(), problem }),
        }
    }
    Ok(())
}

/// The document's JSON object. The properties are those of images and of indexes, in their order.
struct DocumentJson<'a>(&'a Document);

impl Serialize for DocumentJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(document) = self;
        let Document { config, entries, artifact_type, subject, annotations } = document;
        let entries: Vec<DescriptorJson<'_>> = entries.iter().map(Child::json).collect();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("schemaVersion", &2)?;
        object.serialize_entry("mediaType", document.media_type().as_str())?;
        if let Some(artifact_type) = artifact_type {
            object.serialize_entry("artifactType", artifact_type.as_str())?;
        }
        if let Some(config) = config {
            object.serialize_entry("config", &config.json())?;
            object.serialize_entry("layers", &entries)?;
        } else {
            object.serialize_entry("manifests", &entries)?;
        }
        if let Some(subject) = subject {
            object.serialize_entry("subject", &DescriptorJson::from(subject))?;
        }
        if !annotations.is_empty() {
            object.serialize_entry("annotations", &AnnotationsJson(annotations))?;
        }
        object.end()
    }
}
