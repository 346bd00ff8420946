//! Parsers and formatters for the HTTP headers that the protocol uses.
//!
//! Each parser takes a raw field value, which need not be valid text, and returns a validated value or
//! an [`InvalidHeader`] with the position of the error. No parser panics, and every collection is
//! bounded.

pub(crate) mod challenge;
pub(crate) mod content_range;
pub(crate) mod cursor;
pub(crate) mod error;
pub(crate) mod http_date;
pub(crate) mod link;
pub(crate) mod location;
pub(crate) mod range;
pub(crate) mod retry_after;
pub(crate) mod url;
pub(crate) mod warning;

pub use crate::header::challenge::Challenge;
pub use crate::header::content_range::ContentRange;
pub use crate::header::cursor::MAX_ELEMENTS;
pub use crate::header::error::InvalidHeader;
pub use crate::header::http_date::HttpDate;
pub use crate::header::link::Link;
pub use crate::header::location::resolve;
pub use crate::header::range::{ByteRange, Selected};
pub use crate::header::retry_after::RetryAfter;
pub use crate::header::warning::Warning;
