//! HTTP dates.

use std::fmt;
use std::time::Duration;

use crate::header::cursor::Cursor;
use crate::header::error::InvalidHeader;

/// A time on a server's clock, to the second, from the year 0 to the year 9999.
///
/// All three formats are parsed; `Display` writes the preferred one. A two-digit year means a year from
/// 1970 to 2069, since the core has no clock to apply the specification's fifty-year rule. The weekday
/// must be valid but need not match the date.
///
/// Source: RFC 9110, section 5.6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate {
    /// Seconds since the start of 1970; within the years 0 to 9999.
    seconds: i64,
}

impl HttpDate {
    /// Parses the value of a Date header.
    ///
    /// # Errors
    /// Fails if the value has none of the three formats, or names a day that does not exist.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidHeader> {
        let mut cursor = Cursor::new("Date", value);
        cursor.skip_whitespace();
        Self::read(&mut cursor)
    }

    /// Returns the time from `earlier` to this date, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        // Cannot overflow: both dates lie within the same 10,000 years.
        Duration::from_secs(u64::try_from(self.seconds - earlier.seconds).unwrap_or(0))
    }

    /// Parses the rest of a value.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, InvalidHeader> {
        let weekday = cursor.take_while(|b| b.is_ascii_alphabetic());
        let date = if WEEKDAYS.iter().any(|name| name.get(..3) == Some(weekday)) {
            if cursor.eat(b',') { fixdate(cursor)? } else { asctime(cursor)? }
        } else if WEEKDAYS.contains(&weekday) && cursor.eat(b',') {
            rfc850(cursor)?
        } else {
            return Err(cursor.error("a date must begin with a weekday"));
        };
        cursor.skip_whitespace();
        if cursor.is_at_end() { Ok(date) } else { Err(cursor.error("expected the end of the date")) }
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        // 1 January 1970 was a Thursday.
        let weekday = named(&WEEKDAYS, (days + 4).rem_euclid(7)).get(..3).unwrap_or_default();
        let month = named(&MONTHS, month - 1);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;

/// `Sun, 06 Nov 1994 08:49:37 GMT`, after the comma.
fn fixdate(cursor: &mut Cursor<'_>) -> Result<HttpDate, InvalidHeader> {
    expect(cursor, b' ')?;
    let day = digits(cursor, 2)?;
    expect(cursor, b' ')?;
    let month = month(cursor)?;
    expect(cursor, b' ')?;
    let year = digits(cursor, 4)?;
    let second = time_of_day(cursor)?;
    gmt(cursor)?;
    date(cursor, (year, month, day), second)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`, after the comma.
fn rfc850(cursor: &mut Cursor<'_>) -> Result<HttpDate, InvalidHeader> {
    expect(cursor, b' ')?;
    let day = digits(cursor, 2)?;
    expect(cursor, b'-')?;
    let month = month(cursor)?;
    expect(cursor, b'-')?;
    let year = digits(cursor, 2)?;
    let year = if year < 70 { year + 2000 } else { year + 1900 };
    let second = time_of_day(cursor)?;
    gmt(cursor)?;
    date(cursor, (year, month, day), second)
}

/// `Sun Nov  6 08:49:37 1994`, after the weekday.
fn asctime(cursor: &mut Cursor<'_>) -> Result<HttpDate, InvalidHeader> {
    expect(cursor, b' ')?;
    let month = month(cursor)?;
    expect(cursor, b' ')?;
    let day = if cursor.eat(b' ') { digits(cursor, 1)? } else { digits(cursor, 2)? };
    let second = time_of_day(cursor)?;
    expect(cursor, b' ')?;
    let year = digits(cursor, 4)?;
    date(cursor, (year, month, day), second)
}

fn date(
    cursor: &Cursor<'_>,
    (year, month, day): (i64, i64, i64),
    second: i64,
) -> Result<HttpDate, InvalidHeader> {
    let days = days_from_civil(year, month, day);
    if day == 0 || civil_from_days(days) != (year, month, day) {
        return Err(cursor.error("the month has no such day"));
    }
    Ok(HttpDate { seconds: days * DAY + second })
}

/// Parses a space and `08:49:37` into seconds. A leap second counts as the second before it.
fn time_of_day(cursor: &mut Cursor<'_>) -> Result<i64, InvalidHeader> {
    expect(cursor, b' ')?;
    let hour = digits(cursor, 2)?;
    expect(cursor, b':')?;
    let minute = digits(cursor, 2)?;
    expect(cursor, b':')?;
    let second = digits(cursor, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return Err(cursor.error("the day has no such time of day of day"));
    }
    Ok(hour * 3600 + minute * 60 + second.min(59))
}

/// Parses a number of exactly `count` digits, at most four.
fn digits(cursor: &mut Cursor<'_>, count: usize) -> Result<i64, InvalidHeader> {
    let text = cursor.take_while(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if text.len() == count => Ok(number),
        _ => Err(cursor.error("the number before this has the wrong number of digits")),
    }
}

fn month(cursor: &mut Cursor<'_>) -> Result<i64, InvalidHeader> {
    let name = cursor.take_while(|b| b.is_ascii_alphabetic());
    let found = (1..).zip(MONTHS).find(|(_, month)| *month == name);
    found.map(|(number, _)| number).ok_or_else(|| cursor.error("expected a month before this"))
}

fn gmt(cursor: &mut Cursor<'_>) -> Result<(), InvalidHeader> {
    if cursor.rest().starts_with(b" GMT") && cursor.eat_word(" GMT") {
        Ok(())
    } else {
        Err(cursor.error("expected ` GMT`"))
    }
}

fn expect(cursor: &mut Cursor<'_>, byte: u8) -> Result<(), InvalidHeader> {
    if cursor.eat(byte) { Ok(()) } else { Err(cursor.error("unexpected character in the date")) }
}

fn named(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Returns the days from the start of 1970 to a Gregorian date. Internally a year begins in March, so
/// that a leap day is its last day.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - DAYS_BEFORE_1970
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_BEFORE_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// The days from 1 March of the year 0 to the start of 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> HttpDate {
        HttpDate::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_three_formats_name_the_same_second() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(read(text).seconds, 784_111_777, "{text}");
            assert_eq!(read(text).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        }
        assert_eq!(read("Wed Nov 16 08:49:37 1994").to_string(), "Wed, 16 Nov 1994 08:49:37 GMT");
        assert_eq!(read("Tuesday, 01-Jan-69 00:00:00 GMT").to_string(), "Tue, 01 Jan 2069 00:00:00 GMT");
    }

    #[test]
    fn days_follow_the_gregorian_calendar() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Sat, 01 Jan 0000 00:00:00 GMT", -62_167_219_200),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(read(text).seconds, seconds, "{text}");
            assert_eq!(read(text).to_string(), text);
        }
        for days in -800_000..3_000_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn a_leap_second_counts_as_the_second_before() {
        assert_eq!(read("Fri, 31 Dec 9999 23:59:60 GMT"), read("Fri, 31 Dec 9999 23:59:59 GMT"));
    }

    #[test]
    fn rejects_invalid_dates() {
        for text in [
            "",
            "Sun",
            "Sun,",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
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
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert!(HttpDate::parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
    }
}
