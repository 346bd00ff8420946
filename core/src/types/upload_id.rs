//! Identifiers of upload sessions.

use std::fmt;
use std::str::FromStr;

/// A server's id of an upload session: 1 to 128 ASCII letters, digits, `-` and `_`. It is the last segment of the
/// session's path, and may serve as the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Box<str>);

impl UploadId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        const MAX_LEN: usize = 128;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let fits = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(word);
        if fits { Ok(Self(text.into())) } else { Err(InvalidUploadId(())) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error returned when a text is not an [`UploadId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload id has 1 to 128 ASCII letters, digits, `-` and `_`")]
pub struct InvalidUploadId(());
