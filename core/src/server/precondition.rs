//! Conditional requests. The only validator here is an entity tag: a digest in quotes, always strong.
//!
//! Source: RFC 9110, section 13.

use http::header::{self, HeaderMap, HeaderName};

/// Whether and how what a request asks for is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The condition holds, or there is none: answer as asked.
    Met,
    /// The client has it: 304.
    NotModified,
    /// The client wants something else: 412.
    Failed,
}

/// Evaluates If-Match and If-None-Match of a GET or HEAD, in the order of RFC 9110, section 13.2.2.
/// `etag` has no quotes. Dates are not looked at, since nothing here has one.
pub(super) fn verdict(headers: &HeaderMap, etag: &str) -> Precondition {
    if headers.contains_key(header::IF_MATCH) && !lists(headers, &header::IF_MATCH, etag, Strength::Strong) {
        return Precondition::Failed;
    }
    if lists(headers, &header::IF_NONE_MATCH, etag, Strength::Weak) {
        return Precondition::NotModified;
    }
    Precondition::Met
}

/// Whether a Range counts: there is no If-Range, or it holds this very entity tag.
///
/// Source: RFC 9110, section 13.1.5.
pub(super) fn range_counts(headers: &HeaderMap, etag: &str) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => {
            let mut tags = Tags(value.as_bytes());
            tags.next() == Some(Tag::Strong(etag.as_bytes())) && tags.next().is_none()
        }
        (Some(_), Some(_)) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    /// A weak tag matches nothing.
    Strong,
    /// Weakness does not matter.
    Weak,
}

fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, strength: Strength) -> bool {
    let wanted = etag.as_bytes();
    headers.get_all(name).iter().flat_map(|value| Tags(value.as_bytes())).any(|tag| match tag {
        Tag::Any => true,
        Tag::Strong(tag) => tag == wanted,
        Tag::Weak(tag) => strength == Strength::Weak && tag == wanted,
    })
}

/// One element of a list of entity tags, without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag<'a> {
    Any,
    Strong(&'a [u8]),
    Weak(&'a [u8]),
}

/// Reads a list of entity tags; a malformed element ends it.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let rest = self.0.get(start..)?;
        // Whatever is not read to its end is malformed, and nothing is read after it.
        self.0 = &[];
        let (tag, after) = if let Some(after) = rest.strip_prefix(b"*") {
            (Tag::Any, after)
        } else if let Some(opaque) = rest.strip_prefix(b"\"") {
            let (tag, after) = until_quote(opaque)?;
            (Tag::Strong(tag), after)
        } else {
            let (tag, after) = until_quote(rest.strip_prefix(b"W/\"")?)?;
            (Tag::Weak(tag), after)
        };
        let space = after.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(after.len());
        let after = after.get(space..)?;
        if !after.is_empty() && !after.starts_with(b",") {
            return None;
        }
        self.0 = after;
        Some(tag)
    }
}

fn until_quote(opaque: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = opaque.iter().position(|b| *b == b'"')?;
    Some((opaque.get(..end)?, opaque.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn if_none_match_compares_weakly_over_lists_and_lines() {
        for (value, verdict_of_it) in [
            (r#""x:a""#, Precondition::NotModified),
            (r#"W/"x:a""#, Precondition::NotModified),
            ("*", Precondition::NotModified),
            (r#" , "b","c, d" ,W/"x:a""#, Precondition::NotModified),
            ("", Precondition::Met),
            (r#""b, "x:a"#, Precondition::Met),
            (r#""b", "c""#, Precondition::Met),
            // An opaque tag may have a comma in it.
            (r#""b,*""#, Precondition::Met),
            // Malformed lists end where they break.
            (r#""b" "x:a""#, Precondition::Met),
            (r#"w/"x:a""#, Precondition::Met),
            (r#""x:a"#, Precondition::Met),
            ("x:a", Precondition::Met),
        ] {
            let headers = headers(&[(header::IF_NONE_MATCH, value)]);
            assert_eq!(verdict(&headers, "x:a"), verdict_of_it, "{value}");
        }
        let mut both = headers(&[(header::IF_NONE_MATCH, r#""b""#)]);
        both.append(header::IF_NONE_MATCH, http::HeaderValue::from_static(r#""x:a""#));
        assert_eq!(verdict(&both, "x:a"), Precondition::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        let strong = headers(&[(header::IF_MATCH, r#""x:a""#)]);
        assert_eq!(verdict(&strong, "x:a"), Precondition::Met);
        assert_eq!(verdict(&strong, "x:b"), Precondition::Failed);
        assert_eq!(verdict(&headers(&[(header::IF_MATCH, "*")]), "x:a"), Precondition::Met);
        assert_eq!(verdict(&headers(&[(header::IF_MATCH, r#"W/"x:a""#)]), "x:a"), Precondition::Failed);
        let both = headers(&[(header::IF_MATCH, r#""x:b""#), (header::IF_NONE_MATCH, r#""x:a""#)]);
        assert_eq!(verdict(&both, "x:a"), Precondition::Failed);
    }

    #[test]
    fn if_range_lets_a_range_count_only_for_the_same_strong_tag() {
        assert!(range_counts(&HeaderMap::new(), "x:a"));
        for (value, counts) in [
            (r#""x:a""#, true),
            (r#""x:b""#, false),
            (r#"W/"x:a""#, false),
            (r#""x:a", "x:b""#, false),
            ("*", false),
            ("Tue, 24 Nov 2026 00:00:00 GMT", false),
        ] {
            assert_eq!(range_counts(&headers(&[(header::IF_RANGE, value)]), "x:a"), counts, "{value}");
        }
    }
}
