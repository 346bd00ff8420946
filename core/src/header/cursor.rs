//! A cursor over a header value, with parsers for the elements that several grammars share.

use crate::header::error::InvalidHeader;

/// The maximum number of elements in a list, and of parameters of one element. Real headers have a handful.
pub const MAX_ELEMENTS: usize = 64;

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    header: &'static str,
    value: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the start of `value`, the value of the header `header`.
    pub(super) fn new(header: &'static str, value: &'a [u8]) -> Self {
        Self { header, value, at: 0 }
    }

    pub(super) fn error(&self, problem: &'static str) -> InvalidHeader {
        InvalidHeader { header: self.header, at: self.at, problem }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.value.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Consumes `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Consumes `word`, ignoring case, if it is next.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.rest().get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Consumes the ASCII bytes that satisfy `wanted`, up to the first that does not, and returns them
    /// as text.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.iter().position(|b| !(b.is_ascii() && wanted(*b))).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).and_then(|taken| std::str::from_utf8(taken).ok()).unwrap_or_default()
    }

    /// Consumes optional whitespace (RFC 9110, section 5.6.3).
    pub(super) fn skip_whitespace(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t'));
    }

    /// Consumes the commas and whitespace between the elements of a list, including empty elements (RFC
    /// 9110, section 5.6.1.2).
    pub(super) fn skip_commas(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t' | b','));
    }

    /// Consumes whitespace and a comma after an element of a list, or checks for the end of the value.
    pub(super) fn end_element(&mut self) -> Result<(), InvalidHeader> {
        self.skip_whitespace();
        if self.eat(b',') || self.is_at_end() {
            Ok(())
        } else {
            Err(self.error("expected a comma or the end of the value"))
        }
    }

    /// Returns whether an element of a list ends here, after optional whitespace.
    pub(super) fn is_at_element_end(&self) -> bool {
        let next = self.rest().iter().find(|b| !matches!(**b, b' ' | b'\t'));
        next.is_none_or(|b| *b == b',')
    }

    /// Consumes a token (RFC 9110, section 5.6.2). The result may be empty.
    pub(super) fn token(&mut self) -> &'a str {
        self.take_while(is_tchar)
    }

    /// Consumes a token68 (RFC 9110, section 11.2). The result may be empty.
    pub(super) fn token68(&mut self) -> &'a str {
        let rest = self.rest();
        let start = self.take_while(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)).len();
        let padding = if start == 0 { 0 } else { self.take_while(|b| b == b'=').len() };
        rest.get(..start + padding).and_then(|taken| std::str::from_utf8(taken).ok()).unwrap_or_default()
    }

    /// Consumes a decimal number, saturating at `u64::MAX`. Returns `None` if the next byte is not a digit.
    pub(super) fn saturating_number(&mut self) -> Option<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        // The text contains only digits, so parsing can fail only by overflow.
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
    }

    /// Consumes a decimal number below 2^64.
    pub(super) fn number(&mut self) -> Result<u64, InvalidHeader> {
        let start = self.at;
        let digits = self.take_while(|b| b.is_ascii_digit());
        digits.parse().map_err(|_| {
            self.at = start;
            self.error("expected a decimal number below 2^64")
        })
    }

    /// Consumes a quoted string (RFC 9110, section 5.6.4) and returns it unquoted and unescaped.
    /// Rejects invalid UTF-8 and control characters, which cannot be displayed.
    pub(super) fn quoted_string(&mut self) -> Result<String, InvalidHeader> {
        if !self.eat(b'"') {
            return Err(self.error("expected a quoted string"));
        }
        let start = self.at;
        let mut bytes = Vec::new();
        loop {
            let byte = match self.peek() {
                None => return Err(self.error("the quoted string is not closed")),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    self.peek().ok_or_else(|| self.error("the quoted string is not closed"))?
                }
                Some(byte) => byte,
            };
            bytes.push(byte);
            self.at += 1;
        }
        let text = String::from_utf8(bytes).ok().filter(|text| !text.chars().any(is_control));
        let Some(text) = text else {
            self.at = start;
            return Err(self.error("the quoted string is not UTF-8 or contains a control character"));
        };
        self.at += 1;
        Ok(text)
    }
}

/// Returns whether a byte is allowed in a token.
pub(super) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Writes a quoted string.
pub(super) fn write_quoted(f: &mut std::fmt::Formatter<'_>, text: &str) -> std::fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}
