//! The values of options.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or("expected a number of seconds greater than 0")
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
