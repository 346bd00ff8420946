//! The content of registries: the same in each run, and incompressible.

use std::fs::{self, File};
use std::path::Path;

use oci_proto::layout::{RefName, blob_path};
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_tests::interop::Pusher;
use oci_proto_tokio::layout::{Layout, LayoutWriter};
use serde_json::{Value, json};

use crate::fallible::Fallible;

/// The repository of all content.
pub(crate) const REPOSITORY: &str = "bench";

/// An index of two indexes, each of [`CHILDREN`] images, all of the same blobs.
pub(crate) const MANIFESTS: &str = "manifests";
/// The first of those two.
pub(crate) const INDEX: &str = "index";
/// An image of 60 layers of 100 KiB.
pub(crate) const SMALL: &str = "small";
/// An image of 3 layers of 300 MiB.
pub(crate) const LARGE: &str = "large";
/// An index of 8 images for as many platforms, each with two layers of 20 KiB.
pub(crate) const PLATFORMS: &str = "platforms";
/// An image of one layer of 10 MiB of zeros.
pub(crate) const TEN_MIB: &str = "10MiB";
/// An image of one layer of 10 GiB of zeros, which takes no room on disk.
pub(crate) const TEN_GIB: &str = "10GiB";

/// The images of an index.
pub(crate) const CHILDREN: usize = 1_000;

/// The digest of 10 GiB of zeros, which takes seconds to compute.
const ZEROS: &str = "sha256:732377e7f4a2abdc13ddfa1eb4c9c497fd2a2b294674d056cf51581b47dd586d";

/// Writes all content into a layout, and pushes the part without zeros to a registry, if there is one.
pub(crate) fn fill(folder: &Path, registry: Option<&str>) -> Fallible<()> {
    let mut writer = LayoutWriter::open(folder)?;
    let mut content = Memory::new();
    let roots = [
        (INDEX, index(&mut content, "first")),
        (MANIFESTS, manifests(&mut content)),
        (SMALL, image(&mut content, 60, 100 << 10)),
        (PLATFORMS, platforms(&mut content)),
        (LARGE, image(&mut content, 3, 300 << 20)),
    ];
    for (digest, bytes) in content.contents() {
        writer.put(&Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), bytes.len() as u64), bytes)?;
    }
    if let Some(registry) = registry {
        let mut pusher = Pusher::new(registry.parse()?, REPOSITORY, &content);
        for (tag, root) in &roots {
            pusher.push(tag, root)?;
        }
    }
    for (tag, size) in [(TEN_MIB, 10 << 20), (TEN_GIB, 10 << 30)] {
        let root = zeros(&mut writer, size)?;
        writer.set_root(&root, Some(&tag.parse()?))?;
    }
    for (tag, root) in &roots {
        writer.set_root(root, Some(&tag.parse::<RefName>()?))?;
    }
    Ok(())
}

/// The root of a layout with a tag.
pub(crate) fn root(layout: &Layout, tag: &str) -> Fallible<Descriptor> {
    let entry = layout.roots().iter().find(|entry| entry.ref_name() == Some(tag));
    Ok(entry.ok_or_else(|| format!("the content has no {tag}"))?.descriptor().clone())
}

/// The images under [`MANIFESTS`], in order.
pub(crate) fn images(layout: &Layout) -> Fallible<Vec<Descriptor>> {
    let mut images = Vec::new();
    for index in layout.manifest(&root(layout, MANIFESTS)?)?.entries() {
        images.extend(layout.manifest(&index.to_owned())?.entries().map(|image| image.to_owned()));
    }
    Ok(images)
}

/// The layers of an image.
pub(crate) fn layers(layout: &Layout, tag: &str) -> Fallible<Vec<Descriptor>> {
    Ok(layout.manifest(&root(layout, tag)?)?.entries().map(|layer| layer.to_owned()).collect())
}

fn manifests(content: &mut Memory) -> Descriptor {
    let indexes = ["first", "second"].map(|name| index(content, name));
    content.add_index(Flavour::OCI, &indexes)
}

/// Images that differ in an annotation only, so that a registry stores few blobs.
fn index(content: &mut Memory, name: &str) -> Descriptor {
    let layers: Vec<Value> = (0..4).map(|number| described(&layer(content, number, 1 << 10))).collect();
    let config = described(&config(content));
    let images: Vec<Descriptor> = (0..CHILDREN)
        .map(|number| {
            let note = json!({ "org.opencontainers.image.version": format!("{name}-{number}") });
            add(content, &json!({ "annotations": note, "config": config, "layers": layers }))
        })
        .collect();
    content.add_index(Flavour::OCI, &images)
}

fn platforms(content: &mut Memory) -> Descriptor {
    let images: Vec<Descriptor> = (0..8)
        .map(|number| {
            let layers =
                [0, 1].map(|layer| described(&self::layer(content, 1000 + 2 * number + layer, 20 << 10)));
            let config = described(&config_of(content, &format!("arch{number}")));
            add(content, &json!({ "config": config, "layers": layers }))
        })
        .collect();
    content.add_index(Flavour::OCI, &images)
}

fn image(content: &mut Memory, layers: u64, size: usize) -> Descriptor {
    let layers: Vec<Value> =
        (0..layers).map(|number| described(&layer(content, number << 32 | size as u64, size))).collect();
    let config = described(&config(content));
    add(content, &json!({ "config": config, "layers": layers }))
}

fn add(content: &mut Memory, image: &Value) -> Descriptor {
    let mut image = image.clone();
    image["schemaVersion"] = 2.into();
    image["mediaType"] = MediaType::OCI_MANIFEST.as_str().into();
    content.add_document(MediaType::OCI_MANIFEST, image.to_string())
}

fn config(content: &mut Memory) -> Descriptor {
    config_of(content, "amd64")
}

fn config_of(content: &mut Memory, architecture: &str) -> Descriptor {
    let config = json!({
        "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
    });
    content.add_blob(media_type("application/vnd.oci.image.config.v1+json"), config.to_string())
}

/// Random bytes with a gzip header, because skopeo compresses layers without one.
fn layer(content: &mut Memory, seed: u64, size: usize) -> Descriptor {
    let mut bytes = noise(seed, size);
    bytes[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0]);
    content.add_blob(gzip(), bytes)
}

fn gzip() -> MediaType {
    media_type("application/vnd.oci.image.layer.v1.tar+gzip")
}

fn media_type(text: &str) -> MediaType {
    text.parse().expect("the constant is a valid media type")
}

/// Source: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (xorshift64*).
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Adds an image with one layer of zeros to a layout, as a sparse file.
fn zeros(writer: &mut LayoutWriter, size: u64) -> Fallible<Descriptor> {
    let digest = if size == 10 << 30 {
        ZEROS.parse()?
    } else {
        Digest::of(Algorithm::Sha256, &vec![0; usize::try_from(size)?])
    };
    let path = writer.layout().path().join(blob_path(&digest));
    fs::create_dir_all(path.parent().ok_or("the path of a blob has a folder")?)?;
    File::create(path)?.set_len(size)?;

    let mut documents = Memory::new();
    let config = described(&config(&mut documents));
    let layers = [described(&Descriptor::new(gzip(), digest, size))];
    let image = add(&mut documents, &json!({ "config": config, "layers": layers }));
    for (digest, bytes) in documents.contents() {
        writer.put(&Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), bytes.len() as u64), bytes)?;
    }
    Ok(image)
}

fn described(of: &Descriptor) -> Value {
    json!({ "mediaType": of.media_type.as_str(), "digest": of.digest.to_string(), "size": of.size })
}
