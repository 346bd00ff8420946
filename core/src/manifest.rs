//! Manifests: images and indexes, parsed strictly and kept verbatim.
//!
//! A document is parsed in one pass that borrows from its bytes. For each descriptor, the result holds
//! the digest, the size, the media type and the positions of its other strings in the document. A
//! [`DescriptorRef`] is a view of that; callers build a [`Descriptor`] only if they need one.
//!
//! Source: image-spec, manifest.md, image-index.md and descriptor.md; for Docker's documents,
//! distribution, "Image Manifest Version 2, Schema 2".

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::manifest::error::InvalidManifest;
use crate::manifest::evidence::Evidence;
use crate::manifest::pass::Purpose;
use crate::manifest::table::{Entry, Property, Table};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;

mod annotated;
pub(crate) mod children;
pub(crate) mod error;
pub(crate) mod evidence;
pub(crate) mod keys;
pub(crate) mod pass;
pub(crate) mod read;
pub(crate) mod table;
#[cfg(feature = "oci-spec")]
pub(crate) mod typed;
pub(crate) mod verify;

/// A parsed image or index, or a document of another type, which is kept without parsing.
///
/// Cloning is cheap: clones share the bytes and the parsed data.
///
/// ```
/// use oci_proto::{Evidence, Kind, Manifest, MediaType};
///
/// let document = r#"{
///     "schemaVersion": 2,
///     "manifests": [{
///         "mediaType": "application/vnd.oci.image.manifest.v1+json",
///         "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
///         "size": 1024,
///         "platform": { "os": "linux", "architecture": "amd64" }
///     }]
/// }"#;
/// let evidence = Evidence { content_type: Some("application/json"), ..Evidence::default() };
/// let manifest = Manifest::read(document.into(), evidence)?;
/// assert_eq!(manifest.kind(), Kind::Index);
/// assert_eq!(manifest.media_type(), &MediaType::OCI_INDEX);
/// let entry = manifest.entry(0).ok_or("no entry")?;
/// assert_eq!(entry.size(), 1024);
/// assert_eq!(entry.platform(), Some("linux/amd64".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Manifest {
    raw: Bytes,
    media_type: MediaType,
    table: Arc<Table>,
}

impl Manifest {
    /// Parses a document and determines its type from all evidence.
    ///
    /// A Content-Type that names a known document type is used. If it is missing, empty or generic, the
    /// document's own `mediaType` decides, then the descriptor that refers to the document, then the
    /// document's structure. A document of any other type is kept without parsing; if the Content-Type names
    /// it, the document's own `mediaType` is not read.
    ///
    /// Parsing is strict where parsers are known to differ. It rejects duplicate keys, keys that differ
    /// only in case from a known one, documents that could be both image and index, sizes that are
    /// negative, fractional or over `i64::MAX`, and values of a wrong JSON type. `null` counts as
    /// absent, and so does an empty `mediaType` or `artifactType`; but a `config` or `layers` beside
    /// `manifests` is rejected even if it is `null`.
    ///
    /// # Errors
    /// Fails if conflicting document types or the document is invalid.
    pub fn read(raw: Bytes, evidence: Evidence<'_>) -> Result<Self, InvalidManifest> {
        Self::read_with(raw, evidence, Purpose::Manifest)
    }

    /// Parses the `index.json` of an image layout, whose entries may lack a media type.
    ///
    /// Source: image-spec, image-layout.md, "index.json file".
    pub(crate) fn read_layout_index(raw: Bytes) -> Result<Self, InvalidManifest> {
        Self::read_index(raw, Evidence::default(), Purpose::LayoutIndex)
    }

    /// Parses a list of referrers. All annotations of its entries must be strings.
    ///
    /// Source: distribution-spec, "Listing Referrers".
    pub(crate) fn read_referrers(raw: Bytes, evidence: Evidence<'_>) -> Result<Self, InvalidManifest> {
        Self::read_index(raw, evidence, Purpose::Referrers)
    }

    fn read_index(raw: Bytes, evidence: Evidence<'_>, purpose: Purpose) -> Result<Self, InvalidManifest> {
        let manifest = Self::read_with(raw, evidence, purpose)?;
        match manifest.kind() {
            Kind::Index => Ok(manifest),
            _ => Err(InvalidManifest::Kind { wanted: Kind::Index, media_type: manifest.media_type }),
        }
    }

    fn read_with(raw: Bytes, evidence: Evidence<'_>, purpose: Purpose) -> Result<Self, InvalidManifest> {
        let (media_type, table) = evidence::decide(&raw, evidence, purpose)?;
        Ok(Self { raw, media_type, table: Arc::new(table) })
    }

    /// Returns the exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the media type, as determined from all evidence.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the kind: image, index or other.
    pub fn kind(&self) -> Kind {
        self.media_type.kind()
    }

    /// Returns the document's own `artifactType`, if it has one.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.table.artifact_type.as_ref()
    }

    /// Returns the document's own annotations, in document order. They are parsed on each call. A value that is no string
    /// counts as absent, and so do annotations that are no object.
    ///
    /// Source: image-spec, annotations.md.
    ///
    /// ```
    /// use oci_proto::{Evidence, Manifest};
    ///
    /// let document = r#"{ "schemaVersion": 2, "manifests": [],
    ///     "annotations": { "org.opencontainers.image.version": "1.0" } }"#;
    /// let manifest = Manifest::read(document.into(), Evidence::default())?;
    /// assert_eq!(manifest.annotation("org.opencontainers.image.version").as_deref(), Some("1.0"));
    /// # Ok::<(), oci_proto::InvalidManifest>(())
    /// ```
    pub fn annotations(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        annotated::annotations(self.annotations_json()).into_iter()
    }

    /// Returns the document's own annotation with this key, unless there are several.
    pub fn annotation(&self, key: &str) -> Option<Cow<'_, str>> {
        annotated::annotation(self.annotations_json(), key)
    }

    fn annotations_json(&self) -> &str {
        self.table.annotations.as_ref().map_or("{}", |note| self.table.text(&self.raw, note))
    }

    /// Returns the config of an image.
    pub fn config(&self) -> Option<DescriptorRef<'_>> {
        self.table.config.as_ref().map(|entry| self.view(entry))
    }

    /// Returns the subject: the manifest that this one refers to.
    ///
    /// Source: image-spec, manifest.md, "subject".
    pub fn subject(&self) -> Option<DescriptorRef<'_>> {
        self.table.subject.as_ref().map(|entry| self.view(entry))
    }

    /// Returns the `manifests` of an index or the `layers` of an image, in document order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = DescriptorRef<'_>> + DoubleEndedIterator {
        self.table.entries.iter().map(|entry| self.view(entry))
    }

    /// Returns the nth of the [`entries`](Self::entries).
    pub fn entry(&self, index: usize) -> Option<DescriptorRef<'_>> {
        self.table.entries.get(index).map(|entry| self.view(entry))
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> DescriptorRef<'a> {
        DescriptorRef { raw: &self.raw, table: &self.table, entry }
    }
}

/// Equal are the same bytes with the same type.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.media_type == other.media_type && self.raw == other.raw
    }
}

impl Eq for Manifest {}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("media_type", &self.media_type)
            .field("bytes", &self.raw.len())
            .field("entries", &self.table.entries.len())
            .finish_non_exhaustive()
    }
}

/// A descriptor borrowed from a document.
///
/// Source: image-spec, descriptor.md.
#[derive(Clone, Copy)]
pub struct DescriptorRef<'a> {
    raw: &'a [u8],
    table: &'a Table,
    entry: &'a Entry,
}

impl<'a> DescriptorRef<'a> {
    /// Returns the declared media type of the content.
    pub fn media_type(&self) -> &'a MediaType {
        self.table.media_type(self.entry.media_type)
    }

    /// Returns the content's digest.
    pub fn digest(&self) -> &'a Digest {
        &self.entry.digest
    }

    /// Returns the content's size in bytes; at most `i64::MAX`.
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    /// Returns the platform, if the descriptor has a valid one.
    ///
    /// A platform without operating system or architecture, or with an invalid part, counts as absent.
    pub fn platform(&self) -> Option<Platform> {
        let os = self.text(Property::Os)?;
        let architecture = self.text(Property::Architecture)?;
        Platform::from_parts(os, architecture, self.text(Property::Variant), self.text(Property::OsVersion))
            .ok()
    }

    /// Returns the artifact type, if the descriptor has one.
    pub fn artifact_type(&self) -> Option<&'a MediaType> {
        self.entry.artifact_type.map(|index| self.table.media_type(index))
    }

    /// Returns the content itself, if the document embeds it. It is decoded on each call and not verified.
    ///
    /// Invalid Base64 counts as absent, since the content can still be fetched.
    pub fn data(&self) -> Option<Bytes> {
        let text = self.text(Property::Data)?;
        base64::engine::general_purpose::STANDARD.decode(text).ok().map(Bytes::from)
    }

    /// Returns the URLs from which the content may also be downloaded.
    pub fn urls(&self) -> impl Iterator<Item = &'a str> {
        self.texts(Property::Url)
    }

    /// Returns the name that an image layout's index gives to an entry.
    ///
    /// Source: image-spec, annotations.md, `org.opencontainers.image.ref.name`.
    pub fn ref_name(&self) -> Option<&'a str> {
        self.text(Property::RefName)
    }

    /// Returns the full name that containerd gives a root in a layout, from the annotation
    /// `io.containerd.image.name`, such as `docker.io/library/alpine:3.20`.
    pub fn image_name(&self) -> Option<&'a str> {
        self.text(Property::ImageName)
    }

    /// Returns the annotations, in document order. They are parsed on each call. A value that is no string counts as
    /// absent.
    ///
    /// Source: image-spec, annotations.md.
    pub fn annotations(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let json = self.text(Property::Annotations).unwrap_or("{}");
        annotated::annotations(json).into_iter()
    }

    /// Returns the annotation with this key, unless there are several.
    pub fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        annotated::annotation(self.text(Property::Annotations)?, key)
    }

    /// Builds an owned descriptor.
    pub fn to_owned(&self) -> Descriptor {
        Descriptor {
            platform: self.platform(),
            artifact_type: self.artifact_type().cloned(),
            data: self.data(),
            ..Descriptor::new(self.media_type().clone(), self.digest().clone(), self.size())
        }
    }

    fn text(&self, property: Property) -> Option<&'a str> {
        self.texts(property).next()
    }

    fn texts(&self, property: Property) -> impl Iterator<Item = &'a str> {
        let Self { raw, table, entry } = *self;
        table
            .notes(entry)
            .iter()
            .filter(move |note| note.property == property)
            .map(|note| table.text(raw, note))
    }
}

impl fmt::Debug for DescriptorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescriptorRef")
            .field("media_type", self.media_type())
            .field("digest", self.digest())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_parsed_data_and_no_bytes() {
        let digest = Digest::of(crate::types::digest::Algorithm::Sha256, b"");
        let entry = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let length = index.len();
        let manifest = Manifest::read(index.into(), Evidence::default()).unwrap();
        let media_type = &MediaType::OCI_INDEX;
        assert_eq!(
            format!("{manifest:?}"),
            format!("Manifest {{ media_type: {media_type}, bytes: {length}, entries: 1, .. }}")
        );
        assert_eq!(
            format!("{:?}", manifest.entry(0).unwrap()),
            format!("DescriptorRef {{ media_type: a/b, digest: {digest}, size: 1, .. }}")
        );
    }
}
