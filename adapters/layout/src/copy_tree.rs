//! Copying a tree from a layout to a layout or an archive.

use std::io::{self, Read};

use oci_proto::layout::{RefName, Root};
use oci_proto::{Descriptor, Found, Kind, Manifest, Node, Platform, WalkOptions};

use crate::archive_writer::ArchiveWriter;
use crate::error::LayoutError;
use crate::layout::Layout;
use crate::walk::Walk;
use crate::writer::LayoutWriter;

/// The destination of [`copy_tree`]: a [`LayoutWriter`] or an [`ArchiveWriter`].
pub trait TreeWriter: sealed::Write {}

impl TreeWriter for LayoutWriter {}

impl TreeWriter for ArchiveWriter {}

/// Some content that [`copy_tree`] has dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Copied<'a> {
    /// The destination had it.
    Existing(&'a Descriptor),
    /// It was copied.
    Written(&'a Descriptor),
    /// This is a nondistributable layer that the source does not have, or a referrer that is neither an image nor an index.
    /// It is not copied.
    Skipped(&'a Descriptor),
}

/// The options of [`copy_tree`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Copies only the best match for this platform.
    pub platform: Option<Platform>,
    /// Also copies everything whose subject is in the tree, such as signatures, and what has these as its subject: the
    /// [referrers of the tree](Layout::referrers_of_tree). They become roots without a name, unless they are roots. Those
    /// that are neither images nor indexes are [skipped](Copied::Skipped).
    pub referrers: bool,
}

/// Copies everything under a root of `from` to a layout or an archive, and makes it a root there, with or without a name.
/// Returns the root's descriptor.
///
/// All content is verified while it is copied, each once. A document is written after everything that it refers to.
/// An archive must still be [finished](ArchiveWriter::finish).
///
/// ```
/// # use oci_proto_layout::oci_proto::{Algorithm, Descriptor, Digest, MediaType};
/// use oci_proto_layout::oci_proto::layout::Root;
/// use oci_proto_layout::{ArchiveWriter, CopyOptions, Layout, LayoutWriter, copy_tree};
///
/// # let directory = tempfile::tempdir()?;
/// # let (layout, file) = (directory.path().join("layout"), directory.path().join("layout.tar"));
/// # let mut writer = LayoutWriter::open(&layout)?;
/// # let document = br#"{"schemaVersion":2,"manifests":[]}"#;
/// # let digest = Digest::of(Algorithm::Sha256, document);
/// # let root = Descriptor::new(MediaType::OCI_INDEX, digest, document.len() as u64);
/// # writer.put(&root, document)?;
/// # writer.set_root(&root, Some(&"1.0".parse()?))?;
/// # drop(writer);
/// let mut archive = ArchiveWriter::create(&file)?;
/// let (from, root, name) = (Layout::open(&layout)?, Root::Named("1.0".parse()?), "1.0".parse()?);
/// let mut options = CopyOptions::default();
/// options.referrers = true;
/// copy_tree(&from, &root, &mut archive, Some(&name), &options, |_| ())?;
/// archive.finish()?;
/// assert_eq!(Layout::open_archive(&file)?.roots().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The source has no such root, content is missing in it or is not what its descriptor says, or the destination cannot
/// be written. What was written stays in a layout, without a root.
pub fn copy_tree(
    from: &Layout,
    root: &Root,
    to: &mut impl TreeWriter,
    name: Option<&RefName>,
    options: &CopyOptions,
    mut copied: impl FnMut(Copied<'_>),
) -> Result<Descriptor, LayoutError> {
    let root = from.resolve(root, options.platform.as_ref())?;
    let mut referrers = if options.referrers { from.referrers_of_tree(&root)? } else { Vec::new() };
    for unknown in referrers.extract_if(.., |referrer| referrer.media_type.kind() == Kind::Other) {
        copied(Copied::Skipped(&unknown));
    }
    for tree in [&root].into_iter().chain(&referrers) {
        copy_content(from, tree, to, &mut copied)?;
    }
    to.roots(&root, name, &referrers)?;
    Ok(root)
}

/// Copies everything under a descriptor.
fn copy_content(
    from: &Layout,
    root: &Descriptor,
    to: &impl TreeWriter,
    copied: &mut impl FnMut(Copied<'_>),
) -> Result<(), LayoutError> {
    let mut options = WalkOptions::default();
    (options.blobs, options.strict) = (true, true);
    // The documents above the current node, root first.
    let mut ancestors: Vec<(Descriptor, Manifest)> = Vec::new();
    for node in Walk::new(from, root.clone(), &options) {
        let Node { depth, descriptor, found, .. } = node?;
        leave(&mut ancestors, depth as usize, to, copied)?;
        match found {
            Found::Manifest(manifest) => ancestors.push((descriptor, manifest)),
            Found::Leaf => copied(copy_blob(from, &descriptor, to)?),
            _ => {}
        }
    }
    leave(&mut ancestors, 0, to, copied)
}

/// Writes the documents that the walk has left: those at this level and below.
fn leave(
    ancestors: &mut Vec<(Descriptor, Manifest)>,
    level: usize,
    to: &impl TreeWriter,
    copied: &mut impl FnMut(Copied<'_>),
) -> Result<(), LayoutError> {
    while ancestors.len() > level
        && let Some((descriptor, manifest)) = ancestors.pop()
    {
        if to.keep_existing(&descriptor)? {
            copied(Copied::Existing(&descriptor));
        } else {
            to.copy_from(&descriptor, &mut &manifest.bytes()[..])?;
            copied(Copied::Written(&descriptor));
        }
    }
    Ok(())
}

fn copy_blob<'a>(
    from: &Layout,
    descriptor: &'a Descriptor,
    to: &impl TreeWriter,
) -> Result<Copied<'a>, LayoutError> {
    if to.keep_existing(descriptor)? {
        return Ok(Copied::Existing(descriptor));
    }
    match from.blob(&descriptor.digest, Some(descriptor.size)) {
        Ok(mut blob) => to.copy_from(descriptor, &mut blob)?,
        Err(error) if error.is_missing() => match &descriptor.data {
            // The writer verifies it.
            Some(data) => to.copy_from(descriptor, &mut &data[..])?,
            None if descriptor.size == 0 => to.copy_from(descriptor, &mut io::empty())?,
            None if descriptor.media_type.is_nondistributable() => return Ok(Copied::Skipped(descriptor)),
            None => return Err(error),
        },
        Err(error) => return Err(error),
    }
    Ok(Copied::Written(descriptor))
}

mod sealed {
    use std::io::Read;

    use oci_proto::Descriptor;
    use oci_proto::layout::RefName;

    use crate::error::LayoutError;

    /// What a copy needs of its destination.
    pub trait Write {
        /// Returns whether it has the content, whole. If it has, the content is as durable as what is written, since an
        /// earlier writer may not have synced it.
        fn keep_existing(&self, descriptor: &Descriptor) -> Result<bool, LayoutError>;

        /// Writes content that it does not have, up to the end of the reader, verified.
        fn copy_from(&self, descriptor: &Descriptor, from: &mut dyn Read) -> Result<(), LayoutError>;

        /// Makes content a root, and referrers roots without a name unless they are roots.
        fn roots(
            &mut self,
            root: &Descriptor,
            name: Option<&RefName>,
            referrers: &[Descriptor],
        ) -> Result<(), LayoutError>;
    }
}

impl sealed::Write for ArchiveWriter {
    fn keep_existing(&self, descriptor: &Descriptor) -> Result<bool, LayoutError> {
        // All of an archive is synced when it is finished.
        Ok(self.has(descriptor))
    }

    fn copy_from(&self, descriptor: &Descriptor, from: &mut dyn Read) -> Result<(), LayoutError> {
        self.copy(descriptor, from).inspect_err(|_| {
            // If that fails, too, the archive cannot be finished, which reports the blob.
            let _ = self.discard(&descriptor.digest);
        })
    }

    fn roots(
        &mut self,
        root: &Descriptor,
        name: Option<&RefName>,
        referrers: &[Descriptor],
    ) -> Result<(), LayoutError> {
        self.set_root(root, name)?;
        referrers.iter().try_for_each(|referrer| self.set_root(referrer, None))
    }
}

impl sealed::Write for LayoutWriter {
    fn keep_existing(&self, descriptor: &Descriptor) -> Result<bool, LayoutError> {
        let is_whole = match descriptor.media_type.kind() {
            // Its size does not show whether a document is whole.
            Kind::Index | Kind::Image => self.layout().manifest(descriptor).is_ok(),
            Kind::Other => self.layout().has(descriptor),
        };
        if is_whole {
            self.keep(&descriptor.digest)?;
        }
        Ok(is_whole)
    }

    fn copy_from(&self, descriptor: &Descriptor, from: &mut dyn Read) -> Result<(), LayoutError> {
        self.copy(descriptor, from)
    }

    fn roots(
        &mut self,
        root: &Descriptor,
        name: Option<&RefName>,
        referrers: &[Descriptor],
    ) -> Result<(), LayoutError> {
        self.set_roots(root, name, referrers)
    }
}
