//! The bodies of the fuzz targets, one function each.
//!
//! Each accepts any bytes and panics if a property is violated. For a single text or header the main property
//! is that a parsed value prints as text that parses to the same value.
#![expect(clippy::missing_panics_doc, reason = "the page above covers all of them")]

use std::time::Duration;

use http::Uri;
use oci_proto::header::{
    ByteRange, Challenge, ContentRange, HttpDate, Link, RetryAfter, Selected, Warning, resolve,
};
use oci_proto::layout::blob_path;
use oci_proto::{Digest, MediaType, Platform, Rank, Reference, Registry, Repository, Tag};

use crate::bodies::round_trip::{read_back, read_list_back};

pub(crate) mod credentials;
pub(crate) mod error_body;
pub(crate) mod exchange;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod manifest;
pub(crate) mod registry;
mod round_trip;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod simulation;
pub(crate) mod token;
pub(crate) mod upload;
pub(crate) mod writing;

pub use credentials::credentials;
pub use error_body::error_body;
pub use exchange::exchange;
pub use layout::{layout_index, layout_marker, layout_reference};
pub use list::list;
pub use manifest::manifest;
pub use registry::registry;
pub use server::server;
pub use session::session;
pub use simulation::simulation;
pub use token::{scope, token};
pub use upload::upload;
pub use writing::writing;

/// A reference has a tag or a digest, has a name of bounded length, and forms exactly the expected URL.
pub fn reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let _: Option<Repository> = read_back(text);
    let _: Option<Tag> = read_back(text);
    if let Some(registry) = read_back::<Registry>(text) {
        let _ = (registry.is_loopback(), registry.credentials_key());
        let authority = registry.api_authority();
        let in_authority = authority.host().trim_start_matches('[').trim_end_matches(']');
        assert_eq!(in_authority, registry.api_host());
    }

    let Some(reference) = read_back::<Reference>(text) else { return };
    assert!(reference.tag().is_some() || reference.digest().is_some());
    let name = format!("{}/{}", reference.registry(), reference.repository());
    assert!(name.len() <= 255, "{name}");
    let (authority, repository) = (reference.registry().api_authority(), reference.repository());
    let path = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("/v2/{repository}/manifests/{tag}"),
        (None, Some(digest)) => format!("/v2/{repository}/manifests/{digest}"),
        (None, None) => return,
    };
    let uri: Uri = format!("https://{authority}{path}").parse().expect("a reference forms a valid URL");
    assert_eq!((uri.authority(), uri.path(), uri.query()), (Some(&authority), path.as_str(), None));
    if let Some(digest) = reference.digest() {
        let at = reference.at(digest.clone());
        assert_eq!((at.tag(), at.digest()), (None, Some(digest)));
    }
}

/// A digest prints as its algorithm and value, and its path in a layout stays within the layout.
pub fn digest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(digest) = read_back::<Digest>(text) else { return };
    assert_eq!(format!("{}:{}", digest.algorithm_name(), digest.encoded()), text);
    let path = blob_path(&digest);
    let parts: Vec<&str> = path.split(['/', '\\', ':']).collect();
    assert_eq!(parts, ["blobs", digest.algorithm_name(), &digest.encoded()]);
    assert!(parts.iter().all(|part| !part.is_empty() && !part.starts_with('.')), "{path}");
    if let Some(algorithm) = digest.algorithm() {
        assert_eq!(digest.algorithm_name(), algorithm.as_str());
        assert_eq!(digest.encoded().len(), Digest::of(algorithm, b"").encoded().len());
    }
}

/// A platform matches itself exactly. The input is one platform per line.
pub fn platform(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let platforms: Vec<Platform> = text.lines().filter_map(read_back).collect();
    for asked in &platforms {
        assert_eq!(asked.rank(asked), Some(Rank::EXACT), "{asked}");
        let best = asked.best(platforms.iter().map(|offered| (Some(offered), offered)));
        let smallest = platforms.iter().filter_map(|offered| asked.rank(offered)).min();
        assert_eq!(best.and_then(|best| asked.rank(best)), smallest);
        assert!(smallest < Some(Rank::LAST_RESORT));
    }
}

/// A media type has neither parameters nor upper case.
pub fn media_type(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(media_type) = read_back::<MediaType>(text) else { return };
    let text = media_type.as_str();
    assert!(!text.contains([';', ' ', '\t']) && !text.contains(|c: char| c.is_ascii_uppercase()));
    let _ = (media_type.kind(), media_type.is_generic(), media_type.is_schema1());
}

/// Parsing one value gives the same as parsing one line for each of its challenges.
pub fn challenge(data: &[u8]) {
    let Ok(challenges) = Challenge::parse(data) else { return };
    read_list_back(&challenges, Challenge::parse);
    let lines: Vec<String> = challenges.iter().map(ToString::to_string).collect();
    let lines = lines.iter().map(String::as_bytes);
    assert_eq!(Challenge::parse_all(lines), (challenges.clone(), None));
    for challenge in &challenges {
        assert!(challenge.is(challenge.scheme()));
        assert!(challenge.token68().is_none() || challenge.params().next().is_none());
        for (name, value) in challenge.params() {
            assert_eq!(challenge.param(&name.to_ascii_uppercase()), Some(value));
        }
    }
}

/// A link's target is resolved or refused.
pub fn link(data: &[u8]) {
    let Ok(links) = Link::parse(data) else { return };
    read_list_back(&links, Link::parse);
    for link in &links {
        assert!(link.rels().all(|rel| link.has_rel(rel)));
        let _ = resolve(&Uri::from_static("https://registry.example/v2/"), link.target().as_bytes());
    }
}

/// A Content-Range has a nonempty range that fits the total, or only a total.
pub fn content_range(data: &[u8]) {
    let Ok(read) = ContentRange::parse(data) else { return };
    assert_eq!(ContentRange::parse(read.to_string().as_bytes()), Ok(read.clone()));
    match (read.range(), read.total()) {
        (None, total) => assert!(total.is_some()),
        (Some(range), total) => {
            assert!(!range.is_empty() && total.is_none_or(|total| range.end <= total));
            assert_eq!(ContentRange::of(range, total), Some(read));
        }
    }
}

/// A range selects bytes within the content only.
pub fn range(data: &[u8]) {
    let Ok(Some(range)) = ByteRange::parse(data) else { return };
    assert_eq!(ByteRange::parse(range.to_string().as_bytes()), Ok(Some(range.clone())));
    for size in [0, 1, 2, 1000, u64::MAX] {
        if let Selected::Part(part) = range.select(size) {
            assert!(!part.is_empty() && part.end <= size);
            assert!(ContentRange::of(part, Some(size)).is_some());
        }
    }
}

/// The delay is never negative. The input is a Retry-After, and a Date on the line after it.
pub fn retry_after(data: &[u8]) {
    let mut lines = data.splitn(2, |b| *b == b'\n');
    let value = lines.next().unwrap_or_default();
    let sent = lines.next().and_then(|line| HttpDate::parse(line).ok());
    if let Some(sent) = sent {
        assert_eq!(HttpDate::parse(sent.to_string().as_bytes()), Ok(sent));
        assert_eq!(sent.saturating_since(sent), Duration::ZERO);
    }
    let Ok(after) = RetryAfter::parse(value) else { return };
    assert_eq!(RetryAfter::parse(after.to_string().as_bytes()), Ok(after));
    assert_eq!(after.delay(sent).is_none(), matches!(after, RetryAfter::Date(_)) && sent.is_none());
}

/// A resolved reference is absolute and normalized, and resolves to itself. The input is a reference and, on
/// the next line, a base URL that is itself the result of a resolution.
pub fn location(data: &[u8]) {
    let mut lines = data.splitn(2, |b| *b == b'\n');
    let reference = lines.next().unwrap_or_default();
    let base = match lines.next() {
        None => Uri::from_static("https://registry.example/v2/a/blobs/uploads/?x=1"),
        Some(line) => match Uri::try_from(line) {
            Ok(base) if resolve(&base, line).is_ok() => base,
            _ => return,
        },
    };
    let Ok(uri) = resolve(&base, reference) else { return };
    assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{uri}");
    assert!(uri.host().is_some_and(|host| !host.is_empty()), "{uri}");
    assert!(!uri.authority().expect("the URI is absolute").as_str().contains('@'), "{uri}");
    assert!(!uri.to_string().contains('#'), "{uri}");
    assert!(uri.path().starts_with('/'), "{uri}");
    assert!(!uri.path().split('/').any(|segment| matches!(segment, "." | "..")), "{uri}");
    let text = uri.to_string();
    if text.len() <= 16 << 10 {
        assert_eq!(resolve(&base, text.as_bytes()), Ok(uri));
    }
}

/// A warning's text contains only printable characters.
pub fn warning(data: &[u8]) {
    let Ok(warnings) = Warning::parse(data) else { return };
    read_list_back(&warnings, Warning::parse);
    for warning in &warnings {
        assert!(!warning.text().contains(|c: char| c.is_control() && c != '\t'));
    }
}
