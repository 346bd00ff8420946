//! Copies into layouts and archives on disk.

use std::collections::BTreeSet;
use std::path::Path;

use oci_proto::layout::{RefName, Root};
use oci_proto::{Descriptor, Kind, WalkOptions};
use oci_proto_layout::{
    ArchiveReference, ArchiveWriter, Copied, CopyOptions, Layout, LayoutError, LayoutWriter, TreeWriter,
    copy_tree,
};

use crate::args::CommonArgs;
use crate::args::layout_name::LayoutName;
use crate::args::writing::TransferArgs;
use crate::commands::sending::SendDisplay;
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
    let size = size_of_blobs(&layout, &root)?;
    let display = SendDisplay::new(Some(size), common.quiet);
    let failure = |error: LayoutError| Failure::of_writing(&error);
    let copied = interruptible(|check| match to {
        LayoutName::Directory(name) => {
            let mut writer = LayoutWriter::open(name.directory()).map_err(failure)?;
            tree(&layout, &root, &mut writer, name.root(), &display, check)
        }
        LayoutName::Archive(name) => write_archive(&layout, &root, name, &display, check),
    });
    display.clear();
    let copied = copied?;
    display.note(common);
    Ok(copied)
}

/// Opens the source of a copy, and resolves its root.
pub(super) fn open(from: &LayoutName, options: &TransferArgs) -> Result<(Layout, Descriptor), Failure> {
    let layout = from.open().map_err(|error| Failure::of_opening(&error, from))?;
    let root = layout.resolve(from.root(), options.platform.as_ref());
    Ok((layout, root.map_err(|error| Failure::of_layout(&error))?))
}

/// Writes an archive from a temporary layout beside it, which `pull` fills.
pub(super) fn through_layout(
    to: &ArchiveReference,
    common: &CommonArgs,
    pull: impl FnOnce(&Path) -> Result<Descriptor, Failure>,
) -> Result<Descriptor, Failure> {
    let file = to.file();
    // An archive that is kept, or cannot be written, fails before anything is fetched.
    drop(ArchiveWriter::create(file).map_err(|error| Failure::of_writing(&error))?);
    let beside = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let directory = temporary::directory_in(beside)
        .map_err(|error| Failure::failed(format_args!("{}: {error}", beside.display())))?;
    let root = pull(directory.path())?;
    let layout = Layout::open(directory.path()).map_err(|error| Failure::of_layout(&error))?;
    let display = SendDisplay::new(None, true);
    interruptible(|check| write_archive(&layout, &root, to, &display, check))?;
    common.detail(format_args!("wrote {}", file.display()));
    Ok(root)
}

fn write_archive(
    from: &Layout,
    root: &Descriptor,
    to: &ArchiveReference,
    display: &SendDisplay,
    check: &dyn Fn(),
) -> Result<Descriptor, Failure> {
    let failure = |error: LayoutError| Failure::of_writing(&error);
    let mut writer = ArchiveWriter::create(to.file()).map_err(failure)?;
    let copied = tree(from, root, &mut writer, to.root(), display, check)?;
    writer.finish().map_err(failure)?;
    Ok(copied)
}

fn tree(
    from: &Layout,
    root: &Descriptor,
    to: &mut impl TreeWriter,
    name: &Root,
    display: &SendDisplay,
    check: &dyn Fn(),
) -> Result<Descriptor, Failure> {
    let root = Root::Digest(root.digest.clone());
    let reported = |copied: Copied<'_>| {
        check();
        display.copied(copied);
    };
    copy_tree(from, &root, to, name_of(name).as_ref(), &CopyOptions::default(), reported)
        .map_err(|error| Failure::of_writing(&error))
}

/// The name that a destination gives to the root.
pub(super) fn name_of(root: &Root) -> Option<RefName> {
    match root {
        Root::Named(name) => Some(name.clone()),
        Root::Only | Root::Digest(_) => None,
    }
}

/// The size of all blobs under a root.
pub(super) fn size_of_blobs(layout: &Layout, root: &Descriptor) -> Result<u64, Failure> {
    let mut options = WalkOptions::default();
    (options.blobs, options.strict) = (true, true);
    let mut seen = BTreeSet::new();
    let mut size: u64 = 0;
    let failure = |error| Failure::of_layout(&error);
    for node in layout.walk(&Root::Digest(root.digest.clone()), &options).map_err(failure)? {
        let descriptor = node.map_err(failure)?.descriptor;
        if descriptor.media_type.kind() == Kind::Other && seen.insert(descriptor.digest) {
            size = size.saturating_add(descriptor.size);
        }
    }
    Ok(size)
}

/// Runs a copy, which a signal ends between two contents, so that temporary files are removed.
fn interruptible<T>(copy: impl FnOnce(&dyn Fn()) -> Result<T, Failure>) -> Result<T, Failure> {
    let interrupt = Interrupt::new()?;
    let check = interrupt.checker();
    interrupt.run(|| copy(&check)).unwrap_or_else(|| Err(Failure::failed("interrupted")))
}
