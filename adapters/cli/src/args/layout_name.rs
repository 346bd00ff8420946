//! Names of layouts on disk: in directories, and in archives.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use oci_proto::layout::Root;
use oci_proto_layout::{
    ArchiveReference, Check, InvalidLayoutReference, Layout, LayoutError, LayoutReference, check,
    check_archive,
};

/// A layout in a directory or an archive, and a root in it.
#[derive(Clone, Debug)]
pub(crate) enum LayoutName {
    Directory(LayoutReference),
    Archive(ArchiveReference),
}

impl LayoutName {
    /// Whether a text has the prefix of a directory or an archive.
    pub(crate) fn has_prefix(text: &OsStr) -> bool {
        [LayoutReference::PREFIX, ArchiveReference::PREFIX]
            .iter()
            .any(|prefix| text.as_encoded_bytes().starts_with(prefix.as_bytes()))
    }

    pub(crate) fn parse(text: &OsStr) -> Result<Self, InvalidLayoutReference> {
        if text.as_encoded_bytes().starts_with(ArchiveReference::PREFIX.as_bytes()) {
            return ArchiveReference::parse(text).map(Self::Archive);
        }
        LayoutReference::parse(text).map(Self::Directory)
    }

    /// The path of the directory or the archive.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(name) => name.directory(),
            Self::Archive(name) => name.file(),
        }
    }

    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::Directory(_) => LayoutReference::PREFIX,
            Self::Archive(_) => ArchiveReference::PREFIX,
        }
    }

    /// The form of such names, for hints.
    pub(crate) fn form(&self) -> &'static str {
        match self {
            Self::Directory(_) => "oci:DIR",
            Self::Archive(_) => "oci-archive:FILE",
        }
    }

    pub(crate) fn root(&self) -> &Root {
        match self {
            Self::Directory(name) => name.root(),
            Self::Archive(name) => name.root(),
        }
    }

    /// Opens the layout to read the root.
    pub(crate) fn open(&self) -> Result<Layout, LayoutError> {
        match self {
            Self::Directory(name) => Layout::open_for(name.directory(), name.root()),
            Self::Archive(name) => Layout::open_archive_for(name.file(), name.root()),
        }
    }

    /// Checks the root, or without one all roots.
    pub(crate) fn check(&self) -> Result<Check, LayoutError> {
        let root = Some(self.root()).filter(|root| **root != Root::Only);
        match self {
            Self::Directory(name) => check(name.directory(), root),
            Self::Archive(name) => check_archive(name.file(), root),
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(name) => name.fmt(f),
            Self::Archive(name) => name.fmt(f),
        }
    }
}
