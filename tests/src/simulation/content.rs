//! Trees of content decided by the input, with defects of the served copy.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Kind, MediaType};

use crate::simulation::choices::Choices;
use crate::simulation::registry::Registry;

/// A tree, with the defects of the served copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Content {
    /// All content, correct.
    pub memory: Memory,
    /// The root, an index.
    pub root: Descriptor,
    /// All descriptors of the tree's indexes.
    pub built: Vec<Descriptor>,
    /// All content, and that of the referrers, which are not in the tree.
    pub(super) attached: Memory,
    /// The subjects of the referrers with their descriptors, each after its subject.
    pub(super) referrers: Vec<(Digest, Descriptor)>,
    missing: BTreeSet<Digest>,
    wrong: BTreeMap<Digest, Bytes>,
}

/// The platforms of its images.
pub const PLATFORMS: [&str; 5] =
    ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "unknown/unknown"];

/// The maximum number of entries in all indexes together.
const MAX_ENTRIES: usize = 40;
/// The maximum number of index levels below the root.
const MAX_DEPTH: usize = 5;

impl Content {
    /// Generates a tree. Without input it is three identical images.
    pub fn draw(choices: &mut Choices<'_>) -> Self {
        let mut drawing = Drawing { memory: Memory::new(), built: Vec::new(), entries: 0 };
        let defects = choices.byte();
        let (flavour, entries) = (Flavour::OCI, drawing.entries(choices, 0));
        let root = drawing.memory.add_index(flavour, &entries);
        let Drawing { memory, built, .. } = drawing;
        let (attached, referrers) = attach(&memory, &root, &built);
        let (missing, wrong) = (BTreeSet::new(), BTreeMap::new());
        let mut content = Self { memory, root, built, attached, referrers, missing, wrong };
        // Most trees are complete.
        if defects % 4 == 3 {
            for _ in 0..=choices.below(2) {
                content.missing.extend(content.some(choices));
            }
        }
        if defects / 4 % 8 == 7 {
            for _ in 0..=choices.below(2) {
                let digest = content.some(choices);
                let most = choices.below(40);
                let bytes = Bytes::copy_from_slice(choices.bytes(most));
                content.wrong.extend(digest.map(|digest| (digest, bytes)));
            }
        }
        content
    }

    /// The defects of the served copy.
    pub(super) fn defects(&self) -> String {
        let list = |digests: &mut dyn Iterator<Item = &Digest>| {
            digests.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        format!("missing [{}], wrong [{}]", list(&mut self.missing.iter()), list(&mut self.wrong.keys()))
    }

    /// All content of images, with the sizes.
    pub fn blobs(&self) -> Vec<(Digest, u64)> {
        let contents = self.memory.contents();
        let is_entry = |digest: &Digest| {
            *digest == self.root.digest || self.built.iter().any(|built| built.digest == *digest)
        };
        let blobs = contents.filter(|(digest, _)| !is_entry(digest));
        blobs.map(|(digest, bytes)| (digest.clone(), bytes.len() as u64)).collect()
    }

    /// Some content other than the root.
    fn some(&self, choices: &mut Choices<'_>) -> Option<Digest> {
        let mut contents: Vec<&Digest> = self.memory.contents().map(|(digest, _)| digest).collect();
        contents.retain(|digest| **digest != self.root.digest);
        (!contents.is_empty()).then(|| contents[choices.below(contents.len())].clone())
    }

    /// A registry with the tree and its referrers in two repositories.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::new(self.attached.clone(), &self.root).also_in("team/other", &self.root);
        for (_, referrer) in &self.referrers {
            registry.add(referrer);
        }
        for digest in &self.missing {
            registry.remove(digest);
        }
        for (digest, bytes) in &self.wrong {
            registry.corrupt(digest, bytes.clone());
        }
        registry
    }

    /// The same registry without some of the content.
    #[must_use]
    pub fn without(&self, missing: impl IntoIterator<Item = Digest>) -> Self {
        let mut without = self.clone();
        without.missing.extend(missing);
        without
    }

    /// The same registry with some of the content repaired.
    #[must_use]
    pub fn with(&self, right: &BTreeSet<Digest>) -> Self {
        let mut with = self.clone();
        with.missing.retain(|digest| !right.contains(digest));
        with.wrong.retain(|digest, _| !right.contains(digest));
        with
    }

    /// The tree without defects.
    pub(super) fn whole(&self) -> Self {
        Self { missing: BTreeSet::new(), wrong: BTreeMap::new(), ..self.clone() }
    }

    /// The same content with the tree under a part of it.
    pub(super) fn under(&self, root: &Descriptor) -> Self {
        Self { root: root.clone(), ..self.clone() }
    }

    /// The same content with the tree under another root, which may be a referrer.
    pub(super) fn at(&self, root: &Descriptor) -> Self {
        Self { memory: self.attached.clone(), root: root.clone(), ..self.clone() }
    }

    pub(super) fn is_document(&self, digest: &Digest) -> bool {
        let is_one = |described: &Descriptor| {
            described.digest == *digest && described.media_type.kind() != Kind::Other
        };
        let mut referrers = self.referrers.iter().map(|(_, referrer)| referrer);
        is_one(&self.root) || self.built.iter().any(is_one) || referrers.any(is_one)
    }

    /// Whether other bytes are served for some content.
    pub(super) fn is_wrong(&self, digest: &str) -> bool {
        self.wrong.keys().any(|wrong| wrong.to_string() == digest)
    }

    /// The bytes that a registry serves for a digest.
    pub fn serves(&self, digest: &Digest) -> Option<Bytes> {
        if self.missing.contains(digest) {
            return None;
        }
        self.wrong.get(digest).cloned().or_else(|| self.attached.bytes(digest))
    }
}

/// Adds referrers of the root, of another document, and of a referrer. One of them refers to the root.
fn attach(memory: &Memory, root: &Descriptor, built: &[Descriptor]) -> (Memory, Vec<(Digest, Descriptor)>) {
    let mut attached = memory.clone();
    let artifact_type = || "application/vnd.example.signature".parse().expect("the media type is valid");
    let mut referrers = Vec::new();
    let mut add = |attached: &mut Memory, subject: &Descriptor, files: &[&[u8]]| {
        let referrer = attached.add_artifact(Flavour::OCI, artifact_type(), files, Some(subject));
        referrers.push((subject.digest.clone(), referrer.clone()));
        referrer
    };
    let signature = add(&mut attached, root, &[&[7; 400]]);
    add(&mut attached, &signature, &[b"countersigned"]);
    if let Some(part) = built.iter().find(|built| built.media_type.kind() != Kind::Other) {
        add(&mut attached, part, &[b"of a part", &[7; 400]]);
    }
    let Descriptor { media_type, digest, size, .. } = root;
    let named = serde_json::json!({
        "mediaType": media_type.as_str(), "digest": digest.to_string(), "size": size,
    });
    let bundle = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [named], "subject": named,
    });
    let bundle = attached.add_document(MediaType::OCI_INDEX, bundle.to_string());
    referrers.push((digest.clone(), bundle));
    (attached, referrers)
}

struct Drawing {
    memory: Memory,
    built: Vec<Descriptor>,
    entries: usize,
}

impl Drawing {
    fn entries(&mut self, choices: &mut Choices<'_>, depth: usize) -> Vec<Descriptor> {
        let wanted = choices.pick(&[3, 1, 2, 0, 4, 6]);
        let room = MAX_ENTRIES - self.entries;
        self.entries += wanted.min(room);
        (0..wanted.min(room)).map(|_| self.entry(choices, depth)).collect()
    }

    fn entry(&mut self, choices: &mut Choices<'_>, depth: usize) -> Descriptor {
        let drawn = match choices.below(16) {
            7 => self.artifact(choices),
            8 => {
                let media_type = thing();
                let size = choices.pick(&[3, 0, 200]);
                self.memory.add_blob(media_type, vec![choices.byte(); size])
            }
            9 | 10 if !self.built.is_empty() => self.built[choices.below(self.built.len())].clone(),
            // A document under a type that is not parsed as one.
            11 if !self.built.is_empty() => {
                let Descriptor { digest, size, .. } = &self.built[choices.below(self.built.len())];
                Descriptor::new(thing(), digest.clone(), *size)
            }
            // Its data is embedded.
            12 => {
                let mut embedded = if choices.flip() && depth < MAX_DEPTH {
                    self.index(choices, depth + 1)
                } else {
                    self.image(choices)
                };
                embedded.data = self.memory.bytes(&embedded.digest);
                embedded
            }
            13.. if depth < MAX_DEPTH => self.index(choices, depth + 1),
            _ => self.image(choices),
        };
        self.built.push(drawn.clone());
        drawn
    }

    fn index(&mut self, choices: &mut Choices<'_>, depth: usize) -> Descriptor {
        let flavour = flavour(choices);
        let entries = self.entries(choices, depth);
        self.memory.add_index(flavour, &entries)
    }

    fn image(&mut self, choices: &mut Choices<'_>) -> Descriptor {
        let flavour = flavour(choices);
        let platform = match choices.below(PLATFORMS.len() + 1) {
            5 => None,
            known => PLATFORMS[known].parse().ok(),
        };
        let layers = layers(choices);
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        self.memory.add_image(flavour, platform, &layers)
    }

    fn artifact(&mut self, choices: &mut Choices<'_>) -> Descriptor {
        let (flavour, files) = (flavour(choices), layers(choices));
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let media_type = "application/spdx+json".parse().expect("the media type is valid");
        self.memory.add_artifact(flavour, media_type, &files, None)
    }
}

fn thing() -> MediaType {
    "application/vnd.example.thing".parse().expect("the media type is valid")
}

fn flavour(choices: &mut Choices<'_>) -> Flavour {
    let drawn = choices.below(24);
    let flavour = [Flavour::OCI, Flavour::DOCKER, Flavour::OCI.without_media_type()][drawn % 3];
    match drawn / 3 {
        6 => flavour.by(Algorithm::Sha384),
        7 => flavour.by(Algorithm::Sha512),
        _ => flavour.by(Algorithm::Sha256),
    }
}

fn layers(choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
    let count = choices.pick(&[1, 2, 0, 3]);
    let layer = |choices: &mut Choices<'_>| {
        let drawn = choices.byte();
        let size = [300_u16, 1, 40, 0, 2000, 150, 7, 900][usize::from(drawn) % 8];
        let byte = |n: u16| n.to_le_bytes()[0].wrapping_mul(3) ^ n.to_le_bytes()[1] ^ (drawn / 8 % 4);
        (0..size).map(byte).collect()
    };
    (0..count).map(|_| layer(choices)).collect()
}
