//! Content-Range: the part of a representation that a response carries.

use std::fmt;
use std::ops::Range;

use crate::header::cursor::Cursor;
use crate::header::error::InvalidHeader;

/// The byte range that a 206 response carries, or the total size that a 416 response reports.
///
/// At least one of range and total is present.
///
/// Source: RFC 9110, section 14.4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentRange {
    range: Option<Range<u64>>,
    total: Option<u64>,
}

impl ContentRange {
    /// Creates the value for a byte range and the total size, if known. Returns `None` if the range is
    /// empty or extends beyond the total.
    pub fn of(range: Range<u64>, total: Option<u64>) -> Option<Self> {
        let fits = !range.is_empty() && total.is_none_or(|total| range.end <= total);
        fits.then_some(Self { range: Some(range), total })
    }

    /// Creates the value for a requested range that lies outside the `total` bytes.
    pub fn unsatisfied(total: u64) -> Self {
        Self { range: None, total: Some(total) }
    }

    /// Parses a field value.
    ///
    /// # Errors
    /// Fails if the unit is not `bytes`, if a number does not fit into 64 bits, or if the range is
    /// empty or extends beyond the total.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidHeader> {
        let mut cursor = Cursor::new("Content-Range", value);
        cursor.skip_whitespace();
        if !cursor.eat_word("bytes ") {
            return Err(cursor.error("expected `bytes` and one space"));
        }
        let ends = if cursor.eat(b'*') {
            None
        } else {
            let first = cursor.number()?;
            if !cursor.eat(b'-') {
                return Err(cursor.error("expected a hyphen"));
            }
            Some((first, cursor.number()?))
        };
        if !cursor.eat(b'/') {
            return Err(cursor.error("expected a slash"));
        }
        let total = if ends.is_some() && cursor.eat(b'*') { None } else { Some(cursor.number()?) };
        let read = match (ends, total) {
            (Some((first, last)), total) => last.checked_add(1).and_then(|end| Self::of(first..end, total)),
            (None, total) => Some(Self { range: None, total }),
        };
        let read = read.ok_or_else(|| cursor.error("the range is empty or extends beyond the total"))?;
        cursor.skip_whitespace();
        if cursor.is_at_end() { Ok(read) } else { Err(cursor.error("expected the end of the value")) }
    }

    /// Returns the byte range, end exclusive and never empty, or `None` in a 416 response.
    pub fn range(&self) -> Option<Range<u64>> {
        self.range.clone()
    }

    /// Returns the total size in bytes, if known. Always present in a 416 response.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.range {
            // The range is not empty, so its end is at least 1.
            Some(range) => write!(f, "bytes {}-{}/", range.start, range.end - 1)?,
            None => f.write_str("bytes */")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_examples_of_the_specification() {
        for (text, range, total) in [
            ("bytes 42-1233/1234", Some(42..1234), Some(1234)),
            ("bytes 42-1233/*", Some(42..1234), None),
            ("bytes */1234", None, Some(1234)),
            ("bytes */0", None, Some(0)),
            ("bytes 0-0/1", Some(0..1), Some(1)),
            ("bytes 0-18446744073709551614/18446744073709551615", Some(0..u64::MAX), Some(u64::MAX)),
        ] {
            let read = ContentRange::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((read.range(), read.total()), (range, total), "{text}");
            assert_eq!(read.to_string(), text);
        }
        assert!(ContentRange::parse(b"Bytes 0-0/1 ").is_ok());
    }

    #[test]
    fn rejects_anything_but_a_byte_range() {
        for text in [
            "",
            "bytes",
            "bytes ",
            "bytes 0-0",
            "bytes 0-0/",
            "bytes */*",
            "bytes 1-0/2",
            "bytes 0-1/1",
            "bytes=0-1/2",
            "bytes  0-1/2",
            "bytes 0 -1/2",
            "bytes +0-1/2",
            "bytes -1/2",
            "bytes 0-1/2x",
            "items 0-1/2",
            "bytes 0-18446744073709551615/*",
            "bytes 0-18446744073709551616/*",
            "bytes 0-1/2, 3-4/5",
        ] {
            assert!(ContentRange::parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
        assert!(ContentRange::parse(b"bytes 0-1/\xff").is_err());
        assert_eq!(ContentRange::of(1..1, None), None);
        assert_eq!(ContentRange::of(0..2, Some(1)), None);
    }

    #[test]
    fn an_error_reports_its_position() {
        let error = ContentRange::parse(b"bytes 0-1:2").unwrap_err();
        assert_eq!(error.to_string(), "invalid Content-Range header at byte 9: expected a slash");
    }
}
