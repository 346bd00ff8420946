//! The arguments of the commands that only apply to registries.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use oci_proto::{MediaType, Reference};

use crate::args::format::LineFormat;
use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::reference::{AnyReference, is_archive, is_path, layout_at};

/// List the tags of a repository.
#[derive(Args, Debug)]
#[command(after_help = "\
Prints one tag per line, in the registry's order. Each is printed once, as soon as its page arrives. \
Entries that are not valid tags are left out, and counted on stderr.

With --json, each line is an object with \"tag\".

Examples:
  ocip tags alpine
  ocip tags registry.example/team/app | sort --version-sort | tail -1
  ocip tags --json registry.example/team/app | jq -r .tag")]
pub(crate) struct TagsArgs {
    /// `[REGISTRY/]REPOSITORY`.
    #[arg(value_name = "REPOSITORY", value_parser = OsStringValueParser::new().try_map(repository))]
    pub(crate) name: Reference,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// List the referrers of a manifest: signatures, SBOMs, attestations.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a manifest with REF as its subject: its digest, its size, and its artifact type, or - if the list has none. If \
the registry does not list referrers, the index under the fallback tag (sha256-...) is read.

With --json, each line is an object with \"mediaType\", \"digest\", \"size\" and, if applicable, \
\"artifactType\" and \"annotations\".

Examples:
  ocip referrers registry.example/team/app:1.2
  ocip referrers --artifact-type application/spdx+json \\
    registry.example/team/app:1.2
  ocip referrers --json registry.example/team/app:1.2 | jq -r .digest")]
pub(crate) struct ReferrersArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(in_registry))]
    pub(crate) name: Reference,
    /// List only those of this artifact type.
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<MediaType>,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// Delete a tag or, by its digest, a manifest or a blob.
#[derive(Args, Debug)]
#[command(after_help = "\
With a tag, deletes only the tag, which many registries do not allow. With a digest, deletes the \
manifest and all tags that name it. Blobs, and manifests that an index names, stay; most registries \
remove them later if nothing refers to them. Prints nothing to stdout.

Examples:
  ocip delete registry.example/team/app:1.2-rc1
  ocip delete registry.example/team/app@sha256:0123...cdef
  ocip delete --blob registry.example/team/app@sha256:0123...cdef")]
pub(crate) struct DeleteArgs {
    /// `[REGISTRY/]REPOSITORY:TAG` or `[REGISTRY/]REPOSITORY@DIGEST`.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(to_delete))]
    pub(crate) name: Reference,
    /// Delete the blob with this digest instead of a manifest.
    #[arg(long)]
    pub(crate) blob: bool,
}

/// Parses a reference that must not be a path, or a layout on disk.
pub(super) fn in_registry(text: OsString) -> Result<Reference, Mistake> {
    let utf8 = text.to_str().unwrap_or_default();
    if is_path(utf8) {
        let error = format!("`{utf8}` is a path, not a reference; {ONLY_REGISTRIES}");
        return Err(Mistake::new(error).with_hint(PUSH));
    }
    let unprefixed = !LayoutName::has_prefix(&text);
    if unprefixed && let Some(layout) = layout_at(&text) {
        let error =
            format!("`{}` is an image layout on disk; {ONLY_REGISTRIES}", layout.directory().display());
        let mistake = Mistake::new(error);
        return Err(match utf8.parse::<Reference>() {
            Ok(on_docker_hub) => {
                let suffix = bare(utf8).map_or("", |bare| &utf8[bare.len()..]);
                let name = format!("{}/{}{suffix}", on_docker_hub.registry(), on_docker_hub.repository());
                mistake.instead(&text, name)
            }
            Err(_) => mistake.with_hint(PUSH),
        });
    }
    if unprefixed && is_archive(&text) {
        let error = format!("`{}` is a file; {ONLY_REGISTRIES}", text.display());
        return Err(Mistake::new(error).with_hint(PUSH));
    }
    match AnyReference::parse(text)? {
        AnyReference::Registry(reference) => Ok(reference),
        AnyReference::Layout(layout) => {
            let error = format!("`{layout}` is an image layout on disk; {ONLY_REGISTRIES}");
            Err(Mistake::new(error).with_hint(PUSH))
        }
    }
}

const ONLY_REGISTRIES: &str = "this command only applies to registries";

const PUSH: &str = "`ocip push` sends a layout or an archive to a registry";

/// Parses the name of a repository, without a tag or a digest.
fn repository(text: OsString) -> Result<Reference, Mistake> {
    let shown = text.display().to_string();
    let reference = in_registry(text)?;
    match bare(&shown) {
        None => Ok(reference),
        Some(bare) => Err(Mistake::new(format!("`{shown}` is not a repository: it has a tag or a digest"))
            .instead(&shown, bare)),
    }
}

/// Parses a reference with either a tag or a digest. No tag is assumed.
fn to_delete(text: OsString) -> Result<Reference, Mistake> {
    let shown = text.display().to_string();
    let reference = in_registry(text)?;
    match bare(&shown) {
        None => Err(Mistake::new(format!("`{shown}` has neither a tag nor a digest to delete"))
            .with_hint(format!("use {shown}:TAG or {shown}@DIGEST"))),
        Some(_) if reference.tag().is_some() && reference.digest().is_some() => {
            Err(Mistake::new(format!("`{shown}` has both a tag and a digest; deletion requires one of them"))
                .with_hint("a digest deletes the manifest with all tags that name it"))
        }
        Some(_) => Ok(reference),
    }
}

/// A reference without its tag and its digest, if it has any.
pub(super) fn bare(text: &str) -> Option<&str> {
    let before_digest = text.split('@').next().unwrap_or_default();
    let name = before_digest.rfind('/').map_or(0, |slash| slash + 1);
    let bare = before_digest[name..].find(':').map_or(before_digest, |colon| &before_digest[..name + colon]);
    (bare.len() < text.len()).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_and_a_digest_are_cut_off() {
        for (text, expected) in [
            ("a", None),
            ("h:5000/a/b", None),
            ("a:1", Some("a")),
            ("h:5000/a/b:1", Some("h:5000/a/b")),
            ("h:5000/a@sha256:0", Some("h:5000/a")),
            ("h:5000/a:1@sha256:0", Some("h:5000/a")),
        ] {
            assert_eq!(bare(text), expected, "{text}");
        }
    }
}
