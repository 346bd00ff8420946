//! The printed report.

use std::cell::Cell;
use std::fmt::Display;

use crate::run::{Round, Rounds};

/// Prints figures as they come, and counts the targets reached.
#[derive(Default)]
pub(crate) struct Report {
    reached: Cell<usize>,
    missed: Cell<usize>,
}

impl Report {
    /// A heading, and the medians of each client.
    pub(crate) fn rounds(title: &str, rounds: &Rounds) {
        println!("\n{title} ({} of each)", rounds.count());
        println!("  {:<22}{:>12}{:>12}{:>14}", "", "wall", "CPU", "peak memory");
        for name in rounds.names() {
            let wall = rounds.median(|round| round.wall(name));
            let cpu = rounds.median(|round| round.cpu(name));
            #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
            let peak = rounds.median(|round| round.run(name).peak as f64);
            println!("  {name:<22}{:>12}{:>12}{:>14}", seconds(wall), seconds(cpu), mebibytes(peak));
        }
    }

    /// The median of a ratio, with its target.
    pub(crate) fn ratio(&self, what: &str, rounds: &Rounds, most: f64, ratio: impl Fn(Round<'_>) -> f64) {
        let ratio = rounds.median(ratio);
        self.figure(what, format_args!("{ratio:.2}"), format_args!("at most {most:.2}"), Some(ratio <= most));
    }

    /// A figure with its target, and whether it is reached, if there is a target.
    pub(crate) fn figure(
        &self,
        what: &str,
        figure: impl Display,
        target: impl Display,
        reached: Option<bool>,
    ) {
        let (figure, target) = (figure.to_string(), target.to_string());
        let verdict = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        let counter = if reached == Some(true) { &self.reached } else { &self.missed };
        counter.set(counter.get() + usize::from(reached.is_some()));
        println!("{}", format!("    {what:<52}{figure:>10}  {target:<20}{verdict}").trim_end());
    }

    /// The last line.
    pub(crate) fn end(&self) {
        let (reached, missed) = (self.reached.get(), self.missed.get());
        println!("\n{reached} of {} figures reached", reached + missed);
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}
