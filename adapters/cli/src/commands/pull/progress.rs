//! The progress of a pull: bars on a terminal, periodic lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar};
use oci_proto::{Digest, Kind};
use oci_proto_layout::Progress;

use crate::stderr::{bar, draw, draw_above, print_line};

/// The time between lines if stderr is not a terminal.
const PERIOD: Duration = Duration::from_secs(5);
/// The size from which a blob has its own bar.
const LARGE: u64 = 1 << 20;

/// Displays the progress of a pull.
pub(super) struct ProgressDisplay {
    state: Mutex<State>,
    quiet: bool,
}

/// The totals of a pull.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) contents: u64,
    /// The bytes of blobs that the layout has.
    pub(super) bytes: u64,
    /// The bytes that were received, including those of blobs that were restarted.
    pub(super) fetched: u64,
    pub(super) skipped: Vec<Digest>,
}

struct State {
    counts: Counts,
    /// The blobs that are in progress.
    blobs: BTreeMap<Digest, Blob>,
    /// Bytes of blobs that the layout has.
    done: u64,
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
    total: ProgressBar,
    blobs: BTreeMap<Digest, ProgressBar>,
}

impl ProgressDisplay {
    pub(super) fn new(quiet: bool) -> Self {
        let bars = (!quiet && io::stderr().is_terminal())
            .then(|| Bars { total: draw(named("total", 0)), blobs: BTreeMap::new() });
        let state = State {
            counts: Counts::default(),
            blobs: BTreeMap::new(),
            done: 0,
            known: 0,
            bars,
            last_line: Instant::now(),
        };
        Self { state: Mutex::new(state), quiet }
    }

    pub(super) fn report(&self, progress: Progress<'_>) {
        let mut state = self.lock();
        match progress {
            Progress::Wanted(descriptor) if descriptor.media_type.kind() == Kind::Other => {
                state.known += descriptor.size;
                state.blobs.insert(descriptor.digest.clone(), Blob { size: descriptor.size, done: 0 });
            }
            Progress::Present(digest, bytes) => state.add(digest, bytes),
            Progress::Received(digest, bytes) => {
                state.counts.fetched += bytes;
                state.add(digest, bytes);
            }
            Progress::Restarted(digest) => state.restarted(digest),
            Progress::Complete(digest) => state.complete(digest),
            Progress::Skipped(descriptor) => state.counts.skipped.push(descriptor.digest.clone()),
            _ => {}
        }
        state.draw(self.quiet);
    }

    /// Removes the bars, and returns the totals.
    pub(super) fn finish(&self) -> Counts {
        let mut state = self.lock();
        if let Some(bars) = state.bars.take() {
            bars.blobs.values().chain([&bars.total]).for_each(ProgressBar::finish_and_clear);
        }
        state.counts.bytes = state.done;
        mem::take(&mut state.counts)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, digest: &Digest, bytes: u64) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let size = blob.size;
        blob.done += bytes;
        self.done += bytes;
        let Some(bars) = self.bars.as_mut().filter(|_| size >= LARGE) else { return };
        let bar = bars.blobs.entry(digest.clone()).or_insert_with(|| {
            let name: String = digest.encoded().chars().take(12).collect();
            draw_above(&bars.total, named(&name, size))
        });
        bar.inc(bytes);
    }

    fn restarted(&mut self, digest: &Digest) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        self.done -= mem::take(&mut blob.done);
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.blobs.get(digest)) {
            bar.set_position(0);
        }
    }

    fn complete(&mut self, digest: &Digest) {
        self.counts.contents += 1;
        self.blobs.remove(digest);
        if let Some(bars) = &mut self.bars
            && let Some(bar) = bars.blobs.remove(digest)
        {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self, quiet: bool) {
        if let Some(bars) = &self.bars {
            bars.total.set_length(self.known);
            bars.total.set_position(self.done);
        } else if !quiet && self.last_line.elapsed() >= PERIOD {
            self.last_line = Instant::now();
            print_line(format_args!("{} of {}", DecimalBytes(self.done), DecimalBytes(self.known)));
        }
    }
}

/// The bar of a blob, or of the total.
fn named(name: &str, size: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{prefix:12} {wide_bar} {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec}";
    bar(Some(size), TEMPLATE).with_prefix(name.to_owned())
}
