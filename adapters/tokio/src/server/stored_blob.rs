//! Reads blobs from a storage.

use std::io::{self, Read};
use std::ops::Range;

use oci_proto::server::{Storage, Unavailable};
use oci_proto::{Digest, Repository};

use crate::server::blobs::Source;
use crate::server::opening::open_later;

/// Opens a range of a blob.
pub(super) async fn open<S: Storage + Send + 'static>(
    storage: S,
    repository: Option<Repository>,
    digest: Digest,
    range: Range<u64>,
) -> io::Result<Source> {
    let repository = repository.ok_or(io::ErrorKind::NotFound)?;
    let is_empty = range.is_empty();
    let open = move || -> io::Result<Box<dyn Read + Send>> {
        if let Some(opened) = storage.open(&repository, &digest, range.clone()).map_err(error)? {
            return Ok(opened);
        }
        let mut blob = StoredBlob { storage, repository, digest, range };
        if is_empty {
            // Nothing else finds out whether it is there.
            let _ = blob.read(&mut [])?;
        }
        Ok(Box::new(blob))
    };
    open_later(is_empty, open).await
}

/// A blob of a storage that opens none.
struct StoredBlob<S> {
    storage: S,
    repository: Repository,
    digest: Digest,
    /// What is not read yet.
    range: Range<u64>,
}

impl<S: Storage> Read for StoredBlob<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Range { start, end } = self.range;
        let part = start..end.min(start.saturating_add(buffer.len() as u64));
        let bytes = self.storage.read(&self.repository, &self.digest, part).map_err(error)?;
        let target = buffer.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
        target.copy_from_slice(&bytes);
        self.range.start = start.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }
}

fn error(reason: Unavailable) -> io::Error {
    match reason {
        Unavailable::Missing => io::Error::new(io::ErrorKind::NotFound, "the storage does not have it"),
        Unavailable::Unreadable => io::Error::other("the storage cannot read it"),
    }
}
