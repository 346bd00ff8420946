//! The storage of a registry.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::server::body::Unavailable;
use crate::server::effect::{Effect, Failure};
use crate::types::digest::Digest;
use crate::types::reference::name::Repository;
use crate::types::upload_id::UploadId;

/// A storage of blobs and uploads, and of what else must survive a restart.
///
/// Each method returns when its change is durable, except for [`write`](Self::write). A storage that can be shared
/// implements the trait for a handle: the uploads are then written at the same time, each by one handle, and
/// [`apply`](Self::apply) is called by one only.
pub trait Storage {
    /// Writes bytes to an upload of a repository, which begins with its first bytes.
    ///
    /// # Errors
    /// Fails if the bytes cannot be written. What is at `offset` and after it is undefined then.
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure>;

    /// Makes the bytes of an upload durable that were written so far.
    ///
    /// # Errors
    /// Fails if they may be lost.
    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure>;

    /// Passes these bytes of an upload to `take`, in order, in as many parts as it likes.
    ///
    /// # Errors
    /// Fails if they cannot be read.
    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure>;

    /// Carries out the effects of replies, in order, and makes them durable.
    ///
    /// # Errors
    /// Fails if any of them fails. Then none of them has happened: each upload that would have ended is as before.
    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure>;

    /// Reads a part of a blob.
    ///
    /// # Errors
    /// Fails if the blob is missing, or if it cannot be read.
    fn read(&self, repository: &Repository, digest: &Digest, range: Range<u64>)
    -> Result<Bytes, Unavailable>;

    /// Opens a part of a blob, whose bytes are then read in order. The default returns `None`: there is nothing to open,
    /// and [`read`](Self::read) has the bytes of each range at once.
    ///
    /// # Errors
    /// Fails if the blob is missing, cannot be read, or ends before the range does.
    fn open(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn io::Read + Send>>, Unavailable> {
        let _ = (repository, digest, range);
        Ok(None)
    }
}

/// A storage in memory, for tests and demonstrations. It survives no restart.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    uploads: BTreeMap<UploadId, Vec<u8>>,
    blobs: BTreeMap<(Repository, Digest), Bytes>,
}

impl MemoryStorage {
    /// Creates an empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob. The server must know it, too.
    pub fn add_blob(&mut self, repository: Repository, digest: Digest, bytes: Bytes) {
        self.blobs.insert((repository, digest), bytes);
    }
}

impl Storage for MemoryStorage {
    fn write(&mut self, _: &Repository, upload: &UploadId, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let content = self.uploads.entry(upload.clone()).or_default();
        let offset = usize::try_from(offset).ok().filter(|offset| *offset <= content.len());
        content.truncate(offset.ok_or(Failure::Storage)?);
        content.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _: &UploadId) -> Result<(), Failure> {
        Ok(())
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let content = self.uploads.get(upload).map_or(&[][..], Vec::as_slice);
        take(part(content, range).ok_or(Failure::Storage)?);
        Ok(())
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        for (repository, effect) in
            changes.iter().flat_map(|(of, all)| all.iter().map(|effect| (*of, effect)))
        {
            match effect {
                Effect::Commit { upload, digest, size } => {
                    let mut content = self.uploads.remove(upload).unwrap_or_default();
                    content.truncate(usize::try_from(*size).unwrap_or(usize::MAX));
                    self.blobs.insert((repository.clone(), digest.clone()), content.into());
                }
                Effect::EndUpload(upload) => _ = self.uploads.remove(upload),
                Effect::Mount { from, digest, .. } => {
                    let blob = self.blobs.get(&(from.clone(), digest.clone())).cloned();
                    let blob = blob.ok_or(Failure::Storage)?;
                    self.blobs.insert((repository.clone(), digest.clone()), blob);
                }
                Effect::RemoveBlob(digest) => {
                    self.blobs.remove(&(repository.clone(), digest.clone()));
                }
                // The server has them in memory.
                Effect::PutManifest { .. }
                | Effect::SetTag(..)
                | Effect::RemoveTag(_)
                | Effect::RemoveManifest(_) => {}
            }
        }
        Ok(())
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        let blob = self.blobs.get(&(repository.clone(), digest.clone())).ok_or(Unavailable::Missing)?;
        let bytes = part(blob, range).ok_or(Unavailable::Unreadable)?;
        Ok(blob.slice_ref(bytes))
    }
}

fn part(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}
