//! Writing a layout.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use oci_proto::Descriptor;
use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, RefName};

use crate::error::{LayoutError, LayoutErrorKind};
use crate::files;
use crate::layout::{Layout, open_directory, read_index, read_marker};
use crate::work::WORK;
use crate::writer::blob::BlobWriter;
use crate::writer::shared::Shared;

pub(crate) mod blob;
mod lock;
mod shared;

/// Writes a layout, with exclusive access.
///
/// Write content before the documents that name it, and set the root last. Files get their final names only
/// once they are complete and verified. If the process is killed, the layout is valid, and the next writer
/// resumes partial blobs.
///
/// After a crash of the machine, the writes of the last seconds may be lost or damaged, since the writer does
/// not wait for the file system unless [told to](Self::set_durable). A check finds the damage.
///
/// Methods block while they write files.
#[derive(Debug)]
pub struct LayoutWriter {
    layout: Layout,
    shared: Arc<Shared>,
}

impl LayoutWriter {
    /// Opens a layout for writing. A directory that is empty or does not exist becomes a layout.
    ///
    /// # Errors
    /// The directory has other files, is locked by another writer, has invalid documents, or cannot be
    /// written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let directory = directory.as_ref();
        // If it is not a directory, the next step reports that.
        if fs::symlink_metadata(directory).is_err() {
            fs::create_dir_all(directory).map_err(|error| LayoutError::new(directory, error))?;
        }
        open_directory(directory)?;
        // Nothing is written before this check, since the directory may have other content.
        refuse_foreign(directory)?;
        let shared = Shared::lock(directory)?;
        if !Layout::is_at(directory) {
            shared.make_layout()?;
        }
        Ok(Self { layout: Layout::open(directory)?, shared: Arc::new(shared) })
    }

    /// Sets whether to sync files and directories, so that published content survives a power failure.
    /// Slower, especially for many small blobs. Off by default.
    pub fn set_durable(&self, durable: bool) {
        self.shared.set_durable(durable);
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
        BlobWriter::begin(self.shared.clone(), descriptor)
    }

    /// Resumes the partial blob of an earlier writer; `None` if there is none.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn resume(&self, descriptor: &Descriptor) -> Result<Option<BlobWriter>, LayoutError> {
        let partial = self.shared.partial(&descriptor.digest);
        let is_there = fs::symlink_metadata(partial).is_ok_and(|found| found.len() > 0);
        if is_there { self.begin(descriptor).map(Some) } else { Ok(None) }
    }

    /// Writes content in memory, such as a document.
    ///
    /// # Errors
    /// The content does not match its descriptor, or cannot be written.
    pub fn put(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        let mut blob = self.begin(descriptor)?;
        if blob.offset() > 0 {
            blob.restart()?;
        }
        blob.append(0, content)?;
        blob.finish()
    }

    /// Makes existing content a root, and moves `name` to it; replaces `index.json`.
    ///
    /// `index.json` is read again before, so that changes of other programs are kept.
    ///
    /// # Errors
    /// The content is missing, or `index.json` cannot be read or written.
    pub fn set_root(&mut self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        let found = files::blob_size(self.shared.directory(), &root.digest)?;
        if found != root.size {
            return Err(self
                .layout
                .wrong(&root.digest, LayoutErrorKind::Size { expected: root.size, found }));
        }
        let mut index = read_index(self.shared.directory(), self.layout.limits())?;
        let before = index.clone();
        index.set(root, name);
        if index != before {
            self.shared.replace(INDEX, &index.to_bytes())?;
        }
        self.layout = Layout::with_index(self.shared.directory(), index);
        Ok(())
    }
}

/// Refuses a directory that is neither a layout nor empty. A layout that an interrupted writer has only begun
/// counts as empty.
fn refuse_foreign(directory: &Path) -> Result<(), LayoutError> {
    let unreadable = |error| LayoutError::new(directory, error);
    if fs::symlink_metadata(directory.join(MARKER)).is_ok() {
        return read_marker(directory);
    }
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).map_err(unreadable)?;
        let ours = match name.to_str() {
            Some(WORK) => true,
            Some(BLOBS) => fs::read_dir(&path).is_ok_and(|mut blobs| blobs.next().is_none()),
            Some(INDEX) => files::read(&path, 1 << 10).is_ok_and(|bytes| bytes == Index::new().to_bytes()),
            _ => false,
        };
        if !ours {
            let name = name.to_string_lossy().chars().flat_map(char::escape_debug).take(80).collect();
            return Err(LayoutError::new(directory, LayoutErrorKind::Foreign(name)));
        }
    }
    Ok(())
}
