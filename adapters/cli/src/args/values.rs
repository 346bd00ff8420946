//! The values of options.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use oci_proto::header::Warning;

pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or("expected a number of seconds greater than 0")
}

/// A time span: a number with a unit, or 0.
pub(super) fn span(text: &str) -> Result<Duration, &'static str> {
    let parsed = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            "0" if number.is_empty() => return Some(Duration::ZERO),
            _ => return None,
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| is_plain)?;
        number.checked_mul(seconds).map(Duration::from_secs)
    };
    parsed().ok_or("expected a number and a unit: s, m, h or d, such as 12h; or 0")
}

pub(super) fn integer_in<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + fmt::Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected an integer from {} to {}", range.start(), range.end()))
    }
}

pub(super) fn bytes(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "expected a number of bytes, without a unit")
}

pub(super) fn warning(text: &str) -> Result<Warning, &'static str> {
    Warning::new(text).map_err(|_| "expected a text of at most some 4,000 bytes without control characters")
}

/// An address to listen on. `localhost` is not looked up, so that it cannot be an address that other machines reach
/// (RFC 6761, section 6.3).
pub(super) fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let localhost = text.rsplit_once(':').filter(|(host, _)| host.eq_ignore_ascii_case("localhost"));
    let address = match localhost {
        Some((_, port)) => port.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    };
    address.ok_or("expected an IP address or localhost, and a port, such as 127.0.0.1:5000 or [::1]:5000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_has_a_unit() {
        for (text, seconds) in
            [("0", 0), ("0h", 0), ("90s", 90), ("2m", 120), ("12h", 43_200), ("7d", 604_800)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "1", "h", "-1h", "+1h", "1.5h", "1w", "1 h", "99999999999999999d", "1\u{e4}"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
