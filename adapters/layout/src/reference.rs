//! Naming a layout, and a root in it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_proto::layout::{InvalidRefName, Root};
use oci_proto::{Algorithm, Digest, InvalidDigest};

/// A layout's folder, and which of its roots is meant: `oci:DIR`, `oci:DIR:TAG` or `oci:DIR@DIGEST`.
///
/// The folder's path goes up to the first colon, so that it has none in it; the tag is what follows, and may be
/// any name that a layout can give. An `@` begins a digest where sha256, sha384 or sha512 and a colon follow it,
/// and belongs to the path elsewhere. (On Windows a path may begin with a drive's letter and colon.)
///
/// This is how skopeo names layouts, but for the digest.
///
/// ```
/// use std::path::Path;
/// use oci_proto_layout::LayoutReference;
/// use oci_proto_layout::oci_proto::layout::Root;
///
/// let named = LayoutReference::parse("oci:mirror/app:1.0".as_ref())?;
/// assert_eq!(named.folder(), Path::new("mirror/app"));
/// assert_eq!(named.root(), &Root::Named("1.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    folder: PathBuf,
    root: Root,
}

impl LayoutReference {
    /// What every such reference begins with.
    pub const PREFIX: &str = "oci:";

    /// Names a root in a folder, whatever characters its path has.
    pub fn new(folder: impl Into<PathBuf>, root: Root) -> Self {
        Self { folder: folder.into(), root }
    }

    /// Reads a reference. The path may be any that the operating system has.
    ///
    /// # Errors
    /// It does not begin with `oci:`, has no path, or a tag or digest that is none.
    pub fn parse(text: &OsStr) -> Result<Self, InvalidLayoutReference> {
        // Elsewhere the standard library does not take texts apart that are not Unicode.
        if cfg!(not(unix)) && text.to_str().is_none() {
            return Err(InvalidLayoutReference::Encoding);
        }
        let rest = text
            .as_encoded_bytes()
            .strip_prefix(Self::PREFIX.as_bytes())
            .ok_or(InvalidLayoutReference::Prefix)?;
        match split(rest, cfg!(windows))? {
            ([], _) => Err(InvalidLayoutReference::NoPath),
            (folder, root) => Ok(Self { folder: path(folder), root }),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Which root is meant.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.folder.display())?;
        match &self.root {
            Root::Only => Ok(()),
            Root::Named(name) => write!(f, ":{name}"),
            Root::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// Why a text does not name a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLayoutReference {
    /// It does not begin with `oci:`.
    #[error("a layout is named as oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST")]
    Prefix,
    /// It has no path.
    #[error("the folder is missing; write oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST")]
    NoPath,
    /// What follows the path is not Unicode; or all of it is not, where that must be.
    #[error("it is not Unicode; what follows the folder's colon has to be")]
    Encoding,
    /// What follows the path is no name.
    #[error("{0}; a folder's path has no colon in it")]
    Name(#[from] InvalidRefName),
    /// What follows the `@` is no digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// Splits a path from what names the root.
fn split(rest: &[u8], drives: bool) -> Result<(&[u8], Root), InvalidLayoutReference> {
    let start = if drives && rest.get(1) == Some(&b':') { 2 } else { 0 };
    let Some(colon) = rest.iter().skip(start).position(|b| *b == b':').map(|at| start + at) else {
        return Ok((rest, Root::Only));
    };
    let (before, after) = (&rest[..colon], &rest[colon + 1..]);
    let known = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512].map(Algorithm::as_str);
    if let Some(at) = before.iter().rposition(|b| *b == b'@')
        && known.iter().any(|name| before[at + 1..] == *name.as_bytes())
    {
        let digest: Digest = text(&rest[at + 1..])?.parse()?;
        return Ok((&rest[..at], Root::Digest(digest)));
    }
    Ok((before, Root::Named(text(after)?.parse()?)))
}

fn text(bytes: &[u8]) -> Result<&str, InvalidLayoutReference> {
    str::from_utf8(bytes).map_err(|_| InvalidLayoutReference::Encoding)
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> PathBuf {
    let text: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    text.into()
}

#[cfg(not(unix))]
fn path(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Result<LayoutReference, String> {
        LayoutReference::parse(text.as_ref()).map_err(|error| error.to_string())
    }

    fn named(name: &str) -> Root {
        Root::Named(name.parse().unwrap())
    }

    #[test]
    fn a_path_goes_up_to_the_first_colon() {
        for (text, folder, root) in [
            ("oci:dir", "dir", Root::Only),
            ("oci:/a/b.c/", "/a/b.c/", Root::Only),
            ("oci:.:1.0", ".", named("1.0")),
            ("oci:dir:team/app:1.0", "dir", named("team/app:1.0")),
            ("oci:a@b/c:1", "a@b/c", named("1")),
            ("oci:a@v1:latest", "a@v1", named("latest")),
            ("oci:a@b", "a@b", Root::Only),
            ("oci:dir with spaces/\u{e9}:x", "dir with spaces/\u{e9}", named("x")),
            (&format!("oci:dir@{DIGEST}"), "dir", Root::Digest(DIGEST.parse().unwrap())),
            (&format!("oci:a@b/c@{DIGEST}"), "a@b/c", Root::Digest(DIGEST.parse().unwrap())),
            (&format!("oci:dir:app@{DIGEST}"), "dir", named(&format!("app@{DIGEST}"))),
        ] {
            let read = parse(text).unwrap();
            assert_eq!((read.folder(), read.root()), (Path::new(folder), &root), "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn a_drive_is_part_of_a_path_where_there_are_drives() {
        assert_eq!(split(b"C:\\a:1", true), Ok((&b"C:\\a"[..], named("1"))));
        assert_eq!(split(b"C:\\a", true), Ok((&b"C:\\a"[..], Root::Only)));
        assert_eq!(split(b"C:a", false), Ok((&b"C"[..], named("a"))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("dir", "oci:DIR"),
            ("OCI:dir", "oci:DIR"),
            ("oci:", "folder is missing"),
            ("oci::1", "folder is missing"),
            ("oci:dir:", "no colon"),
            ("oci:dir:a b", "no colon"),
            ("oci:dir@sha256:12", "hexadecimal"),
            (&format!("oci:@{DIGEST}"), "folder is missing"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(said), "{text} gave {error:?}, which lacks {said:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_unicode_and_a_name_must() {
        use std::os::unix::ffi::OsStrExt as _;
        let read = LayoutReference::parse(OsStr::from_bytes(b"oci:a\xff:1")).unwrap();
        assert_eq!(read.folder().as_os_str().as_bytes(), b"a\xff");
        assert_eq!(read.root(), &named("1"));
        let error = LayoutReference::parse(OsStr::from_bytes(b"oci:a:\xff")).unwrap_err();
        assert_eq!(error, InvalidLayoutReference::Encoding);
    }
}
