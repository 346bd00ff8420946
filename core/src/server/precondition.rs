//! Conditional requests. The only validator is an entity tag: a quoted digest, always strong.
//!
//! Source: RFC 9110, section 13.

use http::header::{self, HeaderMap, HeaderName};

/// The outcome of a request's preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The preconditions hold, or there are none: process the request.
    Met,
    /// The client has the content: respond 304.
    NotModified,
    /// The content does not match: respond 412.
    Failed,
}

/// Evaluates If-Match and If-None-Match, in the order of RFC 9110, section 13.2.2. `etag` is unquoted, and `None` if
/// there is no content, which fails If-Match even of `*`. Dates are ignored, since no content has one.
pub(super) fn evaluate(headers: &HeaderMap, etag: Option<&str>) -> Precondition {
    if headers.contains_key(header::IF_MATCH) && !lists(headers, &header::IF_MATCH, etag, Strength::Strong) {
        return Precondition::Failed;
    }
    if lists(headers, &header::IF_NONE_MATCH, etag, Strength::Weak) {
        return Precondition::NotModified;
    }
    Precondition::Met
}

/// Returns whether a request has preconditions.
pub(super) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH)
}

/// Returns whether a Range header applies: there is no If-Range, or it has this entity tag.
///
/// Source: RFC 9110, section 13.1.5.
pub(super) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
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
    /// Strong comparison: a weak tag matches nothing.
    Strong,
    /// Weak comparison: weak and strong tags match alike.
    Weak,
}

fn lists(headers: &HeaderMap, name: &HeaderName, etag: Option<&str>, strength: Strength) -> bool {
    let Some(wanted) = etag.map(str::as_bytes) else { return false };
    headers.get_all(name).iter().flat_map(|value| Tags(value.as_bytes())).any(|tag| match tag {
        Tag::Any => true,
        Tag::Strong(tag) => tag == wanted,
        Tag::Weak(tag) => strength == Strength::Weak && tag == wanted,
    })
}

/// An element of a list of entity tags, unquoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag<'a> {
    Any,
    Strong(&'a [u8]),
    Weak(&'a [u8]),
}

/// Iterates over a list of entity tags, up to the first malformed element.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let rest = self.0.get(start..)?;
        // If parsing stops before the end of this element, it is malformed and ends the list.
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
        for (value, expected) in [
            (r#""x:a""#, Precondition::NotModified),
            (r#"W/"x:a""#, Precondition::NotModified),
            ("*", Precondition::NotModified),
            (r#" , "b","c, d" ,W/"x:a""#, Precondition::NotModified),
            ("", Precondition::Met),
            (r#""b, "x:a"#, Precondition::Met),
            (r#""b", "c""#, Precondition::Met),
            // An opaque tag may contain a comma.
            (r#""b,*""#, Precondition::Met),
            // A list ends at its first malformed element.
            (r#""b" "x:a""#, Precondition::Met),
            (r#"w/"x:a""#, Precondition::Met),
            (r#""x:a"#, Precondition::Met),
            ("x:a", Precondition::Met),
        ] {
            let headers = headers(&[(header::IF_NONE_MATCH, value)]);
            assert_eq!(evaluate(&headers, Some("x:a")), expected, "{value}");
        }
        let mut both = headers(&[(header::IF_NONE_MATCH, r#""b""#)]);
        both.append(header::IF_NONE_MATCH, http::HeaderValue::from_static(r#""x:a""#));
        assert_eq!(evaluate(&both, Some("x:a")), Precondition::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        let strong = headers(&[(header::IF_MATCH, r#""x:a""#)]);
        assert_eq!(evaluate(&strong, Some("x:a")), Precondition::Met);
        assert_eq!(evaluate(&strong, Some("x:b")), Precondition::Failed);
        assert_eq!(evaluate(&headers(&[(header::IF_MATCH, "*")]), Some("x:a")), Precondition::Met);
        assert_eq!(
            evaluate(&headers(&[(header::IF_MATCH, r#"W/"x:a""#)]), Some("x:a")),
            Precondition::Failed
        );
        let both = headers(&[(header::IF_MATCH, r#""x:b""#), (header::IF_NONE_MATCH, r#""x:a""#)]);
        assert_eq!(evaluate(&both, Some("x:a")), Precondition::Failed);
    }

    #[test]
    fn if_range_applies_only_to_the_same_strong_tag() {
        assert!(range_applies(&HeaderMap::new(), "x:a"));
        for (value, applies) in [
            (r#""x:a""#, true),
            (r#""x:b""#, false),
            (r#"W/"x:a""#, false),
            (r#""x:a", "x:b""#, false),
            ("*", false),
            ("Tue, 24 Nov 2026 00:00:00 GMT", false),
        ] {
            assert_eq!(range_applies(&headers(&[(header::IF_RANGE, value)]), "x:a"), applies, "{value}");
        }
    }
}
