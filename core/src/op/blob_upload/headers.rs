//! The headers and the errors of uploads.

use std::ops::Range;

use http::header::RANGE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Cause, Error};

/// The smallest chunk that the registry accepts, in bytes.
pub(super) const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Returns the value of Content-Range in a request: both ends inclusive, without a unit.
///
/// Source: distribution-spec, end-5.
pub(super) fn chunk_range(range: &Range<u64>) -> HeaderValue {
    let text = format!("{}-{}", range.start, range.end.saturating_sub(1));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0-0"))
}

/// Returns the number of bytes in the Range header of a response, if it is valid and starts at 0.
///
/// Source: distribution-spec, end-13. Registries write `0--1` for no bytes, and some add a unit.
pub(super) fn stored_bytes(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?.trim();
    let last = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?;
    if last == "-1" {
        return Some(0);
    }
    last.parse::<u64>().ok()?.checked_add(1)
}

/// Returns the value of a header that consists of a number.
pub(super) fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Returns whether the registry refused the content itself, which chunks do not change.
pub(super) fn is_about_content(error: &Error) -> bool {
    let Cause::Answered(refusal) = error.cause() else { return false };
    refusal.errors.iter().any(|error| error.code == "DIGEST_INVALID")
}

/// Returns whether the registry refused a chunk as too small. ECR calls that `LayerPartTooSmall`.
pub(super) fn is_too_small(error: &Error) -> bool {
    let Cause::Answered(refusal) = error.cause() else { return false };
    let says = |text: &str| {
        let text: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        text.to_ascii_lowercase().contains("toosmall")
    };
    refusal.errors.iter().any(|error| says(&error.code) || says(&error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_bytes_end_after_the_last_one() {
        for (range, stored) in [
            ("0-99", Some(100)),
            (" 0-99 ", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(1)),
            ("0--1", Some(0)),
            ("0-18446744073709551614", Some(u64::MAX)),
            ("0-18446744073709551615", None),
            ("0-99999999999999999999", None),
            ("1-99", None),
            ("0--2", None),
            ("0-", None),
            ("0-9/10", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
            assert_eq!(stored_bytes(&headers), stored, "{range}");
        }
        assert_eq!(stored_bytes(&HeaderMap::new()), None);
        assert_eq!(chunk_range(&(5..10)), "5-9");
    }
}
