//! A storage behind a lock.

use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use oci_proto::server::{Effect, Failure, Storage, Unavailable, UploadId};
use oci_proto::{Digest, Repository};

/// A storage behind a lock, whose clones are handles of the same storage.
///
/// All calls that change it, and so also [`apply`](Storage::apply), are made one after another, and reads wait for them.
/// It is made for storages in memory; one on disk should be a handle itself.
#[derive(Debug, Default)]
pub struct SharedStorage<S>(Arc<RwLock<S>>);

impl<S> SharedStorage<S> {
    /// Shares a storage.
    pub fn new(storage: S) -> Self {
        Self(Arc::new(RwLock::new(storage)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn look<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for SharedStorage<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Storage> Storage for SharedStorage<S> {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.change(|storage| storage.write(repository, upload, offset, bytes))
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure> {
        self.change(|storage| storage.sync(upload))
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        self.look(|storage| storage.read_upload(upload, range, take))
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        self.change(|storage| storage.apply(changes))
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        self.look(|storage| storage.read(repository, digest, range))
    }
    fn open(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn io::Read + Send>>, Unavailable> {
        self.look(|storage| storage.open(repository, digest, range))
    }
}
