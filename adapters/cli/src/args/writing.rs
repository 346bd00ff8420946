//! The arguments of the commands that write to registries, layouts and archives.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use oci_proto::{MediaType, Platform, Reference, Repository, Tag};

use crate::args::ends::pushed_name;
use crate::args::file::{FileArg, annotation};
use crate::args::format::DescriptorFormat;
use crate::args::registry::in_registry;
use crate::args::selection::SelectionArgs;

/// Copy a whole tree between registries, layouts and archives.
#[derive(Args, Debug)]
#[command(after_help = "\
Each of SOURCE and DEST is a reference in a registry, an image layout in a directory or an OCI \
archive: [REGISTRY/]REPOSITORY[:TAG][@DIGEST], oci:DIR[:TAG] or oci-archive:FILE[:TAG]. In \
DEST, a reference requires a tag or a digest; a layout without a TAG gets a root without a name.

Content that DEST has is not sent again, so an interrupted copy to a registry or a directory is \
resumed. Each document is stored after everything that it refers to, and the root last. Between \
registries, content is streamed; within one, blobs are mounted. An archive is written in one pass, from a temporary layout beside it \
if SOURCE is a registry; an existing archive is kept.

Referrers are manifests whose subject is in the tree, such as signatures and SBOMs, and those whose \
subject is one of these. A layout keeps them as roots without a name.

With --all-tags, SOURCE and DEST are repositories or layouts, without a tag: each tag of a repository, \
and each named root of a layout, is copied under its name. A line for each tag is printed when it is \
done: tag, media type, digest and size, with --json an object that also has \"tag\". If the content of \
a tag cannot be copied, its error is printed, the others are copied, and the exit status is 1; an \
error that concerns all of them, such as a refused login or a full disk, ends the command. --timeout \
applies to each tag. Indexes of referrers under fallback tags (sha256-...) are not copied as tags, since \
DEST has its own; --referrers copies referrers, and DEST then lists them.

--username applies to DEST if that is in a registry, and otherwise to SOURCE.

Otherwise prints the media type, digest and size of the root, as `ocip resolve` does.

Examples:
  ocip copy alpine:3.20 registry.example/alpine:3.20
  ocip copy --platform linux/amd64 alpine:3.20 oci-archive:alpine.tar:3.20
  ocip copy --all-tags --referrers registry.example/team/app oci:mirror
  ocip copy oci-archive:alpine.tar oci:mirror:3.20")]
pub(crate) struct CopyArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
    // Parsed together, since they may be swapped.
    #[arg(value_name = "SOURCE")]
    pub(crate) from: OsString,
    /// Like SOURCE; a reference requires a tag or a digest, and a TAG names the root of a layout.
    #[arg(value_name = "DEST")]
    pub(crate) to: OsString,
    #[command(flatten)]
    pub(crate) options: TransferArgs,
}

/// Send a tree from an image layout to a registry.
#[derive(Args, Debug)]
#[command(after_help = "\
Like `ocip copy oci:DIR[:TAG] REF`. Content that the registry has is not sent again, and everything \
is verified while it is sent. The tag is set last.

Referrers are manifests whose subject is in the tree, such as signatures and SBOMs. --referrers finds \
them wherever programs keep them in a layout: as roots with or without a name, and in an index under a \
fallback tag (sha256-...).

With --all-tags, each named root is sent under its name to REF, which is a repository without a tag; \
see `ocip help copy`.

Otherwise prints the media type, digest and size of the root, as `ocip resolve` does.

Examples:
  ocip push mirror registry.example/team/app:1.0
  ocip push mirror:1.0 --tag latest registry.example/team/app:1.0
  ocip push oci-archive:app.tar registry.example/team/app:1.0
  ocip push --all-tags mirror registry.example/team/app")]
pub(crate) struct PushArgs {
    /// Directory of the layout, and the root's tag if it has several; or `oci-archive:FILE[:TAG]`.
    #[arg(value_name = "DIR[:TAG]")]
    pub(crate) from: OsString,
    /// `[REGISTRY/]REPOSITORY:TAG` or `[REGISTRY/]REPOSITORY@DIGEST`; with --all-tags, `[REGISTRY/]REPOSITORY`.
    #[arg(value_name = "REF")]
    pub(crate) to: OsString,
    #[command(flatten)]
    pub(crate) options: TransferArgs,
}

/// The options of a copy or a push.
#[derive(Args, Debug)]
pub(crate) struct TransferArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Also copy nondistributable layers.
    #[arg(long)]
    pub(crate) foreign_layers: bool,
    /// Additional tag for the root, in a registry; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<Tag>,
    /// Mount blobs from this repository of the same registry, if it has them.
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) mount_from: Option<Repository>,
    /// Verify with further requests that the registry has stored everything.
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) format: DescriptorFormat,
}

/// Add tags to a manifest or an index.
#[derive(Args, Debug)]
#[command(after_help = "\
Sends only the manifest or index, within its repository. A tag that names other content is moved, \
and one that names it already is not set again.

Examples:
  ocip tag registry.example/team/app:1.0.3 1.0 latest
  ocip tag registry.example/team/app@sha256:0123...cdef stable")]
pub(crate) struct TagArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(in_registry))]
    pub(crate) name: Reference,
    /// Tags to set.
    #[arg(value_name = "TAG", required = true)]
    pub(crate) tags: Vec<Tag>,
}

/// Attach files to an image, as an artifact that refers to it.
#[derive(Args, Debug)]
#[command(after_help = "\
The artifact is a manifest with REF as its subject, which registries list among the referrers of REF. \
It has no tag. Each file becomes a layer, annotated with its name; without files, it needs an annotation. \
TYPE is a media type, by default application/octet-stream; the text after the last colon is one if it \
contains a slash.

Prints the media type, digest and size of the artifact, as `ocip resolve` does.

Examples:
  ocip attach --artifact-type application/spdx+json \\
    registry.example/team/app:1.0 sbom.spdx.json:application/spdx+json")]
pub(crate) struct AttachArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]` of the image or index.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(in_registry))]
    pub(crate) name: Reference,
    /// In an index, attach to the best match for this platform: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// Files to attach, with their media types.
    #[arg(value_name = "FILE[:TYPE]", value_parser = FileArg::parser())]
    pub(crate) files: Vec<FileArg>,
    /// Media type of the artifact.
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: MediaType,
    #[command(flatten)]
    pub(crate) options: ArtifactArgs,
}

/// Push files as an artifact with a name of its own.
#[derive(Args, Debug)]
#[command(after_help = "\
Each file becomes a layer, annotated with its name. TYPE is a media type, by default \
application/octet-stream; the text after the last colon is one if it contains a slash.

Prints the media type, digest and size of the artifact, as `ocip resolve` does.

Examples:
  ocip artifact --artifact-type application/vnd.example.model \\
    registry.example/team/model:1 weights.bin README.md:text/markdown")]
pub(crate) struct ArtifactCommandArgs {
    /// `[REGISTRY/]REPOSITORY:TAG`, the name of the artifact.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(|text| pushed_name(&text)))]
    pub(crate) name: Reference,
    /// Files to push, with their media types.
    #[arg(value_name = "FILE[:TYPE]", value_parser = FileArg::parser())]
    pub(crate) files: Vec<FileArg>,
    /// Media type of the artifact; by default that of its config.
    #[arg(long, value_name = "TYPE", required_unless_present = "config")]
    pub(crate) artifact_type: Option<MediaType>,
    /// File to use as the config, with its media type.
    #[arg(long, value_name = "FILE:TYPE", value_parser = FileArg::config_parser())]
    pub(crate) config: Option<FileArg>,
    #[command(flatten)]
    pub(crate) options: ArtifactArgs,
}

/// The options of `attach` and `artifact`.
#[derive(Args, Debug)]
pub(crate) struct ArtifactArgs {
    /// Annotation of the artifact; may be repeated.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
    pub(crate) annotations: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) format: DescriptorFormat,
}
