//! A check of everything, as an iterator over what is wrong.

use std::iter::FusedIterator;
use std::path::Path;

use oci_proto::layout::{BLOBS, INDEX, Index, MARKER, Root};
use oci_proto::{Audit, Finding, Item, Role};

use crate::layout::{is_missing, open_folder, read_index, read_marker};
use crate::{Layout, LayoutError, files};

/// Checks a layout: its own files, and everything under one root, or under all of them, every byte.
///
/// Where one name is that of several roots, each of them is checked.
///
/// What is wrong is found, one thing after another, and the check goes on. Nothing is followed out of the
/// folder.
///
/// # Errors
/// The folder is not there or cannot be a layout, having neither of a layout's files; or it has no such root.
pub fn check(folder: impl AsRef<Path>, root: Option<&Root>) -> Result<Check, LayoutError> {
    let folder = folder.as_ref();
    open_folder(folder)?;
    let mut audit = Audit::new(&oci_proto::Limits::default());
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
    Ok(Check { layout, audit, contents: 0, bytes: 0 })
}

/// What is wrong with a layout, from [`check`].
#[derive(Debug)]
pub struct Check {
    layout: Layout,
    audit: Audit,
    contents: u64,
    bytes: u64,
}

impl Check {
    /// How many documents and blobs were looked at so far.
    pub fn contents(&self) -> u64 {
        self.contents
    }

    /// How many bytes they have, by their descriptors.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn look_at(&mut self, item: Item) {
        self.contents += 1;
        self.bytes = self.bytes.saturating_add(item.descriptor.size);
        let looked = match item.role {
            Role::Document => self.layout.unverified(&item.descriptor).map(Some),
            Role::Blob => self.layout.verify(&item.descriptor).map(|()| None),
        };
        match looked {
            Ok(Some(document)) => self.audit.document(item, document, None),
            Ok(None) => {}
            Err(error) => self.audit.wrong(item, error.trouble().problem(), error.trouble()),
        }
    }
}

impl Iterator for Check {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        loop {
            if let Some(finding) = self.audit.next_finding() {
                return Some(finding);
            }
            let item = self.audit.next_item()?;
            self.look_at(item);
        }
    }
}

impl FusedIterator for Check {}
