//! Documents: images and indexes, read strictly, kept as they came.
//!
//! A document's descriptors are read in one pass that borrows from its bytes. What is kept of a
//! descriptor is its digest, its size, its media type, and where in the bytes its other texts are;
//! a [`DescriptorRef`] is a view of that, and building a [`Descriptor`] is left to the caller.
//!
//! Source: image-spec, manifest.md, image-index.md and descriptor.md; for Docker's documents,
//! distribution, "Image Manifest Version 2, Schema 2".

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::manifest::error::InvalidManifest;
use crate::manifest::evidence::Evidence;
use crate::manifest::read::Untyped;
use crate::manifest::table::{Entry, Table, What};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;

pub(crate) mod error;
pub(crate) mod evidence;
pub(crate) mod keys;
pub(crate) mod read;
pub(crate) mod table;
#[cfg(feature = "oci-spec")]
pub(crate) mod typed;

/// A document that was read: an image, an index, or something of another type that is kept and not read.
///
/// Cloning is cheap: the bytes and what was read of them are shared.
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
    /// Reads a document, deciding from all evidence what it is.
    ///
    /// A Content-Type that names a known document is used. Where it is missing, empty or generic,
    /// the document's own `mediaType` decides, then the descriptor that led to the document, then
    /// the document's shape. A document of any other type is kept and not read.
    ///
    /// The reading is strict where readers are known to differ. Refused are: keys that occur twice
    /// or differ only in case from one that is read, documents that could be both image and index,
    /// sizes that are negative, fractional or over `i64::MAX`, and values of a wrong JSON type.
    /// `null` counts as absent, and so does an empty `mediaType` or `artifactType`; but a `config` or `layers`
    /// beside `manifests` is refused even where it is `null`.
    ///
    /// # Errors
    /// The evidence conflicts, or the document breaks a rule.
    pub fn read(raw: Bytes, evidence: Evidence<'_>) -> Result<Self, InvalidManifest> {
        Self::read_with(raw, evidence, Untyped::Refused)
    }

    /// Reads the `index.json` of an image layout, whose entries may lack their media type.
    ///
    /// Source: image-spec, image-layout.md, "index.json file".
    pub(crate) fn read_layout_index(raw: Bytes) -> Result<Self, InvalidManifest> {
        let manifest = Self::read_with(raw, Evidence::default(), Untyped::Taken)?;
        match manifest.kind() {
            Kind::Index => Ok(manifest),
            _ => Err(InvalidManifest::Kind { wanted: Kind::Index, media_type: manifest.media_type }),
        }
    }

    fn read_with(raw: Bytes, evidence: Evidence<'_>, untyped: Untyped) -> Result<Self, InvalidManifest> {
        let (media_type, table) = evidence::decide(&raw, evidence, untyped)?;
        Ok(Self { raw, media_type, table: Arc::new(table) })
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.raw
    }

    /// What the document was found to be.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Image, index or other.
    pub fn kind(&self) -> Kind {
        self.media_type.kind()
    }

    /// The document's own `artifactType`, if it has one.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.table.artifact_type.as_ref()
    }

    /// An image's config.
    pub fn config(&self) -> Option<DescriptorRef<'_>> {
        self.table.config.as_ref().map(|entry| self.view(entry))
    }

    /// The manifest that this one refers to.
    ///
    /// Source: image-spec, manifest.md, "subject".
    pub fn subject(&self) -> Option<DescriptorRef<'_>> {
        self.table.subject.as_ref().map(|entry| self.view(entry))
    }

    /// The `manifests` of an index or the `layers` of an image, in document order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = DescriptorRef<'_>> + DoubleEndedIterator {
        self.table.entries.iter().map(|entry| self.view(entry))
    }

    /// The nth of [`entries`](Self::entries).
    pub fn entry(&self, index: usize) -> Option<DescriptorRef<'_>> {
        self.table.entries.get(index).map(|entry| self.view(entry))
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> DescriptorRef<'a> {
        DescriptorRef { raw: &self.raw, table: &self.table, entry }
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("media_type", &self.media_type)
            .field("bytes", &self.raw.len())
            .field("entries", &self.table.entries.len())
            .finish_non_exhaustive()
    }
}

/// A descriptor inside a document, borrowed from it.
///
/// Source: image-spec, descriptor.md.
#[derive(Clone, Copy)]
pub struct DescriptorRef<'a> {
    raw: &'a [u8],
    table: &'a Table,
    entry: &'a Entry,
}

impl<'a> DescriptorRef<'a> {
    /// What the content is said to be.
    pub fn media_type(&self) -> &'a MediaType {
        self.table.media_type(self.entry.media_type)
    }

    /// The content's digest.
    pub fn digest(&self) -> &'a Digest {
        &self.entry.digest
    }

    /// The content's size in bytes; at most `i64::MAX`.
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    /// The platform, if the descriptor has one.
    ///
    /// One without operating system or architecture, or with a part that no platform can have,
    /// counts as none.
    pub fn platform(&self) -> Option<Platform> {
        let os = self.text(What::Os)?;
        let architecture = self.text(What::Architecture)?;
        Platform::from_parts(os, architecture, self.text(What::Variant), self.text(What::OsVersion)).ok()
    }

    /// The type of an artifact, if the descriptor says it.
    pub fn artifact_type(&self) -> Option<&'a MediaType> {
        self.entry.artifact_type.map(|index| self.table.media_type(index))
    }

    /// The content itself, if the document carries it: decoded anew at each call, and not verified.
    ///
    /// Text that is not Base64 counts as absent, since the content can still be fetched.
    pub fn data(&self) -> Option<Bytes> {
        let text = self.text(What::Data)?;
        base64::engine::general_purpose::STANDARD.decode(text).ok().map(Bytes::from)
    }

    /// Where else the content may be had.
    pub fn urls(&self) -> impl Iterator<Item = &'a str> {
        self.texts(What::Url)
    }

    /// The name that an image layout's index gives to an entry.
    ///
    /// Source: image-spec, annotations.md, `org.opencontainers.image.ref.name`.
    pub fn ref_name(&self) -> Option<&'a str> {
        self.text(What::RefName)
    }

    /// Builds a descriptor that borrows nothing.
    pub fn to_owned(&self) -> Descriptor {
        Descriptor {
            platform: self.platform(),
            artifact_type: self.artifact_type().cloned(),
            data: self.data(),
            ..Descriptor::new(self.media_type().clone(), self.digest().clone(), self.size())
        }
    }

    fn text(&self, what: What) -> Option<&'a str> {
        self.texts(what).next()
    }

    fn texts(&self, what: What) -> impl Iterator<Item = &'a str> {
        let Self { raw, table, entry } = *self;
        table.notes(entry).iter().filter(move |note| note.what == what).map(|note| table.text(raw, note))
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
    fn what_is_shown_for_debugging_is_what_was_read_and_no_bytes() {
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
