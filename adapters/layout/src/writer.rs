//! Writing a layout.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, RefName};
use oci_proto::{Descriptor, Digest};

use crate::directory::Directory;
use crate::directory::kind::{Access, FileKind};
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::{Files, blob_directory};
use crate::layout::{Layout, read_index, read_marker};
use crate::unfinished;
use crate::work::{WORK, partial_name};
use crate::writer::blob::BlobWriter;
use crate::writer::durability::Durability;
use crate::writer::publisher::Publisher;
use crate::writer::shared::Shared;
use crate::writer::staging::is_lost;

pub(crate) mod blob;
pub(crate) mod durability;
pub(crate) mod lock;
mod publisher;
mod shared;
pub(crate) mod staging;
#[cfg(test)]
mod tests;

/// Writes a layout, with exclusive access.
///
/// Write content before the documents that name it, and set the root last. Files get their final names only
/// once they are complete and verified. If the process is killed, the layout is valid, and the next writer
/// resumes partial blobs.
///
/// The same holds after a crash of the machine, if the writer is [durable](Durability::Synced): a file gets
/// its final name only once its content is on disk, and what [`BlobWriter::finish`], [`put`](Self::put) and
/// [`set_root`](Self::set_root) have written survives once they have returned.
///
/// Methods block while they write files.
#[derive(Debug)]
pub struct LayoutWriter {
    layout: Layout,
    shared: Arc<Shared>,
    publisher: Publisher,
}

impl LayoutWriter {
    /// Opens a layout for durable writing. A directory that is empty or does not exist becomes a layout, and a
    /// layout whose `oci-layout` or `index.json` a crash has left empty is repaired; its roots are lost.
    ///
    /// # Errors
    /// The directory has other files, is locked by another writer, has invalid documents, or cannot be
    /// written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, LayoutError> {
        Self::open_with(directory, Durability::Synced)
    }

    /// Opens a layout for writing, as [`open`](Self::open), durable or not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(directory: impl AsRef<Path>, durability: Durability) -> Result<Self, LayoutError> {
        let directory = directory.as_ref();
        // If it is not a directory, the next step reports that.
        if fs::symlink_metadata(directory).is_err() {
            create(directory, durability)?;
        }
        Self::of(Directory::open(directory)?, durability)
    }

    fn of(directory: Directory, durability: Durability) -> Result<Self, LayoutError> {
        // Nothing is written before this check, since the directory may have other content.
        refuse_foreign(&directory)?;
        let shared = Shared::lock(directory.clone(), durability)?;
        shared.staging().make_layout(&directory)?;
        let layout = Layout::of(directory.into())?;
        Ok(Self { layout, shared: Arc::new(shared), publisher: Publisher::new() })
    }

    /// The layout, for reading.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts a blob, or resumes the partial blob of an earlier writer.
    ///
    /// Different blobs may be written at the same time, on any threads.
    ///
    /// # Errors
    /// The blob's digest cannot be verified, the blob is already being written, or it cannot be written.
    pub fn begin(&self, descriptor: &Descriptor) -> Result<BlobWriter, LayoutError> {
        self.publisher.wait_for(&descriptor.digest)?;
        BlobWriter::begin(self.shared.clone(), descriptor)
    }

    /// Resumes the partial blob of an earlier writer; `None` if there is none.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn resume(&self, descriptor: &Descriptor) -> Result<Option<BlobWriter>, LayoutError> {
        self.publisher.wait_for(&descriptor.digest)?;
        match self.shared.work().found(partial_name(&descriptor.digest)) {
            Ok((FileKind::File, 0)) | Err(_) => Ok(None),
            Ok(_) => self.begin(descriptor).map(Some),
        }
    }

    /// Writes content in memory, such as a document.
    ///
    /// # Errors
    /// The content does not match its descriptor, or cannot be written.
    pub fn put(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        self.filled(descriptor, content)?.finish()
    }

    /// Makes existing content a root, and moves `name` to it; replaces `index.json`.
    ///
    /// `index.json` is read again before, so that changes of other programs are kept.
    ///
    /// # Errors
    /// The content is missing, or `index.json` cannot be read or written.
    pub fn set_root(&mut self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        self.set_roots(root, name, &[])
    }

    /// Makes existing content a root, as [`set_root`](Self::set_root) does, and referrers roots without a name, all at
    /// once. A referrer that is a root stays as it is.
    pub(crate) fn set_roots(
        &mut self,
        root: &Descriptor,
        name: Option<&RefName>,
        referrers: &[Descriptor],
    ) -> Result<(), LayoutError> {
        self.publisher.flush()?;
        let directory = self.shared.directory();
        let files = Files::from(directory.clone());
        for Descriptor { digest, size, .. } in referrers.iter().chain([root]) {
            let (expected, found) = (*size, files.blob_size(digest)?);
            if found != expected {
                return Err(self.layout.wrong(digest, LayoutErrorKind::Size { expected, found }));
            }
        }
        self.sync_existing(directory, MARKER)?;
        self.shared.sync_directories()?;
        let mut index = read_index(&files, self.layout.limits())?;
        let before = index.clone();
        index.set(root, name);
        for referrer in referrers {
            index.set(referrer, None);
        }
        if index == before {
            self.sync_existing(directory, INDEX)?;
        } else {
            self.shared.replace(INDEX, &index.to_bytes())?;
        }
        self.layout = Layout::with_index(files, index);
        Ok(())
    }

    /// Publishes a blob as [`BlobWriter::finish`] does, but before [`set_root`](Self::set_root) returns, and in
    /// the order of the calls.
    pub(crate) fn publish(&self, mut blob: BlobWriter) -> Result<(), LayoutError> {
        if !self.shared.is_durable() {
            return blob.finish();
        }
        blob.verify()?;
        self.publisher.add(blob)
    }

    /// Writes content in memory, and publishes it as [`publish`](Self::publish) does.
    pub(crate) fn publish_content(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        self.publish(self.filled(descriptor, content)?)
    }

    /// Waits until all published content has its name.
    pub(crate) fn flush(&self) -> Result<(), LayoutError> {
        self.publisher.flush()
    }

    /// Makes content durable that the layout has, which another writer may not have synced.
    pub(crate) fn keep(&self, digest: &Digest) -> Result<(), LayoutError> {
        // On other systems a file must be writable to be synced.
        if !self.shared.is_durable() || cfg!(not(unix)) {
            return Ok(());
        }
        let directory = blob_directory(self.shared.directory(), digest)?;
        let (name, access) = (digest.encoded(), Access::Read);
        let (file, _) = directory.open_file(&name, access)?;
        self.publisher.sync((Arc::new(file), directory, name))
    }

    /// Writes content from a reader, up to its end, and publishes it as [`publish`](Self::publish) does.
    pub(crate) fn copy(&self, descriptor: &Descriptor, from: impl Read) -> Result<(), LayoutError> {
        let mut blob = self.begin_whole(descriptor)?;
        let unreadable = |error| self.layout.wrong(&descriptor.digest, error);
        unfinished::copy(from, |bytes| blob.append(blob.offset(), bytes), unreadable)?;
        self.publish(blob)
    }

    /// A blob writer that has all of the content.
    fn filled(&self, descriptor: &Descriptor, content: &[u8]) -> Result<BlobWriter, LayoutError> {
        let mut blob = self.begin_whole(descriptor)?;
        blob.append(0, content)?;
        Ok(blob)
    }

    /// Starts a blob without the bytes of an earlier writer.
    fn begin_whole(&self, descriptor: &Descriptor) -> Result<BlobWriter, LayoutError> {
        let mut blob = self.begin(descriptor)?;
        if blob.offset() > 0 {
            blob.restart()?;
        }
        Ok(blob)
    }

    fn sync_existing(&self, directory: &Directory, name: &str) -> Result<(), LayoutError> {
        if !self.shared.is_durable() || cfg!(not(unix)) {
            return Ok(());
        }
        let (file, _) = directory.open_file(name, Access::Read)?;
        directory.sync_file(name, &file)
    }
}

/// Creates a directory, and those above it that do not exist.
pub(crate) fn create(directory: &Path, durability: Durability) -> Result<(), LayoutError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err();
    let missing: Vec<_> = directory.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(directory).map_err(|error| LayoutError::new(directory, error))?;
    if durability == Durability::Synced {
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            Directory::open(parent.unwrap_or(Path::new(".")))?.sync()?;
        }
    }
    Ok(())
}

/// Refuses a directory that is neither a layout nor empty. A layout that an interrupted writer has only begun
/// counts as empty.
pub(crate) fn refuse_foreign(directory: &Directory) -> Result<(), LayoutError> {
    if directory.found(MARKER).is_ok() {
        return if is_lost(directory, MARKER) { Ok(()) } else { read_marker(&directory.clone().into()) };
    }
    for name in directory.names()? {
        if !name.to_str().is_some_and(|name| name == WORK || is_begun(directory, name)) {
            let name = name.to_string_lossy().chars().flat_map(char::escape_debug).take(80).collect();
            return Err(LayoutError::new(directory.path(), LayoutErrorKind::Foreign(name)));
        }
    }
    Ok(())
}

/// Whether a name is that of a file or directory with which an interrupted writer has only begun a layout.
pub(crate) fn is_begun(directory: &Directory, name: &str) -> bool {
    match name {
        BLOBS => {
            let blobs = directory.directory(BLOBS).and_then(|blobs| blobs.names());
            blobs.is_ok_and(|blobs| blobs.is_empty())
        }
        INDEX => {
            let index = directory.read(INDEX, 1 << 10);
            is_lost(directory, INDEX) || index.is_ok_and(|bytes| bytes == Index::new().to_bytes())
        }
        _ => false,
    }
}
