//! Removes the content of a registry's directory that nothing needs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use oci_proto::layout::INDEX;
use oci_proto::{Digest, Repository};

use crate::directory::Directory;
use crate::directory::kind::FileKind;
use crate::error::LayoutError;
use crate::registry::load::{is_layout, refuse_layout, visit};
use crate::registry::needs::{Age, Garbage, find};
use crate::registry::uploads::Uploads;
use crate::writer::durability::Durability;
use crate::writer::lock::{LOCK, Lock};
use crate::writer::staging::Staging;

/// What [`collect_garbage`] removes. The default removes content that no manifest needs and that is a day old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GarbageOptions {
    /// Also remove manifests without a name, unless a manifest that is kept contains one as a child, or has it as its
    /// subject, or is its subject.
    pub untagged: bool,
    /// The age of content that is removed, since its file was written or got its name. A push stores blobs before the
    /// manifest that needs them, so this should be longer than any push takes.
    pub min_age: Duration,
    /// Remove nothing, and report what would be removed.
    pub dry_run: bool,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { untagged: false, min_age: Duration::from_secs(24 * 60 * 60), dry_run: false }
    }
}

/// Content that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The repository that had it.
    pub repository: Repository,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes. If other repositories have the same blob, its file may use space until they remove it too.
    pub size: u64,
}

/// The totals of [`collect_garbage`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// The number of repositories, without those that were skipped.
    pub repositories: u64,
    /// The number of manifests and blobs that were removed.
    pub contents: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// The number of manifests and blobs that are kept only because of their age.
    pub recent: u64,
    /// Their total size in bytes.
    pub recent_bytes: u64,
    /// The number of temporary files that were removed, which a process that crashed has left.
    pub temporary: u64,
    /// Their total size in bytes.
    pub temporary_bytes: u64,
    /// Why repositories were skipped, and links and directories that are no repositories.
    pub warnings: Vec<LayoutError>,
}

/// Removes the content of a [registry's directory](crate::RegistryDirectory) that nothing needs, and calls `removed` for
/// each.
///
/// A repository needs the manifests that its `index.json` lists, with or without a tag, and all that they contain:
/// configs, layers, and the manifests of an index with theirs. Other content is kept until it has the age in the options,
/// since it may belong to a push that has not reached its manifest yet. If the type of a document is unknown, everything that has its digest in the
/// document is needed.
///
/// Unfinished uploads and partial blobs of interrupted pulls are kept, and so are files that are not content. A
/// repository is skipped, with a warning, if a document that it needs cannot be read, or if a program is writing to its
/// layout. A manifest that is missing from an index is not an error, unless `index.json` lists it.
///
/// The directory is locked meanwhile, so this fails while a process serves it. Each `index.json` that changes is on disk
/// before the content is removed. After a crash, the next call removes the rest.
///
/// # Errors
/// The directory does not exist, is a layout itself, or is locked by another process; or a file system operation fails.
/// What was passed to `removed` before is removed.
pub fn collect_garbage(
    path: impl AsRef<Path>,
    options: &GarbageOptions,
    removed: impl FnMut(&Removed),
) -> Result<Collected, LayoutError> {
    collect(&Directory::open(path.as_ref())?, *options, removed)
}

/// Removes the garbage in an open directory.
pub(super) fn collect(
    root: &Directory,
    options: GarbageOptions,
    mut removed: impl FnMut(&Removed),
) -> Result<Collected, LayoutError> {
    // Before it is locked: its temporary files would be those of a layout, which can be resumed.
    refuse_layout(root)?;
    let lock = Lock::take_registry(root)?;
    // If there is no such time, nothing is old enough.
    let latest = SystemTime::now().checked_sub(options.min_age).unwrap_or(SystemTime::UNIX_EPOCH);
    let age = Age((!options.min_age.is_zero()).then_some(latest));
    let mut collected = Collected::default();
    let work = lock.work();
    collected.remove_temporary(work, work.names()?.iter().filter(|name| *name != LOCK), options)?;
    if let Some(uploads) = Uploads::existing(root)? {
        let (_, rest) = uploads.scan()?;
        collected.remove_temporary(uploads.directory(), &rest, options)?;
    }
    let staging = Staging::new(work.clone(), Durability::Synced);
    let mut warnings = Vec::new();
    let visited = visit(root, &mut warnings, |repository, directory, warnings| {
        match is_layout(directory) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                warnings.push(error);
                return Ok(());
            }
        }
        // Another program may be writing to the layout, whose blobs come before the documents that need them.
        let found =
            Lock::take(directory).and_then(|lock| Ok((lock, find(directory, options.untagged, age)?)));
        let (_lock, garbage) = match found {
            Ok(found) => found,
            Err(error) => {
                warnings.push(error);
                return Ok(());
            }
        };
        collected.repositories += 1;
        collected.recent += garbage.recent;
        collected.recent_bytes = collected.recent_bytes.saturating_add(garbage.recent_bytes);
        remove(directory, &garbage, &staging, options, |digest, size| {
            collected.contents += 1;
            collected.bytes = collected.bytes.saturating_add(size);
            removed(&Removed { repository: repository.clone(), digest: digest.clone(), size });
        })
    });
    visited?;
    collected.warnings = warnings;
    Ok(collected)
}

/// Removes the garbage of a repository.
fn remove(
    directory: &Directory,
    garbage: &Garbage,
    staging: &Staging,
    options: GarbageOptions,
    mut removed: impl FnMut(&Digest, u64),
) -> Result<(), LayoutError> {
    if let Some(index) = garbage.index.as_ref().filter(|_| !options.dry_run) {
        staging.replace(directory, INDEX, &index.to_bytes())?;
    }
    for (algorithm, content) in &garbage.content {
        for (digest, size) in content {
            if !options.dry_run {
                algorithm.remove(&digest.encoded())?;
            }
            removed(digest, *size);
        }
        if !options.dry_run {
            staging.sync(algorithm)?;
        }
    }
    Ok(())
}

impl Collected {
    /// Removes temporary files, or only counts them.
    fn remove_temporary<'a>(
        &mut self,
        directory: &Directory,
        names: impl IntoIterator<Item = &'a std::ffi::OsString>,
        options: GarbageOptions,
    ) -> Result<(), LayoutError> {
        for name in names {
            let (kind, size) = directory.found(name)?;
            if !options.dry_run {
                directory.remove(&name.to_string_lossy())?;
            }
            self.temporary += 1;
            if kind == FileKind::File {
                self.temporary_bytes = self.temporary_bytes.saturating_add(size);
            }
        }
        Ok(())
    }
}
