//! Generated trees, and what is wrong with them.

use bytes::Bytes;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Limits, WalkOptions};
use oci_proto_tests::simulation::Registry;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What a place in a tree holds.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Image {
        flavour: Flavour,
        platform: Option<&'static str>,
        layers: Vec<u8>,
    },
    Artifact {
        flavour: Flavour,
        files: Vec<u8>,
    },
    Leaf(u8),
    Index {
        flavour: Flavour,
        entries: Vec<Plan>,
    },
    /// What was built before.
    Again(Index),
    /// Carried by its descriptor.
    Carried(Box<Plan>),
}

pub(crate) const PLATFORMS: [&str; 5] =
    ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "unknown/unknown"];

fn flavour() -> impl Strategy<Value = Flavour> {
    let algorithm = prop_oneof![
        6 => Just(Algorithm::Sha256), 1 => Just(Algorithm::Sha384), 1 => Just(Algorithm::Sha512),
    ];
    // Without its own type, an empty index of either sort would have the same digest.
    let flavours =
        prop_oneof![Just(Flavour::DOCKER), Just(Flavour::OCI), Just(Flavour::OCI.without_media_type())];
    (flavours, algorithm).prop_map(|(flavour, algorithm)| flavour.by(algorithm))
}

fn plan() -> impl Strategy<Value = Plan> {
    let platform = proptest::option::of(proptest::sample::select(&PLATFORMS[..]));
    let place = prop_oneof![
        6 => (flavour(), platform, vec(0..4_u8, 0..3))
            .prop_map(|(flavour, platform, layers)| Plan::Image { flavour, platform, layers }),
        1 => (flavour(), vec(0..4_u8, 0..2)).prop_map(|(flavour, files)| Plan::Artifact { flavour, files }),
        1 => (0..4_u8).prop_map(Plan::Leaf),
        2 => any::<Index>().prop_map(Plan::Again),
    ];
    place.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            5 => (flavour(), vec(inner.clone(), 0..6)).prop_map(|(flavour, entries)| Plan::Index { flavour, entries }),
            2 => inner.prop_map(|plan| Plan::Carried(Box::new(plan))),
        ]
    })
}

/// A tree in a registry, and what the registry lacks of it or has wrong.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) root: Descriptor,
    /// Every descriptor of the tree, the blobs of images not among them.
    pub(crate) built: Vec<Descriptor>,
    pub(crate) missing: Vec<Digest>,
    pub(crate) wrong: Vec<(Digest, Bytes)>,
}

impl World {
    fn new(plan: &Plan, removed: &[Index], corrupted: &[(Index, Bytes)]) -> Self {
        let mut memory = Memory::new();
        let mut built = Vec::new();
        let entries = if let Plan::Index { entries, .. } = plan {
            entries.as_slice()
        } else {
            std::slice::from_ref(plan)
        };
        let entries: Vec<Descriptor> =
            entries.iter().map(|entry| build(entry, &mut memory, &mut built)).collect();
        let root = memory.add_index(Flavour::OCI, &entries);
        let pick =
            |index: &Index| (!built.is_empty()).then(|| built[index.index(built.len())].digest.clone());
        let missing = removed.iter().filter_map(pick).collect();
        let wrong =
            corrupted.iter().filter_map(|(index, bytes)| Some((pick(index)?, bytes.clone()))).collect();
        Self { memory, root, built, missing, wrong }
    }

    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::new(self.memory.clone(), &self.root);
        for digest in &self.missing {
            registry.remove(digest);
        }
        for (digest, bytes) in &self.wrong {
            registry.corrupt(digest, bytes.clone());
        }
        registry
    }

    /// What the registry serves under a digest.
    pub(crate) fn serves(&self, digest: &Digest) -> Option<Bytes> {
        if self.missing.contains(digest) {
            return None;
        }
        let wrong =
            self.wrong.iter().rev().find(|(wrong, _)| wrong == digest).map(|(_, bytes)| bytes.clone());
        wrong.or_else(|| self.memory.bytes(digest))
    }
}

fn build(plan: &Plan, memory: &mut Memory, built: &mut Vec<Descriptor>) -> Descriptor {
    let contents: Vec<[u8; 1]> = match plan {
        Plan::Image { layers: contents, .. } | Plan::Artifact { files: contents, .. } => {
            contents.iter().map(|content| [*content]).collect()
        }
        _ => Vec::new(),
    };
    let contents: Vec<&[u8]> = contents.iter().map(<[u8; 1]>::as_slice).collect();
    let descriptor = match plan {
        Plan::Image { flavour, platform, .. } => {
            memory.add_image(*flavour, platform.and_then(|platform| platform.parse().ok()), &contents)
        }
        Plan::Artifact { flavour, .. } => {
            let media_type = "application/spdx+json".parse().expect("a media type");
            memory.add_artifact(*flavour, media_type, &contents, None)
        }
        Plan::Leaf(content) => {
            let media_type = "application/vnd.example.thing".parse().expect("a media type");
            memory.add_blob(media_type, vec![*content; 3])
        }
        Plan::Index { flavour, entries } => {
            let entries: Vec<Descriptor> = entries.iter().map(|entry| build(entry, memory, built)).collect();
            memory.add_index(*flavour, &entries)
        }
        Plan::Again(index) if !built.is_empty() => built[index.index(built.len())].clone(),
        Plan::Again(_) => memory.add_index(Flavour::OCI, []),
        Plan::Carried(plan) => {
            let descriptor = build(plan, memory, built);
            let data = memory.bytes(&descriptor.digest);
            let mut carried = descriptor;
            carried.data = data;
            carried
        }
    };
    built.push(descriptor.clone());
    descriptor
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let wrong = (any::<Index>(), vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    (plan(), vec(any::<Index>(), 0..3), prop_oneof![3 => Just(Vec::new()), 1 => vec(wrong, 1..3)])
        .prop_map(|(plan, removed, corrupted)| World::new(&plan, &removed, &corrupted))
}

/// Limits of which some are met now and then.
pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let rarely = |low: std::ops::Range<u64>| prop_oneof![8 => Just(1 << 30), 1 => low];
    (
        1..6_usize,
        1..6_usize,
        rarely(0..5),
        rarely(1..30),
        rarely(0..4000),
        prop_oneof![Just(1 << 30), 0..2000_u64],
    )
        .prop_map(|(origin, all, depth, nodes, bytes, ahead)| {
            let mut limits = Limits::default();
            limits.in_flight_per_origin = origin;
            limits.in_flight = all;
            limits.walk_depth = u32::try_from(depth).expect("a small number");
            limits.walk_nodes = nodes;
            limits.walk_bytes = bytes;
            limits.walk_ahead_bytes = ahead;
            limits
        })
}

pub(crate) fn options() -> impl Strategy<Value = WalkOptions> {
    (any::<bool>(), any::<bool>()).prop_map(|(blobs, strict)| {
        let mut options = WalkOptions::default();
        (options.blobs, options.strict) = (blobs, strict);
        options
    })
}
