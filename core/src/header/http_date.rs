//! HTTP dates.

use std::fmt;
use std::time::Duration;

use crate::header::cursor::Cursor;
use crate::header::error::InvalidHeader;

/// A time on a server's clock, to the second, from the year 1970 to the year 9999.
///
/// All three formats are parsed; `Display` writes the preferred one. A two-digit year means a year from
/// 1970 to 2069, since the core has no clock to apply the specification's fifty-year rule.
///
/// Source: RFC 9110, section 5.6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate(httpdate::HttpDate);

impl HttpDate {
    /// Parses a field value, with whitespace around it.
    ///
    /// # Errors
    /// Fails if the value has none of the three formats, or names a day that does not exist or has another weekday.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidHeader> {
        Self::read(&Cursor::new("Date", value))
    }

    /// Returns the time from `earlier` to this date, or zero if `earlier` is later.
    #[expect(clippy::disallowed_types, reason = "both are times on the server's clock; none is read")]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let [later, earlier] = [self.0, earlier.0].map(std::time::SystemTime::from);
        later.duration_since(earlier).unwrap_or_default()
    }

    /// Parses the rest of a value.
    pub(super) fn read(cursor: &Cursor<'_>) -> Result<Self, InvalidHeader> {
        let text = std::str::from_utf8(cursor.rest()).ok();
        let date = text.and_then(|text| text.parse().ok());
        date.map(Self).ok_or_else(|| cursor.error("expected a date that exists, with its weekday"))
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> HttpDate {
        HttpDate::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_three_formats_name_the_same_second() {
        let preferred = read("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(preferred.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in
            ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", " Sun, 06 Nov 1994 08:49:37 GMT\t"]
        {
            assert_eq!(read(text), preferred, "{text}");
        }
        assert_eq!(read("Wed Nov 16 08:49:37 1994").to_string(), "Wed, 16 Nov 1994 08:49:37 GMT");
        assert_eq!(read("Tuesday, 01-Jan-69 00:00:00 GMT").to_string(), "Tue, 01 Jan 2069 00:00:00 GMT");
    }

    #[test]
    fn durations_follow_the_gregorian_calendar() {
        let epoch = read("Thu, 01 Jan 1970 00:00:00 GMT");
        for (text, seconds) in [
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(read(text).saturating_since(epoch), Duration::from_secs(seconds), "{text}");
            assert_eq!(epoch.saturating_since(read(text)), Duration::ZERO, "{text}");
            assert!(epoch < read(text), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_dates() {
        for text in [
            "",
            "Sun",
            "Sun,",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 006 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Tue, 29 Feb 1900 00:00:00 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 GM\u{422}",
        ] {
            assert!(HttpDate::parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
        assert!(HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GM\xff").is_err());
    }
}
