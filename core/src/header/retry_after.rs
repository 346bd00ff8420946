//! Retry-After: the delay before the next request to a server.

use std::fmt;
use std::time::Duration;

use crate::header::cursor::Cursor;
use crate::header::error::InvalidHeader;
use crate::header::http_date::HttpDate;

/// The delay that a server requests before the next attempt, as seconds or as a date.
///
/// Source: RFC 9110, section 10.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the two forms that the specification has")]
pub enum RetryAfter {
    /// Seconds from the receipt of the response.
    Seconds(u64),
    /// A date on the server's clock.
    Date(HttpDate),
}

impl RetryAfter {
    /// Parses a field value. A number saturates at `u64::MAX`.
    ///
    /// # Errors
    /// Fails if the value is neither a number nor a date.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidHeader> {
        let mut cursor = Cursor::new("Retry-After", value);
        cursor.skip_whitespace();
        if !cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
            return HttpDate::read(&cursor).map(Self::Date);
        }
        let seconds = cursor.saturating_number().unwrap_or(u64::MAX);
        cursor.skip_whitespace();
        if cursor.is_at_end() {
            Ok(Self::Seconds(seconds))
        } else {
            Err(cursor.error("expected the end of the number"))
        }
    }

    /// Returns the delay from the receipt of the response. `date` is the response's Date header, so
    /// that both times are on the server's clock. Returns `None` for a date if `date` is `None`, and
    /// zero for a date in the past.
    pub fn delay(&self, date: Option<HttpDate>) -> Option<Duration> {
        match self {
            Self::Seconds(seconds) => Some(Duration::from_secs(*seconds)),
            Self::Date(until) => Some(until.saturating_since(date?)),
        }
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}"),
            Self::Date(date) => write!(f, "{date}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_count_from_receipt() {
        assert_eq!(RetryAfter::parse(b"120").unwrap().delay(None), Some(Duration::from_secs(120)));
        assert_eq!(RetryAfter::parse(b" 0 "), Ok(RetryAfter::Seconds(0)));
        assert_eq!(RetryAfter::parse(b"99999999999999999999"), Ok(RetryAfter::Seconds(u64::MAX)));
    }

    #[test]
    fn a_date_counts_from_the_date_header() {
        let date = HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let later = RetryAfter::parse(b"Sun, 06 Nov 1994 08:50:07 GMT").unwrap();
        assert_eq!(later.delay(Some(date)), Some(Duration::from_secs(30)));
        assert_eq!(later.delay(None), None);
        assert_eq!(later.to_string(), "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(RetryAfter::Seconds(120).to_string(), "120");
        let earlier = RetryAfter::parse(b"Sun, 06 Nov 1994 08:00:00 GMT").unwrap();
        assert_eq!(earlier.delay(Some(date)), Some(Duration::ZERO));
    }

    #[test]
    fn rejects_anything_but_seconds_or_a_date() {
        for value in [&b""[..], b"-1", b"+1", b"1.5", b"1 2", b"soon", b"120s", b"\xff"] {
            assert!(RetryAfter::parse(value).is_err(), "{value:?} was accepted");
        }
    }
}
