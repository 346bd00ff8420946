//! Whole conversations, drawn from bytes: operations on several registries, logins, answers of every sort,
//! and all that a driver may do. They are held to what may go where, and to an end.
//!
//! The registries want nothing, Basic or a token, keep their blobs elsewhere or not, and mostly tell the
//! truth; one answer of a few is odd or hostile. Each secret is new, and begins with the same letters, so
//! that it is known by its looks wherever it shows.

mod ledger;
mod odd;
mod world;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Config, Descriptor, Digest, Limits, OpId, PlainHttp, Reference, Session, WalkOptions};

use crate::simulation::{Choices, Manners, Registry, Simulation, Watched};
pub use world::Counts;
use world::{REGISTRIES, World};

/// What there is in each registry.
struct Sample {
    memory: Memory,
    registry: Registry,
    /// Blobs, and how large they are.
    blobs: Vec<Descriptor>,
    /// How many manifests there are.
    manifests: usize,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let mut memory = Memory::new();
    let media_type = || "application/octet-stream".parse().expect("a media type");
    let layers: Vec<Vec<u8>> =
        [300_u16, 40, 1].map(|size| (0..size).map(|n| n.to_le_bytes()[0]).collect()).into();
    let blobs = layers.iter().map(|layer| memory.add_blob(media_type(), layer.clone())).collect();
    let image = |memory: &mut Memory, platform: &str, layer: &[u8]| {
        memory.add_image(Flavour::OCI, platform.parse().ok(), &[layer, &layers[2]])
    };
    let amd64 = image(&mut memory, "linux/amd64", &layers[0]);
    let arm64 = image(&mut memory, "linux/arm64", &layers[1]);
    let inner = memory.add_index(Flavour::DOCKER, [&arm64]);
    let root = memory.add_index(Flavour::OCI, [&amd64, &inner, &amd64]);
    let registry = Registry::new(memory.clone(), &root).also_in("team/other", &root);
    Sample { memory, registry, blobs, manifests: 4 }
});

/// An operation that was started.
struct Started {
    /// The blob that it fetches, if that is what it does.
    blob: Option<Digest>,
    /// The most requests that it may send.
    most: usize,
}

/// Holds the conversation that `data` says; tells how often what happened, and all that was said.
///
/// # Panics
///
/// A promise is broken.
pub fn converse(data: &[u8]) -> (Counts, Vec<String>) {
    let mut choices = Choices::new(data);
    let mut config = Config::default();
    config.plain_http =
        [PlainHttp::Loopback, PlainHttp::Loopback, PlainHttp::Always, PlainHttp::Never][choices.below(4)];
    config.limits = limits(&mut choices);
    let manners = [Manners::PLAIN, Manners::RESTLESS, Manners::ROUGH][choices.below(3)];
    let mut world = World::new(&SAMPLE.registry, config.plain_http, &mut choices);

    // How many operations there are, and when they begin, is drawn before the rest: it decides most.
    let rounds: Vec<&[u8]> = (0..=choices.below(4)).map(|_| choices.bytes(9)).collect();
    let limits = config.limits.clone();
    let mut simulation = Simulation::new(config, &mut world, manners, choices);
    let mut started = BTreeMap::new();
    for round in rounds {
        let mut round = Choices::new(round);
        for _ in 0..=round.below(4) {
            let (registry, op, about) = start(&mut simulation.session, &limits, &mut round);
            simulation.watch(op);
            simulation.answers.ledger.start(op, registry);
            started.insert(op, about);
        }
        simulation.drive();
        simulation.pass(Duration::from_secs([0, 30, 60][round.below(3)]));
    }
    let (seen, _) = simulation.run();

    let mut log = std::mem::take(&mut world.log);
    for (op, watched) in seen {
        check(&mut world.counts, &started[&op], &watched);
        log.extend(watched.events);
    }
    let count = |what| world.counts.get(what).copied().unwrap_or_default();
    // A token that is fetched serves a request or an operation that has ended since. Each fetch is tried so
    // often by POST, and so often by GET, from the realm on.
    let most = (2 * limits.tries * (limits.redirects + 1)) as usize * (count("requests") + started.len());
    let asked = count("requests for tokens");
    assert!(asked <= most, "{asked} requests for tokens, where {most} are the most: {log:?}");
    world.counts.insert("conversations", 1);
    (world.counts, log)
}

/// Small ones, so that they are met.
fn limits(choices: &mut Choices<'_>) -> Limits {
    let mut limits = Limits::default();
    limits.tries = 3;
    limits.redirects = 3;
    limits.in_flight_per_origin = [2, 1, 8][choices.below(3)];
    limits.in_flight = [3, 1, 32][choices.below(3)];
    limits.tokens = [256, 1, 2][choices.below(3)];
    limits.token_bytes = 500;
    limits
}

/// Starts an operation: its registry, its name, and what is expected of it.
fn start(session: &mut Session, limits: &Limits, choices: &mut Choices<'_>) -> (usize, OpId, Started) {
    let what = choices.byte();
    let registry = usize::from(what) % REGISTRIES.len();
    let repository = ["team/app", "team/other"][usize::from(what / 5) % 2];
    let base = format!("{}/{repository}", REGISTRIES[registry]);
    let tagged: Reference = format!("{base}:1").parse().expect("a reference");
    let blob = &SAMPLE.blobs[usize::from(what) % SAMPLE.blobs.len()];
    let at: Reference = format!("{base}@{}", blob.digest).parse().expect("a reference");
    let platform = "linux/arm64".parse().expect("a platform");
    let sized = |session: &mut Session, size| (session.blob(&at, size), Some(blob));
    let (op, blob) = match what / 10 % 8 {
        0 => (session.resolve(&tagged, None), None),
        1 => (session.resolve(&tagged, Some(&platform)), None),
        2 => (session.manifest(&tagged, None), None),
        3 => (session.walk(&tagged, WalkOptions::default()), None),
        4 => sized(session, None),
        _ => sized(session, Some(blob.size)),
    };
    // Each way from the first URL on ends after so many redirects. There are as many ways as there may be
    // 401s and failures in a row, but for the last of each, which ends all.
    let ways = limits.challenges + limits.tries - 1;
    let for_one = (ways * (limits.redirects + 1)) as usize;
    let times = match blob {
        // HEAD, and then all manifests, one after another.
        None => 1 + SAMPLE.manifests,
        // Anew after each time that brought at least half of what was left.
        Some(blob) => 1 + (u64::BITS - blob.size.leading_zeros()) as usize,
    };
    (registry, op, Started { blob: blob.map(|blob| blob.digest.clone()), most: times * for_one })
}

fn check(counts: &mut Counts, started: &Started, watched: &Watched) {
    let Watched { events, sink, requests, .. } = watched;
    for said in events {
        ledger::Ledger::check_shown(said);
        let word = if said == "done" {
            "operations done"
        } else if said.starts_with("failed ") {
            "operations failed"
        } else if said.starts_with("retry ") {
            "retries"
        } else {
            continue;
        };
        *counts.entry(word).or_default() += 1;
    }
    assert!(
        *requests <= started.most,
        "{requests} requests, where {} are the most: {events:?}",
        started.most
    );
    if let Some(digest) = &started.blob {
        let right = SAMPLE.memory.bytes(digest).expect("a blob of the sample");
        let is_done = events.last().is_some_and(|said| said == "done");
        assert!(!is_done || *sink == right, "done, with wrong content: {sink:?}");
        assert!(sink.len() <= right.len().max(1 << 16), "too much in a sink");
    }
}
