//! Reads blobs from a storage.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use oci_proto::server::{Storage, Unavailable};
use oci_proto::{Digest, Repository};
use tokio::task::spawn_blocking;

use crate::server::blobs::Source;

/// Opens a range of a blob. Its first bytes are read later, by [`Source::Blocking`].
pub(super) async fn open<S: Storage + Send + 'static>(
    storage: S,
    repository: Option<Repository>,
    digest: Digest,
    range: Range<u64>,
) -> io::Result<Source> {
    let repository = repository.ok_or(io::ErrorKind::NotFound)?;
    let is_empty = range.is_empty();
    let mut blob = StoredBlob { storage, repository, digest, range };
    if is_empty {
        // Nothing would be read, but the blob must extend to here.
        blob = spawn_blocking(move || blob.next(0).map(|_| blob)).await.map_err(io::Error::other)??;
    }
    Ok(Source::Blocking(Box::new(blob)))
}

struct StoredBlob<S> {
    storage: S,
    repository: Repository,
    digest: Digest,
    /// What is not read yet.
    range: Range<u64>,
}

impl<S: Storage> StoredBlob<S> {
    fn next(&mut self, most: usize) -> io::Result<Bytes> {
        let Range { start, end } = self.range;
        let part = start..end.min(start.saturating_add(most as u64));
        let bytes =
            self.storage.read(&self.repository, &self.digest, part).map_err(|reason| match reason {
                Unavailable::Missing => {
                    io::Error::new(io::ErrorKind::NotFound, "the storage does not have it")
                }
                Unavailable::Unreadable => io::Error::other("the storage cannot read it"),
            })?;
        self.range.start = start.saturating_add(bytes.len() as u64);
        Ok(bytes)
    }
}

impl<S: Storage> Read for StoredBlob<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(buffer.len())?;
        let part = buffer.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
        part.copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}
