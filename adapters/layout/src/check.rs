//! A check of a whole layout, as an iterator over its findings.

use std::fmt;
use std::iter::FusedIterator;
use std::path::Path;

use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, Root};
use oci_proto::{Checker, Finding, Item, Role};

use crate::archive::Archive;
use crate::check::progress::{CheckProgress, OnProgress};
use crate::check::verify::Verifying;
use crate::directory::Directory;
use crate::error::LayoutError;
use crate::files::Files;
use crate::layout::{Layout, read_index, read_marker};

pub(crate) mod progress;
mod verify;

/// Checks every byte of a layout: its own files, and everything under one root, or under all roots.
///
/// If several roots have the same name, each of them is checked.
///
/// The check continues after a finding. No link is followed. Documents are read first, then blobs, in as many
/// threads as the machine has processors, up to 16. The order of the findings does not depend on the number
/// of threads.
///
/// # Errors
/// The directory does not exist, has neither `oci-layout` nor `index.json`, or has no such root.
pub fn check(directory: impl AsRef<Path>, root: Option<&Root>) -> Result<Check, LayoutError> {
    start(Directory::open(directory.as_ref())?.into(), root)
}

/// Checks every byte of the layout in an archive, as [`check()`] does.
///
/// # Errors
/// The file is not a tar archive, is compressed, truncated or damaged; or it has neither `oci-layout` nor
/// `index.json`, or has no such root.
pub fn check_archive(file: impl AsRef<Path>, root: Option<&Root>) -> Result<Check, LayoutError> {
    start(Archive::open(file.as_ref())?.into(), root)
}

fn start(files: Files, root: Option<&Root>) -> Result<Check, LayoutError> {
    let mut checker = Checker::new(&oci_proto::Limits::default());
    let marker = read_marker(&files);
    let index = read_index(&files, &oci_proto::Limits::default());
    if let (Err(marker), Err(index)) = (&marker, &index)
        && marker.is_missing()
        && index.is_missing()
    {
        return Err(marker.clone());
    }
    let mut note = |file: &str, found: Result<(), LayoutError>| {
        if let Err(error) = found {
            let detail = format_args!("{file}: {}", error.kind());
            checker.note(Finding::new(None, error.kind().problem(), detail));
        }
    };
    note(MARKER, marker);
    note(BLOBS, files.check_blobs());
    let index = match index {
        Ok(index) => index,
        Err(error) => {
            note(INDEX, Err(error));
            Index::new()
        }
    };
    let layout = Layout::with_index(files, index);
    // Content with a digest does not depend on the index.
    let asked = root.filter(|root| matches!(root, Root::Digest(_)) || !layout.roots().is_empty());
    let mut named = false;
    for (n, entry) in layout.roots().iter().enumerate() {
        if asked.is_none_or(|root| root.is_named_by(entry)) {
            checker.add_layout_entry(n, entry);
            named = true;
        }
    }
    if let Some(root) = asked
        && !named
    {
        checker.add_root(layout.resolve(root, None)?);
    }
    Ok(Check { layout, checker, stage: Stage::Documents(Vec::new()), contents: 0, bytes: 0, progress: None })
}

/// The findings of a check, from [`check()`] or [`check_archive`].
pub struct Check {
    layout: Layout,
    checker: Checker,
    stage: Stage,
    contents: u64,
    bytes: u64,
    progress: Option<OnProgress>,
}

enum Stage {
    /// Documents are read; these blobs are next.
    Documents(Vec<Item>),
    Blobs(Verifying),
}

impl Check {
    /// Sets a hook that is called with the progress of reading blobs. It must be set before iteration reaches
    /// the blobs. All reading threads call it, so it should return quickly. A panic in it unwinds out of the
    /// iterator.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(CheckProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// The number of documents and blobs checked so far.
    pub fn contents(&self) -> u64 {
        self.contents
    }

    /// Their size in bytes, as stated by their descriptors.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The layout that is checked.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn count(&mut self, item: &Item) {
        self.contents += 1;
        self.bytes = self.bytes.saturating_add(item.descriptor.size);
    }

    fn read(&mut self, document: Item) {
        self.count(&document);
        match self.layout.unverified(&document.descriptor) {
            Ok(bytes) => self.checker.document(document, bytes, None),
            Err(error) => self.wrong(document, &error),
        }
    }

    fn wrong(&mut self, item: Item, error: &LayoutError) {
        self.checker.wrong(item, error.kind().problem(), error.kind());
    }
}

impl Iterator for Check {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        loop {
            if let Some(finding) = self.checker.next_finding() {
                return Some(finding);
            }
            match &mut self.stage {
                Stage::Documents(blobs) => match self.checker.next_item() {
                    Some(item) if item.role == Role::Blob => blobs.push(item),
                    Some(item) => self.read(item),
                    None => {
                        let blobs = std::mem::take(blobs);
                        self.stage =
                            Stage::Blobs(Verifying::start(self.layout.clone(), blobs, self.progress.take()));
                    }
                },
                Stage::Blobs(verifying) => {
                    let (item, verified) = verifying.next()?;
                    self.count(&item);
                    if let Err(error) = verified {
                        self.wrong(item, &error);
                    }
                }
            }
        }
    }
}

impl FusedIterator for Check {}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("layout", &self.layout)
            .field("contents", &self.contents)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
