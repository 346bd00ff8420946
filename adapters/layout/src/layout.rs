//! Reading a layout.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use oci_proto::layout::{Entry, INDEX, Index, MARKER, MARKER_BYTES, NoRoot, Root, blob_path, check_marker};
use oci_proto::server::Content;
use oci_proto::{Descriptor, Digest, Kind, Limits, Manifest, MediaType, Platform, PlatformSelector};

use crate::archive::Archive;
use crate::blob::BlobReader;
use crate::blob_file::BlobFile;
use crate::directory::Directory;
use crate::directory::kind::FileKind;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::Files;
use crate::referrers::Referrers;
use crate::work::{WORK, is_partial};

/// An image layout on disk, in a directory or in an archive, with its `index.json` as of opening.
///
/// An archive is an uncompressed tar file, and is read in place, without unpacking. The places of its files are
/// those as of opening.
///
/// Cloning is cheap. Methods block while they read files.
#[derive(Clone, Debug)]
pub struct Layout {
    files: Files,
    index: Arc<Index>,
    /// Found when they are first needed.
    referrers: Arc<OnceLock<Referrers>>,
    limits: Limits,
}

impl Layout {
    /// Opens a layout: reads its `oci-layout` and its `index.json`.
    ///
    /// # Errors
    /// The directory is not a layout, or one of the two files is invalid.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, LayoutError> {
        Self::of(Directory::open(directory.as_ref())?.into())
    }

    /// Opens a layout to read one root. If that is a digest, `index.json` is not necessary: if it is missing
    /// or invalid, the layout has no [roots](Self::roots), and the content is read all the same.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for(directory: impl AsRef<Path>, root: &Root) -> Result<Self, LayoutError> {
        Self::of_root(Directory::open(directory.as_ref())?.into(), root)
    }

    /// Opens the layout in an archive: reads all headers of the archive, `oci-layout` and `index.json`.
    ///
    /// Of several members with one name the last counts, as it does for programs that unpack the archive.
    /// Members that are not files of a layout are ignored.
    ///
    /// # Errors
    /// The file is not a tar archive, is compressed, truncated or damaged, or has more than 262,144 members; or
    /// it is not a layout, or one of the two files is invalid.
    pub fn open_archive(file: impl AsRef<Path>) -> Result<Self, LayoutError> {
        Self::of(Archive::open(file.as_ref())?.into())
    }

    /// Opens the layout in an archive to read one root, as [`open_for`](Self::open_for) does.
    ///
    /// # Errors
    /// As [`open_archive`](Self::open_archive).
    pub fn open_archive_for(file: impl AsRef<Path>, root: &Root) -> Result<Self, LayoutError> {
        Self::of_root(Archive::open(file.as_ref())?.into(), root)
    }

    /// Whether the directory has an `oci-layout` file.
    pub fn is_at(directory: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(directory.as_ref().join(MARKER)).is_ok_and(|found| found.is_file())
    }

    /// The path of the directory or archive.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// The roots, in the order of `index.json`.
    pub fn roots(&self) -> &[Entry] {
        self.index.entries()
    }

    /// The name of each root; see [`Index::names`].
    pub fn names(&self) -> Vec<Option<&str>> {
        self.index.names()
    }

    /// Resolves a root, or the best match for a platform under it, to a descriptor. Checks that its file
    /// exists and has the right size.
    ///
    /// A digest may name any content of the layout, whatever `index.json` says about it: size and kind are
    /// those of the content. [`Root::Only`] is the only root that has a name or is not a [referrer](Self::referrers):
    /// roots without a name are how a layout keeps the referrers of the others.
    ///
    /// # Errors
    /// The layout has no such root, the file is missing or has another size, nothing matches the platform, or
    /// a document that was read is invalid.
    pub fn resolve(&self, root: &Root, platform: Option<&Platform>) -> Result<Descriptor, LayoutError> {
        let entry = match self.index.find(root) {
            Err(NoRoot::Several(shown)) => self.only_subject().ok_or(NoRoot::Several(shown)),
            found => found,
        };
        let entry = entry.map(Entry::descriptor);
        let found = match (entry, root) {
            (entry, Root::Digest(digest)) => self.by_digest(digest, entry.ok())?,
            (Ok(entry), _) => self.known(entry.clone())?,
            (Err(none), _) => return Err(self.files.wrong(INDEX, none)),
        };
        match platform {
            Some(platform) if found.media_type.kind() != Kind::Other => self.select(found, platform),
            _ => {
                self.check_size(&found)?;
                Ok(found)
            }
        }
    }

    /// Resolves one of the [`roots`](Self::roots) like [`resolve`](Self::resolve), without searching for it.
    ///
    /// # Errors
    /// The file is missing or has another size, or a document that was read is invalid.
    pub fn resolve_entry(&self, entry: &Entry) -> Result<Descriptor, LayoutError> {
        let found = self.known(entry.descriptor().clone())?;
        self.check_size(&found)?;
        Ok(found)
    }

    /// Reads and verifies a manifest.
    ///
    /// # Errors
    /// It is missing, does not match its descriptor, or is invalid.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, LayoutError> {
        Manifest::verified(self.unverified(descriptor)?, descriptor, None)
            .map_err(|error| self.wrong(&descriptor.digest, error))
    }

    /// Opens a blob, which is verified as it is read. Without a `size`, any size is accepted.
    ///
    /// # Errors
    /// It is missing, is not a file, has another size, or its digest cannot be verified.
    pub fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobReader, LayoutError> {
        BlobReader::open(&self.files, digest, size)
    }

    /// Opens the file of a blob without verification, to read it at offsets. For servers and uploads, whose
    /// peers verify.
    ///
    /// # Errors
    /// It is missing, or is not a file.
    pub fn open_unverified(&self, digest: &Digest) -> Result<BlobFile, LayoutError> {
        self.files.open_blob(digest)
    }

    /// The referrers of a document: the documents whose subject it is, such as signatures, each once. The document
    /// itself need not be in the layout.
    ///
    /// All documents that can be reached from the [roots](Self::roots) are searched, once, when they are first needed.
    /// So referrers are found as roots, with or without a name, and as children of an index. Documents that are missing or
    /// invalid are left out; [`check()`](crate::check()) finds them.
    ///
    /// Everything that an index under the [fallback tag](oci_proto::fallback_tag()) of the subject lists is its referrer,
    /// too, as the index describes it: also what is missing or invalid, or is neither an image nor an index.
    ///
    /// # Errors
    /// A file cannot be read, the index under the subject's fallback tag is missing or invalid, or the documents exceed the
    /// limits of a walk.
    pub fn referrers(&self, subject: &Digest) -> Result<&[Descriptor], LayoutError> {
        self.all_referrers()?.of(subject)
    }

    /// Whether the layout has the content, with the right size.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        self.check_size(descriptor).is_ok()
    }

    /// Reads and verifies content.
    ///
    /// # Errors
    /// It is missing, or does not match its descriptor.
    pub fn verify(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        self.blob(&descriptor.digest, Some(descriptor.size))?.verify(|_| ControlFlow::Continue(()))
    }

    /// The partial blobs of interrupted writers. The next pull of the same content resumes them; nothing else
    /// removes them. Errors of reading are ignored. An archive has none.
    pub fn leftovers(&self) -> Leftovers {
        let mut found = Leftovers { blobs: 0, bytes: 0, directory: self.files.join(WORK) };
        let Files::Directory(directory) = &self.files else { return found };
        let Ok(directory) = directory.directory(WORK) else { return found };
        for name in directory.names().unwrap_or_default() {
            if let Some(name) = name.to_str().filter(|name| is_partial(name))
                && let Ok((FileKind::File, size)) = directory.found(name)
            {
                found.blobs += 1;
                found.bytes += size;
            }
        }
        found
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens the layout that has these files.
    pub(crate) fn of(files: Files) -> Result<Self, LayoutError> {
        read_marker(&files)?;
        let index = read_index(&files, &Limits::default())?;
        Ok(Self::with_index(files, index))
    }

    fn of_root(files: Files, root: &Root) -> Result<Self, LayoutError> {
        read_marker(&files)?;
        let index = match (read_index(&files, &Limits::default()), root) {
            (Err(_), Root::Digest(_)) => Index::new(),
            (index, _) => index?,
        };
        Ok(Self::with_index(files, index))
    }

    /// A layout with an `index.json` that was read separately.
    pub(crate) fn with_index(files: Files, index: Index) -> Self {
        Self { files, index: Arc::new(index), referrers: Arc::default(), limits: Limits::default() }
    }

    /// Reads a document and checks its size, but not its digest.
    pub(crate) fn unverified(&self, descriptor: &Descriptor) -> Result<Bytes, LayoutError> {
        self.check_size(descriptor)?;
        self.files.read_blob(&descriptor.digest, self.limits.manifest_bytes)
    }

    /// An error of the file of a digest.
    pub(crate) fn wrong(&self, digest: &Digest, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        self.files.wrong(&blob_path(digest), kind)
    }

    /// The descriptor of any content, which is that of `index.json` only if the content agrees.
    fn by_digest(&self, digest: &Digest, entry: Option<&Descriptor>) -> Result<Descriptor, LayoutError> {
        let size = self.files.blob_size(digest)?;
        let read = self.known(Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), size))?;
        let agrees =
            |entry: &&Descriptor| entry.size == size && entry.media_type.kind() == read.media_type.kind();
        Ok(entry.filter(agrees).cloned().unwrap_or(read))
    }

    /// The descriptor; if its media type is generic, with that of the content.
    fn known(&self, mut descriptor: Descriptor) -> Result<Descriptor, LayoutError> {
        if !descriptor.media_type.is_generic() || descriptor.size > self.limits.manifest_bytes {
            return Ok(descriptor);
        }
        let manifest = Manifest::sniffed(self.unverified(&descriptor)?, &descriptor, None)
            .map_err(|error| self.wrong(&descriptor.digest, error))?;
        if let Some(manifest) = manifest {
            descriptor.media_type = manifest.media_type().clone();
        }
        Ok(descriptor)
    }

    fn all_referrers(&self) -> Result<&Referrers, LayoutError> {
        if let Some(found) = self.referrers.get() {
            return Ok(found);
        }
        // An error may be temporary, and is not kept.
        let found = Referrers::find(&self.files, &self.index, &self.limits)?;
        Ok(self.referrers.get_or_init(|| found))
    }

    /// The only root that has a name or is not a referrer.
    fn only_subject(&self) -> Option<&Entry> {
        let referrers = self.all_referrers().ok()?;
        let roots = self.roots().iter().zip(self.names());
        let mut others = roots
            .filter(|(entry, name)| name.is_some() || !referrers.contains(&entry.descriptor().digest))
            .map(|(entry, _)| entry);
        let first = others.next()?;
        others.all(|other| other.descriptor().digest == first.descriptor().digest).then_some(first)
    }

    fn check_size(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        let (digest, expected) = (&descriptor.digest, descriptor.size);
        match self.files.blob_size(digest)? {
            found if found != expected => Err(self.wrong(digest, LayoutErrorKind::Size { expected, found })),
            _ => Ok(()),
        }
    }

    fn select(&self, root: Descriptor, platform: &Platform) -> Result<Descriptor, LayoutError> {
        let mut selector = PlatformSelector::new(root, platform, &self.limits, 1);
        loop {
            if let Some(selected) = selector.next_step() {
                let selected = selected.map_err(|error| LayoutError::new(self.path(), error))?;
                self.check_size(&selected)?;
                return Ok(selected);
            }
            let Some(wanted) = selector.want() else { continue };
            match self.unverified(&wanted.descriptor) {
                Ok(bytes) => selector.supply(wanted.ticket, bytes, None),
                Err(error) if error.is_missing() => selector.supply_missing(wanted.ticket),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Partial blobs, from [`Layout::leftovers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// The number of partial blobs.
    pub blobs: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Their directory. The layout is valid without it.
    pub directory: PathBuf,
}

/// Lets [`Server::add`](oci_proto::server::Server::add) serve a layout.
impl Content for Layout {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.files.read_blob(digest, self.limits.manifest_bytes).ok()
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        self.files.blob_size(digest).ok()
    }
}

pub(crate) fn read_marker(files: &Files) -> Result<(), LayoutError> {
    let marker = read_own(files, MARKER, MARKER_BYTES)?;
    check_marker(&marker).map_err(|invalid| files.wrong(MARKER, invalid))
}

pub(crate) fn read_index(files: &Files, limits: &Limits) -> Result<Index, LayoutError> {
    let index = read_own(files, INDEX, limits.layout_index_bytes)?;
    Index::read(index).map_err(|invalid| files.wrong(INDEX, invalid))
}

/// Reads one of the two files of a layout that are not blobs.
fn read_own(files: &Files, name: &str, limit: u64) -> Result<Bytes, LayoutError> {
    let bytes = files.read(name, limit)?;
    // Only in a directory can it be repaired.
    if matches!(files, Files::Directory(_)) && is_blank(&bytes) {
        return Err(files.wrong(name, LayoutErrorKind::Blank));
    }
    Ok(bytes)
}

/// Whether a file has no content, or only zeros, as one that was lost in a crash.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
