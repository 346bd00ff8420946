//! The source of a pull, which may be swapped with its destination.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use oci_proto::Reference;
use oci_proto_layout::LayoutReference;

use crate::args::all_tags::{Tags, without_tag};
use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::reference::{is_path, layout_at, plain_name, registry_reference};

const COPY: &str = "`ocip copy` copies from a layout, and `ocip push` sends one to a registry";

/// Parses the reference of a pull into a directory.
pub(crate) fn pull_source(name: &OsStr, directory: &Path, tags: Tags) -> Result<Reference, Mistake> {
    let reference = unchecked(name, directory)?;
    match tags {
        Tags::One => Ok(reference),
        Tags::All => without_tag(name, reference),
    }
}

/// Parses the reference, with or without a tag.
fn unchecked(name: &OsStr, directory: &Path) -> Result<Reference, Mistake> {
    let target = directory.as_os_str();
    if LayoutName::has_prefix(target) {
        let mistake =
            Mistake::new("the destination is a directory, without `oci:`, and the reference gives the tag");
        return Err(match LayoutName::parse(target) {
            Ok(LayoutName::Directory(layout)) => mistake.instead(target, layout.directory()),
            Ok(LayoutName::Archive(_)) => {
                mistake.with_hint("`ocip copy` writes archives, and names the root")
            }
            Err(_) => mistake,
        });
    }
    if let Some(layout) = path_of(name) {
        if is_reference(directory) {
            return Err(Mistake::new("the reference comes before the directory")
                .instead(name, target)
                .instead(target, layout));
        }
        if LayoutName::has_prefix(name) || name.to_str().is_some_and(is_path) {
            let error = format!("pull copies from a registry, but {} is a path", name.display());
            return Err(Mistake::new(error).with_hint(COPY));
        }
    }
    if let Some(mistake) = with_colon(directory) {
        return Err(mistake);
    }
    // The image of this name may have been pulled into a directory of this name.
    if name != target && layout_at(name).is_some() {
        let error = format!("pull copies from a registry, but {} is an image layout on disk", name.display());
        let mistake = Mistake::new(error).with_hint(COPY);
        return Err(match name.to_str().and_then(|name| name.parse::<Reference>().ok()) {
            Some(on_docker_hub) => mistake.instead(name, on_docker_hub.to_string()),
            None => mistake,
        });
    }
    registry_reference(name.to_owned())
}

/// A new directory that `oci:DIR` could not name.
fn with_colon(directory: &Path) -> Option<Mistake> {
    let name = directory.file_name().filter(|name| name.as_encoded_bytes().contains(&b':'))?;
    if directory.exists() {
        return None;
    }
    let mistake =
        Mistake::new("the name of the directory must not contain a colon; the reference gives the tag");
    let mut prefixed = OsString::from(LayoutReference::PREFIX);
    prefixed.push(name);
    Some(match LayoutReference::parse(&prefixed) {
        Ok(layout) => mistake.instead(directory, directory.with_file_name(layout.directory())),
        Err(_) => mistake,
    })
}

/// The path that a text means if it is not a reference.
fn path_of(name: &OsStr) -> Option<PathBuf> {
    if LayoutName::has_prefix(name) {
        return LayoutName::parse(name).ok().map(|layout| layout.path().to_owned());
    }
    if let Some(layout) = layout_at(name) {
        return Some(layout.directory().to_owned());
    }
    let text = name.to_str()?;
    (is_path(text) || plain_name(text).is_some()).then(|| name.into())
}

/// Whether a destination looks like a reference, and does not exist.
fn is_reference(directory: &Path) -> bool {
    let Some(text) = directory.to_str().filter(|text| !is_path(text) && !directory.exists()) else {
        return false;
    };
    let Ok(reference) = text.parse::<Reference>() else { return false };
    let first = text.split('/').next().unwrap_or_default();
    text.contains([':', '@']) || (!reference.registry().is_docker_hub() && !Path::new(first).exists())
}
