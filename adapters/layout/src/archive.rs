//! Archives of a layout, which are read in place.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::layout::MARKER;

use crate::archive::invalid::InvalidArchive;
use crate::archive::scan::{Member, scan};
use crate::blob_file::BlobFile;
use crate::directory::kind::FileKind;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::positioned::Positioned;

pub(crate) mod invalid;
mod pax;
mod scan;

/// An open archive: the places of the layout's files in it. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Archive {
    path: Arc<Path>,
    file: Arc<Positioned>,
    members: Arc<BTreeMap<String, Member>>,
}

impl Archive {
    /// Opens an archive, and reads all of its headers. The path may lead through links.
    pub(crate) fn open(path: &Path) -> Result<Self, LayoutError> {
        let wrong = |kind: LayoutErrorKind| LayoutError::new(path, kind);
        // A pipe would block while it is opened, and cannot be read at offsets.
        let found = std::fs::metadata(path).map_err(|error| wrong(error.into()))?;
        if !found.is_file() {
            let kind = if found.is_dir() { FileKind::Directory } else { FileKind::Other };
            return Err(wrong(LayoutErrorKind::NotAFile(kind.describe())));
        }
        let file = File::open(path).map_err(|error| wrong(error.into()))?;
        let length = file.metadata().map_err(|error| wrong(error.into()))?.len();
        let file = Arc::new(Positioned::new(file));
        let found = scan(&file, length).map_err(wrong)?;
        if found.is_docker && !found.members.contains_key(MARKER) {
            return Err(wrong(InvalidArchive::Docker.into()));
        }
        Ok(Self { path: path.into(), file, members: Arc::new(found.members) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of the layout.
    pub(crate) fn open_file(&self, name: &str) -> Result<BlobFile, LayoutError> {
        let member = self.member(name)?;
        Ok(BlobFile::part(self.file.clone(), member.start, member.size))
    }

    /// The size of a file of the layout.
    pub(crate) fn size(&self, name: &str) -> Result<u64, LayoutError> {
        Ok(self.member(name)?.size)
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Bytes, LayoutError> {
        let member = self.member(name)?;
        let too_large = |_| self.wrong(name, LayoutErrorKind::TooLarge(limit));
        if member.size > limit {
            return Err(self.wrong(name, LayoutErrorKind::TooLarge(limit)));
        }
        // The size is at most that of the archive, all of which existed when it was opened.
        let mut bytes = vec![0; usize::try_from(member.size).map_err(too_large)?];
        let read = self.file.fill_at(&mut bytes, member.start);
        bytes.truncate(read.map_err(|error| self.wrong(name, error))?);
        Ok(bytes.into())
    }

    fn member(&self, name: &str) -> Result<&Member, LayoutError> {
        match self.members.get(name) {
            Some(member) => match member.odd {
                Some(odd) => Err(self.wrong(name, LayoutErrorKind::NotAFile(odd))),
                None => Ok(member),
            },
            None => Err(self.wrong(name, LayoutErrorKind::Missing)),
        }
    }

    fn wrong(&self, name: &str, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        LayoutError::new(&self.path.join(name), kind)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Archive").field(&self.path).finish()
    }
}
