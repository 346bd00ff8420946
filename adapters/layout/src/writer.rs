//! Writing a layout.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, RefName, marker};
use oci_proto::{Descriptor, Digest};

use crate::error::Trouble;
use crate::layout::{is_missing, open_folder, read_index, read_marker};
use crate::{Layout, LayoutError, files};
use lock::Lock;

mod blob;
mod lock;

pub use blob::BlobWriter;

/// Where everything is until it is whole: partial blobs, each under its own name, new documents, and the lock.
pub(crate) const WORK: &str = ".oci-proto-partial";

/// Writes a layout, alone.
///
/// Content is to be written before what names it, and the root is set last. Nothing is seen under its own name
/// before it is whole and verified; killed at any moment, a writer leaves a valid layout, and the next one goes
/// on with what there is, partial blobs included.
///
/// That holds where the program is killed. Where the machine stops, what was written in the last seconds may be
/// lost or damaged, since the file system is not waited for, unless that is
/// [asked for](Self::set_durable). A check finds what was damaged.
///
/// All methods write files, and block for as long as that takes.
#[derive(Debug)]
pub struct LayoutWriter {
    layout: Layout,
    place: Arc<Place>,
}

/// What a writer shares with those of its blobs.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    durable: AtomicBool,
    /// The blobs that are being written.
    busy: Mutex<BTreeSet<Digest>>,
    /// Given back by the last one that goes.
    _lock: Lock,
}

impl LayoutWriter {
    /// Opens a layout to write it. A folder that is empty, or not there, becomes one.
    ///
    /// # Errors
    /// The folder is something else, another writer is at work on it, its documents are refused, or it cannot be
    /// written.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let folder = folder.as_ref();
        // What stands in its place is told by the next step.
        if fs::symlink_metadata(folder).is_err() {
            fs::create_dir_all(folder).map_err(|error| LayoutError::new(folder, error))?;
        }
        open_folder(folder)?;
        // Before anything is put into what may be somebody else's folder.
        refuse_foreign(folder)?;
        let lock = Lock::take(&folder.join(WORK))?;
        let place = Place {
            folder: folder.to_owned(),
            durable: AtomicBool::new(false),
            busy: Mutex::default(),
            _lock: lock,
        };
        if !Layout::is_at(folder) {
            place.make_layout()?;
        }
        Ok(Self { layout: Layout::open(folder)?, place: Arc::new(place) })
    }

    /// Whether to wait for the file system: what has its name then outlasts a power failure. It is slower, most
    /// of all where blobs are many and small.
    pub fn set_durable(&self, durable: bool) {
        self.place.durable.store(durable, Relaxed);
    }

    /// What the layout holds: whether content is there, and whether it is right.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Begins to write a blob, or goes on with what an earlier writer left of it.
    ///
    /// Many blobs may be written at once, on any threads; each one once.
    ///
    /// # Errors
    /// The blob's digest cannot be verified, it is being written already, or it cannot be written.
    pub fn begin(&self, descriptor: &Descriptor) -> Result<BlobWriter, LayoutError> {
        BlobWriter::begin(self.place.clone(), descriptor)
    }

    /// Goes on with what an earlier writer left of a blob; `None` where it left nothing.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn resume(&self, descriptor: &Descriptor) -> Result<Option<BlobWriter>, LayoutError> {
        let partial = self.place.partial(&descriptor.digest);
        let is_there = fs::symlink_metadata(partial).is_ok_and(|found| found.len() > 0);
        if is_there { self.begin(descriptor).map(Some) } else { Ok(None) }
    }

    /// Writes all of some content: a document, mostly.
    ///
    /// # Errors
    /// The content is not what its descriptor says, or cannot be written.
    pub fn put(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        let mut blob = self.begin(descriptor)?;
        if blob.offset() > 0 {
            blob.restart()?;
        }
        blob.append(0, content)?;
        blob.finish()
    }

    /// Makes content that is there a root, and `name` the name of it and of nothing else; replaces `index.json`.
    ///
    /// The document is read anew before, so that what other programs put there stays.
    ///
    /// # Errors
    /// The content is not there, or the document cannot be read or written.
    pub fn set_root(&mut self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        let found = files::blob_size(&self.place.folder, &root.digest)?;
        if found != root.size {
            return Err(self.layout.wrong(&root.digest, Trouble::Size { expected: root.size, found }));
        }
        let mut index = read_index(&self.place.folder, self.layout.limits())?;
        let before = index.clone();
        index.set(root, name);
        if index != before {
            self.place.replace(INDEX, &index.to_bytes())?;
        }
        self.layout = Layout::with_index(&self.place.folder, index);
        Ok(())
    }
}

impl Place {
    /// Makes an empty folder a layout. What makes it one comes last: until then it is none.
    fn make_layout(&self) -> Result<(), LayoutError> {
        self.replace(INDEX, &Index::new().to_bytes())?;
        make_folder(&self.folder.join(BLOBS))?;
        self.replace(MARKER, marker())
    }

    /// Writes a file of the layout in one step.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let (partial, path) = (self.work(name), self.folder.join(name));
        let written = remove(&partial).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
            file.write_all(content)?;
            if self.is_durable() { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|error| LayoutError::new(&partial, error))?;
        fs::rename(&partial, &path).map_err(|error| LayoutError::new(&path, error))?;
        self.settle(&self.folder)
    }

    /// Waits until the names in a folder are safe, where that was asked for.
    fn settle(&self, folder: &Path) -> Result<(), LayoutError> {
        // Elsewhere folders cannot be opened as files are.
        if !self.is_durable() || cfg!(not(unix)) {
            return Ok(());
        }
        let settled = fs::File::open(folder).and_then(|opened| opened.sync_all());
        settled.map_err(|error| LayoutError::new(folder, error))
    }

    fn is_durable(&self) -> bool {
        self.durable.load(Relaxed)
    }

    fn work(&self, name: &str) -> PathBuf {
        self.folder.join(WORK).join(name)
    }

    /// Where a blob is written before it is whole; [`is_partial`] knows the name again.
    fn partial(&self, digest: &Digest) -> PathBuf {
        self.work(&format!("{}-{}", digest.algorithm_name(), digest.encoded()))
    }

    fn busy(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // Nothing panics while it holds the guard.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file beside the lock is a blob that is not whole.
pub(crate) fn is_partial(name: &OsStr) -> bool {
    let digest = name.to_str().and_then(|name| name.split_once('-'));
    digest.is_some_and(|(algorithm, encoded)| format!("{algorithm}:{encoded}").parse::<Digest>().is_ok())
}

/// Refuses a folder that is no layout, and not empty. What a writer leaves that was killed while it made a
/// layout is as good as nothing.
fn refuse_foreign(folder: &Path) -> Result<(), LayoutError> {
    let unreadable = |error| LayoutError::new(folder, error);
    if fs::symlink_metadata(folder.join(MARKER)).is_ok() {
        return read_marker(folder);
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).map_err(unreadable)?;
        let ours = match name.to_str() {
            Some(WORK) => true,
            Some(BLOBS) => fs::read_dir(&path).is_ok_and(|mut blobs| blobs.next().is_none()),
            Some(INDEX) => files::read(&path, 1 << 10).is_ok_and(|bytes| bytes == Index::new().to_bytes()),
            _ => false,
        };
        if !ours {
            let name = name.to_string_lossy().chars().flat_map(char::escape_debug).take(80).collect();
            return Err(LayoutError::new(folder, Trouble::Foreign(name)));
        }
    }
    Ok(())
}

/// Makes a folder, unless it is there.
fn make_folder(path: &Path) -> Result<(), LayoutError> {
    // Asked first, since it is there but once, and making it would wait for those who write into it.
    match files::check_folder(path) {
        Err(error) if is_missing(&error) => match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(LayoutError::new(path, error)),
            _ => files::check_folder(path),
        },
        checked => checked,
    }
}

/// Removes a file, or a link, unless it is not there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
