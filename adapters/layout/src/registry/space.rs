//! The space that a registry may use.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::server::UploadId;

use crate::directory::Directory;
use crate::error::{LayoutError, LayoutErrorKind};

/// The limits of a [`RegistryDirectory`](crate::RegistryDirectory). The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// The number of bytes that stay free in the file system. It has no effect on systems other than Unix.
    pub min_free: u64,
    /// The maximum number of bytes in all blobs, manifests and uploads. A blob counts in each repository that has it.
    pub quota: Option<u64>,
}

/// Counts the bytes that are used.
#[derive(Debug)]
pub(super) struct Space {
    root: Directory,
    options: RegistryOptions,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    content: u64,
    /// What a transaction adds that has not ended yet.
    reserved: u64,
    uploads: BTreeMap<UploadId, u64>,
    /// The sum of their sizes.
    uploading: u64,
}

impl Used {
    fn set_upload(&mut self, upload: &UploadId, size: Option<u64>) {
        let old = match size {
            Some(size) => self.uploads.insert(upload.clone(), size),
            None => self.uploads.remove(upload),
        };
        self.uploading = self.uploading.saturating_sub(old.unwrap_or(0)).saturating_add(size.unwrap_or(0));
    }
}

impl Space {
    pub(super) fn new(root: Directory, options: RegistryOptions) -> Self {
        Self { root, options, used: Mutex::default() }
    }

    /// Counts content that exists.
    pub(super) fn add(&self, bytes: u64) {
        let mut used = self.used();
        used.content = used.content.saturating_add(bytes);
    }

    /// Counts content that a transaction adds, until its end.
    ///
    /// # Errors
    /// The quota would be exceeded.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), LayoutError> {
        let mut used = self.used();
        self.fits(&used, bytes)?;
        used.reserved = used.reserved.saturating_add(bytes);
        Ok(())
    }

    /// Ends a transaction that reserved this much, and has changed nothing.
    pub(super) fn release(&self, reserved: u64) {
        let mut used = self.used();
        used.reserved = used.reserved.saturating_sub(reserved);
    }

    /// Ends a transaction that reserved this much, has ended uploads, and added and removed content. Nothing is counted
    /// less in between.
    pub(super) fn commit(&self, reserved: u64, ended: &[UploadId], added: u64, removed: u64) {
        let mut used = self.used();
        used.reserved = used.reserved.saturating_sub(reserved);
        used.content = used.content.saturating_add(added).saturating_sub(removed);
        for upload in ended {
            used.set_upload(upload, None);
        }
    }

    /// Fails if too little space is left after this many bytes.
    pub(super) fn check_free(&self, bytes: u64) -> Result<(), LayoutError> {
        let min = self.options.min_free;
        if min == 0 || self.root.free()?.is_none_or(|free| free.saturating_sub(bytes) >= min) {
            return Ok(());
        }
        Err(self.wrong(LayoutErrorKind::LittleSpace(min)))
    }

    /// Sets the size of an upload before it grows to that.
    pub(super) fn grow(&self, upload: &UploadId, size: u64) -> Result<(), LayoutError> {
        let mut used = self.used();
        let growth = size.saturating_sub(used.uploads.get(upload).copied().unwrap_or_default());
        self.fits(&used, growth)?;
        self.check_free(growth)?;
        used.set_upload(upload, Some(size));
        Ok(())
    }

    /// Counts an upload that exists.
    pub(super) fn count(&self, upload: &UploadId, size: u64) {
        self.used().set_upload(upload, Some(size));
    }

    fn fits(&self, used: &Used, bytes: u64) -> Result<(), LayoutError> {
        let Some(quota) = self.options.quota else { return Ok(()) };
        let total = used.content.saturating_add(used.reserved).saturating_add(used.uploading);
        let total = total.saturating_add(bytes);
        if total <= quota { Ok(()) } else { Err(self.wrong(LayoutErrorKind::Quota(quota))) }
    }

    fn wrong(&self, kind: LayoutErrorKind) -> LayoutError {
        LayoutError::new(self.root.path(), kind)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Nothing panics while it holds the guard.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_from_their_upload_to_the_end_of_the_transaction() {
        let home = tempfile::tempdir().unwrap();
        let options = RegistryOptions { quota: Some(10), ..RegistryOptions::default() };
        let space = Space::new(Directory::open(home.path()).unwrap(), options);
        let [upload, other]: [UploadId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        space.grow(&upload, 3).unwrap();
        space.grow(&upload, 6).unwrap();
        space.reserve(4).unwrap();
        assert!(space.grow(&other, 1).is_err() && space.reserve(1).is_err());
        space.release(4);
        space.reserve(3).unwrap();
        // The upload becomes content.
        space.commit(3, &[upload], 9, 0);
        assert!(space.grow(&other, 2).is_err());
        space.grow(&other, 1).unwrap();
        space.commit(0, &[other], 0, 5);
        space.reserve(6).unwrap();
        assert!(space.reserve(1).is_err());
    }
}
