//! Counts allocations, for one test at a time.
#![expect(clippy::print_stdout, reason = "`--nocapture` shows the measurements")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The counter serves one test at a time.
static TURN: Mutex<&PeakAlloc> = Mutex::new(&HEAP);

/// Held by the test that may allocate. Taken before an attack is prepared.
pub(crate) struct Turn(MutexGuard<'static, &'static PeakAlloc>);

/// Waits until no other test holds it.
pub(crate) fn turn() -> Turn {
    Turn(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Turn {
    /// Runs an attack, and prints its cost. Fails if it uses more than `most` MiB at once, in addition to
    /// memory in use before.
    pub(crate) fn within<T>(&self, most: usize, name: &str, attack: impl FnOnce() -> T) -> T {
        let before = self.0.current_usage();
        self.0.reset_peak_usage();
        let began = Instant::now();
        let outcome = attack();
        let took = began.elapsed();
        let peak = self.0.peak_usage().saturating_sub(before);
        let kib = peak.div_ceil(1 << 10);
        println!("| {name} | {}.{} MiB | {} ms |", kib >> 10, ((kib & 1023) * 10) >> 10, took.as_millis());
        assert!(peak <= most << 20, "{name}: {kib} KiB, more than {most} MiB");
        outcome
    }
}
