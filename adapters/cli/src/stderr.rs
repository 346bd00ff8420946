//! Lines and progress bars on stderr.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{DecimalBytes, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use terminal_size::{Width, terminal_size_of};
use textwrap::{Options, WordSeparator, WordSplitter};

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

/// Prints a line, without secrets of the command line. On a terminal it is wrapped.
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    let line = shown(text);
    match *WIDTH {
        Some(width) => write_line(&wrapped(&line, width)),
        None => write_line(&line),
    }
}

/// Prints a line to copy, which is not wrapped, without secrets of the command line.
pub(crate) fn print_whole(text: fmt::Arguments<'_>) {
    write_line(&shown(text));
}

/// The width of the terminal, if stderr is one.
static WIDTH: LazyLock<Option<usize>> = LazyLock::new(|| {
    let stderr = io::stderr();
    let width = || terminal_size_of(&stderr).map_or(80, |(Width(columns), _)| columns.into());
    stderr.is_terminal().then(width)
});

fn shown(text: fmt::Arguments<'_>) -> String {
    escaped(&without_secrets(&text.to_string())).into_owned()
}

/// Breaks a line between words, but no word: a URL can still be copied.
fn wrapped(line: &str, width: usize) -> String {
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(line, options)
}

fn write_line(line: &str) {
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

    #[test]
    fn lines_are_wrapped_between_words() {
        let url = format!("https://registry.example/v2/{}", "x".repeat(60));
        let line = format!("error: GET {url}: could not connect: the name is not known to any server");
        let expected = format!("error: GET\n{url}:\ncould not connect: the name is not known to any server");
        assert_eq!(wrapped(&line, 60), expected);
        assert_eq!(wrapped("  tip: short-named", 80), "  tip: short-named");
        assert_eq!(wrapped("", 80), "");
    }
}
