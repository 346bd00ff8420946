//! Text on a terminal: characters that it would interpret are escaped, since much of it comes from servers.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, StdoutLock, Write};
use std::str;

/// Escapes all characters that a terminal would interpret.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
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

/// Stdout. On a terminal, characters that it would interpret are escaped, except line breaks and tabs.
pub(crate) struct Stdout<W = StdoutLock<'static>> {
    to: W,
    escapes: bool,
    /// The beginning of a character whose rest was not written yet.
    begun: Vec<u8>,
}

impl Stdout {
    /// Locks stdout. With `raw`, nothing is escaped.
    pub(crate) fn lock(raw: bool) -> Self {
        let stdout = io::stdout();
        let escapes = stdout.is_terminal() && !raw;
        Self { to: stdout.lock(), escapes, begun: Vec::new() }
    }
}

impl<W: Write> Stdout<W> {
    fn write_escaped(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut shown = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\t' => shown.push(c),
                    // As in JSON, so that a document remains one.
                    c if is_hidden(c) => shown.extend([format!("\\u{:04x}", u32::from(c))]),
                    c => shown.push(c),
                }
            }
            let invalid = chunk.invalid();
            let is_begun = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && is_begun {
                self.begun = invalid.to_vec();
            } else {
                shown.extend(invalid.iter().map(|byte| format!("\\x{byte:02x}")));
            }
        }
        self.to.write_all(shown.as_bytes())
    }
}

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.escapes {
            return self.to.write(bytes);
        }
        let mut joined = std::mem::take(&mut self.begun);
        joined.extend_from_slice(bytes);
        self.write_escaped(&joined)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
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

    #[test]
    fn stdout_is_escaped_in_pieces_of_any_size() {
        let text = b"{\n\t\"gr\xc3\xbcn\": \"\x1b[2J\xe2\x80\xae\xc2\x9b\r\x7f\"} \xff\xe6\x97 \xe6\x97\xa5";
        let shown =
            "{\n\t\"gr\u{fc}n\": \"\\u001b[2J\\u202e\\u009b\\u000d\\u007f\"} \\xff\\xe6\\x97 \u{65e5}";
        for size in 1..=text.len() {
            for escapes in [true, false] {
                let mut stdout = Stdout { to: Vec::new(), escapes, begun: Vec::new() };
                for piece in text.chunks(size) {
                    stdout.write_all(piece).unwrap();
                }
                let expected = if escapes { shown.as_bytes() } else { text };
                assert_eq!(stdout.to, expected, "{size}");
            }
        }
    }
}
