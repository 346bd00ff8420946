//! The layout of a repository, whose files are created and removed so that it can be undone.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use oci_proto::layout::{BLOBS, INDEX, MARKER};
use oci_proto::{Digest, Repository};

use crate::blob_file::BlobFile;
use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::blob_directory;
use crate::registry::journal::Journal;
use crate::unfinished;
use crate::writer::staging::is_lost;

/// The names that a layout uses itself, so that no component of a repository's name may be one of them.
pub(super) const RESERVED: [&str; 3] = [BLOBS, INDEX, MARKER];

/// The layout of a repository, and its directories of blobs.
#[derive(Debug)]
pub(super) struct Folder {
    directory: Directory,
    /// By algorithm, with whether its names have changed.
    algorithms: BTreeMap<String, (Directory, bool)>,
}

/// Opens the directory of a repository.
pub(super) fn open(root: &Directory, repository: &Repository) -> Result<Directory, LayoutError> {
    let mut directory = root.clone();
    for component in repository.as_str().split('/') {
        directory = directory.directory(component)?;
    }
    Ok(directory)
}

impl Folder {
    /// Opens the layout of a repository, which is made if it does not exist.
    pub(super) fn make(
        root: &Directory,
        repository: &Repository,
        journal: &mut Journal<'_>,
    ) -> Result<Self, LayoutError> {
        let mut directory = root.clone();
        for component in repository.as_str().split('/') {
            if RESERVED.contains(&component) {
                let reserved = io::Error::new(io::ErrorKind::InvalidInput, "the name is reserved");
                return Err(directory.wrong(component, reserved));
            }
            directory = make_directory(&directory, component, journal)?;
        }
        if is_lost(&directory, MARKER) {
            if is_lost(&directory, INDEX) {
                // Noted first, since several steps follow. Without the marker nothing needs it.
                journal.created(&directory, INDEX);
            }
            make_directory(&directory, BLOBS, journal)?;
            journal.created(&directory, MARKER);
            journal.staging.make_layout(&directory)?;
        }
        Ok(Self { directory, algorithms: BTreeMap::new() })
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether a file with this digest and size exists.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        let found = blob_directory(&self.directory, digest).and_then(|of| of.size(&digest.encoded()));
        found.is_ok_and(|found| found == size)
    }

    /// Whether a file with this digest has this content.
    pub(super) fn has_content(&self, digest: &Digest, content: &[u8]) -> bool {
        let found = blob_directory(&self.directory, digest);
        let found = found.and_then(|of| of.read(&digest.encoded(), content.len() as u64));
        found.is_ok_and(|found| found == content)
    }

    /// Creates a file with content.
    pub(super) fn put(
        &mut self,
        digest: &Digest,
        content: &[u8],
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        let temporary = journal.temporary();
        journal.staging.write(&temporary, content)?;
        self.publish(digest, &temporary, journal)
    }

    /// Gives a synced file of another directory, which has this size, the name of a digest, too. If the file system has
    /// no links, or the names of a file cannot be counted after a crash, the file is moved.
    ///
    /// A file of the same size that has the name may be damaged, or a manifest may need it: it is replaced at once, or, if
    /// the file system has no links, it stays.
    pub(super) fn take(
        &mut self,
        digest: &Digest,
        (from, name): (&Directory, &str),
        size: u64,
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        if self.has(digest, size) {
            let temporary = journal.temporary();
            if !cfg!(unix) || from.link(name, journal.staging.work(), &temporary).is_err() {
                return Ok(());
            }
            return self.replace(digest, &temporary, journal);
        }
        let (to, new) = self.vacant(digest, journal)?;
        if cfg!(unix) && from.link(name, &to, &new).is_ok() {
            journal.created(&to, new);
            return Ok(());
        }
        from.rename(name, &to, &new)?;
        journal.moved(from, name, &to, &new);
        Ok(())
    }

    /// Gives a blob of another repository its name here, too. If the file system has no links, or no more for this file,
    /// the blob is copied, after `check`.
    pub(super) fn mount(
        &mut self,
        digest: &Digest,
        from: &Directory,
        size: u64,
        check: impl FnOnce() -> Result<(), LayoutError>,
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        let from = blob_directory(from, digest)?;
        let name = digest.encoded();
        let (file, found) = from.open_file(&name, Access::Read)?;
        if found != size {
            return Err(from.wrong(&name, LayoutErrorKind::Size { expected: size, found }));
        }
        let (to, new) = self.vacant(digest, journal)?;
        if from.link(&name, &to, &new).is_ok() {
            journal.created(&to, new);
            return Ok(());
        }
        check()?;
        let temporary = journal.temporary();
        let work = journal.staging.work();
        let copy = work.create(&temporary)?;
        let source = BlobFile::whole(file, size);
        unfinished::copy(
            source,
            |bytes| work.write_file(&temporary, &copy, bytes),
            |error| from.wrong(&name, error),
        )?;
        journal.staging.sync_file(&temporary, &copy)?;
        self.publish(digest, &temporary, journal)
    }

    /// Makes a file count as just written, since a push that has not reached its manifest relies on it.
    pub(super) fn touch(&self, digest: &Digest) {
        let opened = blob_directory(&self.directory, digest)
            .and_then(|directory| directory.open_file(&digest.encoded(), Access::Read));
        // Not essential: the owner of the file may be another user.
        let _ = opened.map(|(file, _)| file.set_modified(SystemTime::now()));
    }

    /// Removes the file of a digest.
    pub(super) fn remove(&mut self, digest: &Digest, journal: &mut Journal<'_>) -> Result<(), LayoutError> {
        self.vacant(digest, journal).map(drop)
    }

    /// Syncs the directories in which names have changed.
    pub(super) fn sync(&mut self, journal: &Journal<'_>) -> Result<(), LayoutError> {
        for (directory, is_changed) in self.algorithms.values_mut() {
            if std::mem::take(is_changed) {
                journal.staging.sync(directory)?;
            }
        }
        Ok(())
    }

    /// Replaces `index.json` by a temporary file, and keeps the old one until the end.
    pub(super) fn replace_index(
        &self,
        temporary: &str,
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        let work = journal.staging.work().clone();
        let kept = journal.temporary();
        if self.directory.link(INDEX, &work, &kept).is_err() {
            let old = self.directory.read(INDEX, u64::MAX)?;
            journal.staging.write(&kept, &old)?;
        }
        work.rename(temporary, &self.directory, INDEX)?;
        journal.kept(kept, &self.directory, INDEX);
        journal.staging.sync(&self.directory)
    }

    /// Gives a temporary file, which is synced, the name of a digest, which another file has. At each moment one of them
    /// has it. If the old file cannot be kept under a second name, it stays.
    fn replace(
        &mut self,
        digest: &Digest,
        temporary: &str,
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        let (to, name) = self.place(digest, journal)?;
        let kept = journal.temporary();
        if to.link(&name, journal.staging.work(), &kept).is_ok() {
            journal.staging.work().rename(temporary, &to, &name)?;
            journal.kept(kept, &to, name);
        }
        Ok(())
    }

    /// Gives a temporary file, which is synced, the name of a digest.
    fn publish(
        &mut self,
        digest: &Digest,
        temporary: &str,
        journal: &mut Journal<'_>,
    ) -> Result<(), LayoutError> {
        let (to, new) = self.vacant(digest, journal)?;
        journal.staging.work().rename(temporary, &to, &new)?;
        journal.created(&to, new);
        Ok(())
    }

    /// Removes anything that has the name of a digest, and returns the directory and the name. Nothing may need it.
    fn vacant(
        &mut self,
        digest: &Digest,
        journal: &mut Journal<'_>,
    ) -> Result<(Directory, String), LayoutError> {
        let (directory, name) = self.place(digest, journal)?;
        match directory.found(&name) {
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let kept = journal.temporary();
                directory.rename(&name, journal.staging.work(), &kept)?;
                journal.kept(kept, &directory, name.clone());
            }
        }
        Ok((directory, name))
    }

    /// Returns the directory and the name of a file, of which one changes.
    fn place(
        &mut self,
        digest: &Digest,
        journal: &mut Journal<'_>,
    ) -> Result<(Directory, String), LayoutError> {
        let algorithm = digest.algorithm_name();
        if !self.algorithms.contains_key(algorithm) {
            let blobs = make_directory(&self.directory, BLOBS, journal)?;
            let directory = make_directory(&blobs, algorithm, journal)?;
            self.algorithms.insert(algorithm.to_owned(), (directory, true));
        }
        let (directory, is_changed) = self.algorithms.get_mut(algorithm).expect("it was inserted above");
        *is_changed = true;
        Ok((directory.clone(), digest.encoded()))
    }
}

/// Opens a directory, which is made if it does not exist.
fn make_directory(
    parent: &Directory,
    name: &str,
    journal: &mut Journal<'_>,
) -> Result<Directory, LayoutError> {
    let (directory, is_made) = parent.make_directory(name)?;
    if is_made {
        journal.made(parent, name);
        journal.staging.sync(parent)?;
    }
    Ok(directory)
}

/// Returns whether an operation failed for lack of space.
pub(super) fn is_full(error: &LayoutError) -> bool {
    match error.kind() {
        // A document that is too large could not be read again.
        LayoutErrorKind::Quota(_) | LayoutErrorKind::LittleSpace(_) | LayoutErrorKind::TooLarge(_) => true,
        LayoutErrorKind::Io(error) => {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}
