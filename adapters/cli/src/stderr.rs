//! What is said on stderr beside the results, and what is drawn there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use oci_proto::header::Warning;
use oci_proto::{Error, Retry};

use crate::args::Common;

/// What moves on a terminal, and makes room for what is said.
static DRAWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Has a bar drawn that is alone, or without a length a spinner, where stderr is a terminal.
pub(crate) fn draw_alone(length: Option<u64>, hidden: bool) -> ProgressBar {
    let look = match length {
        Some(_) => "{decimal_bytes} of {decimal_total_bytes} {wide_bar} {decimal_bytes_per_sec}, {eta} left",
        None => "{spinner} {decimal_bytes} {decimal_bytes_per_sec}",
    };
    if hidden { ProgressBar::hidden() } else { draw(bar(length, look)) }
}

/// A bar up to a length, or without one a spinner; with this look, and not drawn yet.
pub(crate) fn bar(length: Option<u64>, look: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar());
    length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}

/// Has a bar drawn, where stderr is a terminal.
pub(crate) fn draw(bar: ProgressBar) -> ProgressBar {
    DRAWN.add(bar)
}

/// Has a bar drawn above another one.
pub(crate) fn draw_above(other: &ProgressBar, bar: ProgressBar) -> ProgressBar {
    DRAWN.insert_before(other, bar)
}

/// Does something, such as writing to stdout, while nothing is drawn.
pub(crate) fn suspend<T>(work: impl FnOnce() -> T) -> T {
    DRAWN.suspend(work)
}

/// Says a line.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let line = harmless(&text);
    // There is no other place to tell that stderr is gone.
    suspend(|| _ = writeln!(io::stderr(), "{line}"));
}

impl Common {
    /// Says what a person may want to know besides the results.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        if !self.quiet {
            say(text);
        }
    }

    /// Says what is only of interest to who asked for it.
    pub(crate) fn detail(&self, text: fmt::Arguments<'_>) {
        if self.verbose {
            say(text);
        }
    }

    /// Says of each retry what failed, how long until the next try, and which it is.
    pub(crate) fn retries(&self) -> impl Fn(&Retry) + Send + Sync + 'static {
        let (verbose, most) = (self.verbose, self.retries);
        move |Retry { error, delay, failed, .. }: &Retry| {
            if verbose {
                say(format_args!("retry {failed} of {most} in {}: {}", seconds(*delay), brief(error)));
            }
        }
    }

    /// Says each of the registries' warnings once.
    pub(crate) fn warnings(&self) -> impl Fn(&Warning) + Send + Sync + 'static {
        let (quiet, said) = (self.quiet, Mutex::new(BTreeSet::new()));
        move |warning: &Warning| {
            let is_new = said.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
            if is_new && !quiet {
                say(format_args!("warning: {}", warning.text()));
            }
        }
    }
}

/// What failed, without all of a digest: the line comes again and again.
fn brief(error: &Error) -> String {
    /// The name of an algorithm, and enough of a digest to recognise it.
    const ENOUGH: usize = "sha256:".len() + 12;
    let Some((method, url)) = error.request() else { return error.to_string() };
    let url = url.split('?').next().unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default();
    let dots = if name.chars().count() > 2 * ENOUGH { "..." } else { "" };
    let kept = if dots.is_empty() { name } else { name.get(..ENOUGH).unwrap_or_default() };
    let folder = url.strip_suffix(name).unwrap_or_default();
    format!("{method} {folder}{kept}{dots}: {}", error.cause())
}

fn seconds(duration: Duration) -> String {
    let decimals = usize::from(duration < Duration::from_secs(10));
    format!("{:.decimals$} s", duration.as_secs_f64())
}

/// A text that a terminal shows, and does not obey: servers choose the words of many.
fn harmless(text: &str) -> Cow<'_, str> {
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

/// Controls, and what breaks a line or turns its direction around (Unicode, `Bidi_Control`).
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
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("plain gr\u{fc}n \u{65e5}", "plain gr\u{fc}n \u{65e5}"),
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            ("a\nerror: b\r\tc\x7f", "a\\nerror: b\\r\\tc\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2069}\u{2028}", "a\\u{202e}b\\u{2069}\\u{2028}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn a_wait_is_told_as_exactly_as_it_matters() {
        for (millis, told) in
            [(0, "0.0 s"), (149, "0.1 s"), (9_960, "10.0 s"), (10_400, "10 s"), (120_000, "120 s")]
        {
            assert_eq!(seconds(Duration::from_millis(millis)), told);
        }
    }
}
