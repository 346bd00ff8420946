//! The lines of a recording: escaped text, bodies, times, options.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// A line of a step and the lines below it, indented by two spaces. Each ends with a newline.
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn new(first: &str) -> Self {
        Self(format!("{first}\n"))
    }

    pub(super) fn detail(&mut self, line: &str) {
        self.0.push_str("  ");
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Adds text that stays readable: a line for each of its lines.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            self.detail(&format!("|{}", escaped(line)));
        }
    }

    /// Adds bytes in Base64.
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        // 96 characters a line.
        for line in bytes.chunks(72) {
            self.detail(&format!("|{}", STANDARD.encode(line)));
        }
    }
}

/// Returns the bytes of a body that [`Lines::text`] wrote.
pub(super) fn read_text<'a>(lines: impl IntoIterator<Item = &'a String>) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            bytes.push(b'\n');
        }
        bytes.extend(unescaped(body_line(line)?)?);
    }
    Ok(bytes.into())
}

/// Returns the bytes of a body that [`Lines::base64`] wrote.
pub(super) fn read_base64<'a>(lines: impl IntoIterator<Item = &'a String>) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    for line in lines {
        let decoded = STANDARD.decode(body_line(line)?);
        bytes.extend(decoded.map_err(|error| format!("the body is not Base64: {error}"))?);
    }
    Ok(bytes.into())
}

fn body_line(line: &str) -> Result<&str, String> {
    line.strip_prefix('|').ok_or_else(|| format!("`{}` is not a line of a body", shown(line)))
}

/// Returns bytes as text on one line. Backslashes, control characters, those that change the direction of text, and
/// bytes that are not text are escaped.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if is_hidden(c) => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Returns text as one word: also escapes spaces.
pub(super) fn word(text: &str) -> String {
    escaped(text.as_bytes()).replace(' ', "\\x20")
}

/// Whether a character is a control, breaks a line or changes its direction (Unicode, `Bidi_Control`).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Reverses [`escaped`] and [`word`].
pub(super) fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("an escape in `{}` is wrong", shown(text));
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            // Two backslashes: the next part is plain.
            bytes.push(b'\\');
            bytes.extend(parts.next().ok_or_else(wrong)?.as_bytes());
        } else if let Some(rest) = part.strip_prefix('x') {
            let (digits, rest) = rest.split_at_checked(2).ok_or_else(wrong)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            bytes.extend(rest.as_bytes());
        } else {
            let (digits, rest) =
                part.strip_prefix("u{").and_then(|rest| rest.split_once('}')).ok_or_else(wrong)?;
            let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?;
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            bytes.extend(rest.as_bytes());
        }
    }
    Ok(bytes)
}

/// Reverses [`escaped`] and [`word`] for text.
pub(super) fn unescaped_text(text: &str) -> Result<String, String> {
    String::from_utf8(unescaped(text)?).map_err(|_| format!("`{}` is not text", shown(text)))
}

/// Parses a value, and says what it is if that fails.
pub(super) fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{}` is not {what}", shown(text)))
}

/// Parses a time or a duration, `1.000000000 s`.
pub(super) fn read_seconds(text: &str) -> Result<Duration, String> {
    let read = || {
        let (seconds, nanos) = text.strip_suffix(" s")?.split_once('.')?;
        let nanos = Some(nanos).filter(|nanos| nanos.len() == 9)?.parse::<u32>().ok()?;
        Some(Duration::new(seconds.parse().ok()?, nanos))
    };
    read().ok_or_else(|| format!("`{}` is not a time such as `1.000000000 s`", shown(text)))
}

/// Returns text of a recording for a message: its beginning, escaped.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", escaped(&text.as_bytes()[..end])),
        None => escaped(text.as_bytes()),
    }
}

/// The words of a line: first those without a name, then options, `NAME` or `NAME=VALUE`.
pub(super) struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { words: text.split(' ').filter(|word| !word.is_empty()).collect() }
    }

    /// Takes the first word.
    pub(super) fn first<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        if self.words.is_empty() {
            return Err(format!("the line lacks {what}"));
        }
        parsed(self.words.remove(0), what)
    }

    /// Takes an option without a value.
    pub(super) fn has(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| *word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// Takes the next option of this name.
    pub(super) fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.text(name)?.map(|text| parsed(&text, &format!("a value of `{name}`"))).transpose()
    }

    /// Takes the option of this name, which must be given.
    pub(super) fn required<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        self.option(name)?.ok_or_else(|| format!("the line lacks `{name}=`"))
    }

    /// Takes all options of this name.
    pub(super) fn all<T: FromStr>(&mut self, name: &str) -> Result<Vec<T>, String> {
        let mut values = Vec::new();
        while let Some(value) = self.option(name)? {
            values.push(value);
        }
        Ok(values)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let value = |word: &&'a str| word.strip_prefix(name)?.strip_prefix('=');
        let Some(at) = self.words.iter().position(|word| value(word).is_some()) else { return Ok(None) };
        value(&self.words.remove(at)).map(unescaped_text).transpose()
    }

    /// Checks that no word is left.
    pub(super) fn end(self) -> Result<(), String> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("`{}` is not expected here", shown(word))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_is_read_back() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"a b\"", "a b\""),
            (b"\\x41", "\\\\x41"),
            (b"\\", "\\\\"),
            (b"\\\\u{41}", "\\\\\\\\u{41}"),
            (b"\t\xff\r\x1b", "\\u{9}\\xff\\u{d}\\u{1b}"),
            ("\u{e9}\u{202e}".as_bytes(), "\u{e9}\\u{202e}"),
        ] {
            assert_eq!(escaped(bytes), text);
            assert_eq!(unescaped(text).unwrap(), bytes);
        }
        assert_eq!(word("a b\\"), "a\\x20b\\\\");
        assert_eq!(unescaped_text("a\\x20b\\\\").unwrap(), "a b\\");
        for text in ["\\", "\\q", "\\x4", "\\x4\u{e9}", "\\u{110000}", "\\u{41"] {
            assert!(unescaped(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bodies_are_read_back() {
        for bytes in [&b""[..], b"\n", b"{\n  \"a\": 1\n}", b"a\n\n", &[0x80; 200]] {
            let body = |write: fn(&mut Lines, &[u8])| {
                let mut lines = Lines::new("x");
                write(&mut lines, bytes);
                lines.0.lines().skip(1).map(|line| line[2..].to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(read_text(&body(Lines::text)).unwrap(), bytes);
            assert_eq!(read_base64(&body(Lines::base64)).unwrap(), bytes);
        }
    }
}
