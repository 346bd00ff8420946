//! The grammars of the headers that the protocol hangs on.
//!
//! Each function takes a field's value as it arrives, which need not be text, and gives a value that
//! cannot be wrong, or an [`InvalidHeader`] that says where the value is. Nothing here panics, and
//! whatever is collected has a bound.

use std::fmt;

pub(crate) mod challenge;
pub(crate) mod content_range;
pub(crate) mod cursor;
pub(crate) mod http_date;
pub(crate) mod link;
pub(crate) mod location;
pub(crate) mod range;
pub(crate) mod retry_after;
pub(crate) mod url;
pub(crate) mod warning;

pub use crate::header::challenge::Challenge;
pub use crate::header::content_range::ContentRange;
pub use crate::header::http_date::HttpDate;
pub use crate::header::link::Link;
pub use crate::header::location::resolve;
pub use crate::header::range::{ByteRange, Selected};
pub use crate::header::retry_after::RetryAfter;
pub use crate::header::warning::Warning;

/// The most elements of a list, and the most parameters of an element, that are read. Real headers
/// have a handful.
pub const MAX_ELEMENTS: usize = 64;

/// Why a header's value was refused. It shows nothing of the value, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeader {
    header: &'static str,
    at: usize,
    problem: &'static str,
}

impl InvalidHeader {
    /// The header's name.
    pub fn header(&self) -> &'static str {
        self.header
    }

    /// How many bytes of the value come before what is wrong.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, at, problem } = self;
        write!(f, "the {header} header is wrong at byte {at}: {problem}")
    }
}

impl std::error::Error for InvalidHeader {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_which_header_is_wrong_and_where() {
        let error = Challenge::parse(b"Basic realm=\"x").unwrap_err();
        assert_eq!((error.header(), error.at()), ("WWW-Authenticate", 14));
        assert!(
            error.to_string().starts_with("the WWW-Authenticate header is wrong at byte 14: "),
            "{error}"
        );
        let error = Link::parse(b"x").unwrap_err();
        assert_eq!((error.header(), error.at()), ("Link", 0));
    }
}
