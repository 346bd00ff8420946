//! Warning: messages from a registry to its users.

use std::fmt;

use crate::header::cursor::{Cursor, MAX_ELEMENTS, write_quoted};
use crate::header::error::InvalidHeader;

/// A warning from a registry to its users.
///
/// Source: distribution-spec, "Warnings", which uses RFC 7234, section 5.5, with code 299 and agent `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Warning {
    text: String,
}

impl Warning {
    /// The maximum length of a field value, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Parses a field value: one or more warnings, separated by commas. Warnings with any other code or
    /// agent are skipped.
    ///
    /// # Errors
    /// Fails if the value violates the grammar, is longer than 4096 bytes, the specification's maximum,
    /// or has more than 64 warnings.
    pub fn parse(value: &[u8]) -> Result<Vec<Self>, InvalidHeader> {
        let mut cursor = Cursor::new("Warning", value);
        if value.len() > Self::MAX_LEN {
            return Err(cursor.error("the value is longer than 4096 bytes"));
        }
        let mut warnings = Vec::new();
        for count in 0.. {
            cursor.skip_commas();
            if cursor.is_at_end() {
                break;
            }
            if count == MAX_ELEMENTS {
                return Err(cursor.error("too many warnings"));
            }
            let code = cursor.take_while(|b| b.is_ascii_digit());
            if code.len() != 3 || !cursor.eat(b' ') {
                return Err(cursor.error("expected a code of three digits and a space before this"));
            }
            // The agent: a host with a port, or a pseudonym.
            let agent = cursor.take_while(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b'\\'));
            if agent.is_empty() || !cursor.eat(b' ') {
                return Err(cursor.error("expected an agent and a space before this"));
            }
            let text = cursor.quoted_string()?;
            if cursor.rest().starts_with(b" \"") && cursor.eat(b' ') {
                // Skip the date.
                cursor.quoted_string()?;
            }
            cursor.end_element()?;
            if code == "299" && agent == "-" {
                warnings.push(Self { text });
            }
        }
        Ok(warnings)
    }

    /// Creates the warning with this text.
    ///
    /// # Errors
    /// Fails if the text is empty, has control characters, or makes the field value longer than 4096 bytes.
    pub fn new(text: &str) -> Result<Self, InvalidHeader> {
        let cursor = Cursor::new("Warning", text.as_bytes());
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(cursor.error("the text is empty or has control characters"));
        }
        let warning = Self { text: text.to_owned() };
        if warning.to_string().len() > Self::MAX_LEN {
            return Err(cursor.error("the value is longer than 4096 bytes"));
        }
        Ok(warning)
    }

    /// Returns the warning with its text replaced.
    pub(crate) fn map(self, change: impl FnOnce(&str) -> String) -> Self {
        Self { text: change(&self.text) }
    }

    /// Returns the text. It contains no control characters, but is otherwise the server's untrusted input.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("299 - ")?;
        write_quoted(f, &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn texts(value: &str) -> Vec<String> {
        let warnings = Warning::parse(value.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        warnings.into_iter().map(|warning| warning.text).collect()
    }

    #[test]
    fn parses_one_or_more_warnings() {
        assert_eq!(texts(r#"299 - "Your token expires""#), ["Your token expires"]);
        assert_eq!(texts(r#"299 - "a, \"b\" \\", ,299 - "c""#), [r#"a, "b" \"#, "c"]);
        assert_eq!(texts(r#"299 - "dated" "Sun, 06 Nov 1994 08:49:37 GMT""#), ["dated"]);
        assert_eq!(texts("299 - \"gr\u{fc}n\""), ["gr\u{fc}n"]);
        assert!(texts("").is_empty());
    }

    #[test]
    fn skips_other_codes_and_agents() {
        assert_eq!(texts(r#"110 - "stale",299 example.com:80 "other",299 - "kept""#), ["kept"]);
    }

    #[test]
    fn display_output_parses_back() {
        let warnings = Warning::parse(br#"299 - "a \"b\" \\c""#).unwrap();
        assert_eq!(Warning::parse(warnings[0].to_string().as_bytes()), Ok(warnings.clone()));
    }

    #[test]
    fn rejects_values_outside_the_grammar() {
        for value in [
            &b"299"[..],
            b"299 -",
            b"299 - text",
            b"299 - \"open",
            b"299 - \"open\\",
            b"299 - \"a\" \"b",
            b"299 - \"a\" b",
            b"2999 - \"a\"",
            b"299  - \"a\"",
            b"299 - \"a\x1b[31m\"",
            b"299 - \"\xc2\x9b31m\"",
            b"299 - \"\xff\"",
            b"\"a\"",
        ] {
            assert!(Warning::parse(value).is_err(), "{:?} was accepted", String::from_utf8_lossy(value));
        }
        assert!(Warning::parse("299 - \"a\",".repeat(65).as_bytes()).is_err());
        let of_length =
            |length: usize| Warning::parse(format!("299 - \"{}\"", "a".repeat(length - 8)).as_bytes());
        assert_eq!(of_length(4096).unwrap().len(), 1);
        assert!(of_length(4097).is_err());
    }
}
