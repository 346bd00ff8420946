//! Which part of a blob a request asks for.
//!
//! Source: RFC 9110, section 14.

use std::ops::Range;

use http::header::{HeaderMap, RANGE};

/// One range of bytes, before the size is known. Both ends count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `a-b`
    Between(u64, u64),
    /// `a-`
    From(u64),
    /// `-n`
    Last(u64),
}

impl Part {
    /// Reads the Range header. `None` is the whole: no range, a malformed one, several, or of another
    /// unit; each of those a server may ignore.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (unit, set) = value.to_str().ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim_matches([' ', '\t', ',']).split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => number(last).map(Self::Last),
            (false, true) => number(first).map(Self::From),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The bytes that it means of so many. `None` where none of them is meant.
    pub(super) fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(n) => size.saturating_sub(n)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits; a number too large to hold lies behind the end of anything, as the largest does.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn part(value: &str) -> Option<Part> {
        let value = HeaderValue::from_str(value).unwrap();
        Part::of(&[(RANGE, value)].into_iter().collect())
    }

    #[test]
    fn one_range_is_read() {
        assert_eq!(part("bytes=0-9"), Some(Part::Between(0, 9)));
        assert_eq!(part("Bytes= 3-"), Some(Part::From(3)));
        assert_eq!(part("bytes=-4,"), Some(Part::Last(4)));
        assert_eq!(part("bytes=0-99999999999999999999999"), Some(Part::Between(0, u64::MAX)));
    }

    #[test]
    fn anything_else_is_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-0",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "items=0-1",
            "bytes=a-b",
        ] {
            assert_eq!(part(value), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        twice.append(RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(Part::of(&twice), None);
    }

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        assert_eq!(Part::Between(2, 4).within(10), Some(2..5));
        assert_eq!(Part::Between(2, u64::MAX).within(10), Some(2..10));
        assert_eq!(Part::From(9).within(10), Some(9..10));
        assert_eq!(Part::From(10).within(10), None);
        assert_eq!(Part::Between(10, 11).within(10), None);
        assert_eq!(Part::Last(3).within(10), Some(7..10));
        assert_eq!(Part::Last(30).within(10), Some(0..10));
        assert_eq!(Part::Last(0).within(10), None);
        assert_eq!(Part::Last(5).within(0), None);
        assert_eq!(Part::From(0).within(0), None);
    }
}
