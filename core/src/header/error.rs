//! The error of all header parsers.

use std::fmt;

/// The error returned when a header value fails to parse. It quotes nothing from the value, which may
/// be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeader {
    pub(super) header: &'static str,
    pub(super) at: usize,
    pub(super) problem: &'static str,
}

impl InvalidHeader {
    /// Returns the header's name.
    pub fn header(&self) -> &'static str {
        self.header
    }

    /// Returns the offset of the error in the value, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, at, problem } = self;
        write!(f, "invalid {header} header at byte {at}: {problem}")
    }
}

impl std::error::Error for InvalidHeader {}

#[cfg(test)]
mod tests {
    use crate::header::challenge::Challenge;
    use crate::header::link::Link;

    #[test]
    fn an_error_names_the_header_and_the_position() {
        let error = Challenge::parse(b"Basic realm=\"x").unwrap_err();
        assert_eq!((error.header(), error.at()), ("WWW-Authenticate", 14));
        assert!(error.to_string().starts_with("invalid WWW-Authenticate header at byte 14: "), "{error}");
        let error = Link::parse(b"x").unwrap_err();
        assert_eq!((error.header(), error.at()), ("Link", 0));
    }
}
