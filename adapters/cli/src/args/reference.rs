//! References to content, as given on the command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, is_separator};

use oci_proto::layout::Root;
use oci_proto::{Digest, InvalidReference, Reference};
use oci_proto_layout::{ArchiveReference, InvalidLayoutReference, Layout, LayoutReference};

use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::args::registries_conf;

/// A reference to content in a registry or in an image layout.
#[derive(Clone, Debug)]
pub(crate) enum AnyReference {
    Registry(Reference),
    Layout(LayoutName),
}

impl AnyReference {
    pub(crate) fn parse(text: OsString) -> Result<Self, Mistake> {
        if LayoutName::has_prefix(&text) {
            return layout_reference(&text).map(Self::Layout);
        }
        if let Some(archive) = archive_at(&text) {
            return Err(archive);
        }
        match layout_at(&text) {
            Some(layout) => Err(on_disk(&text, &layout)),
            None => registry_reference(text).map(Self::Registry),
        }
    }

    pub(crate) fn of_blob(text: OsString) -> Result<Self, Mistake> {
        let shown = text.display().to_string();
        let name = Self::parse(text)?;
        let has_digest = match &name {
            Self::Registry(reference) => reference.digest().is_some(),
            Self::Layout(layout) => matches!(layout.root(), Root::Digest(_)),
        };
        if has_digest {
            return Ok(name);
        }
        let error = format!("`{shown}` has no digest; a blob requires one, as in alpine@sha256:0123...cdef");
        Err(Mistake::new(error).with_hint("`ocip tree --blobs --full REF` lists the blobs of an image"))
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
pub(super) fn layout(text: OsString) -> Result<LayoutName, Mistake> {
    if LayoutName::has_prefix(&text) {
        return layout_reference(&text);
    }
    if let Some(archive) = archive_at(&text) {
        return Err(archive);
    }
    if !Path::new(&text).exists() {
        if let Some(layout) = layout_at(&text) {
            let error =
                format!("no directory `{}`; a root of a layout is named `oci:DIR:TAG`", text.display());
            return Err(Mistake::new(error).instead(text, layout.to_string()));
        }
        let text = text.to_str().filter(|text| text.contains(':') && !is_path(text));
        if let Some(reference) = text.filter(|text| registry_reference(text.into()).is_ok()) {
            return Err(Mistake::new(format!("`{reference}` is not an image layout on disk"))
                .with_hint(format!("copy it to one first: ocip pull {reference} DIR")));
        }
    }
    Ok(LayoutName::Directory(LayoutReference::new(text, Root::Only)))
}

/// Parses a layout reference, the path of a layout, or a registry reference. A path needs no `oci:` prefix, and
/// neither does a name without a registry, tag or digest.
pub(super) fn to_check(text: OsString) -> Result<AnyReference, Mistake> {
    if LayoutName::has_prefix(&text) || Layout::is_at(&text) || text.to_str().is_some_and(is_path) {
        return layout(text).map(AnyReference::Layout);
    }
    if let Some(reference) = text.to_str().and_then(plain_name) {
        if Path::new(&text).exists() {
            return layout(text).map(AnyReference::Layout);
        }
        let error =
            format!("no directory `{}`; an image on Docker Hub requires its full name", text.display());
        return Err(Mistake::new(error).instead(text, reference.to_string()));
    }
    AnyReference::parse(text)
}

/// Whether a text can only be a path.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~']) || (text.ends_with(is_separator) && Path::new(text).is_dir())
}

/// A name that only implies its registry and tag, such as `alpine`, and the reference that it is short for.
pub(super) fn plain_name(text: &str) -> Option<Reference> {
    let reference = text.parse().ok().filter(|reference: &Reference| reference.registry().is_docker_hub())?;
    (!text.contains([':', '@']) && !names_docker_hub(text)).then_some(reference)
}

fn names_docker_hub(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| first.ends_with("docker.io"))
}

/// The layout on disk that a text means if it lacks the prefix `oci:`.
pub(super) fn layout_at(text: &OsStr) -> Option<LayoutReference> {
    let names_registry = text.to_str().is_some_and(|text| {
        let reference = text.parse::<Reference>();
        names_docker_hub(text) || reference.is_ok_and(|reference| !reference.registry().is_docker_hub())
    });
    if names_registry {
        return None;
    }
    let mut prefixed = OsString::from(LayoutReference::PREFIX);
    prefixed.push(text);
    LayoutReference::parse(&prefixed).ok().filter(|layout| Layout::is_at(layout.directory()))
}

/// Whether a text is the path of an archive.
pub(super) fn is_archive(text: &OsStr) -> bool {
    Path::new(text).extension().is_some_and(|extension| extension == "tar") && Path::new(text).is_file()
}

/// The mistake of an archive without its prefix.
fn archive_at(text: &OsStr) -> Option<Mistake> {
    if !is_archive(text) {
        return None;
    }
    let mut prefixed = OsString::from(ArchiveReference::PREFIX);
    prefixed.push(text);
    let mistake =
        Mistake::new(format!("`{}` is a file; an OCI archive follows `oci-archive:`", text.display()));
    Some(mistake.instead(text, prefixed))
}

/// A layout on disk without its prefix.
fn on_disk(text: &OsStr, layout: &LayoutReference) -> Mistake {
    let on_docker_hub = text.to_str().and_then(|text| text.parse::<Reference>().ok());
    let otherwise = on_docker_hub.map_or_else(String::new, |reference| {
        format!("; the full name of an image on Docker Hub would be `{reference}`")
    });
    let error = format!("`{}` is an image layout on disk{otherwise}", layout.directory().display());
    Mistake::new(error).instead(text, layout.to_string())
}

/// Parses a layout reference, and suggests a correction for common mistakes.
fn layout_reference(text: &OsStr) -> Result<LayoutName, Mistake> {
    let layout = LayoutName::parse(text).map_err(|invalid| {
        let mistake = match invalid {
            InvalidLayoutReference::Digest(invalid) => Mistake::new(invalid.to_string()),
            invalid => Mistake::new(format!("`{}`: {invalid}", text.display())),
        };
        let after = text.to_str().and_then(|text| text.rsplit_once('@')).map(|(_, digest)| digest);
        if after.is_some_and(is_abbreviated) { mistake.with_hint(WHOLE_DIGESTS) } else { mistake }
    })?;
    if layout.path().exists() {
        return Ok(layout);
    }
    if let Some(rest) = text.to_str().and_then(|text| text.strip_prefix("oci://"))
        && rest.parse().is_ok_and(|reference: Reference| !reference.registry().is_docker_hub())
    {
        return Err(Mistake::new("`oci:` is the prefix of an image layout on disk; a registry has none")
            .instead(text, rest));
    }
    let path = layout.path().to_str().and_then(|path| path.rsplit_once('@'));
    if let Some((_, digest)) = path.filter(|(_, digest)| is_abbreviated(digest)) {
        return Err(
            Mistake::new(format!("`{digest}` is only the start of a digest")).with_hint(WHOLE_DIGESTS)
        );
    }
    Ok(layout)
}

/// Parses a registry reference, and suggests a correction for common mistakes.
pub(super) fn registry_reference(text: OsString) -> Result<Reference, Mistake> {
    let text = text.into_string().map_err(|text| {
        Mistake::new(format!("a reference must be ASCII, but `{}` is not", text.display()))
    })?;
    if let Some(mistake) = mistake(&text) {
        return Err(mistake);
    }
    let Some((_, rest)) = text.split_once("://") else {
        return registries_conf::reference(&text).map_err(|invalid: InvalidReference| {
            let mistake = Mistake::new(invalid.to_string());
            if text.rsplit_once('@').is_some_and(|(_, digest)| is_abbreviated(digest)) {
                return mistake.with_hint(WHOLE_DIGESTS);
            }
            match corrected(&text) {
                Some(suggested) => mistake.instead(&text, suggested),
                None => mistake,
            }
        });
    };
    let rest = rest.trim_end_matches('/');
    let instead = match rest.strip_prefix("hub.docker.com/") {
        Some(page) => page.trim_start_matches("r/").trim_start_matches("_/").to_owned(),
        None => of_endpoint(rest).unwrap_or_else(|| rest.to_owned()),
    };
    match instead.parse::<Reference>() {
        // The text after a password is not a digest, even if it has the form of one.
        Ok(reference)
            if reference.digest().is_none_or(|digest| digest.algorithm().is_some())
                && mistake(&instead).is_none() =>
        {
            Err(Mistake::new(format!("`{text}` is a URL, but a reference has no scheme"))
                .instead(&text, instead))
        }
        _ => Err(Mistake::new(format!("`{text}` is a URL, not a reference"))
            .with_hint("use [REGISTRY/]REPOSITORY[:TAG][@DIGEST]")),
    }
}

/// The reference that a text becomes by a small correction.
fn corrected(text: &str) -> Option<String> {
    let trimmed = text.trim_end_matches(['/', ':']).to_owned();
    let with_digest = text.replacen(":sha256:", "@sha256:", 1);
    // A tag may have upper-case letters.
    let lower_case = if text.contains([':', '@']) { None } else { Some(text.to_lowercase()) };
    let mut candidates = [trimmed, with_digest].into_iter().chain(lower_case);
    let is_correct = |text: &str| mistake(text).is_none() && text.parse::<Reference>().is_ok();
    candidates.find(|candidate| candidate != text && is_correct(candidate))
}

/// The reference that a URL of a registry's API is for, without its scheme. Errors show such URLs.
fn of_endpoint(url: &str) -> Option<String> {
    let (registry, path) = url.split_once("/v2/")?;
    let (repository, reference) = path.split_once("/manifests/").or_else(|| path.split_once("/blobs/"))?;
    let separator = if reference.contains(':') { '@' } else { ':' };
    Some(format!("{registry}/{repository}{separator}{reference}"))
}

pub(crate) const WHOLE_DIGESTS: &str =
    "a digest cannot be abbreviated; `ocip tree --full REF` prints whole digests";

/// Whether a text is the start of a digest, with or without its algorithm, as `ocip tree` abbreviates it.
pub(crate) fn is_abbreviated(text: &str) -> bool {
    let start = text.rsplit_once(':').map_or(text, |(_, start)| start);
    (6..=128).contains(&start.len()) && start.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A mistake in a text that is not a reference, or that parses as an unintended one.
fn mistake(text: &str) -> Option<Mistake> {
    if is_path(text) {
        let error = format!("`{text}` is a path, not a reference; that of an image layout follows `oci:`");
        return Some(Mistake::new(error).instead(text, format!("{}{text}", LayoutReference::PREFIX)));
    }
    for prefix in [LayoutReference::PREFIX, ArchiveReference::PREFIX] {
        if let Some((start, path)) = text.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            let error = format!("the prefix of an image layout is `{prefix}`, in lower case");
            return Some(Mistake::new(error).instead(text, format!("{prefix}{path}")));
        }
    }
    let whole = if text.contains(':') { text.to_owned() } else { format!("sha256:{text}") };
    if whole.parse().is_ok_and(|digest: Digest| digest.algorithm().is_some()) {
        return Some(
            Mistake::new("a digest alone is not a reference").with_hint(format!("use REPOSITORY@{whole}")),
        );
    }
    // As long as `ocip tree` prints it. Shorter texts may be names.
    if text.len() >= 12 && !text.contains(':') && is_abbreviated(text) {
        let error = format!("`{text}` is the start of a digest, not a reference");
        return Some(Mistake::new(error).with_hint(WHOLE_DIGESTS));
    }
    // The transports of skopeo and podman.
    let transports = ["containers-storage:", "dir:", "docker-archive:", "docker-daemon:"];
    if let Some(transport) = transports.iter().find(|transport| text.starts_with(**transport)) {
        let mistake = Mistake::new(format!(
            "`{transport}` is not supported; only registries, image layouts (`oci:DIR`) and archives of them \
             (`oci-archive:FILE`) are"
        ));
        return Some(if *transport == "docker-archive:" {
            mistake.with_hint(
                "`docker save` writes OCI archives since Docker 25; skopeo converts older ones: skopeo copy \
                 docker-archive:FILE oci-archive:NEW",
            )
        } else {
            mistake
        });
    }
    let registry = text.split('@').next().unwrap_or_default().trim_end_matches(':');
    let host = registry.split(':').next().unwrap_or_default();
    if !text.contains('/') && (host == "localhost" || host.contains('.')) {
        // Docker reads it as an image on Docker Hub, but no image there has such a name.
        let text = text.trim_end_matches(':');
        let mistake = Mistake::new(format!("the repository is missing: `{registry}` is a registry"));
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok();
        return Some(mistake.with_hint(if is_local {
            format!("use {registry}/REPOSITORY")
        } else {
            format!("use {registry}/REPOSITORY, or docker.io/library/{text} for an image on Docker Hub")
        }));
    }
    None
}
