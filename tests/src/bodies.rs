//! The bodies of the fuzz targets, one function for each.
//!
//! Each takes any bytes, and panics where a promise is broken. Where one text or one header is read, that
//! is above all that what is printed reads back as the same value.
#![expect(clippy::missing_panics_doc, reason = "the page above says it for all of them")]

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use oci_proto::header::{
    ByteRange, Challenge, ContentRange, HttpDate, InvalidHeader, Link, RetryAfter, Selected, Warning, resolve,
};
use oci_proto::layout::blob_path;
use oci_proto::{Digest, MediaType, Platform, Rank, Reference, Registry, Repository, Tag};

mod credentials;
mod error_body;
mod exchange;
mod layout;
mod manifest;
mod server;
mod session;
mod simulation;
mod token;

pub use credentials::credentials;
pub use error_body::error_body;
pub use exchange::exchange;
pub use layout::{layout_index, layout_marker, layout_reference};
pub use manifest::manifest;
pub use server::server;
pub use session::session;
pub use simulation::simulation;
pub use token::{scope, token};

/// A reference has a tag or a digest, has a bounded name, and makes a URL with no surprise in it.
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
    let uri: Uri = format!("https://{authority}{path}").parse().expect("a reference fits a URL");
    assert_eq!((uri.authority(), uri.path(), uri.query()), (Some(&authority), path.as_str(), None));
    if let Some(digest) = reference.digest() {
        let at = reference.at(digest.clone());
        assert_eq!((at.tag(), at.digest()), (None, Some(digest)));
    }
}

/// A digest has a name and a value, those are its text, and a path in a layout that leads nowhere else.
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

/// A platform fits itself exactly, unless it is unknown. The input is one platform a line.
pub fn platform(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let platforms: Vec<Platform> = text.lines().filter_map(read_back).collect();
    for asked in &platforms {
        let unknown = asked.os() == "unknown" || asked.architecture() == "unknown";
        assert_eq!(asked.rank(asked), (!unknown).then_some(Rank::EXACT), "{asked}");
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

/// What is read from one value is the same when it is split into lines of one challenge each.
pub fn challenge(data: &[u8]) {
    let Ok(challenges) = Challenge::parse(data) else { return };
    read_list_back(&challenges, Challenge::parse);
    let lines: Vec<String> = challenges.iter().map(ToString::to_string).collect();
    let lines = lines.iter().map(String::as_bytes);
    assert_eq!(Challenge::parse_all(lines), Ok(challenges.clone()));
    for challenge in &challenges {
        assert!(challenge.is(challenge.scheme()));
        assert!(challenge.token68().is_none() || challenge.params().next().is_none());
        for (name, value) in challenge.params() {
            assert_eq!(challenge.param(&name.to_ascii_uppercase()), Some(value));
        }
    }
}

/// A link's target can be resolved, or is refused.
pub fn link(data: &[u8]) {
    let Ok(links) = Link::parse(data) else { return };
    read_list_back(&links, Link::parse);
    for link in &links {
        assert!(link.rels().all(|rel| link.has_rel(rel)));
        let _ = resolve(&Uri::from_static("https://registry.example/v2/"), link.target().as_bytes());
    }
}

/// A Content-Range has a range that is not empty and fits the total, or a total.
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

/// Whatever a range selects lies within the whole.
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

/// What a reference resolves to is absolute, plain, and resolves to itself. The input is a reference, and
/// on the line after it what it is relative to: a URL that could have been resolved before.
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
    assert!(!uri.authority().expect("an absolute URI").as_str().contains('@'), "{uri}");
    assert!(!uri.to_string().contains('#'), "{uri}");
    assert!(uri.path().starts_with('/'), "{uri}");
    assert!(!uri.path().split('/').any(|segment| matches!(segment, "." | "..")), "{uri}");
    let text = uri.to_string();
    if text.len() <= 16 << 10 {
        assert_eq!(resolve(&base, text.as_bytes()), Ok(uri));
    }
}

/// A warning's text can be shown.
pub fn warning(data: &[u8]) {
    let Ok(warnings) = Warning::parse(data) else { return };
    read_list_back(&warnings, Warning::parse);
    for warning in &warnings {
        assert!(!warning.text().contains(|c: char| c.is_control() && c != '\t'));
    }
}

/// Reads a value, if `text` is one, and holds it against what its own text reads as.
fn read_back<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Debug + Display + PartialEq> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse().as_ref(), Ok(&value));
            Some(value)
        }
        Err(error) => {
            // A text may be long, and an error is for a person.
            assert!(error.to_string().len() < 4096);
            None
        }
    }
}

/// Holds elements of a list against what they read as, one by one and together.
fn read_list_back<T>(elements: &[T], parse: impl Fn(&[u8]) -> Result<Vec<T>, InvalidHeader>)
where
    T: Clone + Debug + Display + PartialEq,
{
    for element in elements {
        assert_eq!(parse(element.to_string().as_bytes()), Ok(vec![element.clone()]));
    }
    let together = elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(parse(together.as_bytes()).as_deref(), Ok(elements));
}
