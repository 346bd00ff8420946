//! The progress of a check.

/// The progress of reading blobs during a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// The number of bytes read.
    pub read: u64,
    /// The total number of bytes, as stated by the descriptors.
    pub of: u64,
}

pub(super) type OnProgress = Box<dyn Fn(CheckProgress) + Send + Sync>;
