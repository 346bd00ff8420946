//! Runs of many worlds, and what they had in them.
#![expect(clippy::print_stdout, reason = "a campaign tells what it finds, and a seed what happens in it")]

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oci_proto_tests::simulation::{Counts, drop_after, run, traced};
use peak_alloc::PeakAlloc;

use super::seeds::bytes;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How many worlds are the same each time.
const FIXED: u64 = 1500;
/// How many of them are run twice, and traced.
const SAME: u64 = 50;
/// In how many of them it is counted what the session holds.
const HELD: u64 = 300;
/// The most bytes that a session holds without an operation: logins, tokens, and who asked to be left alone.
const AT_REST: usize = 48 << 10;
/// The same, for each operation: its documents, its requests and what it has to say.
const FOR_EACH: usize = 32 << 10;
/// How long others are run.
const FRESH: Duration = Duration::from_secs(4);

/// What must happen in the worlds that are the same each time, so that what they are held to is held to
/// something: this often in a thousand of them.
const DEPTH: [(&str, usize); 28] = [
    ("answers that a mirror is not ready", 6000),
    ("answers that ask for time", 500),
    ("blobs held", 140),
    ("bodies that break off", 1000),
    ("bodies that stall", 500),
    ("cancels", 200),
    ("challenges to what was shown", 100),
    ("challenges", 3000),
    ("connections that fail", 500),
    ("documents held", 300),
    ("dropped drivers", 1200),
    ("late completions", 700),
    ("odd answers", 1500),
    ("operations done", 2500),
    ("operations failed", 1600),
    ("parts held", 250),
    ("questions for logins", 2500),
    ("ranges ignored", 90),
    ("redirects of requests for tokens", 30),
    ("redirects", 2700),
    ("refresh tokens posted", 500),
    ("refresh tokens shown to GET", 350),
    ("requests elsewhere", 2700),
    ("requests with Authorization", 15_000),
    ("resumed requests", 500),
    ("retries", 8000),
    ("tokens", 1500),
    ("truthful redirects", 2600),
];

/// What many runs had in them.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    steps: usize,
    counts: Counts,
    failed: Vec<u64>,
}

impl Tally {
    fn add(&mut self, seed: u64) {
        self.runs += 1;
        let Ok(run) = catch_unwind(|| run(&bytes(seed))) else {
            println!("seed {seed} breaks a promise: {}", replay(seed));
            return self.failed.push(seed);
        };
        self.steps += run.steps;
        for (what, times) in run.counts {
            *self.counts.entry(what).or_default() += times;
        }
    }

    fn result(&self) -> Result<(), String> {
        match self.failed.first() {
            None => Ok(()),
            Some(seed) => Err(format!("{} seeds break a promise; {}", self.failed.len(), replay(*seed))),
        }
    }
}

fn replay(seed: u64) -> String {
    format!("replay with `cargo test -p oci-proto-tests --test simulation -- --seed {seed}`")
}

/// Tells what happens in one world.
pub(crate) fn tell(seed: u64) {
    let run = traced(&bytes(seed), |line| println!("{line}"));
    println!("{} steps; all promises kept", run.steps);
}

/// Runs so many worlds, and tells what they had in them.
pub(crate) fn run_many(from: u64, count: u64) {
    let (start, mut tally) = (Instant::now(), Tally::default());
    for seed in from..from.saturating_add(count) {
        tally.add(seed);
    }
    let seconds = start.elapsed().as_secs_f64();
    for (what, times) in &tally.counts {
        println!("{times:10} {what}");
    }
    let Tally { runs, steps, failed, .. } = &tally;
    let a_second = |times: u128| times * 1000 / start.elapsed().as_millis().max(1);
    let (seeds, steps) = (a_second((*runs).into()), a_second(*steps as u128));
    println!("{runs} seeds from {from} on in {seconds:.1} s: {seeds} seeds/s, {steps} steps/s");
    println!("{} broke a promise: {failed:?}", failed.len());
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

/// Worlds that are the same each time.
pub(crate) fn fixed() -> Result<(), String> {
    let mut tally = Tally::default();
    (0..FIXED).for_each(|seed| tally.add(seed));
    tally.result()?;
    for (what, least) in DEPTH {
        let times = tally.counts.get(what).copied().unwrap_or_default();
        let least = least * usize::try_from(FIXED).expect("a small number") / 1000;
        if times < least {
            return Err(format!("{times} {what}, where {least} are the least: {:#?}", tally.counts));
        }
    }
    Ok(())
}

/// Runs of the same world.
pub(crate) fn same() -> Result<(), String> {
    for seed in 0..SAME {
        let told = || {
            let lines = Rc::new(RefCell::new(Vec::new()));
            let kept = lines.clone();
            let run = traced(&bytes(seed), move |line| kept.borrow_mut().push(line.to_owned()));
            (run, lines.take())
        };
        let (first, second) = (told(), told());
        if first != second {
            let differ = first.1.iter().zip(&second.1).find(|(first, second)| first != second);
            return Err(format!("seed {seed}, and another run: {differ:?}"));
        }
    }
    Ok(())
}

/// What a session holds, in the midst of a world and at its end.
pub(crate) fn held() -> Result<(), String> {
    let (mut at_rest, mut at_work) = (0, 0);
    for seed in 0..HELD {
        let data = bytes(seed);
        for step in [20, 60, 180, usize::MAX] {
            let (held, alive) = drop_after(&data, step, || HEAP.current_usage());
            let most = AT_REST + alive * FOR_EACH;
            if held > most {
                return Err(format!(
                    "{held} bytes are held for {alive} operations after {step} steps of seed {seed}"
                ));
            }
            let greatest = if alive == 0 { &mut at_rest } else { &mut at_work };
            *greatest = held.max(*greatest);
        }
    }
    println!("{at_rest} bytes at rest, {at_work} at work");
    Ok(())
}

/// Worlds that depend on the time.
pub(crate) fn fresh() -> Result<(), String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let first = u64::try_from(since.as_micros()).map_err(|error| error.to_string())?;
    let (start, mut tally) = (Instant::now(), Tally::default());
    println!("seeds from {first} on");
    while start.elapsed() < FRESH {
        tally.add(first + tally.runs);
    }
    tally.result()
}
