//! A check of everything, as an iterator over what is wrong.

use std::fmt;
use std::iter::FusedIterator;
use std::path::Path;

use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, Root};
use oci_proto::{Checker, Finding, Item, Role};

use crate::layout::{is_missing, open_folder, read_index, read_marker};
use crate::{Layout, LayoutError, files};
use verify::Verifying;

mod verify;

/// Checks a layout: its own files, and everything under one root, or under all of them, every byte.
///
/// Where one name is that of several roots, each of them is checked.
///
/// What is wrong is found, one thing after another, and the check goes on. Nothing is followed out of the
/// folder. Documents are read first; then blobs, by as many threads as the machine runs at once. What is found
/// comes in the same order however many these are.
///
/// # Errors
/// The folder is not there or cannot be a layout, having neither of a layout's files; or it has no such root.
pub fn check(folder: impl AsRef<Path>, root: Option<&Root>) -> Result<Check, LayoutError> {
    let folder = folder.as_ref();
    open_folder(folder)?;
    let mut audit = Checker::new(&oci_proto::Limits::default());
    let marker = read_marker(folder);
    let index = read_index(folder, &oci_proto::Limits::default());
    if let (Err(marker), Err(index)) = (&marker, &index)
        && is_missing(marker)
        && is_missing(index)
    {
        return Err(marker.clone());
    }
    let mut note = |file: &str, found: Result<(), LayoutError>| {
        if let Err(error) = found {
            let detail = format_args!("{file}: {}", error.trouble());
            audit.note(Finding::new(None, error.trouble().problem(), detail));
        }
    };
    note(MARKER, marker);
    note(BLOBS, files::check_folder(&folder.join(BLOBS)));
    let index = match index {
        Ok(index) => index,
        Err(error) => {
            note(INDEX, Err(error));
            Index::new()
        }
    };
    let layout = Layout::with_index(folder, index);
    let asked = root.filter(|_| !layout.roots().is_empty());
    let mut named = false;
    for (n, entry) in layout.roots().iter().enumerate() {
        if asked.is_none_or(|root| root.is_named_by(entry)) {
            audit.add_layout_entry(n, entry);
            named = true;
        }
    }
    if let Some(root) = asked
        && !named
    {
        audit.add_root(layout.resolve(root, None)?);
    }
    Ok(Check { layout, audit, stage: Stage::Documents(Vec::new()), contents: 0, bytes: 0, progress: None })
}

/// What is wrong with a layout, from [`check`].
pub struct Check {
    layout: Layout,
    audit: Checker,
    stage: Stage,
    contents: u64,
    bytes: u64,
    progress: Option<OnProgress>,
}

type OnProgress = Box<dyn Fn(CheckProgress) + Send + Sync>;

/// How far a check's reading of blobs has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckProgress {
    /// How many bytes were read.
    pub read: u64,
    /// How many there are, by their descriptors.
    pub of: u64,
}

enum Stage {
    /// Documents are read, and these blobs wait.
    Documents(Vec<Item>),
    Blobs(Verifying),
}

impl Check {
    /// Tells `progress` how far the reading of blobs has come, if it is set before that begins. It is called by all
    /// threads that read, and must not take long. A panic in it comes out of the iterator.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(CheckProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// How many documents and blobs were looked at so far.
    pub fn contents(&self) -> u64 {
        self.contents
    }

    /// How many bytes they have, by their descriptors.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is checked.
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
            Ok(bytes) => self.audit.document(document, bytes, None),
            Err(error) => self.wrong(document, &error),
        }
    }

    fn wrong(&mut self, item: Item, error: &LayoutError) {
        self.audit.wrong(item, error.trouble().problem(), error.trouble());
    }
}

impl Iterator for Check {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        loop {
            if let Some(finding) = self.audit.next_finding() {
                return Some(finding);
            }
            match &mut self.stage {
                Stage::Documents(blobs) => match self.audit.next_item() {
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
