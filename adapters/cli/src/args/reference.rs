//! References to content, as given on the command line.

use std::ffi::{OsStr, OsString};
use std::fmt;

use oci_proto::layout::Root;
use oci_proto::{Digest, Reference};
use oci_proto_layout::{Layout, LayoutReference};

/// A reference to content in a registry or in an image layout.
#[derive(Clone, Debug)]
pub(crate) enum AnyReference {
    Registry(Reference),
    Layout(LayoutReference),
}

impl AnyReference {
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        if is_layout(&text) {
            return LayoutReference::parse(&text).map(Self::Layout).map_err(|invalid| invalid.to_string());
        }
        let text = text.into_string().map_err(|_| "a reference must be ASCII".to_owned())?;
        reference(&text).map(Self::Registry)
    }

    pub(crate) fn of_blob(text: OsString) -> Result<Self, String> {
        let name = Self::parse(text)?;
        let has_digest = match &name {
            Self::Registry(reference) => reference.digest().is_some(),
            Self::Layout(layout) => matches!(layout.root(), Root::Digest(_)),
        };
        if has_digest {
            return Ok(name);
        }
        Err("a blob reference requires a digest, as in alpine@sha256:0123...cdef; \
             `ocip tree --blobs --full REF` lists the blobs of an image"
            .to_owned())
    }
}

impl fmt::Display for AnyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

/// Parses a layout reference, or the path of a layout's directory.
pub(super) fn layout(text: OsString) -> Result<LayoutReference, String> {
    if is_layout(&text) {
        return LayoutReference::parse(&text).map_err(|invalid| invalid.to_string());
    }
    Ok(LayoutReference::new(text, Root::Only))
}

/// Parses a layout reference, the path of a layout, or a registry reference. A path needs no `oci:` prefix.
pub(super) fn to_check(text: OsString) -> Result<AnyReference, String> {
    if is_layout(&text) || Layout::is_at(&text) || text.to_str().is_some_and(is_path) {
        return layout(text).map(AnyReference::Layout);
    }
    AnyReference::parse(text)
}

fn is_layout(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(LayoutReference::PREFIX.as_bytes())
}

/// Whether a text can only be a path.
fn is_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~'])
}

/// Parses a registry reference, and suggests a correction for common mistakes.
fn reference(text: &str) -> Result<Reference, String> {
    if let Some(advice) = advice(text) {
        return Err(advice);
    }
    let Some((_, rest)) = text.split_once("://") else {
        return text.parse().map_err(|problem: oci_proto::InvalidReference| problem.to_string());
    };
    let rest = rest.trim_end_matches('/');
    let instead = match rest.strip_prefix("hub.docker.com/") {
        Some(page) => page.trim_start_matches("r/").trim_start_matches("_/"),
        None => rest,
    };
    match instead.parse::<Reference>() {
        // The text after a password is not a digest, even if it has the form of one.
        Ok(reference) if reference.digest().is_none_or(|digest| digest.algorithm().is_some()) => {
            Err(format!("a reference has no scheme; use `{instead}`"))
        }
        _ => Err("a URL is not a reference; use [REGISTRY/]REPOSITORY[:TAG][@DIGEST]".to_owned()),
    }
}

/// A correction for a text that is not a reference, or that parses as an unintended one.
fn advice(text: &str) -> Option<String> {
    if is_path(text) {
        return Some(format!("a path is not a reference; for an image layout, use `oci:{text}`"));
    }
    if text.parse().is_ok_and(|digest: Digest| digest.algorithm().is_some()) {
        return Some(format!("a digest alone is not a reference; use `REPOSITORY@{text}`"));
    }
    // The transports of skopeo and podman.
    let transports = ["containers-storage:", "dir:", "docker-archive:", "docker-daemon:", "oci-archive:"];
    if let Some(transport) = transports.iter().find(|transport| text.starts_with(**transport)) {
        return Some(format!(
            "`{transport}` is not supported; only registries and image layouts (`oci:DIR`) are"
        ));
    }
    let registry = text.split('@').next().unwrap_or_default();
    let host = registry.split(':').next().unwrap_or_default();
    if !text.contains('/') && (host == "localhost" || host.contains('.')) {
        // Docker reads it as an image on Docker Hub, but no image there has such a name.
        return Some(format!(
            "the repository is missing: `{registry}` is a registry; use `{registry}/REPOSITORY`, or \
             `docker.io/library/{text}` for an image on Docker Hub"
        ));
    }
    None
}
