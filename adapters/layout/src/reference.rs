//! References to layouts and roots in them.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_proto::layout::{InvalidRefName, Root};
use oci_proto::{Algorithm, Digest, InvalidDigest};

/// A reference to a layout's directory and a root in it: `oci:DIR`, `oci:DIR:TAG` or `oci:DIR@DIGEST`.
///
/// The path of the directory ends at the first colon, so it cannot contain one. The tag follows the colon,
/// and may be any name that is valid in a layout. An `@` starts a digest if sha256, sha384 or sha512 and a
/// colon follow; otherwise it belongs to the path. (On Windows a path may start with a drive letter and a
/// colon.)
///
/// skopeo uses the same syntax, without the digest.
///
/// ```
/// use std::path::Path;
/// use oci_proto_layout::LayoutReference;
/// use oci_proto_layout::oci_proto::layout::Root;
///
/// let named = LayoutReference::parse("oci:mirror/app:1.0".as_ref())?;
/// assert_eq!(named.directory(), Path::new("mirror/app"));
/// assert_eq!(named.root(), &Root::Named("1.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    directory: PathBuf,
    root: Root,
}

impl LayoutReference {
    /// The prefix of every layout reference.
    pub const PREFIX: &str = "oci:";

    /// Makes a reference to a root in a directory, whose path may contain any characters.
    pub fn new(directory: impl Into<PathBuf>, root: Root) -> Self {
        Self { directory: directory.into(), root }
    }

    /// Parses a reference. The path need not be Unicode.
    ///
    /// # Errors
    /// It does not start with `oci:`, has no path, or has an invalid tag or digest.
    pub fn parse(text: &OsStr) -> Result<Self, InvalidLayoutReference> {
        let (directory, root) = parse(text, Self::PREFIX, ReferenceForm::Directory)?;
        Ok(Self { directory, root })
    }

    /// The directory of the layout.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, Self::PREFIX, &self.directory, &self.root)
    }
}

/// A reference to an archive and a root in it: `oci-archive:FILE`, `oci-archive:FILE:TAG` or
/// `oci-archive:FILE@DIGEST`.
///
/// The path, the tag and the digest are as in a [`LayoutReference`]. skopeo uses the same syntax, without the
/// digest.
///
/// ```
/// use std::path::Path;
/// use oci_proto_layout::ArchiveReference;
/// use oci_proto_layout::oci_proto::layout::Root;
///
/// let named = ArchiveReference::parse("oci-archive:app.tar:1.0".as_ref())?;
/// assert_eq!(named.file(), Path::new("app.tar"));
/// assert_eq!(named.root(), &Root::Named("1.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveReference {
    file: PathBuf,
    root: Root,
}

impl ArchiveReference {
    /// The prefix of every archive reference.
    pub const PREFIX: &str = "oci-archive:";

    /// Makes a reference to a root in an archive, whose path may contain any characters.
    pub fn new(file: impl Into<PathBuf>, root: Root) -> Self {
        Self { file: file.into(), root }
    }

    /// Parses a reference. The path need not be Unicode.
    ///
    /// # Errors
    /// It does not start with `oci-archive:`, has no path, or has an invalid tag or digest.
    pub fn parse(text: &OsStr) -> Result<Self, InvalidLayoutReference> {
        let (file, root) = parse(text, Self::PREFIX, ReferenceForm::Archive)?;
        Ok(Self { file, root })
    }

    /// The file of the archive.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl fmt::Display for ArchiveReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, Self::PREFIX, &self.file, &self.root)
    }
}

/// The form of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferenceForm {
    /// That of a [`LayoutReference`].
    Directory,
    /// That of an [`ArchiveReference`].
    Archive,
}

impl ReferenceForm {
    fn syntax(self) -> &'static str {
        match self {
            Self::Directory => "oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST",
            Self::Archive => "oci-archive:FILE, oci-archive:FILE:TAG or oci-archive:FILE@DIGEST",
        }
    }
}

impl fmt::Display for ReferenceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::Archive => "archive",
        })
    }
}

/// Why a text is not a reference to a layout in a directory or an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLayoutReference {
    /// It does not start with the prefix of its form.
    #[error("expected {}", .0.syntax())]
    Prefix(ReferenceForm),
    /// It has no path.
    #[error("the {form} is missing; expected {syntax}", form = .0, syntax = .0.syntax())]
    NoPath(ReferenceForm),
    /// The tag or digest is not Unicode; or, on systems other than Unix, the path is not.
    #[error("the text after the path is not Unicode")]
    Encoding,
    /// The tag is not a valid name.
    #[error("{invalid}; the path of the {form} must not contain a colon")]
    Name {
        /// Why it is not a valid name.
        #[source]
        invalid: InvalidRefName,
        /// The form of the reference.
        form: ReferenceForm,
    },
    /// The text after the `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

fn parse(text: &OsStr, prefix: &str, form: ReferenceForm) -> Result<(PathBuf, Root), InvalidLayoutReference> {
    // On other systems the standard library cannot split texts that are not Unicode.
    if cfg!(not(unix)) && text.to_str().is_none() {
        return Err(InvalidLayoutReference::Encoding);
    }
    let rest = text.as_encoded_bytes().strip_prefix(prefix.as_bytes());
    match split(rest.ok_or(InvalidLayoutReference::Prefix(form))?, form, cfg!(windows))? {
        ([], _) => Err(InvalidLayoutReference::NoPath(form)),
        (found, root) => Ok((path(found), root)),
    }
}

fn write(f: &mut fmt::Formatter<'_>, prefix: &str, path: &Path, root: &Root) -> fmt::Result {
    write!(f, "{prefix}{}", path.display())?;
    match root {
        Root::Only => Ok(()),
        Root::Named(name) => write!(f, ":{name}"),
        Root::Digest(digest) => write!(f, "@{digest}"),
    }
}

/// Splits a path from its root.
fn split(rest: &[u8], form: ReferenceForm, drives: bool) -> Result<(&[u8], Root), InvalidLayoutReference> {
    let start = if drives && rest.get(1) == Some(&b':') { 2 } else { 0 };
    let Some(colon) = rest.iter().skip(start).position(|b| *b == b':').map(|at| start + at) else {
        return Ok((rest, Root::Only));
    };
    let (before, after) = (&rest[..colon], &rest[colon + 1..]);
    if let Some(at) = before.iter().rposition(|b| *b == b'@')
        && str::from_utf8(&before[at + 1..]).is_ok_and(|name| Algorithm::named(name).is_some())
    {
        let digest: Digest = text(&rest[at + 1..])?.parse()?;
        return Ok((&rest[..at], Root::Digest(digest)));
    }
    let name = text(after)?.parse().map_err(|invalid| InvalidLayoutReference::Name { invalid, form })?;
    Ok((before, Root::Named(name)))
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
    fn a_path_ends_at_the_first_colon() {
        for (text, directory, root) in [
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
            assert_eq!((read.directory(), read.root()), (Path::new(directory), &root), "{text}");
            assert_eq!(read.to_string(), text);
            let text = text.replacen("oci:", "oci-archive:", 1);
            let read = ArchiveReference::parse(text.as_ref()).unwrap();
            assert_eq!((read.file(), read.root()), (Path::new(directory), &root), "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn a_drive_is_part_of_a_path_on_windows() {
        assert_eq!(split(b"C:\\a:1", ReferenceForm::Directory, true), Ok((&b"C:\\a"[..], named("1"))));
        assert_eq!(split(b"C:\\a", ReferenceForm::Directory, true), Ok((&b"C:\\a"[..], Root::Only)));
        assert_eq!(split(b"C:a", ReferenceForm::Directory, false), Ok((&b"C"[..], named("a"))));
    }

    #[test]
    fn errors_explain_the_mistake() {
        for (text, expected) in [
            ("dir", "oci:DIR"),
            ("OCI:dir", "oci:DIR"),
            ("oci:", "directory is missing"),
            ("oci::1", "directory is missing"),
            ("oci:dir:", "a colon"),
            ("oci:dir:a b", "a colon"),
            ("oci:dir@sha256:12", "hexadecimal"),
            (&format!("oci:@{DIGEST}"), "directory is missing"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text} gave {error:?}, which lacks {expected:?}");
        }
        for (text, expected) in [
            ("app.tar", "expected oci-archive:FILE"),
            ("oci:app.tar", "expected oci-archive:FILE"),
            ("oci-archive:", "the archive is missing; expected oci-archive:FILE"),
            ("oci-archive::1", "the archive is missing"),
            ("oci-archive:app.tar:", "the path of the archive must not contain a colon"),
            ("oci-archive:app.tar@sha256:12", "hexadecimal"),
        ] {
            let error = ArchiveReference::parse(text.as_ref()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text} gave {error:?}, which lacks {expected:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_unicode_but_a_name_must() {
        use std::os::unix::ffi::OsStrExt as _;
        let read = LayoutReference::parse(OsStr::from_bytes(b"oci:a\xff:1")).unwrap();
        assert_eq!(read.directory().as_os_str().as_bytes(), b"a\xff");
        assert_eq!(read.root(), &named("1"));
        let error = LayoutReference::parse(OsStr::from_bytes(b"oci:a:\xff")).unwrap_err();
        assert_eq!(error, InvalidLayoutReference::Encoding);
    }
}
