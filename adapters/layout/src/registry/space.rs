//! The space that a registry may use.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::server::UploadId;

use crate::directory::Directory;
use crate::error::{LayoutError, LayoutErrorKind};

/// The limits of a [`RegistryDirectory`](crate::RegistryDirectory). The default has none.
#[derive(Clone, Debug, Default)]
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
    uploads: BTreeMap<UploadId, u64>,
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

    /// Counts content that is removed.
    pub(super) fn remove(&self, bytes: u64) {
        let mut used = self.used();
        used.content = used.content.saturating_sub(bytes);
    }

    /// Fails if this much more content exceeds the quota.
    pub(super) fn check_quota(&self, bytes: u64) -> Result<(), LayoutError> {
        self.fits(&self.used(), bytes)
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
        used.uploads.insert(upload.clone(), size);
        Ok(())
    }

    /// Counts an upload that exists.
    pub(super) fn count(&self, upload: &UploadId, size: u64) {
        self.used().uploads.insert(upload.clone(), size);
    }

    /// Counts the bytes of an upload no longer.
    pub(super) fn end(&self, upload: &UploadId) {
        self.used().uploads.remove(upload);
    }

    fn fits(&self, used: &Used, bytes: u64) -> Result<(), LayoutError> {
        let Some(quota) = self.options.quota else { return Ok(()) };
        let uploads = used.uploads.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let total = used.content.saturating_add(uploads).saturating_add(bytes);
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
