//! The ends of a copy, whose forms may be mixed up, or swapped.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use oci_proto::layout::Root;
use oci_proto::{Reference, Tag};
use oci_proto_layout::{ArchiveReference, Layout, LayoutReference};

use crate::args::all_tags::{Tags, of_tags, without_root, without_tag};
use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::reference::{AnyReference, is_path, layout, plain_name, registry_reference};
use crate::args::registry::in_registry;

/// Parses the source and the destination of a copy.
pub(crate) fn copy_ends(
    from: &OsStr,
    to: &OsStr,
    tags: Tags,
) -> Result<(AnyReference, AnyReference), Mistake> {
    let source = AnyReference::parse(from.to_owned());
    let target = destination(to, source.as_ref().ok(), tags);
    both(source.and_then(|source| of_tags(from, source, tags)), target)
}

/// Parses the layout and the reference of a push.
pub(crate) fn push_ends(from: &OsStr, to: &OsStr, tags: Tags) -> Result<(LayoutName, Reference), Mistake> {
    if is_on_disk(to) && !is_on_disk(from) && registry_reference(from.to_owned()).is_ok() {
        let mistake = Mistake::new("the layout comes before the reference");
        return Err(mistake.instead(from, to).instead(to, from));
    }
    let source = pushed(from);
    let named = source.as_ref().ok().cloned().map(AnyReference::Layout);
    let target = match destination(to, named.as_ref(), tags) {
        Ok(AnyReference::Registry(reference)) => Ok(reference),
        Ok(AnyReference::Layout(_)) => {
            let mistake = Mistake::new("push sends to a registry; `ocip copy` copies between layouts");
            let mistake = mistake.instead("push", "copy");
            Err(match &source {
                Ok(name) if !LayoutName::has_prefix(from) => mistake.instead(from, name.to_string()),
                _ => mistake,
            })
        }
        Err(mistake) => Err(mistake),
    };
    let source = source.and_then(|name| match tags {
        Tags::One => Ok(name),
        Tags::All => without_root(from, name),
    });
    both(source, target)
}

/// Parses the reference of content that is to be pushed. Its tag or digest is not implied.
pub(super) fn pushed_name(text: &OsStr) -> Result<Reference, Mistake> {
    named(text, in_registry(text.to_owned())?, &Tag::latest())
}

fn both<A, B>(source: Result<A, Mistake>, target: Result<B, Mistake>) -> Result<(A, B), Mistake> {
    match (source, target) {
        (Ok(source), Ok(target)) => Ok((source, target)),
        (Err(first), Err(second)) => Err(first.and(second)),
        (Err(mistake), _) | (_, Err(mistake)) => Err(mistake),
    }
}

/// Parses the directory of a layout, with or without its prefix, or an archive.
fn pushed(text: &OsStr) -> Result<LayoutName, Mistake> {
    if LayoutName::has_prefix(text) || Path::new(text).exists() {
        return layout(text.to_owned());
    }
    match LayoutReference::parse(&prefixed(LayoutReference::PREFIX, text)) {
        Ok(name) if name.directory().exists() => Ok(LayoutName::Directory(name)),
        _ => {
            // Explains what else it may be.
            let name = layout(text.to_owned())?;
            let error = format!("no image layout `{}`", name.path().display());
            Err(Mistake::new(error).with_hint("`ocip pull REF DIR` creates one"))
        }
    }
}

/// Parses a destination, which need not exist, but must name the root, unless all tags are copied.
fn destination(text: &OsStr, source: Option<&AnyReference>, tags: Tags) -> Result<AnyReference, Mistake> {
    if LayoutName::has_prefix(text) {
        let AnyReference::Layout(name) = AnyReference::parse(text.to_owned())? else {
            return Err(Mistake::new(format!("`{}` is not a layout", text.display())));
        };
        return match name.root() {
            _ if tags == Tags::All => without_root(text, name).map(AnyReference::Layout),
            Root::Digest(_) => {
                let error = format!("`{name}` has a digest; a root is named by a tag");
                Err(Mistake::new(error).with_hint("use oci:DIR:TAG or oci-archive:FILE:TAG"))
            }
            Root::Only | Root::Named(_) => Ok(AnyReference::Layout(name)),
        };
    }
    let Some(utf8) = text.to_str().filter(|text| !text.contains("://")) else {
        return registry_reference(text.to_owned()).map(AnyReference::Registry);
    };
    let is_tar = Path::new(text).extension().is_some_and(|extension| extension == "tar");
    if is_tar && (is_path(utf8) || !utf8.contains(['/', ':'])) {
        let error = format!("`{utf8}` is a path; that of an OCI archive follows `oci-archive:`");
        return Err(Mistake::new(error).instead(text, prefixed(ArchiveReference::PREFIX, text)));
    }
    if let Some(on_docker_hub) = plain_name(utf8).filter(|_| !is_path(utf8)) {
        let error = format!(
            "`{utf8}` would be {on_docker_hub}, but has neither registry nor tag; a directory follows `oci:`"
        );
        return Err(Mistake::new(error).instead(text, prefixed(LayoutReference::PREFIX, text)));
    }
    let reference = match AnyReference::parse(text.to_owned())? {
        AnyReference::Registry(reference) => reference,
        layout @ AnyReference::Layout(_) => return Ok(layout),
    };
    if tags == Tags::All {
        return without_tag(text, reference).map(AnyReference::Registry);
    }
    named(text, reference, &tag_of(source)).map(AnyReference::Registry)
}

/// Requires an explicit tag or digest in a reference.
fn named(text: &OsStr, reference: Reference, tag: &Tag) -> Result<Reference, Mistake> {
    let implied = reference.digest().is_none()
        && reference.tag().is_some_and(|tag| !text.to_string_lossy().ends_with(&format!(":{tag}")));
    if !implied {
        return Ok(reference);
    }
    let mut suggested = text.to_owned();
    suggested.push(format!(":{tag}"));
    let error = format!("`{}` has no tag, which is not implied for a destination", text.display());
    Err(Mistake::new(error).instead(text, suggested))
}

/// The tag of the source.
fn tag_of(source: Option<&AnyReference>) -> Tag {
    let tag = match source {
        Some(AnyReference::Registry(reference)) => reference.tag().cloned(),
        Some(AnyReference::Layout(name)) => match name.root() {
            Root::Named(name) => name.as_str().parse().ok(),
            Root::Only | Root::Digest(_) => None,
        },
        None => None,
    };
    tag.unwrap_or_else(Tag::latest)
}

/// Whether a text names a path, or a layout there.
fn is_on_disk(text: &OsStr) -> bool {
    LayoutName::has_prefix(text)
        || text.to_str().is_some_and(is_path)
        || Path::new(text).exists()
        || LayoutReference::parse(&prefixed(LayoutReference::PREFIX, text))
            .is_ok_and(|layout| Layout::is_at(layout.directory()))
}

fn prefixed(prefix: &str, text: &OsStr) -> OsString {
    let mut prefixed = OsString::from(prefix);
    prefixed.push(text);
    prefixed
}
