//! Lines and progress bars on stderr.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::arguments::without_secrets;
use crate::terminal::escaped;

/// The progress bars, which make room for lines.
static DRAWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Draws a single bar, or a spinner if there is no length, if stderr is a terminal.
pub(crate) fn draw_alone(length: Option<u64>, hidden: bool) -> ProgressBar {
    let template = match length {
        Some(_) => "{decimal_bytes} of {decimal_total_bytes} {wide_bar} {decimal_bytes_per_sec}, {eta} left",
        None => "{spinner} {decimal_bytes} {decimal_bytes_per_sec}",
    };
    if hidden { ProgressBar::hidden() } else { draw(bar(length, template)) }
}

/// Makes a bar up to a length, or a spinner if there is none, without drawing it yet.
pub(crate) fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
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
