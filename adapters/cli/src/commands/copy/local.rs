//! Copies into layouts and archives on disk.

use std::collections::BTreeSet;
use std::path::Path;

use oci_proto::layout::{RefName, Root};
use oci_proto::{Descriptor, Digest, Kind, WalkOptions};
use oci_proto_layout::{
    ArchiveReference, ArchiveWriter, Copied, CopyOptions, Layout, LayoutError, LayoutWriter, copy_tree,
};

use crate::args::CommonArgs;
use crate::args::layout_name::LayoutName;
use crate::args::writing::TransferArgs;
use crate::commands::sending::SendDisplay;
use crate::concern::Concern;
use crate::interrupt::Interrupt;
use crate::output::Failure;
use crate::temporary;

/// Copies a tree between layouts and archives.
pub(super) fn copy(
    from: &LayoutName,
    to: &LayoutName,
    options: &TransferArgs,
    common: &CommonArgs,
) -> Result<Descriptor, Failure> {
    let (layout, root) = open(from, options)?;
    // Before anything is created.
    let size = size_of_blobs(&layout, &root, options.selection.referrers, &mut BTreeSet::new())?;
    let display = SendDisplay::new(Some(size), common.quiet);
    let copied = interruptible(|check| {
        let mut destination = Destination::open(to)?;
        let name = name_of(to.root());
        destination.copy(&layout, &root, name.as_ref(), options.selection.referrers, &display, check)?;
        destination.finish()
    });
    display.clear();
    copied?;
    display.note(common);
    Ok(root)
}

/// Opens the source of a copy, and resolves its root.
pub(super) fn open(from: &LayoutName, options: &TransferArgs) -> Result<(Layout, Descriptor), Failure> {
    let layout = from.open().map_err(|error| Failure::of_opening(&error, from))?;
    let root = layout.resolve(from.root(), options.selection.platform.as_ref());
    Ok((layout, root.map_err(|error| Failure::of_layout(&error))?))
}

/// Writes an archive from a temporary layout beside it, which `pull` fills.
pub(super) fn pull_to_archive(
    to: &ArchiveReference,
    options: &TransferArgs,
    common: &CommonArgs,
    pull: impl FnOnce(&Path) -> Result<Descriptor, Failure>,
) -> Result<Descriptor, Failure> {
    through_layout(to, common, pull, |layout, root, destination, check| {
        let (name, display) = (name_of(to.root()), SendDisplay::new(None, true));
        destination.copy(layout, root, name.as_ref(), options.selection.referrers, &display, check)
    })
}

/// Writes an archive from a temporary layout beside it. `pull` fills the layout, and `write` copies from it. Without any
/// root, no archive is written.
pub(in crate::commands) fn through_layout<T>(
    to: &ArchiveReference,
    common: &CommonArgs,
    pull: impl FnOnce(&Path) -> Result<T, Failure>,
    write: impl FnOnce(&Layout, &T, &mut Destination, &dyn Fn()) -> Result<(), Failure>,
) -> Result<T, Failure> {
    let file = to.file();
    let create = || ArchiveWriter::create(file).map_err(|error| Failure::of_archive(&error));
    // An archive that is kept, or cannot be written, fails before anything is fetched.
    drop(create()?);
    let beside = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let directory = temporary::directory_in(beside)
        .map_err(|error| Failure::failed(format_args!("{}: {error}", beside.display())))?;
    let pulled = pull(directory.path())?;
    if !Layout::is_at(directory.path()) {
        return Ok(pulled);
    }
    let layout = Layout::open(directory.path()).map_err(|error| Failure::of_layout(&error))?;
    if layout.roots().is_empty() {
        return Ok(pulled);
    }
    interruptible(|check| {
        let mut destination = Destination::Archive(create()?);
        write(&layout, &pulled, &mut destination, check)?;
        destination.finish()
    })?;
    common.detail(format_args!("wrote {}", file.display()));
    Ok(pulled)
}

/// A layout or an archive that is written.
pub(in crate::commands) enum Destination {
    Directory(LayoutWriter),
    Archive(ArchiveWriter),
}

impl Destination {
    pub(in crate::commands) fn open(name: &LayoutName) -> Result<Self, Failure> {
        let opened = match name {
            LayoutName::Directory(name) => LayoutWriter::open(name.directory())
                .map(Self::Directory)
                .map_err(|error| Failure::of_writing(&error)),
            LayoutName::Archive(name) => ArchiveWriter::create(name.file())
                .map(Self::Archive)
                .map_err(|error| Failure::of_archive(&error)),
        };
        opened.map_err(|failure| failure.concerning(Concern::Everything))
    }

    /// Copies everything under a root.
    pub(in crate::commands) fn copy(
        &mut self,
        from: &Layout,
        root: &Descriptor,
        name: Option<&RefName>,
        referrers: bool,
        display: &SendDisplay,
        check: &dyn Fn(),
    ) -> Result<(), Failure> {
        let root = Root::Digest(root.digest.clone());
        let mut options = CopyOptions::default();
        options.referrers = referrers;
        let reported = |copied: Copied<'_>| {
            check();
            display.copied(copied);
        };
        let copied = match self {
            Self::Directory(to) => copy_tree(from, &root, to, name, &options, reported),
            Self::Archive(to) => copy_tree(from, &root, to, name, &options, reported),
        };
        copied.map(drop).map_err(|error| Failure::of_writing(&error))
    }

    pub(in crate::commands) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Archive(writer) => writer.finish().map_err(|error| Failure::of_writing(&error)),
        }
    }
}

/// The name that a destination gives to the root.
pub(super) fn name_of(root: &Root) -> Option<RefName> {
    match root {
        Root::Named(name) => Some(name.clone()),
        Root::Only | Root::Digest(_) => None,
    }
}

/// The size of all blobs under a root, and under its referrers if they are copied, that are not in `seen`.
pub(in crate::commands) fn size_of_blobs(
    layout: &Layout,
    root: &Descriptor,
    referrers: bool,
    seen: &mut BTreeSet<Digest>,
) -> Result<u64, Failure> {
    let failure = |error: LayoutError| Failure::of_layout(&error);
    let mut options = WalkOptions::default();
    (options.blobs, options.strict) = (true, true);
    let mut trees = vec![root.clone()];
    if referrers {
        trees.extend(layout.referrers_of_tree(root).map_err(failure)?);
    }
    let mut size: u64 = 0;
    for tree in trees {
        for node in layout.walk(&Root::Digest(tree.digest), &options).map_err(failure)? {
            let descriptor = node.map_err(failure)?.descriptor;
            if descriptor.media_type.kind() == Kind::Other && seen.insert(descriptor.digest) {
                size = size.saturating_add(descriptor.size);
            }
        }
    }
    Ok(size)
}

/// Runs a copy, which a signal ends between two contents, so that temporary files are removed.
pub(in crate::commands) fn interruptible<T>(
    copy: impl FnOnce(&dyn Fn()) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let interrupt = Interrupt::new()?;
    let check = interrupt.checker();
    interrupt.run(|| copy(&check)).unwrap_or_else(|| Err(Failure::failed("interrupted")))
}

#[cfg(test)]
mod tests {
    use oci_proto::MediaType;
    use oci_proto::server::{Flavour, Memory};

    use super::*;

    #[test]
    fn the_size_includes_referrers_if_they_are_copied_and_each_blob_once() {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[b"shared"]);
        let other = memory.add_image(Flavour::OCI, None, &[b"shared", b"other"]);
        let of_type: MediaType = "a/b".parse().unwrap();
        let signature = memory.add_artifact(Flavour::OCI, of_type, &[b"signed"], Some(&image));
        let home = tempfile::tempdir().unwrap();
        let mut writer = LayoutWriter::open(home.path().join("layout")).unwrap();
        for (digest, content) in memory.contents() {
            let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
            writer.put(&descriptor, content).unwrap();
        }
        writer.set_root(&signature, None).unwrap();
        let (layout, mut seen) = (writer.layout(), BTreeSet::new());
        let alone = size_of_blobs(layout, &image, false, &mut seen).unwrap();
        let referrer = size_of_blobs(layout, &image, true, &mut seen).unwrap();
        assert_eq!(referrer, "signed".len() as u64 + "{}".len() as u64);
        assert_eq!(size_of_blobs(layout, &image, true, &mut BTreeSet::new()).unwrap(), alone + referrer);
        let whole = size_of_blobs(layout, &other, false, &mut BTreeSet::new()).unwrap();
        let rest = size_of_blobs(layout, &other, false, &mut seen).unwrap();
        assert_eq!(whole - rest, "shared".len() as u64);
    }
}
