//! A directory of layouts, which stores what is pushed to a registry.

use std::fs;
use std::io::{Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use oci_proto::layout::blob_path;
use oci_proto::server::{Effect, Failure, Storage, Unavailable, UploadId};
use oci_proto::{Digest, Repository};

use crate::blob_file::BlobFile;
use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::blob_directory;
use crate::registry::contents::RegistryContents;
use crate::registry::folder::RESERVED;
use crate::registry::holdings::{Indexes, Known};
use crate::registry::load::{load, refuse_layout};
use crate::registry::space::{RegistryOptions, Space};
use crate::registry::transaction::Transaction;
use crate::registry::uploads::{Open, Uploads};
use crate::writer::create;
use crate::writer::durability::Durability;
use crate::writer::lock::{LOCK, Lock};
use crate::writer::staging::Staging;

pub(crate) mod contents;
mod folder;
pub(crate) mod garbage;
mod holdings;
mod journal;
mod load;
mod needs;
pub(crate) mod space;
#[cfg(test)]
mod tests;
mod transaction;
mod uploads;

/// The storage of a registry: a directory of image layouts, one for each repository, with exclusive access.
///
/// The repository `team/app` is the layout in the directory `team/app`, which other programs read. Each manifest is
/// listed in its `index.json`, once for each of its tags. Unfinished uploads are in `.uploads`, and temporary files in
/// `.oci-proto-partial`, as in a layout that is written.
///
/// All of it must be in one file system. A manifest that is also a blob, in the layer of no other manifest, is a manifest
/// only after a restart, since a layout has both in one file.
///
/// Changes are durable when they are acknowledged. If the process is killed or the machine crashes, each layout is
/// valid, and everything that it lists is complete as far as it was pushed. Content that is pushed again replaces its
/// file, which may be damaged; `ocip check` finds damaged files. While the directory is open, other programs
/// may read the layouts, but must not write to them.
///
/// The `index.json` of a repository is written in full for each set of changes, and kept in memory once it was changed.
/// With 100,000 manifests it has 22 MB, of which writing takes about 50 ms. It may have 64 MiB, enough for about 300,000
/// manifests; a push beyond that is refused as one to a full disk.
///
/// Blobs that no manifest needs stay; [`collect_garbage`](crate::collect_garbage) removes them.
///
/// Cloning is cheap. Each handle may be used on another thread: uploads are then written at the same time. Methods block
/// while they use files.
#[derive(Debug)]
pub struct RegistryDirectory {
    shared: Arc<Shared>,
    /// The upload to which this handle writes.
    open: Option<Open>,
}

#[derive(Debug)]
struct Shared {
    root: Directory,
    staging: Staging,
    uploads: Uploads,
    space: Space,
    known: Mutex<Known>,
    /// Why nothing can be written any more.
    broken: OnceLock<LayoutError>,
    last: Mutex<Option<LayoutError>>,
    /// Released with the last handle.
    _lock: Lock,
}

impl RegistryDirectory {
    /// Opens a directory, which is created if it does not exist, and reads everything in it. Temporary files of an
    /// earlier process are removed.
    ///
    /// Content that manifests refer to may be missing; [`RegistryContents::warnings`] lists it. Links are not followed.
    ///
    /// # Errors
    /// Another process serves the directory; it is a layout itself; a layout in it is damaged, with the path of the
    /// file; or a file system operation fails.
    pub fn open(
        path: impl AsRef<Path>,
        options: RegistryOptions,
    ) -> Result<(Self, RegistryContents), LayoutError> {
        let path = path.as_ref();
        // If it is not a directory, the next step reports that.
        if fs::symlink_metadata(path).is_err() {
            create(path, Durability::Synced)?;
        }
        Self::of(Directory::open(path)?, options)
    }

    fn of(root: Directory, options: RegistryOptions) -> Result<(Self, RegistryContents), LayoutError> {
        refuse_layout(&root)?;
        let lock = Lock::take_registry(&root)?;
        let work = lock.work().clone();
        for name in work.names()? {
            let name = name.to_string_lossy();
            if name != LOCK {
                work.remove(&name)?;
            }
        }
        let (mut contents, holdings) = load(&root)?;
        let uploads = Uploads::open(&root)?;
        contents.uploads = uploads.restore()?;
        let space = Space::new(root.clone(), options);
        space.add(holdings.values().flatten().map(|(_, held)| held.size).fold(0, u64::saturating_add));
        for upload in &contents.uploads {
            space.count(&upload.id, upload.size);
        }
        let shared = Shared {
            root,
            staging: Staging::new(work, Durability::Synced),
            uploads,
            space,
            known: Mutex::new(Known { holdings, indexes: Indexes::new() }),
            broken: OnceLock::new(),
            last: Mutex::new(None),
            _lock: lock,
        };
        Ok((Self { shared: Arc::new(shared), open: None }, contents))
    }

    /// The names that no component of a repository's name may have, since layouts use them. Add them to
    /// [`Policy::reserved_components`](oci_proto::server::Policy::reserved_components).
    pub fn reserved_components() -> impl Iterator<Item = String> {
        RESERVED.into_iter().map(str::to_owned)
    }

    /// Opens a blob to read a range of it, without verification. Its position is the start of the range.
    ///
    /// # Errors
    /// It is missing, is not a file, or ends before the range does.
    pub fn open_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<BlobFile, LayoutError> {
        let directory = folder::open(&self.shared.root, repository)?;
        let (file, found) = blob_directory(&directory, digest)?.open_file(&digest.encoded(), Access::Read)?;
        let wrong = |kind| LayoutError::new(&directory.join(blob_path(digest)), kind);
        if found < range.end {
            return Err(wrong(LayoutErrorKind::Size { expected: range.end, found }));
        }
        let mut blob = BlobFile::whole(file, found);
        blob.seek(SeekFrom::Start(range.start)).map_err(|error| wrong(error.into()))?;
        Ok(blob)
    }

    /// The error of the last change that failed, in any handle: the reason of a [`Failure`], for a log. If it is
    /// [`NotUndone`](LayoutErrorKind::NotUndone), nothing is written any more, and every further change fails for it.
    pub fn last_error(&self) -> Option<LayoutError> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for RegistryDirectory {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), open: None }
    }
}

/// A [`Failure::Full`] is a lack of space, or an exhausted quota. [`last_error`](RegistryDirectory::last_error) has the
/// reason of any failure.
impl Storage for RegistryDirectory {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let Self { shared, open } = self;
        shared.checked(|| {
            let grow = |size| shared.space.grow(upload, size);
            shared.uploads.write(open, (repository, upload), offset, bytes, grow)
        })
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure> {
        self.shared.checked(|| self.shared.uploads.sync(&mut self.open, upload))
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let read = self.shared.uploads.read(upload, range, take);
        read.map_err(|error| self.shared.failed(error))
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        self.open = None;
        self.shared.checked(|| self.shared.apply(changes))
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        let length = range.end.checked_sub(range.start).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(Unavailable::Unreadable)?;
        let mut blob = self.open_blob(repository, digest, range).map_err(|error| unavailable(&error))?;
        let mut bytes = vec![0; length];
        blob.read_exact(&mut bytes).map_err(|_| Unavailable::Unreadable)?;
        Ok(bytes.into())
    }

    fn open(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn Read + Send>>, Unavailable> {
        let blob = self.open_blob(repository, digest, range).map_err(|error| unavailable(&error))?;
        Ok(Some(Box::new(blob)))
    }
}

fn unavailable(error: &LayoutError) -> Unavailable {
    if error.is_missing() { Unavailable::Missing } else { Unavailable::Unreadable }
}

impl Shared {
    fn apply(&self, changes: &[(&Repository, &[Effect])]) -> Result<(), LayoutError> {
        // Nothing panics while it holds the guard.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction =
            Transaction::new(&self.root, &self.uploads, &self.space, &self.staging, &mut known);
        if let Err(error) = transaction.carry_out(changes) {
            if let Err(error) = transaction.undo() {
                let path = error.path().to_owned();
                let kind = LayoutErrorKind::NotUndone(Box::new(error));
                let broken = self.broken.get_or_init(|| LayoutError::new(&path, kind));
                return Err(broken.clone());
            }
            return Err(error);
        }
        let applied = transaction.finish();
        for upload in &applied.ended {
            self.uploads.remove(upload);
        }
        let (mut added, mut removed) = (0_u64, 0_u64);
        for (repository, changed) in applied.held {
            let content = known.holdings.entry(repository).or_default();
            for (digest, held) in changed {
                added = held.as_ref().map_or(0, |held| held.size).saturating_add(added);
                let old = match held {
                    Some(held) => content.insert(digest, held),
                    None => content.remove(&digest),
                };
                removed = old.map_or(0, |held| held.size).saturating_add(removed);
            }
        }
        self.space.commit(applied.reserved, &applied.ended, added, removed);
        Ok(())
    }

    /// Makes a change, unless an earlier one could not be undone.
    fn checked(&self, change: impl FnOnce() -> Result<(), LayoutError>) -> Result<(), Failure> {
        let changed = self.broken.get().map_or_else(change, |error| Err(error.clone()));
        changed.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: LayoutError) -> Failure {
        let failure = if folder::is_full(&error) { Failure::Full } else { Failure::Storage };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        failure
    }
}
