//! Location: resolution of URI references.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::header::cursor::Cursor;
use crate::header::error::InvalidHeader;

/// The maximum length of a reference, in bytes. Signed URLs have a few thousand.
const MAX_LEN: usize = 16 << 10;

/// Resolves the value of a Location header, or the target of a [`Link`](super::Link), against the
/// request's URI.
///
/// The result is absolute. It has the scheme http or https, a host, no user name and no fragment, and
/// its path has no `.` or `..` segment.
///
/// Source: RFC 3986, section 5.2; RFC 9110, section 10.2.2.
///
/// # Errors
/// Fails if `base` is not an absolute http or https URI, or if the reference has another scheme, a user
/// name, an empty host, an invalid port or a byte that is invalid in a URI, or is longer than 16 KiB.
///
/// ```
/// use oci_proto::header::resolve;
///
/// let base = http::Uri::from_static("https://registry.example/v2/x/blobs/uploads/");
/// assert_eq!(resolve(&base, b"../y?z=1#f")?, "https://registry.example/v2/x/blobs/y?z=1");
/// assert_eq!(resolve(&base, b"//cdn.example")?, "https://cdn.example/");
/// # Ok::<(), oci_proto::header::InvalidHeader>(())
/// ```
pub fn resolve(base: &Uri, reference: &[u8]) -> Result<Uri, InvalidHeader> {
    let mut cursor = Cursor::new("Location", reference);
    if reference.len() > MAX_LEN {
        return Err(cursor.error("the URI is longer than 16 KiB"));
    }
    let (Some(base_scheme), Some(base_authority)) = (base.scheme(), base.authority()) else {
        return Err(cursor.error("the base URI is not absolute"));
    };
    if ![Scheme::HTTP, Scheme::HTTPS].contains(base_scheme) {
        return Err(cursor.error("the base URI is neither http nor https"));
    }
    cursor.skip_whitespace();
    let start = cursor.clone();
    // User agents disagree on backslashes: some treat them as slashes.
    let text = cursor.take_while(|b| b.is_ascii_graphic() && b != b'\\');
    cursor.skip_whitespace();
    if !cursor.is_at_end() {
        return Err(cursor.error("this byte is invalid in a URI"));
    }

    let cursor = start;
    let parts = Parts::split(text);
    let scheme = match parts.scheme {
        None => base_scheme.clone(),
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::HTTP,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::HTTPS,
        Some(_) => return Err(cursor.error("the scheme is neither http nor https")),
    };
    let authority = match parts.authority {
        Some(text) => read_authority(&cursor, text)?,
        None if parts.scheme.is_some() => return Err(cursor.error("the host is missing")),
        // The base is valid, but may have a user name or an empty port.
        None => read_authority(&cursor, base_authority.as_str())?,
    };
    let (path, query) = match parts.path {
        path if parts.authority.is_some() || path.starts_with('/') => {
            (remove_dot_segments(path), parts.query)
        }
        "" => (remove_dot_segments(base.path()), parts.query.or(base.query())),
        path => {
            let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            (remove_dot_segments(&format!("{directory}/{path}")), parts.query)
        }
    };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let path_and_query = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let path_and_query = PathAndQuery::try_from(path_and_query)
        .map_err(|_| cursor.error("the path or the query contains a byte that is invalid in a URI"))?;
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
        .map_err(|_| cursor.error("it is not a valid URI"))
}

/// The components of a reference, without the fragment.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Splits a reference as in RFC 3986, appendix B.
    fn split(text: &'a str) -> Self {
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (text, query) = match text.split_once('?') {
            None => (text, None),
            Some((text, query)) => (text, Some(query)),
        };
        // A colon after a slash is part of the path.
        let (scheme, text) = match text.split_once(':') {
            Some((scheme, rest)) if !scheme.contains('/') => (Some(scheme), rest),
            _ => (None, text),
        };
        let (authority, path) = match text.strip_prefix("//") {
            None => (None, text),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
        };
        Self { scheme, authority, path, query }
    }
}

fn read_authority(cursor: &Cursor<'_>, text: &str) -> Result<Authority, InvalidHeader> {
    if text.contains('@') {
        return Err(cursor.error("the URI or its base contains a user name, which is not allowed"));
    }
    let host_len = if text.starts_with('[') { text.find(']').map(|at| at + 1) } else { text.find(':') };
    let (host, port) = text.split_at(host_len.unwrap_or(text.len()));
    if host.is_empty() {
        return Err(cursor.error("the host is missing"));
    }
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(number) => {
            number.bytes().all(|b| b.is_ascii_digit())
                && (number.is_empty() || number.parse::<u16>().is_ok_and(|number| number != 0))
        }
    };
    if !port_fits {
        return Err(cursor.error("the port is not a number from 1 to 65535"));
    }
    // An empty port and no port both mean the scheme's default.
    let text = if port == ":" { host } else { text };
    text.parse().map_err(|_| cursor.error("the host contains an invalid byte"))
}

/// Removes `.` and `..` segments from a path that is empty or begins with a slash.
///
/// Source: RFC 3986, section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    kept.iter().flat_map(|segment| ["/", segment]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn resolved(base: &str, reference: &str) -> String {
        match resolve(&base.parse().unwrap(), reference.as_bytes()) {
            Ok(uri) => uri.to_string(),
            Err(error) => panic!("{reference:?}: {error}"),
        }
    }

    /// RFC 3986, sections 5.4.1 and 5.4.2. Fragments are removed, and an authority is followed by a
    /// slash, as `http::Uri` writes it.
    #[test]
    fn resolves_the_specification_s_examples() {
        for (reference, target) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/../x", "http://a/b/c/g"),
        ] {
            assert_eq!(resolved("http://a/b/c/d;p?q", reference), target, "{reference:?}");
        }
    }

    #[test]
    fn an_absolute_reference_replaces_everything() {
        for (reference, target) in [
            ("https://cdn.example/x/../y?sig=a%2Fb+c", "https://cdn.example/y?sig=a%2Fb+c"),
            ("HTTP://h:80", "http://h:80/"),
            ("https://h:", "https://h/"),
            ("https://h?q", "https://h/?q"),
            ("https://h#f", "https://h/"),
            ("https://[::1]:5000//a//b", "https://[::1]:5000//a//b"),
            (" https://h/x\t", "https://h/x"),
            ("//h/a:b@c", "http://h/a:b@c"),
            ("/a:b", "http://a/a:b"),
            ("https://h/x??y", "https://h/x??y"),
        ] {
            assert_eq!(resolved("http://a/b?q", reference), target, "{reference:?}");
        }
    }

    #[test]
    fn a_reference_of_16_kib_is_accepted() {
        let longest = format!("/{}", "a".repeat(MAX_LEN - 1));
        assert_eq!(resolved("http://h/b", &longest), format!("http://h{longest}"));
    }

    #[test]
    fn rejects_references_that_must_not_be_followed() {
        let long = format!("/{}", "a".repeat(MAX_LEN));
        for reference in [
            "ftp://h/x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "g:h",
            "http:g",
            "http:/g",
            "http://",
            "https:///x",
            "https://:80/x",
            "///x",
            "https://user@h/",
            "https://user:pass@h/",
            "//user@h/",
            "https://h:0/",
            "https://h:65536/",
            "https://h:x/",
            "https://h:1:2/",
            "https://[::1/",
            "https://[::1]x/",
            "https:\\\\h\\x",
            "/a b",
            "/a\nb",
            "/\u{e9}",
            ":x",
            &long,
        ] {
            let base = Uri::from_static("https://a/b");
            assert!(resolve(&base, reference.as_bytes()).is_err(), "{reference:?} was accepted");
        }
        assert!(resolve(&Uri::from_static("/b"), b"c").is_err());
        assert!(resolve(&Uri::from_static("a:1"), b"c").is_err());
        assert!(resolve(&Uri::from_static("ftp://a/b"), b"c").is_err());
        assert!(resolve(&Uri::from_static("http://user@a/b"), b"c").is_err());
        assert!(resolve(&Uri::from_static("http://a/b"), b"/\xff").is_err());
    }
}
