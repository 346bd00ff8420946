//! Writing an archive.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use oci_proto::layout::{INDEX, Index, RefName, blob_path};
use oci_proto::{Descriptor, Digest};

use crate::archive_writer::blob::ArchiveBlob;
use crate::archive_writer::shared::Shared;
use crate::directory::Directory;
use crate::directory::kind::FileKind;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::unfinished;
use crate::writer::durability::Durability;

pub(crate) mod blob;
mod shared;

/// The number of temporary names that are tried.
const MAX_NAMES: u32 = 1000;
/// The number of characters of the archive's name in a temporary name, which is shorter than any limit.
const MAX_NAME_CHARS: usize = 40;

/// Writes an archive of a layout: an uncompressed tar file, in one pass.
///
/// Content comes in any order, and its size must be known. Different blobs may be written at the same time, on
/// any threads. The archive gets its name only once it is complete: until then it has a temporary name beside
/// it, `.FILE.partial-...`. If [`finish`](Self::finish) fails, or the writer is dropped before, the temporary
/// file is removed. (A process that is killed leaves it behind.)
///
/// The same calls in the same order write the same bytes: no times, owners or names of this machine.
///
/// ```
/// use oci_proto_layout::oci_proto::{Algorithm, Descriptor, Digest, MediaType};
/// use oci_proto_layout::{ArchiveWriter, Layout};
///
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("app.tar");
/// let mut writer = ArchiveWriter::create(&file)?;
/// let document = br#"{"schemaVersion":2,"manifests":[]}"#;
/// let digest = Digest::of(Algorithm::Sha256, document);
/// let root = Descriptor::new(MediaType::OCI_INDEX, digest, document.len() as u64);
/// writer.put(&root, document)?;
/// writer.set_root(&root, Some(&"1.0".parse()?))?;
/// writer.finish()?;
///
/// assert_eq!(Layout::open_archive(&file)?.names(), [Some("1.0")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Methods block while they write the file.
#[derive(Debug)]
pub struct ArchiveWriter {
    shared: Arc<Shared>,
    /// The name of the archive in its directory.
    name: OsString,
    existing: Existing,
    durability: Durability,
    index: Index,
    /// Whether the file has its name, and no temporary one.
    is_named: bool,
}

/// What happens to an existing file under the name of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "either, or")]
pub enum Existing {
    /// A file that is not empty is an error, and is kept. An empty one is replaced.
    #[default]
    Keep,
    /// Any file is replaced when the new archive is complete, as by `skopeo copy`.
    Replace,
}

impl ArchiveWriter {
    /// Starts an archive. An existing file that is not empty is kept: nothing is added to an archive.
    ///
    /// # Errors
    /// The file exists and is not empty, is not a regular file, or cannot be written.
    pub fn create(file: impl AsRef<Path>) -> Result<Self, LayoutError> {
        Self::create_with(file, Existing::Keep, Durability::Synced)
    }

    /// Starts an archive that may replace an existing file, and that is durable or not once it is finished.
    ///
    /// # Errors
    /// The file exists and is kept, is not a regular file, or cannot be written.
    pub fn create_with(
        file: impl AsRef<Path>,
        existing: Existing,
        durability: Durability,
    ) -> Result<Self, LayoutError> {
        let path = file.as_ref();
        let Some(name) = path.file_name() else {
            return Err(LayoutError::new(path, LayoutErrorKind::NotAFile(FileKind::Directory.describe())));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = Directory::open(parent.unwrap_or(Path::new("."))).map_err(not_a_layout)?;
        Self::create_in(directory, name, path, existing, durability)
    }

    fn create_in(
        directory: Directory,
        name: &OsStr,
        path: &Path,
        existing: Existing,
        durability: Durability,
    ) -> Result<Self, LayoutError> {
        check_existing(&directory, name, path, existing)?;
        let (file, partial) = create_partial(&directory, &name.to_string_lossy(), path)?;
        let shared = Shared::start(directory, partial, file, path)?;
        Ok(Self {
            shared: Arc::new(shared),
            name: name.to_owned(),
            existing,
            durability,
            index: Index::new(),
            is_named: false,
        })
    }

    /// The path that the archive will have.
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Whether the archive has the content, complete, with this size.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        self.shared.complete(&descriptor.digest) == Some(descriptor.size)
    }

    /// Starts a blob, whose size is that in the descriptor. If the same blob was started and then dropped, it
    /// starts over.
    ///
    /// # Errors
    /// The blob's digest cannot be verified, the archive has the blob or it is being written, or the file
    /// cannot be written.
    pub fn begin(&self, descriptor: &Descriptor) -> Result<ArchiveBlob, LayoutError> {
        ArchiveBlob::begin(self.shared.clone(), descriptor)
    }

    /// Writes content in memory, such as a document, unless the archive has it.
    ///
    /// # Errors
    /// The content does not match its descriptor, or cannot be written.
    pub fn put(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        if self.has(descriptor) {
            return Ok(());
        }
        let mut blob = self.begin(descriptor)?;
        blob.append(0, content)?;
        blob.finish()
    }

    /// Writes content from a reader, up to its end, unless the archive has it. In that case nothing is read.
    ///
    /// # Errors
    /// The content does not match its descriptor, or cannot be read or written.
    pub fn copy(&self, descriptor: &Descriptor, from: impl Read) -> Result<(), LayoutError> {
        if self.has(descriptor) {
            return Ok(());
        }
        let mut blob = self.begin(descriptor)?;
        let unreadable = |error: io::Error| self.wrong(&descriptor.digest, error);
        unfinished::copy(from, |bytes| blob.append(blob.offset(), bytes), unreadable)?;
        blob.finish()
    }

    /// Makes content of the archive a root, and moves `name` to it. `index.json` is written at the end.
    ///
    /// # Errors
    /// The content is missing, or has another size.
    pub fn set_root(&mut self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        let expected = root.size;
        match self.shared.complete(&root.digest) {
            None => Err(self.wrong(&root.digest, LayoutErrorKind::Missing)),
            Some(found) if found != expected => {
                Err(self.wrong(&root.digest, LayoutErrorKind::Size { expected, found }))
            }
            Some(_) => {
                self.index.set(root, name);
                Ok(())
            }
        }
    }

    /// Gives the place of a blob back that was started last, and is not complete. Its content may be wrong in the source,
    /// although that of other roots is right.
    pub(crate) fn discard(&self, digest: &Digest) -> Result<(), LayoutError> {
        self.shared.discard(digest)
    }

    /// Writes `index.json` and the end of the archive, and gives it its name. If the writer is durable, the
    /// archive then survives a power failure.
    ///
    /// # Errors
    /// A blob was started, and is not complete; a file under the name of the archive was created meanwhile, and
    /// is kept; or the file cannot be written.
    pub fn finish(mut self) -> Result<(), LayoutError> {
        self.shared.end(INDEX, &self.index.to_bytes())?;
        if self.durability == Durability::Synced {
            self.shared.sync_file()?;
        }
        let directory = self.shared.directory().clone();
        check_existing(&directory, &self.name, self.path(), self.existing)?;
        self.shared.rename(&self.name)?;
        self.is_named = true;
        match self.durability {
            Durability::Synced => directory.sync(),
            Durability::Unsynced => Ok(()),
        }
    }

    fn wrong(&self, digest: &Digest, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        self.shared.wrong(&blob_path(digest), kind)
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.is_named {
            self.shared.remove();
        }
    }
}

/// Refuses to replace a file that is to be kept, and anything but a file.
fn check_existing(
    directory: &Directory,
    name: &OsStr,
    path: &Path,
    existing: Existing,
) -> Result<(), LayoutError> {
    let refuse = |kind| Err(LayoutError::new(path, kind));
    match directory.found(name) {
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(error),
        Ok((FileKind::File, size)) if size > 0 && existing == Existing::Keep => {
            refuse(LayoutErrorKind::Exists)
        }
        Ok((FileKind::File, _)) => Ok(()),
        // A link is not followed, and is not replaced either: that would surprise its owner.
        Ok((kind, _)) => refuse(LayoutErrorKind::NotAFile(kind.describe())),
    }
}

/// Creates the temporary file.
fn create_partial(
    directory: &Directory,
    name: &str,
    path: &Path,
) -> Result<(std::fs::File, String), LayoutError> {
    let name: String = name.chars().take(MAX_NAME_CHARS).collect();
    let process = std::process::id();
    let mut n = 0;
    loop {
        let partial = format!(".{name}.partial-{process}-{n}");
        match directory.create_new(&partial) {
            Ok(file) => return Ok((file, partial)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < MAX_NAMES => n += 1,
            Err(error) => return Err(LayoutError::new(path, error)),
        }
    }
}

/// The directory of an archive is not a layout.
fn not_a_layout(error: LayoutError) -> LayoutError {
    match error.kind() {
        LayoutErrorKind::NotALayout(found) => {
            LayoutError::new(error.path(), LayoutErrorKind::NotADirectory(found))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::trace::Trace;

    #[test]
    fn a_durable_archive_is_on_disk_before_it_has_its_name_and_its_name_before_it_is_finished() {
        for (durability, expected) in [
            (Durability::Synced, &["create", "sync", "from", "to", "sync"][..]),
            (Durability::Unsynced, &["create", "from", "to"]),
        ] {
            let home = tempfile::tempdir().unwrap();
            let (name, path) = (OsStr::new("app.tar"), home.path().join("app.tar"));
            let trace = Trace::default();
            let directory = Directory::open(home.path()).unwrap().traced(trace.clone());
            let writer =
                ArchiveWriter::create_in(directory, name, &path, Existing::Keep, durability).unwrap();
            writer.finish().unwrap();
            let calls = trace.calls();
            assert_eq!(calls.iter().map(|(call, _)| *call).collect::<Vec<_>>(), expected);
            let named = calls.iter().find(|(call, _)| *call == "to").unwrap();
            assert_eq!(named.1, path);
            if durability == Durability::Synced {
                assert_eq!(calls[1].1, calls[0].1, "the file");
                assert_eq!(calls[4].1, home.path(), "the directory");
            }
        }
    }
}
