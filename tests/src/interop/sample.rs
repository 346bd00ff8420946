//! Content for registries: of the types that docker-registry accepts and that a mirror stores.

use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, MediaType, Platform};
use serde_json::{Value, json};

/// A tree of content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// All content.
    pub memory: Memory,
    /// The descriptor behind the tag.
    pub root: Descriptor,
    /// An image for linux/arm/v7, at the deepest level.
    pub deepest: Descriptor,
    /// Blobs to download: an empty one, a small one, a large one, and one with a sha512 digest.
    pub blobs: Vec<Descriptor>,
}

impl Sample {
    /// An index with two levels of indexes below it:
    /// - an OCI index without a media type of its own, of
    ///   - an OCI index of images for linux/amd64, linux/arm64, linux/arm/v7 and linux/s390x, the last one
    ///     with sha512 digests, and
    ///   - a Docker manifest list of images for linux/amd64 and linux/arm64,
    /// - the manifest list again,
    /// - an artifact, whose subject is the first image,
    /// - the first image again, and
    /// - an image without a platform.
    ///
    /// Every entry is an image or an index: docker-registry 2.8 accepts an index only after each of its
    /// entries, as a manifest, and accepts no manifests of other types.
    pub fn nested() -> Self {
        Self::nested_with(3_000_000)
    }

    /// Like [`nested`](Self::nested), with a large blob of this size in bytes.
    pub fn nested_with(bytes: usize) -> Self {
        let mut memory = Memory::new();
        let large: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(bytes).collect();
        let amd64 = image(&mut memory, Flavour::OCI, "linux/amd64", &large);
        let arm64 = image(&mut memory, Flavour::OCI, "linux/arm64", b"");
        let deepest = image(&mut memory, Flavour::OCI, "linux/arm/v7", b"a small layer");
        let by_sha512 = by_sha512(&mut memory, b"a layer with a sha512 digest");
        let s390x = image_of(&mut memory, "linux/s390x", &[&by_sha512, &by_sha512]);
        let inner = memory.add_index(Flavour::OCI, [&amd64, &arm64, &deepest, &s390x]);

        let docker = ["linux/amd64", "linux/arm64"]
            .map(|platform| image(&mut memory, Flavour::DOCKER, platform, b"a layer of Docker's type"));
        let list = memory.add_index(Flavour::DOCKER, &docker);
        let middle = memory.add_index(Flavour::OCI.without_media_type(), [&inner, &list]);

        let spdx = media_type("application/spdx+json");
        let sbom = memory.add_artifact(Flavour::OCI, spdx, &[br#"{"spdxVersion":"SPDX-2.3"}"#], Some(&amd64));
        let plain = memory.add_image(Flavour::OCI, None, &[b"for any machine"]);
        let root = memory.add_index(Flavour::OCI, [&middle, &list, &sbom, &amd64, &plain]);

        let layer = media_type("application/vnd.oci.image.layer.v1.tar");
        let mut blobs: Vec<Descriptor> = [&b""[..], b"a small layer", &large]
            .map(|bytes| memory.add_blob(layer.clone(), bytes.to_vec()))
            .into();
        blobs.push(by_sha512);
        Self { memory, root, deepest, blobs }
    }
}

/// Adds an OCI index, or a Docker manifest list, of images for three platforms, and returns its descriptor.
pub fn flat(memory: &mut Memory, flavour: Flavour) -> Descriptor {
    let images = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
        .map(|platform| image(memory, flavour, platform, platform.as_bytes()));
    memory.add_index(flavour, &images)
}

fn image(memory: &mut Memory, flavour: Flavour, platform: &str, layer: &[u8]) -> Descriptor {
    memory.add_image(flavour, Some(self::platform(platform)), &[b"a layer that all of them share", layer])
}

/// A layer with a sha512 digest.
fn by_sha512(memory: &mut Memory, bytes: &'static [u8]) -> Descriptor {
    memory.add_with(Algorithm::Sha512, media_type("application/vnd.oci.image.layer.v1.tar"), bytes)
}

/// An image with a sha256 digest, whose config and layers are given.
fn image_of(memory: &mut Memory, platform: &str, layers: &[&Descriptor]) -> Descriptor {
    let platform = self::platform(platform);
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    let config = json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = memory.add_with(
        Algorithm::Sha512,
        media_type("application/vnd.oci.image.config.v1+json"),
        config.to_string(),
    );
    let layers: Vec<Value> = layers.iter().copied().map(descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "config": descriptor(&config),
        "layers": layers,
    });
    let mut image = memory.add_document(MediaType::OCI_MANIFEST, manifest.to_string());
    image.platform = Some(platform);
    image
}

fn descriptor(of: &Descriptor) -> Value {
    json!({ "mediaType": of.media_type.as_str(), "digest": of.digest.to_string(), "size": of.size })
}

fn platform(text: &str) -> Platform {
    text.parse().expect("the constant is a valid platform")
}

fn media_type(text: &str) -> MediaType {
    text.parse().expect("the constant is a valid media type")
}
