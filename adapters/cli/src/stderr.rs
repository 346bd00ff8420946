//! Lines and progress bars on stderr.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{DecimalBytes, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::arguments::without_secrets;
use crate::terminal::escaped;

/// The progress bars, which make room for lines.
static DRAWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Draws a single bar, or a spinner if there is no length, if stderr is a terminal.
pub(crate) fn draw_alone(length: Option<u64>, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let Some(length) = length else {
        return draw(
            ProgressBar::new_spinner().with_style(style("{spinner} {decimal_bytes} {decimal_bytes_per_sec}")),
        );
    };
    let speed = |state: &ProgressState, out: &mut dyn fmt::Write| {
        _ = out.write_str(&speed(state.per_sec(), state.eta()));
    };
    let style =
        style("{decimal_bytes} of {decimal_total_bytes} {wide_bar} {speed:21}").with_key("speed", speed);
    draw(ProgressBar::new(length).with_style(style))
}

pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A speed in bytes per second, and the time left, once there is a speed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
pub(crate) fn speed(per_second: f64, left: Duration) -> String {
    match per_second as u64 {
        0 => String::new(),
        speed => format!("{}/s, {:#} left", DecimalBytes(speed), HumanDuration(left)),
    }
}

/// Draws a bar if stderr is a terminal.
pub(crate) fn draw(bar: ProgressBar) -> ProgressBar {
    DRAWN.add(bar)
}

/// Draws a bar above another one.
pub(crate) fn draw_above(other: &ProgressBar, bar: ProgressBar) -> ProgressBar {
    DRAWN.insert_before(other, bar)
}

/// Runs `work`, such as a write to stdout, while no bar is drawn.
pub(crate) fn suspend<T>(work: impl FnOnce() -> T) -> T {
    DRAWN.suspend(work)
}

/// Prints a line, without secrets of the command line.
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    let text = without_secrets(&text.to_string());
    let line = escaped(&text);
    // If stderr is closed, there is nowhere to report it.
    suspend(|| _ = writeln!(io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_of_zero_leaves_no_time() {
        assert_eq!(speed(0.4, Duration::ZERO), "");
        assert_eq!(speed(2_500_000.9, Duration::from_secs(90)), "2.50 MB/s, 2m left");
    }
}
