//! What a command is asked about.

use std::ffi::{OsStr, OsString};
use std::fmt;

use oci_proto::layout::Root;
use oci_proto::{Digest, Reference};
use oci_proto_layout::{Layout, LayoutReference};

/// Something in a registry, or in an image layout.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    Registry(Reference),
    Layout(LayoutReference),
}

impl Name {
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        if is_layout(&text) {
            return LayoutReference::parse(&text).map(Self::Layout).map_err(|invalid| invalid.to_string());
        }
        let text = text.into_string().map_err(|_| "a reference is ASCII text".to_owned())?;
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
        Err("a blob is named by its digest, as in alpine@sha256:0123...cdef; \
             `ocip tree --blobs --json REF` lists those of an image"
            .to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

/// Reads the name of a layout, or the path of its folder.
pub(super) fn layout(text: OsString) -> Result<LayoutReference, String> {
    if is_layout(&text) {
        return LayoutReference::parse(&text).map_err(|invalid| invalid.to_string());
    }
    Ok(LayoutReference::new(text, Root::Only))
}

/// The same, or a reference to a registry: the path of a layout has no need of a prefix.
pub(super) fn to_check(text: OsString) -> Result<Name, String> {
    if is_layout(&text) || Layout::is_at(&text) || text.to_str().is_some_and(is_path) {
        return layout(text).map(Name::Layout);
    }
    Name::parse(text)
}

fn is_layout(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(LayoutReference::PREFIX.as_bytes())
}

/// Whether a text can only be meant as a path.
fn is_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~'])
}

/// Reads a reference, and knows what people write instead.
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
        // What follows a password is not a digest, though it may have the form of one.
        Ok(reference) if reference.digest().is_none_or(|digest| digest.algorithm().is_some()) => {
            Err(format!("a reference has no scheme; write `{instead}`"))
        }
        _ => Err("a URL is not a reference; write [REGISTRY/]REPOSITORY[:TAG][@DIGEST]".to_owned()),
    }
}

/// What to write instead of a text that is no reference, or one to what nobody means.
fn advice(text: &str) -> Option<String> {
    if is_path(text) {
        return Some(format!("a path is not a reference; an image layout is named by `oci:{text}`"));
    }
    if text.parse().is_ok_and(|digest: Digest| digest.algorithm().is_some()) {
        return Some(format!("a digest does not say where it is; write `REPOSITORY@{text}`"));
    }
    // Names of places to skopeo and podman.
    let places = ["containers-storage:", "dir:", "docker-archive:", "docker-daemon:", "oci-archive:"];
    if let Some(place) = places.iter().find(|place| text.starts_with(**place)) {
        return Some(format!(
            "`{place}` is not known here; only registries and image layouts, `oci:DIR`, are"
        ));
    }
    let registry = text.split('@').next().unwrap_or_default();
    let host = registry.split(':').next().unwrap_or_default();
    if !text.contains('/') && (host == "localhost" || host.contains('.')) {
        // To Docker it is an image of Docker Hub, where no image has such a name.
        return Some(format!(
            "that is a registry, and the repository is missing; write `{registry}/REPOSITORY`, or for one of \
             Docker Hub `docker.io/library/{text}`"
        ));
    }
    None
}
