//! The ends of a copy of all tags, which name no single one.

use std::ffi::{OsStr, OsString};

use oci_proto::Reference;
use oci_proto::layout::Root;

use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::reference::AnyReference;
use crate::args::registry::bare;

/// The tags that a command copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    One,
    All,
}

/// Requires an end without a tag or a digest, if all tags are copied.
pub(super) fn of_tags(text: &OsStr, end: AnyReference, tags: Tags) -> Result<AnyReference, Mistake> {
    match (tags, end) {
        (Tags::One, end) => Ok(end),
        (Tags::All, AnyReference::Registry(name)) => without_tag(text, name).map(AnyReference::Registry),
        (Tags::All, AnyReference::Layout(name)) => without_root(text, name).map(AnyReference::Layout),
    }
}

/// Requires the name of a repository. The tag of its reference is implied, and of no concern.
pub(super) fn without_tag(text: &OsStr, name: Reference) -> Result<Reference, Mistake> {
    match text.to_str().and_then(bare) {
        None => Ok(name),
        Some(bare) => {
            let error = format!(
                "`{}` has a tag or a digest, but --all-tags copies all tags of a repository",
                text.display()
            );
            Err(Mistake::new(error).instead(text, bare))
        }
    }
}

/// Requires the name of a layout without a root.
pub(super) fn without_root(text: &OsStr, name: LayoutName) -> Result<LayoutName, Mistake> {
    if *name.root() == Root::Only {
        return Ok(name);
    }
    let error = format!(
        "`{}` names a root, but --all-tags copies all roots of a layout that have a name",
        text.display()
    );
    let prefix = if LayoutName::has_prefix(text) { name.prefix() } else { "" };
    let mut suggested = OsString::from(prefix);
    suggested.push(name.path());
    Err(Mistake::new(error).instead(text, suggested))
}
