//! A layout that is read.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::layout::{Entry, INDEX, Index, MARKER, MARKER_BYTES, Root, blob_path, check_marker, typed};
use oci_proto::server::Content;
use oci_proto::{
    Descriptor, Digest, Evidence, Kind, Limits, Manifest, MediaType, Platform, PlatformSelector, WalkOptions,
};

use crate::error::Trouble;
use crate::writer::{WORK, is_partial};
use crate::{BlobReader, LayoutError, Walk, files};

/// An image layout on disk, as its `index.json` was when it was opened.
///
/// Cloning is cheap. All methods read files, and block for as long as that takes.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: Arc<Path>,
    index: Arc<Index>,
    limits: Limits,
}

impl Layout {
    /// Opens a layout: reads its `oci-layout` and its `index.json`.
    ///
    /// # Errors
    /// The folder is not a layout, or one of the two is refused.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LayoutError> {
        let folder = folder.as_ref();
        open_folder(folder)?;
        read_marker(folder)?;
        Ok(Self::with_index(folder, read_index(folder, &Limits::default())?))
    }

    /// Whether there is an `oci-layout` file in the folder.
    pub fn is_at(folder: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(folder.as_ref().join(MARKER)).is_ok_and(|found| found.is_file())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The roots, as `index.json` has them.
    pub fn roots(&self) -> &[Entry] {
        self.index.entries()
    }

    /// Says what a root is, or what fits the platform best under it; that it is there, and how long it is.
    ///
    /// A digest may name any content of the layout. Where nothing says what the content is, it is read to find
    /// out.
    ///
    /// # Errors
    /// There is no such root, it is not there or has another size, nothing fits the platform, or a document
    /// on the way is wrong.
    pub fn resolve(&self, root: &Root, platform: Option<&Platform>) -> Result<Descriptor, LayoutError> {
        let found = match (self.index.find(root), root) {
            (Ok(entry), _) => entry.descriptor().clone(),
            (Err(_), Root::Digest(digest)) => {
                let size = files::blob_size(&self.folder, digest)?;
                Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), size)
            }
            (Err(none), _) => return Err(LayoutError::new(&self.folder.join(INDEX), none)),
        };
        let found = self.known(found)?;
        match platform {
            Some(platform) if found.media_type.kind() == Kind::Index => self.choose(found, platform),
            _ => {
                self.check_size(&found)?;
                Ok(found)
            }
        }
    }

    /// Reads a manifest, and verifies it.
    ///
    /// # Errors
    /// It is not there, it is wrong, or it is refused.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, LayoutError> {
        let evidence = Evidence { expected: Some(&descriptor.media_type), ..Evidence::default() };
        Manifest::read(self.verified(descriptor)?, evidence)
            .map_err(|refused| self.wrong(&descriptor.digest, refused))
    }

    /// Walks everything under a root, or under what fits the platform best there.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve).
    pub fn walk(&self, root: &Root, options: &WalkOptions) -> Result<Walk<'_>, LayoutError> {
        let root = self.resolve(root, options.platform.as_ref())?;
        Ok(Walk::new(self, root, options))
    }

    /// Opens content, which is verified as it is read. Without a size, it has the one that is found.
    ///
    /// # Errors
    /// It is not there, is not a file, has another size, or its digest cannot be verified.
    pub fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobReader, LayoutError> {
        BlobReader::open(&self.folder, digest, size)
    }

    /// Opens the file of some content, and says how long it is. Its bytes are not verified: this is for a server,
    /// whose clients verify them.
    ///
    /// # Errors
    /// It is not there, or is not a file.
    pub fn open_unverified(&self, digest: &Digest) -> Result<(File, u64), LayoutError> {
        files::open_blob(&self.folder, digest)
    }

    /// Whether content is there, and has the right size.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        self.check_size(descriptor).is_ok()
    }

    /// Reads content to its end, and verifies it.
    ///
    /// # Errors
    /// It is not there, or it is wrong.
    pub fn verify(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        self.blob(&descriptor.digest, Some(descriptor.size))?.verify(|_| ControlFlow::Continue(()))
    }

    /// What interrupted writers left of blobs, as far as that can be read. The next pull of the same content goes on
    /// with it; nobody else ever removes it.
    pub fn leftovers(&self) -> Leftovers {
        let folder = self.folder.join(WORK);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let blobs = entries.filter(|entry| is_partial(&entry.file_name()));
        let mut found = Leftovers { blobs: 0, bytes: 0, folder };
        for blob in blobs.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file) {
            found.blobs += 1;
            found.bytes += blob.len();
        }
        found
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A layout whose `index.json` is read apart from it.
    pub(crate) fn with_index(folder: &Path, index: Index) -> Self {
        Self { folder: folder.into(), index: Arc::new(index), limits: Limits::default() }
    }

    /// Reads a document, as long as its descriptor says, but does not verify it.
    pub(crate) fn unverified(&self, descriptor: &Descriptor) -> Result<Bytes, LayoutError> {
        let (digest, expected) = (&descriptor.digest, descriptor.size);
        self.check_size(descriptor)?;
        let bytes = files::read_blob(&self.folder, digest, self.limits.manifest_bytes)?;
        match bytes.len() as u64 {
            found if found != expected => Err(self.wrong(digest, Trouble::Size { expected, found })),
            _ => Ok(bytes),
        }
    }

    /// The error that content is wrong.
    pub(crate) fn wrong(&self, digest: &Digest, trouble: impl Into<Trouble>) -> LayoutError {
        LayoutError::new(&self.folder.join(blob_path(digest)), trouble)
    }

    fn verified(&self, descriptor: &Descriptor) -> Result<Bytes, LayoutError> {
        let digest = &descriptor.digest;
        let bytes = self.unverified(descriptor)?;
        let algorithm = digest.algorithm().ok_or_else(|| self.wrong(digest, Trouble::Unverifiable))?;
        match Digest::of(algorithm, &bytes) {
            computed if computed != *digest => Err(self.wrong(digest, Trouble::Content(computed))),
            _ => Ok(bytes),
        }
    }

    /// The descriptor with the type that the content has, where it says none.
    fn known(&self, descriptor: Descriptor) -> Result<Descriptor, LayoutError> {
        if !descriptor.media_type.is_generic() || descriptor.size > self.limits.manifest_bytes {
            return Ok(descriptor);
        }
        let digest = descriptor.digest.clone();
        let content = self.verified(&descriptor)?;
        typed(descriptor, content).map_err(|refused| self.wrong(&digest, refused))
    }

    fn check_size(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        let (digest, expected) = (&descriptor.digest, descriptor.size);
        match files::blob_size(&self.folder, digest)? {
            found if found != expected => Err(self.wrong(digest, Trouble::Size { expected, found })),
            _ => Ok(()),
        }
    }

    fn choose(&self, root: Descriptor, platform: &Platform) -> Result<Descriptor, LayoutError> {
        let mut choice = PlatformSelector::new(root, platform, &self.limits, 1);
        loop {
            if let Some(chosen) = choice.next_step() {
                let chosen = chosen.map_err(|error| LayoutError::new(&self.folder, error))?;
                self.check_size(&chosen)?;
                return Ok(chosen);
            }
            let Some(wanted) = choice.want() else { continue };
            match self.unverified(&wanted.descriptor) {
                Ok(bytes) => choice.supply(wanted.ticket, bytes, None),
                Err(error) if is_missing(&error) => choice.supply_missing(wanted.ticket),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Blobs that are not whole, from [`Layout::leftovers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// How many there are.
    pub blobs: u64,
    /// How many bytes there are of them.
    pub bytes: u64,
    /// Where they are. Without it the layout is as good.
    pub folder: PathBuf,
}

/// What a server needs to know of a layout: it is added to one with
/// [`Server::add`](oci_proto::server::Server::add).
impl Content for Layout {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        files::read_blob(&self.folder, digest, self.limits.manifest_bytes).ok()
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        files::blob_size(&self.folder, digest).ok()
    }
}

pub(crate) fn is_missing(error: &LayoutError) -> bool {
    matches!(error.trouble(), Trouble::Missing)
}

/// Makes sure that the layout's folder is one, by whatever path it was named.
pub(crate) fn open_folder(folder: &Path) -> Result<(), LayoutError> {
    let found = fs::metadata(folder).map_err(|error| LayoutError::new(folder, error))?;
    if found.is_dir() {
        Ok(())
    } else {
        Err(LayoutError::new(folder, Trouble::NoLayout(files::name(found.file_type()))))
    }
}

pub(crate) fn read_marker(folder: &Path) -> Result<(), LayoutError> {
    let path = folder.join(MARKER);
    check_marker(&files::read(&path, MARKER_BYTES)?).map_err(|invalid| LayoutError::new(&path, invalid))
}

pub(crate) fn read_index(folder: &Path, limits: &Limits) -> Result<Index, LayoutError> {
    let path = folder.join(INDEX);
    Index::read(files::read(&path, limits.manifest_bytes)?)
        .map_err(|invalid| LayoutError::new(&path, invalid))
}
