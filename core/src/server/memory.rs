//! In-memory content, and a builder of samples.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::server::content::Content;
use crate::types::descriptor::Descriptor;
use crate::types::descriptor::write::{descriptor_object, platform_object, sorted};
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::MediaType;
use crate::types::platform::Platform;

/// In-memory content, and a builder of samples for demonstrations, tests and documentation.
///
/// The same calls always produce the same bytes. Content is not checked, since tests may require
/// invalid content.
///
/// ```
/// use oci_proto::server::{Content, Flavour, Memory};
///
/// let mut memory = Memory::new();
/// let amd64 = memory.add_image(Flavour::OCI, "linux/amd64".parse().ok(), &[b"a layer"]);
/// let arm64 = memory.add_image(Flavour::OCI, "linux/arm64".parse().ok(), &[b"another layer"]);
/// let inner = memory.add_index(Flavour::DOCKER.without_media_type(), [&amd64, &arm64]);
/// let root = memory.add_index(Flavour::OCI, [&inner, &amd64]);
/// assert_eq!(memory.size(&root.digest), Some(root.size));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    content: BTreeMap<Digest, Bytes>,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a sample tree, and returns it with the descriptor of its root, an OCI index of
    /// - an OCI index of images for linux/amd64, linux/arm64 and linux/arm/v7,
    /// - a Docker manifest list of images for linux/amd64 and linux/arm64,
    /// - an artifact, a bill of materials whose subject is the first image,
    /// - the first image again, and
    /// - an entry of a type that is neither an image nor an index.
    pub fn sample() -> (Self, Descriptor) {
        const SBOM: &[u8] = br#"{"SPDXID":"SPDXRef-DOCUMENT","name":"sample","spdxVersion":"SPDX-2.3"}"#;
        const NOTE: &[u8] = br#"{"note":"neither an image nor an index"}"#;
        let media_type = |text: &str| -> MediaType { text.parse().expect("a constant, which a test reads") };

        let mut memory = Self::new();
        let image = |memory: &mut Self, flavour, platform: &str| {
            let base: &[u8] = b"the layer that all of them share\n";
            let own = format!("built for {platform}\n");
            memory.add_image(flavour, platform.parse().ok(), &[base, own.as_bytes()])
        };
        let images =
            ["linux/amd64", "linux/arm64", "linux/arm/v7"].map(|p| image(&mut memory, Flavour::OCI, p));
        let index = memory.add_index(Flavour::OCI, &images);
        let [first, ..] = images;
        let docker_images = ["linux/amd64", "linux/arm64"].map(|p| image(&mut memory, Flavour::DOCKER, p));
        let list = memory.add_index(Flavour::DOCKER, &docker_images);

        let sbom =
            memory.add_artifact(Flavour::OCI, media_type("application/spdx+json"), &[SBOM], Some(&first));
        let note = memory.add_document(media_type("application/vnd.example.note.v1+json"), NOTE);
        let root = memory.add_index(Flavour::OCI, [&index, &list, &sbom, &first, &note]);
        (memory, root)
    }

    /// Adds arbitrary bytes with a sha256 digest.
    pub fn add_blob(&mut self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        self.add_with(Algorithm::Sha256, media_type, bytes)
    }

    /// Adds a document verbatim, without checking it, with a sha256 digest.
    pub fn add_document(&mut self, media_type: MediaType, bytes: impl Into<Bytes>) -> Descriptor {
        self.add_with(Algorithm::Sha256, media_type, bytes)
    }

    /// Adds arbitrary bytes with a digest of the given algorithm.
    pub fn add_with(
        &mut self,
        algorithm: Algorithm,
        media_type: MediaType,
        bytes: impl Into<Bytes>,
    ) -> Descriptor {
        let bytes = bytes.into();
        let digest = Digest::of(algorithm, &bytes);
        let size = bytes.len() as u64;
        self.content.insert(digest.clone(), bytes);
        Descriptor::new(media_type, digest, size)
    }

    /// Adds an image: its layers, a config and a manifest. Returns the manifest's descriptor with the
    /// platform.
    ///
    /// `"linux/amd64".parse().ok()` is a short form for the platform. Layers are arbitrary bytes, not
    /// archives.
    pub fn add_image(
        &mut self,
        flavour: Flavour,
        platform: Option<Platform>,
        layers: &[&[u8]],
    ) -> Descriptor {
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.add_part(flavour, flavour.media_types().layer, Bytes::copy_from_slice(layer)))
            .collect();
        // A diff_id is the digest of the uncompressed layer; these layers are not compressed.
        let diff_ids: Vec<&Value> = layers.iter().filter_map(|layer| layer.get("digest")).collect();
        let mut config = platform
            .as_ref()
            .map_or_else(|| json!({ "architecture": "unknown", "os": "unknown" }), platform_object);
        config["rootfs"] = json!({ "diff_ids": diff_ids, "type": "layers" });
        let config = self.add_part(flavour, flavour.media_types().config, sorted(config));

        let image = json!({ "config": config, "layers": layers, "schemaVersion": 2 });
        let mut descriptor = self.add_manifest(flavour, flavour.media_types().image, image);
        descriptor.platform = platform;
        descriptor
    }

    /// Adds an index of images, artifacts, other indexes or other content. Each entry has all
    /// properties of its descriptor, including the platform.
    pub fn add_index<'a>(
        &mut self,
        flavour: Flavour,
        entries: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Descriptor {
        let entries: Vec<Value> = entries.into_iter().map(descriptor_object).collect();
        let index = json!({ "manifests": entries, "schemaVersion": 2 });
        self.add_manifest(flavour, flavour.media_types().index, index)
    }

    /// Adds an artifact: files of the artifact's type, the empty config, and an image manifest with
    /// `artifactType` and an optional subject. The returned descriptor has the artifact type.
    pub fn add_artifact(
        &mut self,
        flavour: Flavour,
        artifact_type: MediaType,
        files: &[&[u8]],
        subject: Option<&Descriptor>,
    ) -> Descriptor {
        let files: Vec<Value> = files
            .iter()
            .map(|file| self.add_part(flavour, artifact_type.as_str(), Bytes::copy_from_slice(file)))
            .collect();
        let config = self.add_part(flavour, MediaType::OCI_EMPTY.as_str(), Bytes::from_static(b"{}"));
        let mut artifact = json!({
            "artifactType": artifact_type.as_str(),
            "config": config,
            "layers": files,
            "schemaVersion": 2,
        });
        if let Some(subject) = subject {
            let Descriptor { media_type, digest, size, .. } = subject.clone();
            artifact["subject"] = descriptor_object(&Descriptor::new(media_type, digest, size));
        }
        let mut descriptor = self.add_manifest(flavour, flavour.media_types().image, artifact);
        descriptor.artifact_type = Some(artifact_type);
        descriptor
    }

    /// Returns all content, ordered by digest.
    pub fn contents(&self) -> impl Iterator<Item = (&Digest, &Bytes)> {
        self.content.iter()
    }

    /// Removes content. Returns whether it was present.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        self.content.remove(digest).is_some()
    }

    /// Replaces the bytes of content, so that they do not match its digest. Returns whether it was present.
    pub fn corrupt(&mut self, digest: &Digest, bytes: impl Into<Bytes>) -> bool {
        self.content.get_mut(digest).map(|content| *content = bytes.into()).is_some()
    }

    fn add_part(&mut self, flavour: Flavour, media_type: &str, bytes: Bytes) -> Value {
        let digest = Digest::of(flavour.algorithm, &bytes);
        let part = json!({
            "digest": digest.to_string(),
            "mediaType": media_type,
            "size": bytes.len(),
        });
        self.content.insert(digest, bytes);
        part
    }

    fn add_manifest(&mut self, flavour: Flavour, media_type: MediaType, mut document: Value) -> Descriptor {
        if flavour.has_media_type {
            document["mediaType"] = media_type.as_str().into();
        }
        self.add_with(flavour.algorithm, media_type, sorted(document))
    }
}

impl Content for Memory {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.content.get(digest).cloned()
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        self.content.get(digest).map(|bytes| bytes.len() as u64)
    }
}

/// The format in which [`Memory`] writes documents: [`OCI`](Self::OCI) or [`DOCKER`](Self::DOCKER),
/// with variations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flavour {
    docker: bool,
    algorithm: Algorithm,
    has_media_type: bool,
}

struct MediaTypes {
    index: MediaType,
    image: MediaType,
    config: &'static str,
    layer: &'static str,
}

impl Flavour {
    /// OCI documents with sha256 digests and a `mediaType` property.
    pub const OCI: Self = Self { docker: false, algorithm: Algorithm::Sha256, has_media_type: true };
    /// Docker schema 2 documents with sha256 digests and a `mediaType` property.
    pub const DOCKER: Self = Self { docker: true, ..Self::OCI };

    /// Uses this algorithm for the digests of the document, its config and its layers.
    #[must_use]
    pub const fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Omits the document's `mediaType` property.
    #[must_use]
    pub const fn without_media_type(self) -> Self {
        Self { has_media_type: false, ..self }
    }

    fn media_types(self) -> MediaTypes {
        if self.docker {
            MediaTypes {
                index: MediaType::DOCKER_LIST,
                image: MediaType::DOCKER_MANIFEST,
                config: "application/vnd.docker.container.image.v1+json",
                layer: "application/vnd.docker.image.rootfs.diff.tar",
            }
        } else {
            MediaTypes {
                index: MediaType::OCI_INDEX,
                image: MediaType::OCI_MANIFEST,
                config: "application/vnd.oci.image.config.v1+json",
                layer: "application/vnd.oci.image.layer.v1.tar",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::types::media_type::Kind;

    fn read(memory: &Memory, descriptor: &Descriptor) -> Manifest {
        Manifest::verified(memory.bytes(&descriptor.digest).unwrap(), descriptor, None).unwrap()
    }

    #[test]
    fn documents_have_the_requested_properties() {
        let mut memory = Memory::new();
        let platform: Option<Platform> = "linux/arm/v7".parse().ok();
        let image = memory.add_image(Flavour::DOCKER, platform.clone(), &[b"one", b"two"]);
        assert_eq!(image.media_type, MediaType::DOCKER_MANIFEST);
        let manifest = read(&memory, &image);
        assert_eq!(manifest.kind(), Kind::Image);
        assert_eq!(manifest.entries().len(), 2);
        assert_eq!(manifest.entry(1).unwrap().digest(), &Digest::of(Algorithm::Sha256, b"two"));

        let index = memory.add_index(Flavour::OCI.by(Algorithm::Sha512), [&image]);
        assert_eq!(index.digest.algorithm(), Some(Algorithm::Sha512));
        let manifest = read(&memory, &index);
        assert_eq!(manifest.kind(), Kind::Index);
        assert_eq!(manifest.entry(0).unwrap().platform(), platform);

        let note: MediaType = "text/x-note".parse().unwrap();
        let artifact = memory.add_artifact(Flavour::OCI, note.clone(), &[b"note"], Some(&index));
        let manifest = read(&memory, &artifact);
        assert_eq!(manifest.artifact_type(), Some(&note));
        assert_eq!(manifest.subject().unwrap().digest(), &index.digest);

        let bare = memory.add_index(Flavour::OCI.without_media_type(), []);
        assert_eq!(memory.bytes(&bare.digest).unwrap(), r#"{"manifests":[],"schemaVersion":2}"#);
    }

    #[test]
    fn the_config_contains_the_platform_and_the_layers() {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, "linux/arm/v7".parse().ok(), &[b"one"]);
        let manifest = read(&memory, &image);
        let config = memory.bytes(manifest.config().unwrap().digest()).unwrap();
        let diff_id = Digest::of(Algorithm::Sha256, b"one");
        assert_eq!(
            config,
            format!(
                r#"{{"architecture":"arm","os":"linux","rootfs":{{"diff_ids":["{diff_id}"],"type":"layers"}},"variant":"v7"}}"#
            )
        );
    }

    #[test]
    fn the_sample_is_reproducible_and_has_every_kind_of_entry() {
        let (memory, root) = Memory::sample();
        assert_eq!(root, Memory::sample().1);
        let index = read(&memory, &root);
        let types: Vec<&MediaType> = index.entries().map(|entry| entry.media_type()).collect();
        assert_eq!(
            types[..4],
            [
                &MediaType::OCI_INDEX,
                &MediaType::DOCKER_LIST,
                &MediaType::OCI_MANIFEST,
                &MediaType::OCI_MANIFEST
            ]
        );
        assert_eq!(types[4].kind(), Kind::Other);
        let nested = read(&memory, &index.entry(0).unwrap().to_owned());
        let platforms: Vec<String> =
            nested.entries().map(|entry| entry.platform().unwrap().to_string()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        assert_eq!(index.entry(3).unwrap().digest(), nested.entry(0).unwrap().digest());
        let sbom = read(&memory, &index.entry(2).unwrap().to_owned());
        assert_eq!(sbom.subject().unwrap().digest(), nested.entry(0).unwrap().digest());
    }
}
