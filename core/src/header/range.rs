//! Range: the part of a representation that a request asks for.

use std::fmt;
use std::ops::Range;

use crate::header::cursor::{Cursor, MAX_ELEMENTS};
use crate::header::error::InvalidHeader;

/// The byte range of a Range header.
///
/// Source: RFC 9110, section 14.2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange(Spec);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Spec {
    From(u64),
    /// Both ends inclusive. Selects nothing if the last comes before the first.
    Between(u64, u64),
    Last(u64),
}

impl ByteRange {
    /// Creates a range from `first` to the end.
    pub fn starting_at(first: u64) -> Self {
        Self(Spec::From(first))
    }

    /// Parses a field value. Returns `None` for several ranges or a unit other than bytes. In that
    /// case, and if the value is invalid, a server responds with the whole representation.
    ///
    /// Numbers saturate at `u64::MAX`. A range that ends before it starts selects nothing.
    ///
    /// # Errors
    /// Fails if the value violates the grammar.
    pub fn parse(value: &[u8]) -> Result<Option<Self>, InvalidHeader> {
        let mut cursor = Cursor::new("Range", value);
        cursor.skip_whitespace();
        let unit = cursor.token();
        if unit.is_empty() || !cursor.eat(b'=') {
            return Err(cursor.error("expected a unit and an equals sign"));
        }
        if !unit.eq_ignore_ascii_case("bytes") {
            return Ok(None);
        }
        let (mut first, mut count) = (None, 0);
        cursor.skip_commas();
        while !cursor.is_at_end() {
            if count == MAX_ELEMENTS {
                return Err(cursor.error("too many ranges"));
            }
            let spec = spec(&mut cursor)?;
            cursor.end_element()?;
            cursor.skip_commas();
            first.get_or_insert(spec);
            count += 1;
        }
        match first {
            None => Err(cursor.error("expected a range")),
            Some(spec) => Ok((count == 1).then_some(Self(spec))),
        }
    }

    /// Selects the part of a representation of `size` bytes that a server sends.
    pub fn select(&self, size: u64) -> Selected {
        let range = match self.0 {
            Spec::From(first) => first..size,
            Spec::Between(first, last) => first..size.min(last.saturating_add(1)),
            // Satisfiable, but Content-Range cannot express an empty range.
            Spec::Last(count) if count > 0 && size == 0 => return Selected::Whole,
            Spec::Last(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() { Selected::Nothing } else { Selected::Part(range) }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Spec::From(first) => write!(f, "bytes={first}-"),
            Spec::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Spec::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// The part of a representation that a server sends for a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "200, 206 and 416")]
pub enum Selected {
    /// The whole representation, with status 200.
    Whole,
    /// These bytes, end exclusive and never empty, with status 206.
    Part(Range<u64>),
    /// No bytes, with status 416.
    Nothing,
}

fn spec(cursor: &mut Cursor<'_>) -> Result<Spec, InvalidHeader> {
    let first = cursor.saturating_number();
    if !cursor.eat(b'-') {
        return Err(cursor.error("a number or expected a hyphen"));
    }
    let last = cursor.saturating_number();
    match (first, last) {
        (Some(first), None) => Ok(Spec::From(first)),
        (Some(first), Some(last)) => Ok(Spec::Between(first, last)),
        (None, Some(count)) => Ok(Spec::Last(count)),
        (None, None) => Err(cursor.error("expected a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn select(text: &str, size: u64) -> Selected {
        ByteRange::parse(text.as_bytes()).unwrap().unwrap().select(size)
    }

    #[test]
    fn selects_the_bytes_within_the_representation() {
        assert_eq!(select("bytes=0-", 10), Selected::Part(0..10));
        assert_eq!(select("bytes=3-", 10), Selected::Part(3..10));
        assert_eq!(select("bytes=3-3", 10), Selected::Part(3..4));
        assert_eq!(select("bytes=3-99", 10), Selected::Part(3..10));
        assert_eq!(select("bytes=-3", 10), Selected::Part(7..10));
        assert_eq!(select("bytes=-99", 10), Selected::Part(0..10));
        assert_eq!(select("BYTES= , 3-4 ,", 10), Selected::Part(3..5));
        assert_eq!(select("bytes=0-99999999999999999999", 10), Selected::Part(0..10));
        assert_eq!(select("bytes=0-18446744073709551615", u64::MAX), Selected::Part(0..u64::MAX));
        assert_eq!([0, 9].map(|size| select("bytes=-0", size)), [Selected::Nothing, Selected::Nothing]);
    }

    #[test]
    fn a_range_beyond_the_end_selects_nothing() {
        assert_eq!(select("bytes=10-", 10), Selected::Nothing);
        assert_eq!(select("bytes=10-20", 10), Selected::Nothing);
        assert_eq!(select("bytes=99999999999999999999-", 10), Selected::Nothing);
        assert_eq!(select("bytes=-0", 10), Selected::Nothing);
        assert_eq!(select("bytes=0-", 0), Selected::Nothing);
        assert_eq!(select("bytes=-1", 0), Selected::Whole);
    }

    /// RFC 9110, section 14.2 allows a server to reject such a range; distribution-spec 1.1 has no other answer
    /// for a range that cannot be served.
    #[test]
    fn a_range_that_ends_before_it_starts_selects_nothing() {
        for text in ["bytes=2-1", "bytes=500-0", "bytes=18446744073709551615-0"] {
            assert_eq!(
                [0, 10, u64::MAX].map(|size| select(text, size)),
                [const { Selected::Nothing }; 3],
                "{text}"
            );
        }
    }

    #[test]
    fn several_ranges_and_other_units_select_the_whole() {
        for text in ["bytes=0-1,3-4", "bytes=0-1,3-4,5-6", "bytes=0-1,2-1", "items=1-2", "x=anything"] {
            assert_eq!(ByteRange::parse(text.as_bytes()), Ok(None), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_ranges() {
        let many = format!("bytes={}", "0-1,".repeat(65));
        for text in [
            "",
            "bytes",
            "=0-1",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=a-b",
            "bytes=0-1 2-3",
            "bytes=0-1,x",
            "bytes 0-1",
            "bytes =0-1",
            "bytes=0 -1",
            &many,
        ] {
            assert!(ByteRange::parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
        assert!(ByteRange::parse(b"bytes=\xff-").is_err());
    }
}
