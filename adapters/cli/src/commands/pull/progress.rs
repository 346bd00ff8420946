//! The progress of a pull: bars on a terminal, periodic lines elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::DecimalBytes;
use oci_proto::{Digest, Kind};
use oci_proto_layout::Progress;

use crate::args::CommonArgs;
use crate::commands::bar::Bar;
use crate::commands::skipped::skipped;
use crate::output::count;
use crate::stderr::print_line;

/// The time between lines if stderr is not a terminal.
const PERIOD: Duration = Duration::from_secs(5);
/// The size from which a blob has its own bar.
const LARGE: u64 = 1 << 20;

/// Displays the progress of a pull.
pub(in crate::commands) struct ProgressDisplay {
    state: Mutex<State>,
    quiet: bool,
}

/// The totals of a pull.
#[derive(Default)]
pub(in crate::commands) struct Counts {
    contents: u64,
    /// The bytes of blobs that the layout has.
    bytes: u64,
    /// The bytes that were received, including those of blobs that were restarted.
    fetched: u64,
    /// A line about each content that was skipped.
    skipped: BTreeSet<String>,
}

impl Counts {
    /// Prints the totals.
    pub(in crate::commands) fn note(&self, common: &CommonArgs) {
        for skipped in &self.skipped {
            common.note(format_args!("{skipped}"));
        }
        if self.contents == 0 {
            return;
        }
        common.note(format_args!(
            "{}; {} in blobs, {} fetched",
            count(self.contents, "item"),
            DecimalBytes(self.bytes),
            DecimalBytes(self.fetched),
        ));
    }
}

struct State {
    counts: Counts,
    /// Everything that is complete. Several pulls may have some content in common, which counts once.
    complete: BTreeSet<Digest>,
    /// The blobs that are in progress.
    blobs: BTreeMap<Digest, Blob>,
    /// Bytes of all blobs known so far.
    known: u64,
    bars: Option<Bars>,
    last_line: Instant,
}

/// A blob in progress.
struct Blob {
    size: u64,
    /// The bytes that the layout has.
    done: u64,
}

struct Bars {
    total: Bar,
    blobs: BTreeMap<Digest, Bar>,
}

impl ProgressDisplay {
    pub(in crate::commands) fn new(quiet: bool) -> Self {
        let bars = (!quiet && io::stderr().is_terminal())
            .then(|| Bars { total: Bar::new("total", 0).drawn(), blobs: BTreeMap::new() });
        let state = State {
            counts: Counts::default(),
            complete: BTreeSet::new(),
            blobs: BTreeMap::new(),
            known: 0,
            bars,
            last_line: Instant::now(),
        };
        Self { state: Mutex::new(state), quiet }
    }

    /// Shows which of several pulls begins. The one before may have failed.
    pub(in crate::commands) fn begin(&self, number: usize, of: usize) {
        let mut state = self.lock();
        for blob in mem::take(&mut state.blobs).into_values() {
            state.known -= blob.size;
            state.counts.bytes -= blob.done;
        }
        if let Some(bars) = &mut state.bars {
            mem::take(&mut bars.blobs).values().for_each(Bar::clear);
            bars.total.rename(&format!("tag {number}/{of}"));
        }
    }

    pub(super) fn report(&self, progress: Progress<'_>) {
        let mut state = self.lock();
        match progress {
            Progress::Wanted(descriptor)
                if descriptor.media_type.kind() == Kind::Other
                    && !state.complete.contains(&descriptor.digest)
                    && !state.blobs.contains_key(&descriptor.digest) =>
            {
                state.known += descriptor.size;
                state.blobs.insert(descriptor.digest.clone(), Blob { size: descriptor.size, done: 0 });
            }
            Progress::Present(digest, bytes) => state.add(digest, bytes, 0),
            Progress::Received(digest, bytes) => {
                state.counts.fetched += bytes;
                state.add(digest, bytes, bytes);
            }
            Progress::Restarted(digest) => state.restarted(digest),
            Progress::Complete(digest) => state.complete(digest),
            Progress::Skipped(descriptor) => _ = state.counts.skipped.insert(skipped(descriptor)),
            _ => {}
        }
        state.draw(self.quiet);
    }

    /// Removes the bars, and returns the totals.
    pub(in crate::commands) fn finish(&self) -> Counts {
        let mut state = self.lock();
        if let Some(bars) = state.bars.take() {
            bars.blobs.values().chain([&bars.total]).for_each(Bar::clear);
        }
        mem::take(&mut state.counts)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds bytes that the layout has, some of which were fetched just now.
    fn add(&mut self, digest: &Digest, bytes: u64, fetched: u64) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let size = blob.size;
        blob.done += bytes;
        self.counts.bytes += bytes;
        let done = blob.done;
        let Some(bars) = &mut self.bars else { return };
        bars.total.add_fetched(fetched);
        if size >= LARGE {
            let bar = bars.blobs.entry(digest.clone()).or_insert_with(|| {
                let name: String = digest.encoded().chars().take(12).collect();
                Bar::new(&name, size).drawn_above(&bars.total)
            });
            bar.add_fetched(fetched);
            bar.set(done, size);
        }
    }

    fn restarted(&mut self, digest: &Digest) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        self.counts.bytes -= mem::take(&mut blob.done);
        let size = blob.size;
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.blobs.get(digest)) {
            bar.set(0, size);
        }
    }

    fn complete(&mut self, digest: &Digest) {
        if self.complete.insert(digest.clone()) {
            self.counts.contents += 1;
        }
        self.blobs.remove(digest);
        if let Some(bars) = &mut self.bars
            && let Some(bar) = bars.blobs.remove(digest)
        {
            bar.clear();
        }
    }

    fn draw(&mut self, quiet: bool) {
        if let Some(bars) = &self.bars {
            bars.total.set(self.counts.bytes, self.known);
        } else if !quiet && self.last_line.elapsed() >= PERIOD {
            self.last_line = Instant::now();
            print_line(format_args!("{} of {}", DecimalBytes(self.counts.bytes), DecimalBytes(self.known)));
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_proto::{Algorithm, Descriptor, MediaType};

    use super::*;

    #[test]
    fn the_speed_counts_only_what_this_run_fetches() {
        let display = ProgressDisplay::new(true);
        let total = || display.lock().bars.as_ref().unwrap().total.fetched();
        display.lock().bars = Some(Bars { total: Bar::new("total", 0), blobs: BTreeMap::new() });
        let blob = |content: &[u8]| {
            Descriptor::new(MediaType::OCTET_STREAM, Digest::of(Algorithm::Sha256, content), 100)
        };
        let (present, resumed) = (blob(b"present"), blob(b"resumed"));
        for blob in [&present, &resumed] {
            display.report(Progress::Wanted(blob));
        }
        assert_eq!(total(), (0, 200));
        display.report(Progress::Present(&present.digest, 100));
        display.report(Progress::Complete(&present.digest));
        display.report(Progress::Present(&resumed.digest, 70));
        assert_eq!(total(), (0, 30));
        display.report(Progress::Received(&resumed.digest, 20));
        assert_eq!(total(), (20, 30));
        display.report(Progress::Restarted(&resumed.digest));
        assert_eq!(total(), (20, 120));
        display.report(Progress::Received(&resumed.digest, 100));
        assert_eq!(total(), (120, 120));
    }

    #[test]
    fn content_that_several_pulls_share_counts_once() {
        let display = ProgressDisplay::new(true);
        let blob = |content: &[u8]| {
            Descriptor::new(MediaType::OCTET_STREAM, Digest::of(Algorithm::Sha256, content), 100)
        };
        let (shared, failed) = (blob(b"shared"), blob(b"failed"));
        let shown = || {
            let state = display.lock();
            (state.counts.contents, state.counts.bytes, state.counts.fetched, state.known)
        };
        display.begin(1, 2);
        for blob in [&shared, &failed] {
            display.report(Progress::Wanted(blob));
        }
        display.report(Progress::Received(&shared.digest, 100));
        display.report(Progress::Complete(&shared.digest));
        display.report(Progress::Received(&failed.digest, 40));
        assert_eq!(shown(), (1, 140, 140, 200));
        // The first pull has failed, and the second one resumes.
        display.begin(2, 2);
        assert_eq!(shown(), (1, 100, 140, 100));
        for (blob, present) in [(&shared, 100), (&failed, 40)] {
            display.report(Progress::Wanted(blob));
            display.report(Progress::Present(&blob.digest, present));
        }
        display.report(Progress::Received(&failed.digest, 60));
        for blob in [&shared, &failed] {
            display.report(Progress::Complete(&blob.digest));
        }
        assert_eq!(shown(), (2, 200, 200, 200));
    }
}
