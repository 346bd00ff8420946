//! Runs many simulated worlds, and counts their events.
#![expect(clippy::print_stdout, reason = "reports a campaign, or the trace of a seed")]

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oci_proto_tests::simulation::{Counts, Dropped, drop_after, run, traced};
use peak_alloc::PeakAlloc;

use super::seeds::bytes;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The number of fixed seeds.
const FIXED: u64 = 1000;
/// The number of those that run twice, the second time with a trace.
const SAME: u64 = 50;
/// The number of those in which the session's memory is measured.
const HELD: u64 = 200;
/// The maximum memory of a session without operations, in bytes: credentials, tokens, and waits of servers.
const AT_REST: usize = 48 << 10;
/// The same if operations have written to more repositories, or listed them.
const AT_REST_WITH_WRITES: usize = 64 << 10;
/// The additional maximum for each operation: its documents, requests and events.
const FOR_EACH: usize = 32 << 10;
/// The same for each content of its tree, if that is more: all of them may wait for one server. The most that
/// was measured is 1.8 KiB.
const FOR_EACH_CONTENT: usize = 2 << 10;
/// The URLs that servers have supplied to an operation, which are remembered to redact what is in them.
const URLS: usize = 4 << 10;
/// How long other seeds run.
const FRESH: Duration = Duration::from_secs(4);

/// The minimum number of events per thousand fixed seeds, so that the assertions are exercised.
const DEPTH: [(&str, usize); 73] = [
    ("mirrors that supplied content", 250),
    ("failures of mirrors", 400),
    ("wrong responses of mirrors", 30),
    ("mirror not ready", 6000),
    ("responses with Retry-After", 500),
    ("held blobs", 100),
    ("interrupted bodies", 1000),
    ("stalled bodies", 500),
    ("cancels", 200),
    ("rejected credentials", 100),
    ("challenges", 3000),
    ("failed connections", 500),
    ("held documents", 240),
    ("dropped drivers", 1200),
    ("lost exchanges", 150),
    ("fails", 90),
    ("late answers", 800),
    ("late completions", 700),
    ("wrong responses", 1500),
    ("finished operations", 2500),
    ("failed operations", 1600),
    ("held parts", 175),
    ("credentials questions", 2500),
    ("questions asked again", 200),
    ("unanswered questions", 50),
    ("ranges ignored", 90),
    ("token redirects", 30),
    ("repeated answers", 750),
    ("redirects", 2700),
    ("refresh tokens posted", 500),
    ("refresh tokens sent by GET", 350),
    ("requests to other origins", 2700),
    ("requests with Authorization", 15_000),
    ("resumed requests", 500),
    ("retries", 8000),
    ("tokens", 1500),
    ("correct redirects", 2600),
    ("shared token servers", 230),
    ("mounts", 90),
    ("upload sessions", 1700),
    ("whole uploads", 900),
    ("chunked uploads", 430),
    ("chunks", 1000),
    ("resumed uploads", 70),
    ("payloads cut off", 270),
    ("payloads too large", 90),
    ("redirected payloads", 140),
    ("early answers", 150),
    ("early successes", 11),
    ("lost responses", 115),
    ("lost sessions", 25),
    ("sessions gone", 75),
    ("tokens expired during an upload", 24),
    ("false ranges", 70),
    ("false locations", 70),
    ("false successes", 35),
    ("documents", 1000),
    ("fallback indexes", 26),
    ("finished transfers with retries", 270),
    ("finished transfers without retries", 160),
    ("failed transfers", 380),
    ("copies of referrers", 28),
    ("copies of referrers from a fallback index", 14),
    ("copies of referrers to a fallback index", 24),
    ("copies of referrers between fallback indexes", 7),
    ("pushes of referrers", 40),
    ("pushes of referrers to a fallback index", 40),
    ("pulls of referrers", 70),
    ("pulls of referrers from a fallback index", 20),
    ("other finished writes and lists", 400),
    ("writes that must succeed", 600),
    ("cancelled uploads", 200),
    ("second runs", 1200),
];

/// The results of many runs.
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
            println!("seed {seed} violates the contract: {}", replay(seed));
            return self.failed.push(seed);
        };
        self.steps += run.steps;
        for (what, times) in run.counts {
            *self.counts.entry(what).or_default() += times;
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.runs += other.runs;
        self.steps += other.steps;
        for (what, times) in other.counts {
            *self.counts.entry(what).or_default() += times;
        }
        self.failed.extend(other.failed);
        self
    }

    fn result(&self) -> Result<(), String> {
        match self.failed.first() {
            None => Ok(()),
            Some(seed) => Err(format!("{} seeds violate the contract; {}", self.failed.len(), replay(*seed))),
        }
    }
}

fn replay(seed: u64) -> String {
    format!("replay with `cargo test -p oci-proto-tests --test simulation -- --seed {seed}`")
}

/// Prints the trace of one seed.
pub(crate) fn tell(seed: u64) {
    let run = traced(&bytes(seed), |line| println!("{line}"));
    println!("{} steps; no violations", run.steps);
}

/// Runs `runs` seeds, and prints the counters.
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
    println!("{} violations: {failed:?}", failed.len());
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

/// The fixed seeds.
pub(crate) fn fixed() -> Result<(), String> {
    let tally = thread::scope(|scope| {
        let every_other = |first| {
            scope.spawn(move || {
                let mut tally = Tally::default();
                (first..FIXED).step_by(2).for_each(|seed| tally.add(seed));
                tally
            })
        };
        let [even, odd] = [0, 1].map(every_other).map(|tally| tally.join().expect("violations are caught"));
        even.and(odd)
    });
    tally.result()?;
    for (what, least) in DEPTH {
        let times = tally.counts.get(what).copied().unwrap_or_default();
        let least = least * usize::try_from(FIXED).expect("the number is small") / 1000;
        if times < least {
            return Err(format!("{times} {what}, less than {least}: {:#?}", tally.counts));
        }
    }
    Ok(())
}

/// Repeated runs of the same seed.
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
            return Err(format!("seed {seed} differs in another run: {differ:?}"));
        }
    }
    Ok(())
}

/// The memory of a session, during and after a run.
pub(crate) fn held() -> Result<(), String> {
    let (mut at_rest, mut at_work) = (0, 0);
    for seed in 0..HELD {
        let data = bytes(seed);
        for step in [20, 60, 180, usize::MAX] {
            let Dropped { bytes: held, alive, contents, writes, .. } =
                drop_after(&data, step, || HEAP.current_usage());
            let for_contents = contents * FOR_EACH_CONTENT;
            // A transfer holds its documents, and its contents have uploads.
            let most = if writes {
                AT_REST_WITH_WRITES + alive * (URLS + FOR_EACH + for_contents)
            } else {
                AT_REST + alive * (URLS + FOR_EACH.max(for_contents))
            };
            if held > most {
                return Err(format!(
                    "{held} bytes are held for {alive} operations on {contents} contents after {step} steps of seed {seed}"
                ));
            }
            let greatest = if alive == 0 { &mut at_rest } else { &mut at_work };
            *greatest = held.max(*greatest);
        }
    }
    println!("{at_rest} bytes at rest, {at_work} at work");
    Ok(())
}

/// Seeds that depend on the time.
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
