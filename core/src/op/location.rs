//! The locations of a blob at its source.

use std::collections::VecDeque;

use crate::error::Error;

/// The location of a blob.
#[derive(Clone, Debug)]
pub(crate) enum BlobLocation {
    /// The blobs endpoint of the repository.
    Blobs,
    /// The manifests endpoint of the repository.
    Manifests,
    /// A URL in a document.
    Url(String),
}

/// The locations of a blob that are left to try, in order.
#[derive(Clone, Debug)]
pub(crate) struct Locations {
    current: BlobLocation,
    others: VecDeque<BlobLocation>,
}

impl Locations {
    /// Returns the locations of a blob with these external URLs. `is_entry` says whether an index refers to it.
    ///
    /// An entry of an index may be stored as a blob or, whatever its type, as a manifest. Blobs come first:
    /// distribution responds with 500 to a GET of a blob as a manifest, but with 404 to a GET of a manifest as a blob.
    pub(crate) fn of(urls: &[String], is_entry: bool) -> Self {
        let urls = urls.iter().cloned().map(BlobLocation::Url);
        let manifests = is_entry.then_some(BlobLocation::Manifests);
        let mut all = urls.chain([BlobLocation::Blobs]).chain(manifests);
        let current = all.next().unwrap_or(BlobLocation::Blobs);
        Self { current, others: all.collect() }
    }

    /// Returns the location to try.
    pub(crate) fn current(&self) -> &BlobLocation {
        &self.current
    }

    /// Turns to the next location after the current one has failed with this error. Returns whether there is one, and
    /// the error lets it be tried.
    pub(crate) fn fall_back(&mut self, error: &Error) -> bool {
        let helps = error.is_not_found() || matches!(self.current, BlobLocation::Url(_));
        let Some(next) = self.others.pop_front().filter(|_| helps) else { return false };
        self.current = next;
        true
    }
}
