//! A progress bar of a blob, or of a pull.

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState};

use crate::stderr::{draw, draw_above, speed, style};

const TEMPLATE: &str = "{prefix:12} {wide_bar} {decimal_bytes:>9} of {decimal_total_bytes:9} {speed:21}";

/// A progress bar. Its speed and time left count only the bytes that this run fetches.
pub(super) struct Bar {
    shown: ProgressBar,
    /// The bytes that this run has fetched, of those that it fetches. Estimates the speed.
    fetched: ProgressBar,
}

impl Bar {
    pub(super) fn new(name: &str, size: u64) -> Self {
        let fetched = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
        let estimate = fetched.clone();
        let speed = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            _ = out.write_str(&speed(estimate.per_sec(), estimate.eta()));
        };
        let style = style(TEMPLATE).with_key("speed", speed);
        let shown = ProgressBar::new(size).with_style(style).with_prefix(name.to_owned());
        Self { shown, fetched }
    }

    pub(super) fn drawn(self) -> Self {
        Self { shown: draw(self.shown), ..self }
    }

    pub(super) fn drawn_above(self, other: &Self) -> Self {
        Self { shown: draw_above(&other.shown, self.shown), ..self }
    }

    pub(super) fn rename(&self, name: &str) {
        self.shown.set_prefix(name.to_owned());
    }

    pub(super) fn add_fetched(&self, bytes: u64) {
        self.fetched.inc(bytes);
    }

    /// Sets the number of bytes that the layout has, of how many.
    pub(super) fn set(&self, done: u64, size: u64) {
        self.fetched.set_length(self.fetched.position() + size.saturating_sub(done));
        self.shown.set_length(size);
        self.shown.set_position(done);
    }

    /// The bytes that this run has fetched, of how many that it fetches.
    #[cfg(test)]
    pub(super) fn fetched(&self) -> (u64, u64) {
        (self.fetched.position(), self.fetched.length().unwrap_or_default())
    }

    pub(super) fn clear(&self) {
        self.shown.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_earlier_runs_have_no_speed() {
        let bar = Bar::new("total", 100_000_000);
        bar.set(90_000_000, 100_000_000);
        assert_eq!((bar.shown.position(), bar.shown.length()), (90_000_000, Some(100_000_000)));
        assert_eq!(bar.fetched(), (0, 10_000_000));
        assert_eq!(speed(bar.fetched.per_sec(), bar.fetched.eta()), "");
    }
}
