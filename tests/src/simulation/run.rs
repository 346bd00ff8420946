//! A run: the input decides the setup first, and then everything that happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oci_proto::{Config, Limits, OpId, PlainHttp, PullOptions, Reference, Session, WalkOptions};

use crate::simulation::again::again;
use crate::simulation::behaviour::Behaviour;
use crate::simulation::choices::Choices;
use crate::simulation::content::{Content, PLATFORMS};
use crate::simulation::counts::Counts;
use crate::simulation::expected::{Started, What};
use crate::simulation::mirrors::{MIRRORED, Mirrors};
use crate::simulation::model;
use crate::simulation::registry::Registry;
use crate::simulation::secrets::Secrets;
use crate::simulation::state::Simulation;
use crate::simulation::trace::Trace;
use crate::simulation::world::{REGISTRIES, World};
use crate::simulation::writing::{Job, Written};
use crate::simulation::written::check_written;

/// The record of a run.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// Counters of what happened.
    pub counts: Counts,
    /// Every request, and then every event of each operation.
    pub said: Vec<String>,
    /// The number of steps of the driver.
    pub steps: usize,
}

/// Runs the simulation that `data` decides.
///
/// # Panics
///
/// The session violates its contract.
pub fn run(data: &[u8]) -> Run {
    simulate(data, Trace::default())
}

/// The same, with a readable trace that is passed to `tell` line by line. After a violation it shows
/// everything up to that point.
///
/// # Panics
///
/// The session violates its contract.
pub fn traced(data: &[u8], tell: impl Fn(&str) + 'static) -> Run {
    simulate(data, Trace::told(tell))
}

/// The memory that a session held when it was dropped.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The number of bytes freed by the drop.
    pub bytes: usize,
    /// The number of live operations.
    pub alive: usize,
    /// The number of contents in the tree.
    pub contents: usize,
    /// Whether some operations write.
    pub writes: bool,
}

/// Runs the simulation for this many steps, and drops the session. `used` returns the bytes allocated.
///
/// # Panics
///
/// The session violates its contract.
pub fn drop_after(data: &[u8], steps: usize, used: impl Fn() -> usize) -> Dropped {
    let plan = Plan::draw(data);
    let mut simulation = plan.begin(Trace::default());
    plan.advance(&mut simulation, steps);
    let alive = simulation.ops.values().filter(|watched| !watched.is_over).count();
    let session = std::mem::replace(&mut simulation.session, Session::new(Config::default(), 0));
    let before = used();
    drop(session);
    let contents = plan.content.memory.contents().count();
    let writes = plan.writes.is_some();
    Dropped { bytes: before.saturating_sub(used()), alive, contents, writes }
}

fn simulate(data: &[u8], trace: Trace) -> Run {
    let plan = Plan::draw(data);
    let mut simulation = plan.begin(trace);
    let mut started = plan.advance(&mut simulation, usize::MAX);
    simulation.end();
    let mut run = tell(&mut simulation, &started, &plan.config.limits);
    again(simulation, &plan.config, &mut started.written, &mut run.counts, &mut run.said);
    run
}

/// The started operations.
#[derive(Debug, Default)]
struct Operations {
    reading: BTreeMap<OpId, Started>,
    written: BTreeMap<OpId, Written>,
}

/// The main parameters. Each has input bytes of its own, so that a change of one leaves the others unchanged.
struct Plan<'d> {
    config: Config,
    behaviour: Behaviour,
    content: Content,
    setups: Choices<'d>,
    rounds: Vec<Choices<'d>>,
    /// The registries that can be written to, and the operations that write; none if there are none.
    writes: Option<(Choices<'d>, Choices<'d>)>,
    /// The registries whose repository [`MIRRORED`] has mirrors.
    mirrors: Mirrors,
    /// The remaining input, for everything that happens.
    choices: Choices<'d>,
}

impl<'d> Plan<'d> {
    fn draw(data: &'d [u8]) -> Self {
        let mut choices = Choices::new(data);
        let mut settings = choices.part(12);
        let rounds = (0..=settings.below(3)).map(|_| choices.part(13)).collect();
        let mut config = Config::default();
        config.plain_http =
            settings.pick(&[PlainHttp::Loopback, PlainHttp::Loopback, PlainHttp::Always, PlainHttp::Never]);
        config.limits = limits(&mut settings);
        let behaviour = settings.pick(&[Behaviour::ORDERLY, Behaviour::INTERRUPTING, Behaviour::ARBITRARY]);
        let setups = choices.part(33);
        let content = Content::draw(&mut choices.part(80));
        let writes = settings.flip().then(|| {
            let limits = &mut config.limits;
            limits.max_attempts = settings.pick(&[5, 3, 8, 5]);
            limits.chunk_bytes = 256;
            (choices.part(20), choices.part(60))
        });
        let mirrors = Mirrors::draw(&mut settings);
        mirrors.configure(&mut config);
        Self { config, behaviour, content, setups, rounds, writes, mirrors, choices }
    }

    fn begin(&self, trace: Trace) -> Simulation<'d, World<'_>> {
        let Self { config, behaviour, content, .. } = self;
        let mut setups = self.setups.clone();
        let mut world = World::new(content, config.plain_http, config.limits.max_attempts, &mut setups);
        if let Some((stores, _)) = &self.writes {
            world = world.with_stores(&mut stores.clone());
        }
        let mut simulation = Simulation::new(config.clone(), world, *behaviour, self.choices.clone());
        trace.note(simulation.now, || format!("{config:?}"));
        trace.note(simulation.now, || format!("{behaviour:?}; content with {}", content.defects()));
        simulation.trace = trace;
        simulation.writes = self.writes.is_some();
        simulation
    }

    /// Starts operations, and drives them to completion or for this many steps.
    fn advance(&self, simulation: &mut Simulation<'_, World<'_>>, steps: usize) -> Operations {
        let mut started = Operations::default();
        let mut writes = self.writes.as_ref().map(|(_, writes)| writes.clone());
        for mut round in self.rounds.iter().cloned() {
            for _ in 0..=round.below(4) {
                let (about, op) = start(&mut simulation.session, &self.content, &mut round);
                let name = REGISTRIES[about.registry];
                simulation.trace.note(simulation.now, || format!("{op:?}: {name} {:?}", about.what));
                let after_root = match about.what {
                    What::Pull { referrers: true } => model::above_root(&self.content),
                    _ => BTreeSet::new(),
                };
                simulation.watch_with(op, after_root);
                let sources = if about.is_mirrored {
                    self.mirrors.sources(about.registry)
                } else {
                    vec![about.registry]
                };
                if self.mirrors.may_lie() && !matches!(about.what, What::Blob { .. } | What::Check) {
                    simulation.answers.trusts_only(op, about.registry);
                }
                simulation.answers.secrets.start(op, &sources);
                started.reading.insert(op, about);
            }
            if let Some(writes) = &mut writes {
                for _ in 0..=writes.below(3) {
                    let mut written = Written::draw(simulation, &self.content, writes);
                    written.listed = written.entries(&simulation.answers, &self.content);
                    let op = written.start(simulation, &self.content);
                    started.written.insert(op, written);
                }
            }
            while simulation.steps() < steps && simulation.step() {}
            if simulation.steps() >= steps {
                break;
            }
            simulation.pass(Duration::from_secs(round.pick(&[0, 30, 70])));
        }
        started
    }
}

/// Compares the observations with the expectations.
fn tell(simulation: &mut Simulation<'_, World<'_>>, started: &Operations, limits: &Limits) -> Run {
    let steps = simulation.steps();
    let Simulation { answers: world, counts, ops, requests, .. } = simulation;
    let mut said = std::mem::take(requests);
    let started_in_all = ops.len();
    for (op, watched) in ops {
        if let Some(reading) = started.reading.get(op) {
            reading.check(*op, watched, world, limits);
            if let What::Pull { referrers: true } = reading.what
                && watched.is_done()
            {
                let what = if world.setups[reading.registry].lacks_referrers() {
                    "pulls of referrers from a fallback index"
                } else {
                    "pulls of referrers"
                };
                *counts.entry(what).or_default() += 1;
            }
        } else {
            let written = &started.written[op];
            if check_written(written, *op, watched, world, limits) {
                *counts.entry("writes that must succeed").or_default() += 1;
            }
            if let Job::Copy { from, referrers: true, .. } = written.job
                && watched.is_done()
            {
                let is_source_old = world.setups[from].lacks_referrers();
                let is_old = world.stores[written.registry].registry.habits.without_referrers;
                let what = match (is_source_old, is_old) {
                    (false, false) => "copies of referrers",
                    (true, false) => "copies of referrers from a fallback index",
                    (false, true) => "copies of referrers to a fallback index",
                    (true, true) => "copies of referrers between fallback indexes",
                };
                *counts.entry(what).or_default() += 1;
            }
            if let Job::Push { referrers: true, .. } = written.job
                && watched.is_done()
            {
                let what = if world.stores[written.registry].registry.habits.without_referrers {
                    "pushes of referrers to a fallback index"
                } else {
                    "pushes of referrers"
                };
                *counts.entry(what).or_default() += 1;
            }
            let is_retried = watched.events.iter().any(|said| said.starts_with("retry "));
            let what = match (written.is_transfer(), watched.is_done(), is_retried) {
                (true, true, true) => "finished transfers with retries",
                (true, true, false) => "finished transfers without retries",
                (true, false, _) => "failed transfers",
                (false, true, _) => "other finished writes and lists",
                (false, false, _) => "other failed writes and lists",
            };
            *counts.entry(what).or_default() += 1;
        }
        for said in &watched.events {
            Secrets::check_shown(said);
            let what = match said.split_once(' ').map_or(said.as_str(), |(first, _)| first) {
                "done" => "finished operations",
                "failed" => "failed operations",
                "retry" => {
                    let failed = said.split(' ').nth(1).and_then(|failed| failed.parse::<u32>().ok());
                    assert!(
                        failed.is_some_and(|failed| failed < limits.max_attempts),
                        "with {} attempts: {said}",
                        limits.max_attempts
                    );
                    "retries"
                }
                "mirror" if said.contains(" failed ") => "failures of mirrors",
                "mirror" => "mirrors that supplied content",
                _ => continue,
            };
            *counts.entry(what).or_default() += 1;
        }
        said.append(&mut watched.events);
    }
    for (what, times) in std::mem::take(&mut world.counts) {
        *counts.entry(what).or_default() += times;
    }
    let count = |what| counts.get(what).copied().unwrap_or_default();
    // A fetched token serves a request or an operation that has ended since. Each fetch is attempted a
    // bounded number of times by POST and by GET, from the realm on.
    let most =
        (2 * limits.max_attempts * (limits.redirects + 1)) as usize * (count("requests") + started_in_all);
    let asked = count("token requests");
    assert!(asked <= most, "{asked} token requests, more than {most}");
    Run { counts: std::mem::take(counts), said, steps }
}

/// Limits small enough to be reached.
fn limits(choices: &mut Choices<'_>) -> Limits {
    let mut limits = Limits::default();
    limits.max_attempts = choices.pick(&[3, 3, 5, 2]);
    limits.redirects = 3;
    limits.in_flight_per_origin = choices.pick(&[2, 1, 8]);
    limits.in_flight = choices.pick(&[3, 1, 32]);
    limits.tokens = choices.pick(&[256, 1, 2]);
    limits.token_bytes = 500;
    limits.walk_ahead_bytes = choices.pick(&[32 << 20, 1, 1000]);
    limits.walk_nodes = choices.pick(&[50_000, 50_000, 50_000, 12]);
    limits
}

/// Starts an operation.
fn start(session: &mut Session, content: &Content, choices: &mut Choices<'_>) -> (Started, OpId) {
    let whom = usize::from(choices.byte());
    let registry = whom % REGISTRIES.len();
    let repository = [Registry::REPOSITORY, MIRRORED][whom / 5 % 2];
    let base = format!("{}/{repository}", REGISTRIES[registry]);
    let by_digest = whom / 10 % 4 == 3;
    let root = &content.root.digest;
    let text = if by_digest { format!("{base}@{root}") } else { format!("{base}:1") };
    let reference: Reference = text.parse().expect("the reference is valid");

    let what = usize::from(choices.byte());
    let platform = PLATFORMS[what / 16 % PLATFORMS.len()].parse().ok();
    let mut options = WalkOptions::default();
    (options.blobs, options.strict) = (what / 16 % 2 == 1, what / 32 % 4 == 3);
    let blobs = content.blobs();
    let what = match what % 16 {
        0 => What::Resolve { platform: None, manifest: false },
        1 => What::Resolve { platform, manifest: false },
        2 => What::Resolve { platform: None, manifest: true },
        3 => What::Resolve { platform, manifest: true },
        4..7 => What::Walk(options),
        7..10 => What::Pull { referrers: what / 16 % 2 == 1 },
        10 | 11 => What::Check,
        _ if blobs.is_empty() => What::Walk(options),
        blob => {
            let (digest, size) = blobs[what / 16 % blobs.len()].clone();
            What::Blob { digest, size, is_sized: blob > 12 }
        }
    };
    let op = match &what {
        What::Resolve { platform, manifest: false } => session.resolve(&reference, platform.as_ref()),
        What::Resolve { platform, manifest: true } => session.manifest(&reference, platform.as_ref()),
        What::Walk(options) => session.walk(&reference, options.clone()),
        What::Pull { referrers } => {
            let mut options = PullOptions::default();
            options.referrers = *referrers;
            session.pull(&reference, options)
        }
        What::Check => session.check(&reference, None),
        What::Blob { digest, size, is_sized } => {
            session.blob(&reference.at(digest.clone()), is_sized.then_some(*size))
        }
    };
    // A check concerns the registry itself.
    let is_mirrored = repository == MIRRORED && !matches!(what, What::Check);
    (Started { registry, what, is_mirrored }, op)
}
