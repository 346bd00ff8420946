//! Lines and progress bars on stderr.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

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

/// Prints a line.
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let line = escaped(&text);
    // If stderr is closed, there is nowhere to report it.
    suspend(|| _ = writeln!(io::stderr(), "{line}"));
}

/// Escapes characters that a terminal would interpret, since much of the text comes from servers.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is a control, breaks a line or changes its direction (Unicode, `Bidi_Control`).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("plain gr\u{fc}n \u{65e5}", "plain gr\u{fc}n \u{65e5}"),
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            ("a\nerror: b\r\tc\x7f", "a\\nerror: b\\r\\tc\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2069}\u{2028}", "a\\u{202e}b\\u{2069}\\u{2028}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }
}
